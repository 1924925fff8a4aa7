"""Sessions of people who are signed in: who they are, what they may do, and when that ends."""

from __future__ import annotations

import secrets
import threading
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal, get_args

from headway.core.errors import HeadwayError

Role = Literal["viewer", "labeller", "operator", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
MAX_SESSIONS, MAX_SESSIONS_PER_USER = 8192, 8
ISSUER = "issuer"
"""How a person signed in whom an issuer names: with the same name as a person of this dashboard, it is another one."""


class TooManySessions(HeadwayError):
    """So many people are signed in that no other may be."""


@dataclass(slots=True, kw_only=True)
class Session:
    """A person who is signed in; `key` is the secret of the cookie, `token` that of the forms (against CSRF).

    `how` they signed in is for people to read, and `ISSUER` if an issuer names them; `holds` returns whether they may
    still be signed in.
    """

    user: str
    role: Role
    made_s: float
    seen_s: float
    key: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    how: str = ""
    holds: Callable[[], bool] = lambda: True
    message: str = ""

    def is_of(self, user: str, how: str) -> bool:
        """Return whether a person of this name, who signs in by `how`, is the person of this session."""
        return self.user == user and (self.how == ISSUER) == (how == ISSUER)

    def may(self, role: Role) -> bool:
        """Return whether this person has a role, or one above it."""
        return ROLES.index(self.role) >= ROLES.index(role)

    def masked_token(self) -> str:
        """Return the token for a form, under a mask that is new in each: pages are compressed (BREACH)."""
        token = self.token.encode()
        mask = secrets.token_bytes(len(token))
        return urlsafe_b64encode(mask + _masked(token, mask)).decode()

    def accepts(self, token: str) -> bool:
        """Return whether the token of a form is that of this session, masked or not."""
        own, sent = self.token.encode(), token.encode()
        with suppress(ValueError):
            both = urlsafe_b64decode(sent)
            if len(both) == 2 * len(own):
                sent = _masked(both[: len(own)], both[len(own) :])
        return secrets.compare_digest(sent, own)

    def take_message(self) -> str:
        """Return what the last action reported, once."""
        message, self.message = self.message, ""
        return message


def _masked(text: bytes, mask: bytes) -> bytes:
    return bytes(one ^ other for one, other in zip(text, mask, strict=True))


class Sessions:
    """Sessions in memory; one ends after `idle_s` without a request, `at_most_s` after sign-in, or with the process."""

    def __init__(self, *, idle_s: float, at_most_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._idle_s = idle_s
        self._at_most_s = at_most_s
        self._clock = clock
        self._open: dict[str, Session] = {}
        self._lock = threading.Lock()

    def begin(self, user: str, role: Role, *, how: str = "", holds: Callable[[], bool] = lambda: True) -> Session:
        """Sign a person in; of their own sessions the one that was silent longest ends if there are too many.

        Raises TooManySessions rather than end a session of another person.
        """
        now = self._clock()
        session = Session(user=user, role=role, made_s=now, seen_s=now, how=how, holds=holds)
        with self._lock:
            self._end_expired(now)
            own = [key for key, other in self._open.items() if other.is_of(user, how)]
            if len(own) >= MAX_SESSIONS_PER_USER:
                del self._open[min(own, key=lambda key: self._open[key].seen_s)]
            if len(self._open) >= MAX_SESSIONS:
                raise TooManySessions(f"{MAX_SESSIONS:,} sessions are open", hint="sign in again in some minutes")
            self._open[session.key] = session
        return session

    def find(self, key: str, *, counts: bool = True) -> Session | None:
        """Return the session of a cookie's secret; None if it has ended, or its person may not be signed in any more.

        A request that the person did not make, such as one of a page that updates itself, is not counted, by `counts`.
        """
        now = self._clock()
        with self._lock:
            self._end_expired(now)
            session = self._open.get(key)
            if session is not None and counts:
                session.seen_s = now
        if session is not None and not session.holds():
            self.end(key)
            return None
        return session

    def end(self, key: str) -> None:
        """Sign a person out; the cookie and the tokens of its forms are worth nothing from now on."""
        with self._lock:
            self._open.pop(key, None)

    def end_all(self, user: str, how: str) -> None:
        """End every session of a person who signs in by `how`."""
        with self._lock:
            self._open = {key: session for key, session in self._open.items() if not session.is_of(user, how)}

    def _end_expired(self, now: float) -> None:
        self._open = {
            key: session
            for key, session in self._open.items()
            if now - session.seen_s < self._idle_s and now - session.made_s < self._at_most_s
        }
