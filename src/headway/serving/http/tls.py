"""TLS of a server: its certificate, taken anew when the files change, and whose clients it lets in."""

from __future__ import annotations

import logging
import os
import ssl
from pathlib import Path

from headway.core.config import Config
from headway.core.errors import ConfigError

_log = logging.getLogger(__name__)


class TlsContext:
    """The context of new connections: TLS 1.2 at the least; with `client_ca`, a certificate that these signed.

    `pem` is the key, the certificate and the client CA, or None, for whom makes connections of its own.
    """

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None = None) -> None:
        """Raises ConfigError where a file is not what it should be."""
        self._files = certificate, key
        self._met = self._stats()
        self.pem: tuple[bytes, bytes, bytes | None] = (b"", b"", None)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_alpn_protocols(["http/1.1"])
        self._take()
        if client_ca is not None:
            self.context.verify_mode = ssl.CERT_REQUIRED
            try:
                self.context.load_verify_locations(client_ca)
                self.pem = (*self.pem[:2], client_ca.read_bytes())
            except (OSError, ssl.SSLError) as error:
                raise _unfit(error, "tls_client_ca", client_ca) from error

    def look(self) -> None:
        """Take the certificate anew if its files have changed: for connections to come. One that is unfit is not."""
        stats = self._stats()
        if stats == self._met:
            return
        self._met = stats
        try:
            self._take()
            _log.warning("the certificate was taken anew from %s", self._files[0])
        except ConfigError as error:
            _log.error("the certificate stays as it was: %s", error)

    def _take(self) -> None:
        try:
            # First aside: a certificate whose key is not there yet must not take the place of the one that serves.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(*self._files, password=_no_password)
            self.context.load_cert_chain(*self._files, password=_no_password)
            certificate, key = (file.read_bytes() for file in self._files)
        except (OSError, ssl.SSLError, ValueError) as error:
            raise _unfit(error, "tls_certificate, tls_key", self._files[0]) from error
        self.pem = (key, certificate, self.pem[2])

    def _stats(self) -> list[tuple[int, int] | None]:
        return [_stat(file) for file in self._files]


def tls_from_config(config: Config) -> TlsContext | None:
    """The TLS of a project's server, or None where it has no certificate; raises ConfigError."""
    settings = config.serve
    if not settings.tls_certificate:
        if settings.tls_key or settings.tls_client_ca:
            raise ConfigError(
                "there is a key or a client CA, and no certificate", where="[serve]", hint="set tls_certificate too"
            )
        return None
    certificate = config.path(settings.tls_certificate)
    key = config.path(settings.tls_key) if settings.tls_key else certificate
    return TlsContext(certificate, key, config.path(settings.tls_client_ca) if settings.tls_client_ca else None)


def _no_password() -> str:
    """Nobody is there to be asked for one."""
    raise ValueError("the key has a password")


def _stat(file: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino


def _unfit(error: Exception, field: str, file: Path) -> ConfigError:
    return ConfigError(
        f"no TLS with these files: {error}", where=f"[serve] {field} = {file}", hint="PEM files that belong together"
    )
