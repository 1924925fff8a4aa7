"""Who may ask for what, and how fast: by the key that a request brings and the scope of its address.

The file of keys is looked at again while requests come, in every worker by itself: a key that was revoked opens nothing
a quarter of a second later, and no message between processes can be lost. A file that cannot be read, or is gone,
changes nothing: nobody is let in by a mistake of writing.
"""

from __future__ import annotations

import ipaddress
import logging
import math
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from headway.core.config import Config
from headway.core.errors import ConfigError
from headway.core.sections.serve import ServeSection
from headway.serving.auth.keys import MAX_KEYS, ApiKey, digest, keys_file, read_keys
from headway.serving.auth.rate_limiter import UNLIMITED, RateLimit, RateLimiter, rate_limit
from headway.serving.protocol.errors import RequestError
from headway.serving.workers.shared_memory import SharedTable

if TYPE_CHECKING:
    from headway.core.contracts import Ints

RELOAD_NS = 250_000_000
_MOST_MET = 4096
_log = logging.getLogger(__name__)


class NotAuthorized(RequestError):
    """Why a request was not let in: its status, and more headers of the answer, each with a line end before it."""

    def __init__(self, status: int, what: str, *, hint: str, headers: bytes) -> None:
        super().__init__(status, what, hint=hint)
        self.headers = headers


class Caller(NamedTuple):
    """Who asks: the name of the key, or empty; what it may ask for, its place among the keys, and how fast."""

    name: str
    scopes: frozenset[str]
    place: int = 0
    limit: RateLimit = UNLIMITED


class Authenticator:
    """Lets requests in, or says why not. `loopback`: whether the server can be reached from this machine alone."""

    def __init__(self, file: Path, settings: ServeSection, *, loopback: bool, limiter: RateLimiter) -> None:
        """Raises ConfigError where the keys cannot be read, or nobody could ask."""
        self._file = file
        self._settings = settings
        self._open = loopback or settings.without_keys
        self._limiter = limiter
        self._stat = _stat(file)
        self._take(read_keys(file))
        if not (self._open or any("predict" in caller.scopes for caller in self._callers.values())):
            raise ConfigError(
                f"the server would listen on {settings.host}, beyond this machine, and there is no key to ask with",
                where=str(file),
                hint="headway api-keys new NAME; or HEADWAY_SERVE_WITHOUT_KEYS=true behind what keeps strangers out",
            )

    def authorize(self, authorization: bytes, scope: str) -> str:
        """The name of the key in a header `Authorization`, empty where none is needed; raises NotAdmitted."""
        now_ns = time.monotonic_ns()
        if now_ns > self._look_ns:
            self._look(now_ns)
        caller = self._met.get(authorization) or self._meet(authorization)
        if scope not in caller.scopes:
            raise _refusal(caller, scope, brings=bool(authorization))
        if caller.limit.gap_ns:
            wait_ns = self._limiter.wait_ns(caller.place, caller.limit, now_ns=now_ns)
            if wait_ns:
                raise _too_fast(caller, wait_ns)
        return caller.name

    def _meet(self, authorization: bytes) -> Caller:
        """Who brings this header; strangers are not remembered, or they could fill the memory."""
        met, (scheme, _, key) = self._met, authorization.partition(b" ")  # first: the keys may change meanwhile
        caller = self._callers.get(digest(key.strip())) if scheme.lower() == b"bearer" else None
        if caller is None:
            return self._nobody
        if len(met) < _MOST_MET:
            met[authorization] = caller
        return caller

    def _look(self, now_ns: int) -> None:
        self._look_ns = now_ns + RELOAD_NS
        stat = _stat(self._file)
        if stat == self._stat:
            return
        self._stat = stat
        try:
            if stat is None:
                raise ConfigError("the file of keys is gone", where=str(self._file), hint="put it back")
            self._take(read_keys(self._file))
        except ConfigError as error:
            _log.error("the keys stay as they were: %s", error)

    def _take(self, keys: Mapping[str, ApiKey]) -> None:
        self._look_ns = time.monotonic_ns() + RELOAD_NS
        limit, free, places = self._limit, self._free(keys), enumerate(keys.items(), 1)
        callers = {
            bytes.fromhex(key.sha256): Caller(name, free.union(key.scopes), place, limit(key.per_s, key.burst))
            for place, (name, key) in places
            if not key.revoked
        }
        self._nobody = Caller("", free, 0, limit(0.0, 0))
        self._callers = callers
        self._met = {b"": self._nobody}

    def _limit(self, per_s: float, burst: int) -> RateLimit:
        if not per_s:
            return rate_limit(self._settings.key_per_s, burst or self._settings.key_burst)
        return UNLIMITED if math.isinf(per_s) else rate_limit(per_s, burst)

    def _free(self, keys: Mapping[str, ApiKey]) -> frozenset[str]:
        """What may be asked without a key: nothing that any key was ever made for, and never an operator's call."""
        made = {scope for key in keys.values() for scope in key.scopes}
        free = {"predict", "label"} if self._open and not made & {"predict", "label"} else set()
        return frozenset(free if self._settings.metrics_need_key else free | {"metrics"})


def shared_rate_limits(workers: int) -> Ints:
    """What the workers of a server share, int64 [workers, keys]: a place for callers without a key, and one a key."""
    return SharedTable(workers, MAX_KEYS + 1).table


def create_authenticator(config: Config, limiter: RateLimiter) -> Authenticator:
    """The gate of a project's server; raises ConfigError where the keys cannot be read, or nobody could ask."""
    return Authenticator(keys_file(config), config.serve, loopback=is_loopback(config.serve.host), limiter=limiter)


def is_loopback(host: str) -> bool:
    """Whether an address to listen on can be reached from this machine alone."""
    try:
        found = {each[4][0] for each in socket.getaddrinfo(host or "::", None)}
    except OSError:
        return False  # whoever listens will say what is wrong with it
    return all(ipaddress.ip_address(address).is_loopback for address in found)


def _stat(file: Path) -> tuple[int, ...] | None:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _refusal(caller: Caller, scope: str, *, brings: bool) -> NotAuthorized:
    """The answers of RFC 6750."""
    header = b"\r\nWWW-Authenticate: Bearer"
    if caller.name:
        message = f"the key '{caller.name}' has no scope '{scope}'"
        more = b' error="insufficient_scope", scope="%b"' % scope.encode()
        return NotAuthorized(403, message, hint=f"headway api-keys new NAME --scope {scope}", headers=header + more)
    hint = "send 'Authorization: Bearer KEY'; `headway api-keys new` makes one"
    if brings:
        more = b' error="invalid_token"'
        return NotAuthorized(401, "this key is not known here, or was revoked", hint=hint, headers=header + more)
    return NotAuthorized(401, f"a key with scope '{scope}' is needed", hint=hint, headers=header)


def _too_fast(caller: Caller, wait_ns: int) -> NotAuthorized:
    wait_s = -(-wait_ns // 1_000_000_000)
    who = f"the key '{caller.name}'" if caller.name else "callers without a key"
    per_s = 1e9 / caller.limit.gap_ns
    headers = b"\r\nRetry-After: %d" % wait_s
    return NotAuthorized(429, f"{who} may ask {per_s:g} times a second", hint=f"again in {wait_s} s", headers=headers)
