"""Access tokens of an OpenID Connect issuer: the issuer's keys, and what a token allows.

The keys are fetched on a thread, never while a request waits, and are kept while the issuer does not answer. The
library that verifies signatures is imported only if an issuer is configured.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from headway.core.errors import ConfigError
from headway.core.plugins import load_sibling
from headway.core.urls import is_secure
from headway.serving.settings.oidc import OidcSection
from headway.serving.telemetry.logs import Throttle
from headway.serving.workers.shared_memory import SharedDocument

_DISCOVERY = "/.well-known/openid-configuration"
_FIRST_S = 2.0
_GAP_S = 5.0  # between two fetches, however many tokens name an unknown key
MAX_BYTES = 1 << 20
_MAX_SUBJECT = 128
_log = logging.getLogger(__name__)


class TokenRefused(Exception):
    """Why a token is not accepted, as a clause: `it has expired`."""


class UnknownKey(TokenRefused):
    """The token is signed with a key that is not among those that were fetched."""


class TokenCaller(NamedTuple):
    """Whom a token was issued to, and what for: scopes without their prefix, and models, empty for all."""

    subject: str
    scopes: frozenset[str]
    models: frozenset[str]
    expires_s: float


class _Discovery(msgspec.Struct):
    issuer: str
    jwks_uri: str


class IssuerKeys:
    """The keys of an issuer: `library` fetches and reads their document (RFC 7517). `version` counts the changes.

    The document is shared with the other workers, and with one that starts while the issuer does not answer.
    """

    def __init__(self, settings: OidcSection, library: Any, shared: SharedDocument) -> None:
        self.version = 0
        self._settings = settings
        self._library = library
        self._shared = shared
        self._document, self._fetched_s = shared.read()
        self._keys: Any = library.import_keys(self._document) if self._document else None
        self._tried = threading.Event()
        self._wanted = threading.Event()
        self._closed = threading.Event()
        self._throttle = Throttle()
        self._thread = threading.Thread(target=self._run, name="issuer", daemon=True)

    def start(self) -> None:
        """Begin to fetch, and wait a moment for the first keys."""
        self._thread.start()
        self._tried.wait(_FIRST_S)

    def close(self) -> None:
        """End the thread; a fetch that has begun ends by itself."""
        self._closed.set()
        self._wanted.set()

    def current(self) -> Any:
        """Return the keys; raises TokenRefused if there are none that are fresh enough."""
        if not self._document or time.monotonic() - self._fetched_s > self._settings.keys_max_age_s:
            self._wanted.set()
            raise TokenRefused("the keys of its issuer could not be fetched")
        return self._keys

    def want(self) -> None:
        """Fetch soon, as a token is signed with a key that is not known."""
        self._wanted.set()

    def refresh(self) -> bool:
        """Fetch the keys now; returns True if that worked, and logs why not once a minute."""
        try:
            document = self._fetch()
            if document != self._document:
                self._keys = self._library.import_keys(document)
                self._document, self.version = document, self.version + 1
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            if self._throttle.count("fetch"):
                _log.error("the keys of %s were not fetched: %s", self._settings.issuer, error)
            return False
        finally:
            self._tried.set()
        self._fetched_s = time.monotonic()
        self._shared.write(document, self._fetched_s)
        return True

    def _run(self) -> None:
        while not self._closed.is_set():
            self._wanted.clear()
            found = self.refresh()
            self._closed.wait(_GAP_S)
            if found:
                self._wanted.wait(self._settings.refresh_s - _GAP_S)

    def _fetch(self) -> bytes:
        settings, fetch = self._settings, self._library.fetch
        if settings.jwks_url:
            return bytes(fetch(settings.jwks_url))
        found = msgspec.json.decode(fetch(settings.issuer.rstrip("/") + _DISCOVERY), type=_Discovery)
        if found.issuer != settings.issuer:
            raise ValueError(f"its discovery document is that of '{found.issuer}'")
        return bytes(fetch(found.jwks_uri))


class TokenVerifier:
    """Verifies access tokens with the current keys of their issuer."""

    def __init__(self, settings: OidcSection, library: Any, shared: SharedDocument) -> None:
        self.settings = settings
        self._library = library
        self.keys = IssuerKeys(settings, library, shared)

    @property
    def version(self) -> int:
        """Number of changes of the keys; after one, tokens must be verified again."""
        return self.keys.version

    def verify(self, token: bytes) -> TokenCaller:
        """Verify a token; raises TokenRefused with the reason."""
        settings = self.settings
        try:
            claims: Mapping[str, Any] = self._library.verify(token, self.keys.current(), settings, now=time.time())
        except UnknownKey:
            self.keys.want()
            raise
        subject = next((claims[name] for name in ("sub", "client_id", "azp") if _is_name(claims.get(name))), "")
        if not subject:
            raise TokenRefused("it names no subject (claim 'sub')")
        prefix, scopes = settings.scope_prefix, _words(claims.get(settings.scope_claim))
        models = _words(claims.get(settings.models_claim)) if settings.models_claim else frozenset[str]()
        if settings.models_claim and not models:
            raise TokenRefused(f"it names no model (claim '{settings.models_claim}')")
        return TokenCaller(
            subject[:_MAX_SUBJECT],
            frozenset(scope.removeprefix(prefix) for scope in scopes if scope.startswith(prefix)),
            models,
            float(claims["exp"]) + settings.clock_skew_s,
        )

    def close(self) -> None:
        """End the thread that fetches the keys."""
        self.keys.close()


def shared_keys() -> SharedDocument:
    """Return the memory that workers share an issuer's keys in; create it before forking."""
    return SharedDocument(MAX_BYTES)


def open_verifier(settings: OidcSection, shared: SharedDocument) -> TokenVerifier:
    """Start to fetch the keys of an issuer, and return the verifier of its tokens.

    Raises ConfigError if the settings are incomplete, PluginError if the library is not installed.
    """
    if not settings.audience:
        raise ConfigError(
            "an issuer is set without an audience, so tokens for other services would be accepted",
            where="[oidc] audience",
            hint="set the value of `aud` that the issuer gives to tokens for this server",
        )
    for name, url in (("issuer", settings.issuer), ("jwks_url", settings.jwks_url)):
        if url and not is_secure(url):
            raise ConfigError(f"'{url}' is not an https URL", where=f"[oidc] {name}", hint="https://login.example")
    verifier = TokenVerifier(settings, load_sibling(__name__, "jose", reads="[oidc]"), shared)
    verifier.keys.start()
    return verifier


def _words(value: Any) -> frozenset[str]:
    """Return the strings of a claim, which is a list, or a string with spaces."""
    words = value.split() if isinstance(value, str) else value if isinstance(value, list) else ()
    return frozenset(word for word in words if isinstance(word, str))


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value)
