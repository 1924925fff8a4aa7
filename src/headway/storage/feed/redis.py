"""Change feed, counters and rate limits of servers in Redis or Valkey."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from headway.core.errors import ConfigError, StoreUnavailable
from headway.core.sections import without_password

ADDRESS = "redis://HOST:PORT/DB"
CHANNEL = "headway:pointers"
TIMEOUT_S = 2.0
PASSWORD = "HEADWAY_STORE_FEED_PASSWORD"
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
        self._where = without_password(address)
        try:
            self._client: Any = redis.Redis.from_url(
                address,
                password=read_password(os.environ),
                socket_timeout=TIMEOUT_S,
                socket_connect_timeout=TIMEOUT_S,
                health_check_interval=_PING_S,
                retry=Retry(NoBackoff(), 0),
            )
        except ValueError as error:
            raise ConfigError(f"{self._where!r} is not an address", where="[store] feed", hint=ADDRESS) from error
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
            yield
        except (redis.RedisError, OSError) as error:
            self._unsubscribe()
            raise StoreUnavailable(
                f"the feed does not answer: {error}",
                role="feed",
                where=self._where,
                hint=f"check [store] feed, and the password in {PASSWORD}",
            ) from error

    def _unsubscribe(self) -> None:
        hints, self._hints = self._hints, None
        if hints is not None:
            with suppress(redis.RedisError, OSError):
                hints.close()


def read_password(environment: Mapping[str, str]) -> str | None:
    """Return the password of the feed from a variable, or from the file that another names; None without both."""
    file = environment.get(f"{PASSWORD}_FILE")
    if not file:
        return environment.get(PASSWORD) or None
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"the password of the feed cannot be read: {getattr(error, 'strerror', None) or 'it is not UTF-8'}",
            where=file,
            hint=f"name a file that this user can read in {PASSWORD}_FILE",
        ) from error


plugin = Redis
