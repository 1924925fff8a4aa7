"""How fast each key may ask, held over all workers of a server by numbers that they share.

For each key every worker writes down, in its own row alone, the time at which the key would have all its burst again
(the virtual scheduling of the generic cell rate algorithm, ITU-T I.371). The latest of these times is where the key
stands: no lock is needed, a dead worker's word still counts, and a key that has been silent has its whole burst.
Two workers that let a request of one key pass within the same microsecond count it once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from headway.core.contracts import Ints


class RateLimit(NamedTuple):
    """So long between two requests on the average, and so much earlier than that they may come; 0 is no limit."""

    gap_ns: int = 0
    slack_ns: int = 0


UNLIMITED = RateLimit()


def rate_limit(per_s: float, burst: int) -> RateLimit:
    """The limit of so many requests a second, after a burst at once; without a burst, one second's are taken."""
    gap_ns = int(1e9 / per_s) if per_s else 0
    return RateLimit(gap_ns, gap_ns * ((burst or max(1, int(min(per_s, 1e9)))) - 1))


class RateLimiter:
    """Where each key stands: `full_ns` int64 [workers, keys] is shared, and only the row of `worker` is written."""

    def __init__(self, full_ns: Ints, *, worker: int = 0) -> None:
        self._full_ns = full_ns
        self._own = full_ns[worker]

    def wait_ns(self, place: int, limit: RateLimit, *, now_ns: int) -> int:
        """0, and the request counts; or how long until one may pass. `now_ns` is of the monotonic clock of all."""
        begins: int = max(now_ns, *self._full_ns[:, place].tolist())
        early = begins - now_ns - limit.slack_ns
        if early > 0:
            return early
        self._own[place] = begins + limit.gap_ns
        return 0
