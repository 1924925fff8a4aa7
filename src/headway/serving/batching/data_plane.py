"""The data plane: loaded models by name, an adaptive batcher for each, and results delivered, counted and logged.

During a rollout a second model answers next to the live one; none of its errors reaches a caller. The data plane knows
neither HTTP nor JSON: a call brings rows, and receives its outputs or its error.

An answer is sent once its rows are in the log. While the log has no space, answers wait, no batch starts, and calls
queue by caller, from which they are taken in turn: one caller cannot fill the log or the queue for the others.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from headway.core.record import Record
from headway.serving.batching.answers import RowAnswers
from headway.serving.batching.batcher import AdaptiveBatcher, BatchLimits, Loop
from headway.serving.batching.executor import Batch, BatchExecutor, BatchResult, ExecutorSettings, InferCall
from headway.serving.batching.fair_queue import FairQueue
from headway.serving.batching.validation import Violation
from headway.serving.loading import LoadedModel
from headway.serving.protocol.errors import DeadlineExceeded, QueueFull
from headway.serving.routing.traffic_split import TrafficSplit, route_batch
from headway.serving.settings.serve import ServeSection
from headway.serving.telemetry.metrics import Metrics
from headway.serving.telemetry.prediction_log import LogEntry, PredictionLog
from headway.storage import traffic

if TYPE_CHECKING:
    from headway.core.contracts import Ints

_MANY_OUTPUTS = 16_384
_WIDE_OUTPUT = 8  # columns from which a slice of an array costs less than numbers of Python
_REREAD_NS = 200  # to decode a value again, for a canary that reads other columns
_POLL_S = 0.001


class InferenceSettings(Record, frozen=True, kw_only=True):
    """Limits of batches, queues and names, the default timeout, and how outputs are validated and rounded."""

    max_batch_rows: int
    max_queue_rows: int = 16_384
    long_ms: float = 0.5
    timeout_s: float = 0.0
    contract: str = "off"
    round_digits: int = -1
    max_name_bytes: int = 256

    @classmethod
    def of(cls, settings: ServeSection) -> InferenceSettings:
        """Return the settings of the section `[serve]`."""
        return cls(**{name: getattr(settings, name) for name in cls.__struct_fields__})


class DataPlane:
    """Answers calls in batches, on the thread of the event loop except for long batches."""

    def __init__(
        self,
        models: Iterable[LoadedModel],
        *,
        loop: Loop,
        settings: InferenceSettings,
        metrics: Metrics | None = None,
        log: PredictionLog | None = None,
    ) -> None:
        self.metrics = metrics or Metrics()
        self.engine_ns = (0, 0)  # start and end of the engine call that answered last
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
        self.congested = False  # the log has no space, or calls wait from a time at which it had none
        self._queue = FairQueue(settings.max_queue_rows)
        for model in models:
            self.set_model(model)

    @property
    def max_batch_rows(self) -> int:
        """Maximum rows of one engine call."""
        return self._settings.max_batch_rows

    @property
    def max_name_bytes(self) -> int:
        """Maximum length of a name in a request."""
        return self._settings.max_name_bytes

    @property
    def models(self) -> dict[str, LoadedModel]:
        """The live model of each name."""
        return {name: split.live for name, split in self._splits.items()}

    def find(self, name: str) -> LoadedModel | None:
        """Return the live model of a name."""
        split = self._splits.get(name)
        return split.live if split else None

    def set_model(self, model: LoadedModel) -> None:
        """Route all traffic of a name to one model; see `set_split`."""
        self.set_split(TrafficSplit(live=model))

    def set_split(self, split: TrafficSplit) -> None:
        """Route the traffic of a name from the next request on; requests decoded before go to the previous model."""
        self._splits[split.live.name] = split
        self.metrics.of(split.live.name)
        self._close_unused_batchers()

    def remove(self, name: str) -> None:
        """Stop serving a name from the next request on."""
        self._splits.pop(name, None)
        self._close_unused_batchers()

    def close(self) -> None:
        """Stop serving, and end the threads of the batchers after the waiting calls."""
        self._splits.clear()
        self._close_unused_batchers()

    def deadline_ns(self, started_ns: int, timeout_us: int) -> int:
        """Return the time after which a call is not executed any more; 0 for never.

        `timeout_us` is the timeout that the caller sent, 0 for the default of the server.
        """
        timeout_ns = timeout_us * 1000 or int(self._settings.timeout_s * 1e9)
        return started_ns + timeout_ns if timeout_ns else 0

    def submit(self, model: LoadedModel, call: InferCall) -> None:
        """Queue a call for the next batch of its model; it is refused at once if too many rows wait."""
        if self.congested:
            for queued, refused in self._queue.add(model, call):
                limit = self._settings.max_queue_rows
                what = f"the prediction log is behind: {self._queue.rows} rows wait for it, the limit is {limit}"
                self._refuse(queued, refused, QueueFull(what, retry_s=1))
            return
        self._submit(model, call)

    def _submit(self, model: LoadedModel, call: InferCall) -> None:
        batcher = self._batchers.get(model)
        if batcher is None:
            batcher = self._batchers[model] = AdaptiveBatcher(
                model,
                loop=self._loop,
                limits=self._limits,
                execute=self._execute,
                expected_ns=self.expected_ns,
                deliver=self._deliver,
                refuse=self._refuse,
                ready=self._log_has_space,
            )
        batcher.submit(call)

    def expected_ns(self, model: LoadedModel, rows: int) -> float:
        """Estimate the execution time of a number of rows, including that of a canary."""
        split = self._splits.get(model.name)
        if split is None or split.canary is None:
            return model.latency.expected_ns(rows)
        reread_ns = rows * len(model.columns) * _REREAD_NS if split.rereads else 0
        return model.latency.expected_ns(rows) + split.canary.latency.expected_ns(rows) + reread_ns

    def _execute(self, model: LoadedModel, calls: Sequence[InferCall]) -> Iterator[BatchResult]:
        log = self._log
        batch = Batch(calls=calls, numbers=self._numbers(len(calls)), rate=log.draw() if log else 1.0)
        return map(self._prepared, route_batch(self._executor, model, self._splits.get(model.name), batch))

    def _prepared(self, result: BatchResult) -> BatchResult:
        """Encode many outputs on the thread that computed them: on the loop, others would wait for that."""
        if result.answers is not None and result.arm.answered and result.answers.size > _MANY_OUTPUTS:
            outputs = self._outputs(result, result.answers.ravel(), result.answers.shape[1])
            result.prepared = [call.prepare(result.model, *output) for call, *output in outputs]
        return result

    def _outputs(
        self, result: BatchResult, values: Any, width: int
    ) -> Iterator[tuple[InferCall, Any, Sequence[Violation], RowAnswers | None]]:
        """Yield each call with its outputs, the violations that its response lists, and its selective answers."""
        listed = result.violations if self._settings.contract == "mark" else {}
        start, selective = 0, result.selective
        for call in result.batch.calls:
            end = start + len(call.rows) * width
            rows = selective.select(start // width, end // width) if selective else None
            yield call, values[start:end], listed.get(call, ()) if listed else (), rows
            start = end

    def _deliver(self, result: BatchResult) -> None:
        """Log a result and complete it, on the thread of the loop; first: no answer is sent before it is in the log."""
        if self._log is None or self._log.add(_log_entry(result), result):
            self._complete(result)
        elif not self.congested:
            self.congested = True
            self._loop.call_later(_POLL_S, self._drain)

    def _drain(self) -> None:
        """Complete what the log has taken by now, and go on with what waits for it."""
        assert self._log
        try:
            for result in self._log.flush():
                self._complete(result)
            if not self._log.is_full:
                for batcher in list(self._batchers.values()):
                    batcher.resume()
                for model, call in self._queue.take(self._settings.max_batch_rows):
                    self._submit(model, call)
                self.congested = self._queue.rows > 0
        finally:
            if self.congested:
                self._loop.call_later(_POLL_S, self._drain)

    def _log_has_space(self) -> bool:
        return self._log is None or not self._log.is_full

    def _complete(self, result: BatchResult) -> None:
        """Answer the callers and count."""
        model = result.model
        while model.features.counts:
            self.metrics.count_features(model.name, model.features.counts.popleft())
        if result.arm.answered:
            self._answer(model, result)
        elif result.canary_failed:
            self.metrics.canary_errors[model.name] += 1
        if result.answers is not None:
            model.latency.add(len(result.answers), result.ended_ns - result.began_ns)

    def _refuse(self, model: LoadedModel, call: InferCall, error: QueueFull | DeadlineExceeded) -> None:
        self.metrics.of(model.name).refuse(expired=isinstance(error, DeadlineExceeded))
        call.fail(error)

    def _answer(self, model: LoadedModel, result: BatchResult) -> None:
        calls, answers = result.batch.calls, result.answers
        counters = self.metrics.of(model.name)
        if result.outside:
            self._count_outside(model.name, result)
        if answers is None:
            counters.fail(calls[0].started_ns, ended_ns=result.ended_ns)
            calls[0].fail(result.error or RuntimeError("no answer"))
            return
        if result.selective is not None:
            self.metrics.count_answers(model.name, result.selective.answered_by, result.selective.reason)
        self.engine_ns = times = (result.began_ns, result.ended_ns)
        if result.prepared:
            for send in result.prepared:
                send()
        else:
            width = answers.shape[1]
            values = answers.ravel() if width >= _WIDE_OUTPUT else answers.ravel().tolist()
            for call, of_call, listed, rows in self._outputs(result, values, width):
                call.answer(model, of_call, listed, rows)
        started = [call.started_ns for call in calls]
        counters.add(started, engine_ns=times, ended_ns=time.perf_counter_ns(), rows=len(answers))

    def _count_outside(self, model: str, result: BatchResult) -> None:
        counts = Counter[tuple[str, str]]()
        for call in result.batch.calls:
            counts.update(result.outside.get(call, {}))
        for (column, kind), n in counts.items():
            self.metrics.outside(model, column, kind, n)

    def _numbers(self, count: int) -> Ints:
        return self._log.number(count) if self._log else np.zeros(count, dtype=np.int64)

    def _close_unused_batchers(self) -> None:
        live = {split.live for split in self._splits.values()}
        for model in [model for model in self._batchers if model not in live]:
            self._batchers.pop(model).close()


def _log_entry(result: BatchResult) -> LogEntry[LoadedModel]:
    arm, calls, sizes = result.arm, result.batch.calls, _sizes(result)
    ended, keys = result.ended_ns - arm.other_ns, [call.key for call in calls]
    seen, selective = result.seen, result.model.selective
    if selective is not None and result.rows is not None:
        found = result.selective
        seen = (
            *seen,
            traffic.no_answer_codes(len(result.rows)) if found is None else selective.codes(found, keys, sizes),
        )
    return LogEntry(
        release=result.model,
        at_us=time.time_ns() // 1000,
        requests=result.batch.numbers,
        keys=[traffic.sender_key(call.key, call.api_key) for call in calls],
        sizes=sizes,
        latency_ns=ended - np.array([call.started_ns for call in calls], dtype=np.int64),
        role=arm.role,
        answered=arm.answered,
        stage=arm.stage,
        paired=arm.paired,
        rows=None if result.rows is None else result.model.features.without_texts(result.rows),
        answers=result.answers,
        seen=seen,
        rate=result.batch.rate,
        texts=result.texts,
    )


def _sizes(result: BatchResult) -> list[int]:
    """Return the number of rows of each call."""
    calls = result.batch.calls
    if result.rows is not None and len(result.rows) == len(calls):
        return [1] * len(calls)
    return [len(call.rows) for call in calls]
