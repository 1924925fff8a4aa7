"""TLS of the server and of the dashboard: certificate files, which are loaded again when they change."""

from __future__ import annotations

import logging
import os
import ssl
from pathlib import Path

from headway.core.config import Config
from headway.core.errors import ConfigError
from headway.serving.settings.serve import ServeSection

# Mozilla's list for TLS 1.2 without finite-field Diffie-Hellman; the ciphers of TLS 1.3 need no list.
_TLS_1_2_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL:!PSK"
_log = logging.getLogger(__name__)


class TlsContext:
    """TLS context of new connections; with `client_ca`, clients need a certificate that it signed.

    Profile `modern` is TLS 1.3, whose ciphers are all authenticated and have forward secrecy; `intermediate` adds TLS
    1.2 with ciphers that have both. `pem` is the key, the certificate and the client CA (or None), for a transport that
    has its own TLS.
    """

    def __init__(
        self,
        certificate: Path,
        key: Path,
        client_ca: Path | None = None,
        *,
        profile: str = "modern",
        section: str = "serve",
    ) -> None:
        """Load the files; raises ConfigError, which names the section, if one of them is not valid."""
        self._section = section
        self._files = certificate, key
        self._loaded = self._stats()
        self.pem: tuple[bytes, bytes, bytes | None] = (b"", b"", None)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        modern = profile == "modern"
        self.context.minimum_version = ssl.TLSVersion.TLSv1_3 if modern else ssl.TLSVersion.TLSv1_2
        self.context.set_ciphers(_TLS_1_2_CIPHERS)
        self.context.options |= ssl.OP_NO_RENEGOTIATION
        self.context.set_alpn_protocols(["http/1.1"])
        self._load()
        if client_ca is not None:
            self.context.verify_mode = ssl.CERT_REQUIRED
            try:
                self.context.load_verify_locations(client_ca)
                self.pem = (*self.pem[:2], client_ca.read_bytes())
            except (OSError, ssl.SSLError) as error:
                raise _invalid(error, f"[{self._section}] tls_client_ca", client_ca) from error

    def reload(self) -> None:
        """Load the certificate again if its files have changed, for new connections; keep the old one if invalid."""
        stats = self._stats()
        if stats == self._loaded:
            return
        self._loaded = stats
        try:
            self._load()
            _log.warning("reloaded the certificate from %s", self._files[0])
        except ConfigError as error:
            _log.error("kept the previous certificate: %s", error)

    def _load(self) -> None:
        try:
            # Try it separately first: a certificate whose key is not there yet must not replace the one in use.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(*self._files, password=_no_password)
            self.context.load_cert_chain(*self._files, password=_no_password)
            certificate, key = (file.read_bytes() for file in self._files)
        except (OSError, ssl.SSLError, ValueError) as error:
            raise _invalid(error, f"[{self._section}] tls_certificate, tls_key", self._files[0]) from error
        self.pem = (key, certificate, self.pem[2])

    def _stats(self) -> list[tuple[int, int] | None]:
        return [_stat(file) for file in self._files]


def tls_from_config(config: Config) -> TlsContext | None:
    """Return the TLS context of a project's server, or None without a certificate; raises ConfigError."""
    settings = config[ServeSection]
    if not settings.tls_certificate:
        if settings.tls_key or settings.tls_client_ca:
            raise ConfigError(
                "a key or a client CA is set without a certificate", where="[serve]", hint="set tls_certificate too"
            )
        return None
    certificate = config.path(settings.tls_certificate)
    key = config.path(settings.tls_key) if settings.tls_key else certificate
    client_ca = config.path(settings.tls_client_ca) if settings.tls_client_ca else None
    return TlsContext(certificate, key, client_ca, profile=settings.tls_profile)


def _no_password() -> str:
    """Fail instead of prompting: a server has no terminal."""
    raise ValueError("the key has a password")


def _stat(file: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino


def _invalid(error: Exception, field: str, file: Path) -> ConfigError:
    return ConfigError(
        f"cannot use these files for TLS: {error}",
        where=f"{field} = {file}",
        hint="PEM files of a certificate and its key",
    )
