"""Authenticate requests by API key or access token: which scopes and models it is for, and how fast it may send.

Every worker checks the key file again while requests arrive: a revoked key stops working a quarter of a second later,
and no message between processes can be lost. A file that cannot be read, or is missing, changes nothing, so a typing
error neither admits nor locks out anyone.

Rate limits hold over all workers of a server. They are the virtual scheduling form of the generic cell rate algorithm
(ITU-T I.371). For each key, every worker writes to its own row of shared memory the time at which the key will have its
full burst again; the latest of these times is the state of the key. No lock is needed, the entry of a dead worker still
counts, and a key that has been silent has its full burst. Two workers that accept a request of one key within the same
microsecond count it once.

With a change feed, the limits hold over all servers of a project: ten times a second each worker adds what its callers
have spent to the state of their keys in the feed, and writes the state over all servers to one more row. In between a
server only knows its own callers. While the feed is away, the limits hold for each server.
"""

from __future__ import annotations

import ipaddress
import logging
import math
import os
import socket
import time
import zlib
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import msgspec

from headway.core.config import Config
from headway.core.errors import ConfigError
from headway.serving.auth.keys import MAX_KEYS, ApiKey, Scope, digest, keys_file, read_keys
from headway.serving.auth.tokens import TokenRefused, TokenVerifier, open_verifier
from headway.serving.protocol.errors import RequestError
from headway.serving.settings.oidc import OidcSection
from headway.serving.settings.serve import ServeSection
from headway.serving.workers.shared_memory import SharedDocument, SharedTable

if TYPE_CHECKING:
    from headway.core.contracts import Feed, Ints

RELOAD_NS = 250_000_000
_MAX_CACHED = 4096
_NEVER_S = math.inf
_TOKEN_COLUMNS = 1024  # of the rate limiter; subjects that share one share a limit
_SCOPES = frozenset(get_args(Scope))
_UNKNOWN_KEY = "the API key is unknown or was revoked"
_log = logging.getLogger(__name__)


class RateLimit(msgspec.Struct, frozen=True, gc=False):
    """Mean interval between requests, and the burst tolerance, in nanoseconds; an interval of 0 means unlimited."""

    interval_ns: int = 0
    tolerance_ns: int = 0


UNLIMITED = RateLimit()


def rate_limit(per_s: float, burst: int) -> RateLimit:
    """Return the limit for a rate per second and a burst; a burst of 0 allows the requests of one second at once."""
    interval_ns = int(1e9 / per_s) if per_s else 0
    return RateLimit(interval_ns, interval_ns * ((burst or max(1, int(min(per_s, 1e9)))) - 1))


def shared_rate_limits(workers: int, *, fed: bool = False) -> Ints:
    """Return the shared state of the limits, int64 [workers, keys]; column 0 is for callers without a key.

    The last columns are for the subjects of access tokens. With a feed, as many rows more hold the state over all
    servers.
    """
    return SharedTable(workers * (2 if fed else 1), MAX_KEYS + 1 + _TOKEN_COLUMNS).table


class RateLimiter:
    """State of each key: `full_ns` int64 [workers, keys] is shared, and only the row of `worker` is written."""

    def __init__(self, full_ns: Ints, *, worker: int = 0) -> None:
        self._full_ns = [memoryview(row) for row in full_ns]  # an item is read faster than of an array
        self._own = self._full_ns[worker]
        self._names: dict[int, str] = {}

    def set_names(self, names: Iterable[str]) -> None:
        """Take the names of the keys, in the order of their columns from 1."""
        self._names = {0: "", **dict(enumerate(names, 1))}

    def wait_ns(self, column: int, limit: RateLimit, *, now_ns: int) -> int:
        """Count a request and return 0, or return the time until one is allowed.

        `now_ns` is a time of the monotonic clock, which all workers share.
        """
        begins: int = max(now_ns, *[full_ns[column] for full_ns in self._full_ns])
        early = begins - now_ns - limit.tolerance_ns
        if early > 0:
            return early
        self._own[column] = begins + limit.interval_ns
        return 0


