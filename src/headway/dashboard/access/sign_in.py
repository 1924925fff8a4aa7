"""Sign-in by a name and a password, an API key, a one-time link, or an OpenID Connect issuer."""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from headway.core.config import Config
from headway.core.contracts import State
from headway.core.errors import ConfigError, HeadwayError, StoreUnavailable
from headway.core.settings.store import StoreSection
from headway.dashboard.access.attempts import Attempts, network_of
from headway.dashboard.access.oidc import open_issuer
from headway.dashboard.access.sessions import Role, Session
from headway.dashboard.access.users import User, read_users, set_password, use_link, users_file, verify_password
from headway.serving.auth.keys import ApiKey, digest, keys_file, read_keys
from headway.serving.auth.shared_keys import SharedKeys

_T = TypeVar("_T")
LINK_S = 900.0
PASSWORD, LINK = "password", "one-time link"
KEYS_POLL_S = 1.0
LIMITS = {"name": (5, 20.0), "address": (30, 4.0)}
"""Sign-ins that may fail: at once, and afterwards one in so many seconds. A name counts for each address apart, so that
one person does not lock another out."""
_ROLES_OF_SCOPES: dict[str, Role] = {"operate": "operator", "label": "labeller"}
_log = logging.getLogger(__name__)


class SignInRefused(HeadwayError):
    """The credentials are not accepted; the message does not say which part is wrong."""


class TooManyAttempts(HeadwayError):
    """Too many sign-ins failed; `wait_s` seconds must pass before the next one."""

    wait_s: float = 0.0


def _guesses(name: str, address: str) -> dict[str, str]:
    """Return what a guess of a password counts for: its address, and the name at that address."""
    network = network_of(address)
    return {"name": f"{network} {name[:64]}", "address": network}


