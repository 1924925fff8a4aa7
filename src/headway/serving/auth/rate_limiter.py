"""Rate limits per API key, enforced over all workers of a server through shared memory.

This is the virtual scheduling form of the generic cell rate algorithm (ITU-T I.371). For each key, every worker writes
to its own row the time at which the key will have its full burst again; the latest of these times is the state of the
key. No lock is needed, the entry of a dead worker still counts, and a key that has been silent has its full burst. Two
workers that accept a request of one key within the same microsecond count it once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from headway.serving.auth.keys import MAX_KEYS
from headway.serving.workers.shared_memory import SharedTable

if TYPE_CHECKING:
    from headway.core.contracts import Ints


class RateLimit(NamedTuple):
    """Mean interval between requests, and the burst tolerance, in nanoseconds; an interval of 0 is no limit."""

    interval_ns: int = 0
    tolerance_ns: int = 0


UNLIMITED = RateLimit()


def rate_limit(per_s: float, burst: int) -> RateLimit:
    """Return the limit for a rate per second and a burst; a burst of 0 allows the requests of one second at once."""
    interval_ns = int(1e9 / per_s) if per_s else 0
    return RateLimit(interval_ns, interval_ns * ((burst or max(1, int(min(per_s, 1e9)))) - 1))


def shared_rate_limits(workers: int) -> Ints:
    """Return the shared state of the limits, int64 [workers, keys]; column 0 is for callers without a key."""
    return SharedTable(workers, MAX_KEYS + 1).table


class RateLimiter:
    """State of each key: `full_ns` int64 [workers, keys] is shared, and only the row of `worker` is written."""

    def __init__(self, full_ns: Ints, *, worker: int = 0) -> None:
        self._full_ns = full_ns
        self._own = full_ns[worker]

    def wait_ns(self, column: int, limit: RateLimit, *, now_ns: int) -> int:
        """Count a request and return 0, or return the time until one is allowed.

        `now_ns` is a time of the monotonic clock, which all workers share.
        """
        begins: int = max(now_ns, *self._full_ns[:, column].tolist())
        early = begins - now_ns - limit.tolerance_ns
        if early > 0:
            return early
        self._own[column] = begins + limit.interval_ns
        return 0