class SharedRateLimiter(RateLimiter):
    """A limiter whose keys share their state with those of the same name on other servers."""

    def __init__(self, full_ns: Ints, *, worker: int = 0) -> None:
        super().__init__(full_ns, worker=worker)
        self._of_fleet = memoryview(full_ns[len(full_ns) // 2 + worker])
        self._spent: deque[tuple[int, int]] = deque()  # column and interval of each request since the last exchange
        self._limited: set[int] = set()  # columns without their full burst

    def wait_ns(self, column: int, limit: RateLimit, *, now_ns: int) -> int:
        """Count a request and return 0, or return the time until one is allowed."""
        waits = super().wait_ns(column, limit, now_ns=now_ns)
        if not waits:
            self._spent.append((column, limit.interval_ns))
        return waits

    def exchange(self, feed: Feed) -> None:
        """Add what was spent here to the state in the feed, and take over that state; on any thread.

        Raises StoreUnavailable if the feed does not answer; what was spent then counts here only.
        """
        spent = dict.fromkeys(self._limited, 0)
        for _ in range(len(self._spent)):
            column, interval_ns = self._spent.popleft()
            spent[column] = spent.get(column, 0) + interval_ns
        if not spent:
            return
        columns = {self._names.get(column, f"#{column}"): column for column in spent}
        left_ns = feed.spend({name: spent[column] for name, column in columns.items()})
        now_ns = time.monotonic_ns()
        for name, column in columns.items():
            self._of_fleet[column] = now_ns + left_ns[name]
        self._limited = {column for name, column in columns.items() if left_ns[name]}


class NotAuthorized(RequestError):
    """Why a request was not authorized: its status, and more headers, each preceded by a line end."""

    def __init__(self, status: int, what: str, *, hint: str, headers: bytes) -> None:
        super().__init__(status, what, hint=hint)
        self.headers = headers


class Caller(msgspec.Struct, frozen=True, gc=False):
    """A caller: the name of its key ("" for none), its scopes, its column in the rate limiter, and its limit.

    `models` are those that it may use, empty for all. `kind` is that of its credentials, which are valid until
    `expires_s` (a time of `time.time`). `refusal` says why a token that it brought is not accepted.
    """

    name: str
    scopes: frozenset[str]
    column: int = 0
    limit: RateLimit = UNLIMITED
    models: frozenset[str] = frozenset()
    kind: str = "key"
    expires_s: float = _NEVER_S
    refusal: str = ""

    def may_use(self, model: str) -> bool:
        """Return True if the caller may use a model."""
        return not self.models or model in self.models


class Authenticator:
    """Authorizes requests. `loopback` is true if the server can be reached from this machine only."""

    def __init__(
        self,
        file: Path,
        settings: ServeSection,
        *,
        loopback: bool,
        limiter: RateLimiter,
        tokens: TokenVerifier | None = None,
    ) -> None:
        """Read the keys; raises ConfigError if they cannot be read, or if no caller could be authorized."""
        self._file = file
        self._settings = settings
        self._open = loopback or settings.without_keys
        self._limiter = limiter
        self._tokens = tokens
        self._version = 0
        self._stat = _stat(file)
        self._set_keys(read_keys(file))
        if not (self._open or tokens or any("predict" in caller.scopes for caller in self._callers.values())):
            raise ConfigError(
                f"the server would listen on {settings.host}, which other machines can reach, without an API key",
                where=str(file),
                hint="headway api-keys new NAME; or HEADWAY_SERVE_WITHOUT_KEYS=true behind an authenticating proxy",
            )

    def close(self) -> None:
        """End the thread that fetches the keys of an issuer, if there is one."""
        if self._tokens:
            self._tokens.close()

    def authorize(self, authorization: bytes, scope: str, model: str = "") -> Caller:
        """Check the header `Authorization` of a request.

        Parameters
        ----------
        authorization
            Value of the header; b"" for none.
        scope
            The scope that the route requires.
        model
            The model that the route is about; "" for none, or several, which `Caller.may_use` then selects.

        Returns
        -------
        Caller
            Its name is "" if no key is needed.

        Raises
        ------
        NotAuthorized
            If the key is unknown, revoked or too fast, lacks the scope, or is not for the model.
        """
        now_ns = time.monotonic_ns()
        if now_ns > self._reload_ns:
            self._reload(now_ns)
        caller = self._cached.get(authorization) or self._find(authorization)
        if caller.expires_s != _NEVER_S and caller.expires_s < time.time():
            self._cached.pop(authorization, None)
            caller = self._find(authorization)
        if scope not in caller.scopes:
            raise self._not_authorized(caller, scope, has_key=bool(authorization))
        if caller.models:
            if scope in self._anonymous.scopes:
                caller = msgspec.structs.replace(caller, models=frozenset())
            else:
                require_access(caller, model)
        if caller.limit.interval_ns:
            wait_ns = self._limiter.wait_ns(caller.column, caller.limit, now_ns=now_ns)
            if wait_ns:
                raise _too_fast(caller, wait_ns)
        return caller

    def _find(self, authorization: bytes) -> Caller:
        """Find the caller of a header; unknown keys are not cached, or they could fill the memory."""
        cached, (scheme, _, key) = self._cached, authorization.partition(b" ")  # first: the keys may be reloaded
        caller = self._callers.get(digest(key.strip())) if scheme.lower() == b"bearer" else None
        if caller is None:
            if self._tokens is None or key.count(b".") != 2:
                return self._anonymous
            caller = self._verify(self._tokens, key.strip())
            if caller.refusal:
                return caller
            if len(cached) >= _MAX_CACHED:
                cached.clear()  # it may be full of tokens that have expired
                cached[b""] = self._anonymous
        if len(cached) < _MAX_CACHED:
            cached[authorization] = caller
        return caller

    def _verify(self, tokens: TokenVerifier, token: bytes) -> Caller:
        """Return the caller that a token was issued to; if it is not accepted, one with the reason."""
        try:
            found = tokens.verify(token)
        except TokenRefused as error:
            return msgspec.structs.replace(self._anonymous, refusal=str(error))
        scopes = self._anonymous.scopes.union(found.scopes & _SCOPES)
        column = MAX_KEYS + 1 + zlib.crc32(found.subject.encode()) % _TOKEN_COLUMNS
        limit = self._limit(0.0, 0)
        return Caller(found.subject, scopes, column, limit, found.models, "token of", found.expires_s)

    def _reload(self, now_ns: int) -> None:
        self._reload_ns = now_ns + RELOAD_NS
        if self._tokens and self._tokens.version != self._version:
            self._version = self._tokens.version
            self._cached = {b"": self._anonymous}  # a token may be signed with a key that the issuer withdrew
        stat = _stat(self._file)
        if stat == self._stat:
            return
        self._stat = stat
        try:
            if stat is None:
                raise ConfigError("the key file is missing", where=str(self._file), hint="restore it")
            self._set_keys(read_keys(self._file))
        except ConfigError as error:
            _log.error("kept the previous API keys: %s", error)

    def _set_keys(self, keys: Mapping[str, ApiKey]) -> None:
        self._reload_ns = time.monotonic_ns() + RELOAD_NS
        limit, free = self._limit, self._free_scopes(keys)
        callers = {
            bytes.fromhex(key.sha256): Caller(
                name,
                free.union(key.scopes),
                column,
                _throttled(limit(key.per_s, key.burst), key),
                frozenset(key.models),
            )
            for column, (name, key) in enumerate(keys.items(), 1)
            if not key.revoked
        }
        self._anonymous = Caller("", free, 0, limit(0.0, 0))
        self._callers = callers
        self._limiter.set_names(keys)
        self._cached = {b"": self._anonymous}

    def _limit(self, per_s: float, burst: int) -> RateLimit:
        if not per_s:
            return rate_limit(self._settings.key_per_s, burst or self._settings.key_burst)
        return UNLIMITED if math.isinf(per_s) else rate_limit(per_s, burst)

    def _free_scopes(self, keys: Mapping[str, ApiKey]) -> frozenset[str]:
        """Return the scopes that need no key, `metrics` or others that no key was ever made for."""
        made = {scope for key in keys.values() for scope in key.scopes}
        needed = self._tokens or made & {"predict", "label"}
        free = {"predict", "label"} if self._open and not needed else set()
        return frozenset(free if self._settings.metrics_need_key else free | {"metrics"})

    def _not_authorized(self, caller: Caller, scope: str, *, has_key: bool) -> NotAuthorized:
        """Return the error of RFC 6750."""
        header, tokens = b"\r\nWWW-Authenticate: Bearer", self._tokens
        if caller.name:
            message = f"the {caller.kind} '{caller.name}' does not have the scope '{scope}'"
            more = b' error="insufficient_scope", scope="%b"' % scope.encode()
            hint = f"headway api-keys new NAME --scope {scope}"
            if tokens and caller.kind != "key":
                hint = f"ask the issuer for the scope '{tokens.settings.scope_prefix}{scope}'"
            return NotAuthorized(403, message, hint=hint, headers=header + more)
        hint = "send 'Authorization: Bearer KEY'; `headway api-keys new` makes one"
        if tokens:
            hint = f"send 'Authorization: Bearer TOKEN' with a token of {tokens.settings.issuer}, or an API key"
        if has_key:
            what = f"the token is not accepted: {caller.refusal}" if caller.refusal else _UNKNOWN_KEY
            return NotAuthorized(401, what, hint=hint, headers=header + b' error="invalid_token"')
        what = "an API key or access token" if tokens else "an API key"
        return NotAuthorized(401, f"{what} with the scope '{scope}' is required", hint=hint, headers=header)


def create_authenticator(config: Config, limiter: RateLimiter, issuer_keys: SharedDocument) -> Authenticator:
    """Return the authenticator of a project's server; `issuer_keys` is the memory of the keys of a token issuer.

    Raises ConfigError as `Authenticator` does, and PluginError if the library of access tokens is needed and absent.
    """
    takes_tokens = config[OidcSection].issuer and (config[OidcSection].audience or not config[OidcSection].client_id)
    tokens = open_verifier(config[OidcSection], issuer_keys) if takes_tokens else None
    loopback = is_loopback(config[ServeSection].host)
    return Authenticator(keys_file(config), config[ServeSection], loopback=loopback, limiter=limiter, tokens=tokens)


def require_access(caller: Caller, model: str) -> None:
    """Raise NotAuthorized if the caller may not use a model; "" stands for none."""
    if model and not caller.may_use(model):
        message = f"the {caller.kind} '{caller.name}' is not for the model '{model}'"
        header = b'\r\nWWW-Authenticate: Bearer error="insufficient_scope"'
        raise NotAuthorized(403, message, hint=f"it is for: {', '.join(sorted(caller.models))}", headers=header)


def is_loopback(host: str) -> bool:
    """Return True if a listening address can be reached from this machine only."""
    try:
        found = {info[4][0] for info in socket.getaddrinfo(host or "::", None)}
    except OSError:
        return False  # listening will report what is wrong with it
    return all(ipaddress.ip_address(address).is_loopback for address in found)


def _throttled(limit: RateLimit, key: ApiKey) -> RateLimit:
    """Return the limit of a key, or the one that it is throttled to, if that is lower."""
    if not key.throttle_per_s:
        return limit
    return max(limit, rate_limit(key.throttle_per_s, 1), key=lambda one: one.interval_ns)


def _stat(file: Path) -> tuple[int, ...] | None:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _too_fast(caller: Caller, wait_ns: int) -> NotAuthorized:
    wait_s = -(-wait_ns // 1_000_000_000)
    who = f"the {caller.kind} '{caller.name}'" if caller.name else "callers without a key"
    per_s = 1e9 / caller.limit.interval_ns
    headers = b"\r\nRetry-After: %d" % wait_s
    return NotAuthorized(
        429, f"rate limit exceeded: {who} may send {per_s:g} requests/s", hint=f"retry in {wait_s} s", headers=headers
    )
