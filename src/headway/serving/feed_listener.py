"""Listen to the change feed: a hint makes the server look at the pointers at once, and servers share their counts.

Nothing that comes from the feed is trusted: a hint only makes the watcher read the signed chain earlier than its next
poll. While the feed is away, polling goes on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from headway.core.contracts import Feed
from headway.core.errors import StoreUnavailable
from headway.serving.store_health import StoreHealth

EXCHANGE_S = 0.1
RETRY_S = 0.5


class FeedListener:
    """A thread that waits for hints; `wake` is called at each, and `exchanges` every `EXCHANGE_S` seconds or so."""

    def __init__(
        self,
        feed: Feed,
        *,
        wake: Callable[[], object],
        health: StoreHealth,
        exchanges: Sequence[Callable[[Feed], object]] = (),
    ) -> None:
        self._feed = feed
        self._wake = wake
        self._health = health
        self._exchanges = exchanges
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feed-listener", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread, and close the feed."""
        self._stopping.set()
        self._thread.join()
        self._feed.close()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                if self._feed.wait(EXCHANGE_S):
                    self._wake()
                for exchange in self._exchanges:
                    exchange(self._feed)
                self._health.found("feed")
            except StoreUnavailable as error:
                self._health.lost(error)
                self._stopping.wait(RETRY_S)
