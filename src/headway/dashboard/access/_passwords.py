"""Hashes of passwords: argon2id by argon2-cffi, with the parameters that OWASP names for a server (19 MiB)."""

from __future__ import annotations

import threading

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from headway.core.errors import HeadwayError

_HASHER = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
_NO_PASSWORD = "$argon2id$v=19$m={},t={},p={}${}${}".format(
    _HASHER.memory_cost, _HASHER.time_cost, _HASHER.parallelism, "A" * 22, "A" * 43
)
"""A hash of no password, which takes as long to verify as any other."""
_ONE_AT_A_TIME = threading.Lock()  # so that many sign-ins at once do not need many times its memory
_WAIT_S = 5.0


class Busy(HeadwayError):
    """Too many passwords are being verified."""


def hash_password(password: str) -> str:
    """Return the hash of a password, with a new salt."""
    return _HASHER.hash(password)


def verify(hashed: str, password: str) -> bool:
    """Return whether a password has this hash; an empty hash is that of no password. Raises Busy."""
    if not _ONE_AT_A_TIME.acquire(timeout=_WAIT_S):
        raise Busy("too many people sign in at once", hint="try again in a minute")
    try:
        return _HASHER.verify(hashed or _NO_PASSWORD, password) and bool(hashed)
    except (VerificationError, InvalidHashError):
        return False
    finally:
        _ONE_AT_A_TIME.release()
