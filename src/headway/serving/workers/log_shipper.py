"""Ship the segments of a server's log to the store that machines share, on a thread of the log's process."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from headway.core.config import Config
from headway.core.errors import StoreUnavailable
from headway.registry.retention import max_log_age
from headway.serving.settings.serve import ServeSection
from headway.serving.store_health import StoreHealth
from headway.serving.telemetry.logs import Throttle
from headway.serving.telemetry.prediction_log import UNSHIPPED, LogBuffers
from headway.storage import segments, traffic
from headway.storage.addresses import open_logs

if TYPE_CHECKING:
    from headway.storage._shared_logs import SharedLogs

_KEEP_S, _END_S = 60.0, 10.0
_SETTLED_NS, _MERGED_SPAN_NS = 600 * 10**9, 3600 * 10**9
_log = logging.getLogger(__name__)


@contextmanager
def shipping(config: Config, buffers: LogBuffers, health: StoreHealth) -> Iterator[None]:
    """Ship segments while the block runs, and for at most 10 s after it; what is left is shipped at the next start."""
    logs = open_logs(config)
    if logs is None:
        yield
        return
    shipper = LogShipper(config, logs, buffers, health)
    thread = threading.Thread(target=shipper.run, name="log-shipper", daemon=True)
    thread.start()
    try:
        yield
    finally:
        shipper.ended.set()
        thread.join(_END_S)


class LogShipper:
    """Ships what is complete every `[serve] log_flush_s`; while the store is away, segments wait on the disk.

    Once a minute it merges small segments there, and deletes those that are older than `[personal] retention`.
    """

    def __init__(
        self, config: Config, logs: SharedLogs, buffers: LogBuffers, health: StoreHealth, *, keep_s: float = _KEEP_S
    ) -> None:
        self.ended = threading.Event()
        self._logs = logs
        self._pause_s = config[ServeSection].log_flush_s
        self._retention = max_log_age(config)
        self._pass = buffers.current_pass
        self._own = buffers.state.row(len(buffers.rings))
        self._keep_s = keep_s
        self._keep_at = time.monotonic() + keep_s
        self._health = health
        self._throttle = Throttle()

    def run(self) -> None:
        """Ship until the log writer has ended, and once more then."""
        is_last = False
        while not is_last:
            is_last = self.ended.is_set()
            self.ship()
            if time.monotonic() >= self._keep_at:
                self._keep_at = time.monotonic() + self._keep_s
                self.keep(time.time_ns())
            self.ended.wait(self._pause_s)

    def ship(self) -> None:
        """Ship what is complete, and count what waits."""
        try:
            if self._logs.ship(is_complete=self._is_complete):
                self._health.found("logs")
        except StoreUnavailable as error:
            self._health.lost(error)
        except Exception as error:  # noqa: BLE001 - the thread must go on; it is tried again after the pause
            if self._throttle.count("ship"):
                _log.error("the prediction log waits on this disk, and shipping is tried again: %s", error)
        self._own[UNSHIPPED] = len(self._logs.waiting())

    def keep(self, now_ns: int) -> None:
        """Delete what is older than the retention, and merge small segments, in the store that machines share.

        Copies of what was deleted or erased there, by any machine, are deleted here.
        """
        span_ns = _MERGED_SPAN_NS
        try:
            if self._retention is not None:
                retention_ns = int(self._retention.total_seconds() * 1e9)
                self._logs.delete_older(now_ns - retention_ns)
                span_ns = min(span_ns, retention_ns // 10)
            self._logs.merge(before_ns=now_ns - _SETTLED_NS, span_ns=span_ns, part=traffic.MERGED)
            self._logs.drop_changed_copies()
        except Exception as error:  # noqa: BLE001 - the thread must go on; it is tried again in a minute
            if self._throttle.count("keep"):
                _log.error("the shared segments of the prediction log could not be kept: %s", error)

    def _is_complete(self, path: Path) -> bool:
        """Return whether a segment is not of the pass that the log writer is at, which would write it again."""
        return segments.written_ns(path) != int(self._pass[0])
