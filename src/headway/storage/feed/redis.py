"""Change feed, counters and rate limits of servers in Redis or Valkey."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import redis

from headway.core.errors import StoreUnavailable
from headway.storage._redis import TIMEOUT_S, connect, reported_errors

ADDRESS = "redis://HOST:PORT/DB"
CHANNEL = "headway:pointers"
_LIMIT, _SUM = "headway:limit:", "headway:sum:"
_PING_S = 5
# The generic cell rate algorithm over all servers, by the clock of Redis: for each key the time, in microseconds, at
# which it has its full burst again.
_SPEND = """
local now = redis.call('TIME')
now = now[1] * 1000000 + now[2]
local left = {}
for i, key in ipairs(KEYS) do
  local full = math.max(tonumber(redis.call('GET', key) or '0'), now) + tonumber(ARGV[i])
  if full > now then redis.call('SET', key, string.format('%.0f', full), 'PX', math.ceil((full - now) / 1000)) end
  left[i] = string.format('%.0f', full - now)
end
return left
"""


class Redis:
    """Hints by publish and subscribe; numbers in keys that begin with `headway:`, and expire.

    It connects with its first call, and again after a connection was lost; one thread waits, any may announce.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._client = connect(address, role="feed", ping_s=_PING_S)
        self._hints: Any = None
        self._spend = self._client.register_script(_SPEND)

    def announce(self) -> None:
        """Hint to all who wait that a pointer has moved."""
        with self._errors():
            self._client.publish(CHANNEL, b"")

    def wait(self, timeout_s: float) -> bool:
        """Wait for a hint; see `Feed.wait`."""
        with self._errors():
            if self._hints is None:
                hints = self._client.pubsub(ignore_subscribe_messages=True)
                hints.subscribe(CHANNEL)
                hints.get_message(timeout=TIMEOUT_S)  # the confirmation
                self._hints = hints
                return True
            return self._hints.get_message(timeout=timeout_s) is not None

    def spend(self, spent_ns: Mapping[str, int]) -> dict[str, int]:
        """Add what was spent to each key; see `Feed.spend`."""
        names = list(spent_ns)
        with self._errors():
            remaining = self._spend(
                keys=[_LIMIT + name for name in names], args=[spent_ns[name] // 1000 for name in names]
            )
        return {name: int(left_us) * 1000 for name, left_us in zip(names, remaining, strict=True)}

    def add(self, name: str, numbers: Sequence[int], *, keep_s: int) -> list[int]:
        """Add to the numbers of a name, and return the sums; see `Feed.add`."""
        key = _SUM + name
        with self._errors():
            calls = self._client.pipeline()
            for index, number in enumerate(numbers):
                calls.hincrby(key, str(index), number)
            *sums, _ = calls.expire(key, keep_s).execute()
        return [int(number) for number in sums]

    def close(self) -> None:
        """Close the connections."""
        self._unsubscribe()
        self._client.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Raise StoreUnavailable for errors of the server or the connection; the next call connects again."""
        try:
            with reported_errors(self._address, role="feed"):
                yield
        except StoreUnavailable:
            self._unsubscribe()
            raise

    def _unsubscribe(self) -> None:
        hints, self._hints = self._hints, None
        if hints is not None:
            with suppress(redis.RedisError, OSError):
                hints.close()


plugin = Redis
