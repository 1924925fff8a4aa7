"""A prediction log that a test writes to disk."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from headway.core.config import Config
from headway.core.settings.project import ProjectSection
from headway.data.settings.personal import PersonalSection
from headway.registry.settings.fleet import FleetSection
from headway.serving.settings.serve import ServeSection
from headway.serving.telemetry.prediction_log import LogBuffers, PredictionLog
from headway.serving.workers.log_writer import LogWriter


def log_writer(
    state: Path,
    buffers: LogBuffers,
    *,
    lost: Counter[str] | None = None,
    aside: Counter[str] | None = None,
    retention: str = "",
    report_url: str = "",
) -> LogWriter:
    """Return the log writer of a server with this state folder."""
    config = Config(
        ProjectSection(state=str(state)),
        PersonalSection(retention=retention),
        FleetSection(report_url=report_url),
    )
    none = Counter[str]()
    return LogWriter(config, buffers, lost=none if lost is None else lost, aside=none if aside is None else aside)


def worker_log(buffers: LogBuffers, number: int = 0, **settings: object) -> PredictionLog:
    """Return the log of a worker, with settings of the section `[serve]`."""
    return PredictionLog(buffers, number, dropped=Counter(), lost=Counter(), settings=ServeSection(**settings))


class FlushedLog(PredictionLog):
    """The log of a server with one worker in a state folder, flushed to disk when it is closed."""

    def __init__(self, state: Path) -> None:
        self._shared, self._folder = LogBuffers(1, 1 << 22), state
        super().__init__(self._shared, dropped=Counter(), lost=Counter())

    def close(self) -> None:
        """Write everything to disk."""
        writer = log_writer(self._folder, self._shared)
        while self.is_full:
            assert writer.write()
            list(self.flush())
        assert writer.write()
        self._shared.wakeup.keep_reader()
        self._shared.wakeup.keep_writer()
