"""The data plane: releases by name, a lane for each, and answers to their callers, counted and logged.

While a rollout runs, a second release answers beside the live one: none of its errors reaches a caller. The plane knows
neither HTTP nor JSON: a call brings rows, and is given its values or its error.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from headway.core.record import Record
from headway.core.sections.serve import ServeSection
from headway.serving.batching.batcher import AdaptiveBatcher, BatchLimits, Loop
from headway.serving.batching.executor import Batch, BatchExecutor, BatchResult, Call, EngineResult, ExecutorSettings
from headway.serving.batching.refusals import DeadlineExceeded, QueueFull
from headway.serving.batching.sides import route_batch
from headway.serving.loading import LoadedModel
from headway.serving.routing.traffic_split import TrafficSplit
from headway.serving.telemetry.metrics import Metrics
from headway.serving.telemetry.prediction_log import LogEntry, PredictionLog

if TYPE_CHECKING:
    from headway.core.contracts import Ints


class InferenceSettings(Record, frozen=True, kw_only=True):
    """How a server answers: what a lane has room for, when a call expires, and the habits of every release."""

    max_batch_rows: int
    max_queue_rows: int = 16_384
    long_ms: float = 0.5
    timeout_s: float = 0.0
    contract: str = "off"
    round_digits: int = -1

    @classmethod
    def of(cls, settings: ServeSection) -> InferenceSettings:
        """As `[serve]` says."""
        return cls(**{name: getattr(settings, name) for name in cls.__struct_fields__})


class DataPlane:
    """Answers calls in batches, on the loop's thread but for what takes long."""

    def __init__(
        self,
        loaded: Iterable[LoadedModel],
        *,
        loop: Loop,
        settings: InferenceSettings,
        metrics: Metrics | None = None,
        log: PredictionLog | None = None,
    ) -> None:
        self.metrics = metrics or Metrics()
        self.engine_ns = (0, 0)  # when the engine was called that answered last, and when it had answered
        self._log = log
        self._loop = loop
        self._settings = settings
        self._limits = BatchLimits(
            batch_rows=settings.max_batch_rows, queue_rows=settings.max_queue_rows, long_ms=settings.long_ms
        )
        self._executor = BatchExecutor(
            ExecutorSettings(
                batch_rows=settings.max_batch_rows, contract=settings.contract, round_digits=settings.round_digits
            )
        )
        self._splits: dict[str, TrafficSplit] = {}
        self._batchers: dict[LoadedModel, AdaptiveBatcher] = {}
        for release in loaded:
            self.set_model(release)

    @property
    def max_batch_rows(self) -> int:
        """The most rows of one engine call."""
        return self._settings.max_batch_rows

    @property
    def releases(self) -> dict[str, LoadedModel]:
        """What is live now, by name."""
        return {name: split.live for name, split in self._splits.items()}

    def find(self, name: str) -> LoadedModel | None:
        """The release that is live for a name."""
        split = self._splits.get(name)
        return split.live if split else None

    def set_model(self, release: LoadedModel) -> None:
        """Let this release alone answer to its name; see `take`."""
        self.take(TrafficSplit(live=release))

    def take(self, split: TrafficSplit) -> None:
        """Let this seat answer to its name from the next request on; what was decoded before goes to the old one."""
        self._splits[split.live.name] = split
        self.metrics.of(split.live.name)
        self._close_lanes()

    def leave(self, name: str) -> None:
        """Let nothing answer to a name from the next request on."""
        self._splits.pop(name, None)
        self._close_lanes()

    def close(self) -> None:
        """Let nothing answer any more, and end the threads of the lanes once they have done what waits."""
        self._splits.clear()
        self._close_lanes()

    def deadline_ns(self, started_ns: int, timeout_us: int) -> int:
        """From when on a call need not be asked any more; 0 for never. `timeout_us` is what its caller says, or 0."""
        timeout_ns = timeout_us * 1000 or int(self._settings.timeout_s * 1e9)
        return started_ns + timeout_ns if timeout_ns else 0

    def submit(self, release: LoadedModel, call: Call) -> None:
        """Let a call wait for the next batch of its release; it is refused at once where too many rows wait."""
        batcher = self._batchers.get(release)
        if batcher is None:
            batcher = self._batchers[release] = AdaptiveBatcher(release, self, loop=self._loop, limits=self._limits)
        batcher.submit(call)

    def begin(self, release: LoadedModel, calls: Sequence[Call]) -> Iterator[BatchResult]:
        """What is said to the calls of a release, worked out while it is iterated, on whichever thread that is."""
        batch = Batch(calls=calls, numbers=self._numbers(len(calls)))
        return route_batch(self._executor, release, self._splits.get(release.name), batch)

    def expected_ns(self, release: LoadedModel, rows: int) -> float:
        """How long that will take for so many rows."""
        split = self._splits.get(release.name)
        beside = split.canary.latency.expected_ns(rows) if split and split.canary else 0.0
        return release.latency.expected_ns(rows) + beside

    def settle(self, said: BatchResult) -> None:
        """Answer the callers, count and log, on the loop's thread."""
        release, outcome = said.release, said.outcome
        if self._log is not None:
            self._log.add(_entry(said))  # first: no answer is out before it is in the log
        if said.heard:
            self._answer(release, outcome)
        elif said.canary_failed:
            self.metrics.canary_errors[release.name] += 1
        if outcome.answers is not None:
            release.latency.add(len(outcome.answers), outcome.ended_ns - outcome.began_ns)

    def refuse(self, call: Call, error: QueueFull | DeadlineExceeded, *, name: str) -> None:
        """Tell a caller that its rows will not be asked, and count it."""
        self.metrics.of(name).refuse(expired=isinstance(error, DeadlineExceeded))
        call.fail(error)

    def _answer(self, release: LoadedModel, outcome: EngineResult) -> None:
        calls, answers, marks = outcome.batch.calls, outcome.answers, outcome.marks
        counts = self.metrics.of(release.name)
        for call in calls if marks else ():
            for breach in marks.get(call, ()):
                self.metrics.outside(release.name, breach.column, breach.kind)
        if answers is None:
            counts.fail(calls[0].started_ns, ended_ns=outcome.ended_ns)
            calls[0].fail(outcome.error or RuntimeError("no answer"))
            return
        self.engine_ns = times = (outcome.began_ns, outcome.ended_ns)
        values, k, start = answers.ravel().tolist(), answers.shape[1], 0
        for call in calls:
            end = start + len(call.rows) * k
            if marks and self._settings.contract == "mark":
                call.answer(release, values[start:end], marks.get(call, ()))
            else:
                call.answer(release, values[start:end])
            start = end
        started = [call.started_ns for call in calls]
        counts.add(started, engine_ns=times, ended_ns=time.perf_counter_ns(), rows=len(answers))

    def _numbers(self, count: int) -> Ints:
        return self._log.number(count) if self._log else np.zeros(count, dtype=np.int64)

    def _close_lanes(self) -> None:
        """Let the lanes of releases that are live no more end."""
        live = {split.live for split in self._splits.values()}
        for release in [each for each in self._batchers if each not in live]:
            self._batchers.pop(release).close()


def _entry(said: BatchResult) -> LogEntry[LoadedModel]:
    outcome, side, calls = said.outcome, said.side, said.outcome.batch.calls
    ended = outcome.ended_ns - side.took_ns
    return LogEntry(
        release=said.release,
        at_us=time.time_ns() // 1000,
        requests=outcome.batch.numbers,
        keys=[call.key for call in calls],
        sizes=_sizes(outcome),
        latency_ns=ended - np.array([call.started_ns for call in calls], dtype=np.int64),
        role=side.role,
        answered=side.answered,
        stage=side.stage,
        paired=side.paired,
        rows=outcome.rows,
        answers=outcome.answers,
        seen=outcome.seen,
    )


def _sizes(outcome: EngineResult) -> list[int]:
    """The rows of each call."""
    calls = outcome.batch.calls
    if outcome.rows is not None and len(outcome.rows) == len(calls):
        return [1] * len(calls)
    return [len(call.rows) for call in calls]
