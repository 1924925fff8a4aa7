"""The data plane: releases by name, and one engine call a model for all that was decoded in one turn of the loop.

It knows neither HTTP nor JSON: a call brings rows, and is given its values or its error.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from headway.core.errors import HeadwayError
from headway.serve.load import Loaded
from headway.serve.metrics import Metrics

if TYPE_CHECKING:
    from headway.core.contracts import Floats

_log = logging.getLogger(__name__)


class Call(Protocol):
    """One request, decoded: `rows` float64 [n, d], and when it had come by `time.perf_counter_ns`."""

    rows: Floats
    started_ns: int

    def answer(self, values: list[float]) -> None:
        """Take the answers to the rows, in row-major order."""
        ...

    def fail(self, error: Exception) -> None:
        """Take the reason why there is no answer."""
        ...


class Plane:
    """Answers calls in batches; `soon` runs a function once the loop has read all that had come (`loop.call_soon`)."""

    def __init__(
        self, loaded: Iterable[Loaded], *, soon: Callable[[Callable[[], None]], object], max_batch_rows: int
    ) -> None:
        self.metrics = Metrics()
        self._releases: dict[str, Loaded] = {}
        self._soon = soon
        self._max_batch_rows = max_batch_rows
        self._queue: dict[Loaded, list[Call]] = {}
        for release in loaded:
            self.swap(release)

    @property
    def releases(self) -> dict[str, Loaded]:
        """What answers now, by name."""
        return dict(self._releases)

    def find(self, name: str) -> Loaded | None:
        """The release that answers to a name."""
        return self._releases.get(name)

    def swap(self, release: Loaded) -> None:
        """Let this release answer to its name from the next request on; what was decoded before goes to the old one."""
        self._releases[release.name] = release
        self.metrics.of(release.name)

    def submit(self, release: Loaded, call: Call) -> None:
        """Queue a call for the end of this turn of the loop."""
        if not self._queue:
            self._soon(self._flush)
        waiting = self._queue.get(release)
        if waiting is None:
            self._queue[release] = [call]
        else:
            waiting.append(call)

    def _flush(self) -> None:
        queue, self._queue = self._queue, {}
        for release, calls in queue.items():
            self._run(release, calls)

    def _run(self, release: Loaded, calls: Sequence[Call]) -> None:
        """Answer calls by as few engine calls as the limit allows; halve where one fails, so that it fails alone."""
        rows = calls[0].rows if len(calls) == 1 else np.concatenate([call.rows for call in calls])
        try:
            answers = self._predict(release, rows)
        except Exception as error:  # noqa: BLE001 - the plug-in call; the traceback is logged
            self._halve(release, calls, error)
            return
        values, k, start = answers.ravel().tolist(), answers.shape[1], 0
        for call in calls:
            end = start + len(call.rows) * k
            call.answer(values[start:end])
            start = end
        counts = self.metrics.of(release.name)
        counts.add([call.started_ns for call in calls], ended_ns=time.perf_counter_ns(), rows=len(rows))

    def _predict(self, release: Loaded, rows: Floats) -> Floats:
        most = self._max_batch_rows
        parts = [release.engine.predict(rows[start : start + most]) for start in range(0, len(rows), most)]
        answers = parts[0] if len(parts) == 1 else np.concatenate(parts)
        if answers.ndim != 2 or len(answers) != len(rows):
            raise RuntimeError(f"{release.name}: {len(rows)} rows gave answers of shape {answers.shape}")
        return answers

    def _halve(self, release: Loaded, calls: Sequence[Call], error: Exception) -> None:
        if len(calls) > 1:
            half = len(calls) // 2
            self._run(release, calls[:half])
            self._run(release, calls[half:])
            return
        if not isinstance(error, HeadwayError):
            _log.error("the engine of %s failed on a request", release.name, exc_info=error)
        calls[0].fail(error)
