"""Sign-in by a one-time link, an API key or a password."""

from __future__ import annotations

import hashlib
import secrets
import time
from dataclasses import dataclass

from headway.core.config import Config
from headway.core.errors import HeadwayError
from headway.dashboard.access.sessions import Role, Session
from headway.serving.auth.keys import ApiKey, digest, keys_file, read_keys

LINK_S = 900.0
_ROLES_OF_SCOPES: dict[str, Role] = {"operate": "operator", "label": "labeller", "metrics": "viewer"}


class SignInRefused(HeadwayError):
    """The credentials are not accepted; the message does not say which part is wrong."""


@dataclass(frozen=True, slots=True)
class _Link:
    user: str
    role: Role
    expires_s: float


class SignIn:
    """Decides who a person is and which role they have."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._links: dict[bytes, _Link] = {}
        self.visitor = Session(user="", role="viewer", made_s=0.0, seen_s=0.0, key="", token="")

    def create_link(self, user: str, role: Role) -> str:
        """Return the secret of a link that signs a person in once, within `LINK_S`."""
        secret = secrets.token_urlsafe(32)
        self._links[hashlib.sha256(secret.encode()).digest()] = _Link(user, role, time.monotonic() + LINK_S)
        return secret

    def by_link(self, secret: str) -> tuple[str, Role]:
        """Return who a one-time link is for, and its role; the link is used up. Raises SignInRefused."""
        found = self._links.pop(hashlib.sha256(secret.encode()).digest(), None)
        if found is None or found.expires_s < time.monotonic():
            raise SignInRefused(
                "the link was used already, or has expired", hint="start headway ui again for a new one"
            )
        return found.user, found.role

    def by_key(self, key: str) -> tuple[str, Role]:
        """Return the name and the role of an API key; raises SignInRefused."""
        sha256 = digest(key.encode()).hex()
        found = next((item for item in self._keys().items() if secrets.compare_digest(item[1].sha256, sha256)), None)
        role = _role_of(found[1]) if found else None
        if found is None or role is None:
            raise SignInRefused("the API key is not accepted", hint="headway api-keys new NAME --scope operate")
        return found[0], role

    def still_has_role(self, session: Session) -> bool:
        """Return whether a person who is signed in still has the role of the session."""
        return True

    def _keys(self) -> dict[str, ApiKey]:
        return read_keys(keys_file(self._config))


def _role_of(key: ApiKey) -> Role | None:
    return (
        None if key.revoked else next((role for scope, role in _ROLES_OF_SCOPES.items() if scope in key.scopes), None)
    )
