"""A prediction log that is flushed to disk when it is closed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from headway.serving.telemetry.prediction_log import PredictionLog
from headway.serving.workers.log_writer import LogBuffers, LogWriter


class FlushedLog(PredictionLog):
    """The log of a server with one worker in a state folder."""

    def __init__(self, state: Path) -> None:
        self._buffers, self._state = LogBuffers(1, 1 << 22), state
        super().__init__(self._buffers.rings[0], self._buffers.wakeup, dropped=Counter())

    def close(self) -> None:
        """Write everything to disk."""
        LogWriter(self._state, self._buffers, dropped=Counter()).write()
        self._buffers.wakeup.keep_reader()
        self._buffers.wakeup.keep_writer()