def _always() -> bool:
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who signed in, how, and with which role; `holds` returns whether that is still so."""

    user: str
    role: Role
    how: str
    holds: Callable[[], bool] = _always


@dataclass(frozen=True, slots=True)
class _Link:
    user: str
    role: Role
    expires_s: float


class _Followed(Generic[_T]):
    """What a file holds, read again once the file has changed."""

    def __init__(self, file: Path, read: Callable[[Path], Mapping[str, _T]]) -> None:
        self._file = file
        self._read = read
        self._seen: object = ()
        self._held: Mapping[str, _T] = {}

    def get(self) -> Mapping[str, _T]:
        """Return the entries; none, which is logged, if the file cannot be read."""
        found = None
        with suppress(OSError):
            stat = os.stat(self._file)
            found = stat.st_mtime_ns, stat.st_ino, stat.st_size, stat.st_mode
        if found != self._seen:
            try:
                self._held = self._read(self._file)
            except ConfigError as error:
                _log.error("no person can sign in by this file: %s", error)
                self._held = {}
            self._seen = found
        return self._held


class SignIn:
    """Decides who a person is and which role they have."""

    def __init__(self, config: Config, *, models: frozenset[str] = frozenset(), state: State | None = None) -> None:
        self._config = config
        self._models = models
        self._links: dict[bytes, _Link] = {}
        self._attempts = Attempts(LIMITS)
        self._keys = _Followed[ApiKey](keys_file(config), read_keys)
        self._users = _Followed[User](users_file(config), read_users)
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        if state is not None and config[StoreSection].state:
            follow = SharedKeys(config, state).follow
            self._thread = threading.Thread(target=self._follow, args=(follow,), name="shared API keys", daemon=True)
            self._thread.start()
        self.issuer = open_issuer(config)
        self.visitor = Session(user="", role="viewer", made_s=0.0, seen_s=0.0, key="", token="")

    @property
    def has_users(self) -> bool:
        """Whether anyone may sign in with a password."""
        return any(user.hash for user in self._users.get().values())

    def create_link(self, user: str, role: Role) -> str:
        """Return the secret of a link that signs a person in once, within `LINK_S`."""
        secret = secrets.token_urlsafe(32)
        self._links[hashlib.sha256(secret.encode()).digest()] = _Link(user, role, time.monotonic() + LINK_S)
        return secret

    def by_link(self, secret: str, *, address: str = "") -> Identity:
        """Return who a one-time link is for; the link is used up. Raises SignInRefused or TooManyAttempts."""
        caller = {"address": network_of(address)}
        self._begin(**caller)
        found = self._links.pop(hashlib.sha256(secret.encode()).digest(), None)
        if found is not None and found.expires_s > time.monotonic():
            self._attempts.succeed(**caller)
            return Identity(user=found.user, role=found.role, how="the link of headway ui")
        used = use_link(users_file(self._config), secret)
        if used is None:
            self._report("a link", address)
            raise SignInRefused("the link was used already, or has expired", hint="ask an admin for a new one")
        self._attempts.succeed(**caller)
        return self._person(*used, how=LINK)

    def by_key(self, key: str, *, address: str = "") -> Identity:
        """Return who an API key is for, and its role; raises SignInRefused or TooManyAttempts."""
        caller = {"address": network_of(address)}
        self._begin(**caller)
        sha256 = digest(key.encode()).hex()
        keys = self._keys.get()
        name = next((name for name, one in keys.items() if secrets.compare_digest(one.sha256, sha256)), None)
        role = self._role_of(keys[name]) if name else None
        if name is None or role is None:
            self._report("an API key", address)
            raise SignInRefused("the API key is not accepted", hint="")
        self._attempts.succeed(**caller)
        return Identity(user=f"key {name}", role=role, how="API key", holds=lambda: self._key_holds(name, sha256, role))

    def by_password(self, name: str, password: str, *, address: str = "") -> Identity:
        """Return who signs in with a name and a password; raises SignInRefused or TooManyAttempts.

        An unknown name takes as long as a wrong password, and counts as one.
        """
        caller = _guesses(name, address)
        self._begin(**caller)
        user = self._users.get().get(name)
        if not verify_password(user, password) or user is None:
            self._report(f"{name[:64]!r} with a password", address)
            raise SignInRefused("name or password is wrong", hint="")
        self._attempts.succeed(**caller)
        return self._person(name, user, how=PASSWORD)

    def person(self, session: Session) -> User | None:
        """Return the entry of the people's file that a session is for; None if it is by a key or an issuer."""
        return self._users.get().get(session.user) if session.how in (PASSWORD, LINK) else None

    def change_password(self, session: Session, current: str, password: str, *, address: str = "") -> Identity | None:
        """Give the person of a session another password, and return who they are now; None if they have none here.

        The present one is required, unless they signed in by a link. Their other sessions end.
        Raises SignInRefused, TooManyAttempts, or ConfigError for a password that is too short.
        """
        user = self.person(session)
        if user is None:
            return None
        caller = _guesses(session.user, address)
        self._begin(**caller)
        if user.hash and session.how != LINK and not verify_password(user, current):
            raise SignInRefused("the present password is wrong", hint="")
        self._attempts.succeed(**caller)
        return self._person(session.user, set_password(users_file(self._config), session.user, password), how=PASSWORD)

    def _begin(self, **caller: str) -> None:
        if wait_s := self._attempts.begin(**caller):
            error = TooManyAttempts("too many sign-ins failed", hint=f"try again in {wait_s:.0f} seconds")
            error.wait_s = wait_s
            raise error

    def _report(self, what: str, address: str) -> None:
        _log.warning("refused a sign-in by %s from %s", what, address)

    def _person(self, name: str, user: User, *, how: str) -> Identity:
        def holds() -> bool:
            now = self._users.get().get(name)
            return now is not None and (now.role, now.hash) == (user.role, user.hash)

        return Identity(user=name, role=user.role, how=how, holds=holds)

    def _key_holds(self, name: str, sha256: str, role: Role) -> bool:
        found = self._keys.get().get(name)
        return found is not None and found.sha256 == sha256 and self._role_of(found) == role

    def _follow(self, follow: Callable[[], object]) -> None:
        """Bring the file of keys up to date with those that other machines of the project share, and go on so."""
        while not self._closed.is_set():
            with suppress(StoreUnavailable):
                follow()
            self._closed.wait(KEYS_POLL_S)

    def close(self) -> None:
        """Stop to follow the keys of other machines."""
        self._closed.set()
        if self._thread:
            self._thread.join()

    def _role_of(self, key: ApiKey) -> Role | None:
        """Return the role of a key: of its highest scope, if it is for every model of this dashboard."""
        if key.revoked or (key.models and not self._models <= set(key.models)):
            return None
        return next((role for scope, role in _ROLES_OF_SCOPES.items() if scope in key.scopes), None)
