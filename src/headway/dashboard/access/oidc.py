"""Sign-in at an OpenID Connect issuer: authorization code flow with PKCE, state and nonce."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
from msgspec.structs import replace

from headway.core import plugins
from headway.core.config import Config
from headway.core.errors import ConfigError, HeadwayError
from headway.core.urls import is_secure
from headway.dashboard.access.attempts import network_of
from headway.dashboard.access.sessions import ROLES, Role
from headway.serving.auth import tokens
from headway.serving.settings.oidc import OidcSection
from headway.storage.addresses import outside_store

CALLBACK = "/sign-in/issuer/done"
MAX_STARTED = 1024
STARTED_S = 600.0
_DISCOVERY = "/.well-known/openid-configuration"
_FRESH_S = 300.0
_CODE = re.compile(r"[a-z_]{1,40}")


class IssuerRefused(HeadwayError):
    """The issuer did not sign the person in, or gives them no role."""


class _IssuerDocument(msgspec.Struct):
    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str


class _Tokens(msgspec.Struct):
    id_token: str


@dataclass(frozen=True, slots=True)
class _PendingSignIn:
    nonce: str
    verifier: str
    callback: str
    back: str
    expires_s: float
    network: str


class IssuerSignIn:
    """Signs people in at the issuer of `[oidc]`, as its client `client_id`."""

    def __init__(self, config: Config) -> None:
        self.settings = config[OidcSection]
        self._library: Any = plugins.load_sibling(tokens.__name__, "jose", reads="[oidc] client_id")
        self._secret = _read_secret(config)
        self._started: dict[str, _PendingSignIn] = {}
        self._lock = threading.Lock()
        self._found: _IssuerDocument | None = None
        self._found_s = 0.0

    def begin(self, *, base: str, back: str, address: str = "") -> tuple[str, str]:
        """Return the issuer's address that a person is sent to, and the state that their browser must bring back.

        `base` is the address of the dashboard, `back` the page that the person wants, and `address` that of their
        machine: if too many sign-ins are begun, the network that began most of them loses its oldest. Raises
        IssuerRefused.
        """
        issuer = self._discover()
        state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(48)
        started = _PendingSignIn(
            secrets.token_urlsafe(32),
            verifier,
            base + CALLBACK,
            back,
            time.monotonic() + STARTED_S,
            network_of(address),
        )
        with self._lock:
            self._started[state] = started
            if len(self._started) > MAX_STARTED:
                ((busiest, _),) = Counter(pending.network for pending in self._started.values()).most_common(1)
                del self._started[next(key for key, pending in self._started.items() if pending.network == busiest)]
        query = {
            "response_type": "code",
            "client_id": self.settings.client_id,
            "redirect_uri": started.callback,
            "scope": " ".join(self.settings.client_scopes),
            "state": state,
            "nonce": started.nonce,
            "code_challenge": _unpadded(hashlib.sha256(verifier.encode()).digest()),
        }
        joint = "&" if "?" in issuer.authorization_endpoint else "?"
        return f"{issuer.authorization_endpoint}{joint}{urlencode(query)}&code_challenge_method=S256", state

    def finish(self, query: Mapping[str, str], *, state: str) -> tuple[str, Role, str]:
        """Return name, role and wanted page of a person whom the issuer sent back; raises IssuerRefused.

        `state` is what their browser has kept since `begin`. It is accepted once.
        """
        with self._lock:
            started = self._started.pop(state, None)
        if started is None or started.expires_s < time.monotonic() or not _same(query.get("state", ""), state):
            raise IssuerRefused("the sign-in was not begun in this browser, or took too long", hint="sign in again")
        issuer = self._discover()
        if not _same(query.get("iss", issuer.issuer), issuer.issuer):
            raise IssuerRefused("another issuer answered", hint="sign in again")
        if "code" not in query:
            code = query.get("error", "")
            why = f": {code}" if _CODE.fullmatch(code) else ""
            raise IssuerRefused(f"the issuer did not sign you in{why}", hint="ask who runs it")
        claims = self._claims(issuer, query["code"], started)
        return self._name(claims), self._role(claims), started.back

    def _claims(self, issuer: _IssuerDocument, code: str, started: _PendingSignIn) -> Mapping[str, Any]:
        """Exchange the code for an ID token, and return its claims once they are verified."""
        client = self.settings.client_id
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": started.callback,
            "client_id": client,
            "code_verifier": started.verifier,
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        if self._secret:  # each part is encoded as in a form: RFC 6749, section 2.3.1
            pair = f"{quote(client, safe='')}:{quote(self._secret, safe='')}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        try:
            answer = self._library.fetch(issuer.token_endpoint, urlencode(form).encode(), headers)
            token = msgspec.json.decode(answer, type=_Tokens).id_token
            keys = self._library.import_keys(self._library.fetch(self.settings.jwks_url or issuer.jwks_uri))
            expected = replace(self.settings, audience=client)
            claims: Mapping[str, Any] = self._library.verify(token.encode(), keys, expected, now=time.time())
        except tokens.TokenRefused as error:
            raise IssuerRefused(f"the ID token of the issuer is not accepted: {error}", hint="sign in again") from error
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            raise IssuerRefused("the issuer did not confirm the sign-in", hint="sign in again") from error
        if not _same(claims.get("nonce"), started.nonce) or claims.get("azp", client) != client:
            raise IssuerRefused("the ID token is that of another sign-in", hint="sign in again")
        return claims

    def _name(self, claims: Mapping[str, Any]) -> str:
        """Return the claim that names a person; their subject instead of an address that is not verified."""
        name = claims.get(self.settings.name_claim)
        if self.settings.name_claim == "email" and claims.get("email_verified") is not True:
            name = None
        found = name if isinstance(name, str) and name else claims.get("sub")
        if not isinstance(found, str) or not found or not found.isprintable() or len(found) > 256:
            raise IssuerRefused("the ID token names no person", hint="ask who runs the issuer")
        return found

    def _role(self, claims: Mapping[str, Any]) -> Role:
        """Return the highest role that a person's groups have."""
        value: Any = claims
        for part in self.settings.role_claim.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        groups = {value} if isinstance(value, str) else {one for one in value or () if isinstance(one, str)}
        roles = [role for group, role in self.settings.roles.items() if group in groups or group == "*"]
        if not roles:
            raise IssuerRefused("your account has no role here", hint="ask an admin: [oidc] roles maps groups to roles")
        return max(roles, key=ROLES.index)  # type: ignore[arg-type]

    def _discover(self) -> _IssuerDocument:
        if self._found is None or time.monotonic() - self._found_s > _FRESH_S:
            url = self.settings.issuer.rstrip("/") + _DISCOVERY
            try:
                found = msgspec.json.decode(self._library.fetch(url), type=_IssuerDocument)
            except (OSError, ValueError, msgspec.MsgspecError) as error:
                raise IssuerRefused("the issuer does not answer", hint="try again, or sign in another way") from error
            if found.issuer != self.settings.issuer or not is_secure(found.authorization_endpoint):
                raise IssuerRefused("the issuer's own document names another issuer", hint="see [oidc] issuer")
            self._found, self._found_s = found, time.monotonic()
        return self._found


def open_issuer(config: Config) -> IssuerSignIn | None:
    """Return the sign-in at the issuer of `[oidc]`, None without a `client_id`; raises ConfigError or PluginError."""
    settings = config[OidcSection]
    if not settings.client_id:
        return None
    if not is_secure(settings.issuer):
        raise ConfigError(
            f"{settings.issuer!r} is not an https URL", where="[oidc] issuer", hint="https://login.example"
        )
    if not settings.roles:
        raise ConfigError(
            "no person who signs in at the issuer would have a role",
            where="[oidc] roles",
            hint='roles = {"ml-team" = "operator", "*" = "viewer"}',
        )
    return IssuerSignIn(config)


def _read_secret(config: Config) -> str:
    if not config[OidcSection].client_secret_file:
        return ""
    file = config.path(config[OidcSection].client_secret_file)
    where = f"[oidc] client_secret_file = {file}"
    outside_store(file, config, "the secret of the client is in the store", where=where)
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("cannot read the secret of the client", where=where) from error


def _same(found: object, expected: str) -> bool:
    return isinstance(found, str) and secrets.compare_digest(found.encode(), expected.encode())


def _unpadded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
