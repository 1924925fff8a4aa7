"""Counts of what a fleet served, kept once per turn of the loop in shared memory, and their Prometheus text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from headway.serving.workers.shared_memory import CounterMap, FlagMap, NamedCounters, SharedTable

if TYPE_CHECKING:
    from headway.core.contracts import Ints

_EDGES_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
_EDGES_NS = np.array(_EDGES_S) * 1e9
_BUCKETS = len(_EDGES_S) + 1
_FIELDS = 11
_MOST_OUTSIDE = 1_024  # columns with a value outside, by model and kind
_NAME_BYTES = 200
_STATUSES = 600
ALIVE, WORKERS, LOGS = 0, 1, 2  # workers that answer; workers and processes of the log that were replaced


class RequestCounts(NamedTuple):
    """Requests that were answered, those of them that took too long, and requests that failed."""

    answered: int = 0
    slow: int = 0
    failed: int = 0


class _Cell:
    """A number at its place among the counts of a model."""

    def __init__(self, place: int) -> None:
        self._place = place

    def __get__(self, counts: ModelCounters, kind: type) -> int:
        return counts.cells[self._place]


class ModelCounters:
    """What one model answered: requests, rows, engine calls, and latencies from request read to answer written.

    Of the latencies, `queue_ns` passed before the engine was called and `engine_ns` in it. `last_ns` is when it
    answered last, by `time.perf_counter_ns`; `failed` are the requests that it could not answer, `refused` and
    `expired` those that were not asked, since too many rows waited or their time had passed.
    """

    requests = _Cell(0)
    rows = _Cell(1)
    calls = _Cell(2)
    latency_ns = _Cell(3)
    queue_ns = _Cell(4)
    engine_ns = _Cell(5)
    last_ns = _Cell(6)
    failed = _Cell(7)
    failed_ns = _Cell(8)
    refused = _Cell(9)
    expired = _Cell(10)

    def __init__(self, numbers: Ints | None = None) -> None:
        numbers = np.zeros(_FIELDS + _BUCKETS, dtype=np.int64) if numbers is None else numbers
        self.cells = memoryview(numbers)
        self.buckets = numbers[_FIELDS:]

    @property
    def output_ns(self) -> int:
        """Of the latencies, what passed from the engine's answer until all was written."""
        return self.latency_ns - self.queue_ns - self.engine_ns

    def add(self, started_ns: Sequence[int], *, engine_ns: tuple[int, int], ended_ns: int, rows: int) -> None:
        """Count one engine call: when each of its requests had come, when it began and ended, and was answered."""
        began_ns, done_ns = engine_ns
        latencies = ended_ns - np.array(started_ns, dtype=np.int64)
        latency_ns, n, cells = int(latencies.sum()), len(started_ns), self.cells
        self.buckets += np.bincount(np.searchsorted(_EDGES_NS, latencies), minlength=_BUCKETS)
        cells[0] += n
        cells[1] += rows
        cells[2] += 1
        cells[3] += latency_ns
        cells[4] += latency_ns - n * (ended_ns - began_ns)
        cells[5] += n * (done_ns - began_ns)
        cells[6] = ended_ns

    def fail(self, started_ns: int, *, ended_ns: int) -> None:
        """Count a request that the model could not answer."""
        self.cells[7] += 1
        self.cells[8] += ended_ns - started_ns

    def refuse(self, *, expired: bool) -> None:
        """Count a request that was not asked: its time had passed, or too many rows waited."""
        self.cells[10 if expired else 9] += 1


class SharedMetrics:
    """Where a fleet counts: a row for each worker, and one more for the process of the log; made before the fork."""

    def __init__(self, workers: int = 1, *, models: int = 32) -> None:
        rows = workers + 1
        self.models = NamedCounters(rows, _FIELDS + _BUCKETS, most=models)
        self.errors = SharedTable(rows, _STATUSES)
        self.dropped, self.canary_errors = NamedCounters(rows, 1, most=models), NamedCounters(rows, 1, most=models)
        self.refused = NamedCounters(rows, 1, most=2 * models)
        self.outside = NamedCounters(rows, 1, most=_MOST_OUTSIDE)
        self.fleet = SharedTable(1, 3)  # ALIVE, WORKERS and LOGS, by the supervisor alone


class Metrics:
    """Counts by model, and errors by HTTP status: a process writes those of its row, a scrape is told those of all."""

    def __init__(self, memory: SharedMetrics | None = None, row: int = 0) -> None:
        self._memory = memory = memory or SharedMetrics()
        self._row = row
        self._own: dict[str, ModelCounters] = {}
        self.errors = memory.errors.row(row)
        self.dropped, self.canary_errors = CounterMap(memory.dropped, row), CounterMap(memory.canary_errors, row)
        self.refused = FlagMap(memory.refused, row)
        self._outside = CounterMap(memory.outside, row)
        self.more: Callable[[], Iterable[str]] = tuple  # lines that others add to the text

    def of(self, model: str) -> ModelCounters:
        """The counts of a model in this process; they live on when another release takes its name."""
        counts = self._own.get(model)
        if counts is None:
            counts = self._own[model] = ModelCounters(self._memory.models.of(self._row, model))
        return counts

    def total(self, model: str) -> ModelCounters:
        """The counts of a model in the whole fleet, as they are now."""
        self.of(model)
        return _sum(self._memory.models.found()[model])

    def fail(self, status: int) -> None:
        """Count an answer with an error."""
        self.errors[status] += 1

    def outside(self, model: str, column: str, kind: str) -> None:
        """Count a value outside a contract; a column for which there is no room goes uncounted."""
        name = f"{model}\n{kind}\n{column}".encode()[:_NAME_BYTES].decode(errors="ignore")
        with suppress(IndexError):
            self._outside[name] += 1

    def served(self, within_ms: float) -> RequestCounts:
        """What became of requests; slow by the edge of the histogram that is at `within_ms`, or next below it.

        What failed is 5xx, and what was refused as too many rows waited: a server that is too small is not available.
        """
        fast = int(np.searchsorted(_EDGES_S, within_ms / 1000 * (1 + 1e-9), side="right"))
        models = [_sum(found) for found in self._memory.models.found().values()]
        buckets = sum((each.buckets for each in models), start=ModelCounters().buckets)
        failed = int(self._memory.errors.total()[500:].sum()) + sum(each.refused for each in models)
        return RequestCounts(int(buckets.sum()), int(buckets[fast:].sum()), failed)

    def text(self, versions: Mapping[str, str]) -> bytes:
        """The Prometheus text format; `versions` says which release each model's name points to."""
        return ("\n".join(self._lines(versions)) + "\n").encode()

    def _lines(self, versions: Mapping[str, str]) -> Iterator[str]:
        yield from _family("headway_release_info", "gauge", "The release that answers, by its version.")
        for model, version in versions.items():
            yield f'headway_release_info{{{_label(model)},version="{version}"}} 1'
        models = {name: _sum(found) for name, found in self._memory.models.found().items()}
        for name, kind, message, attribute, unit in _OF_MODELS:
            yield from _family(name, kind, message)
            for model, counts in models.items():
                yield f"{name}{{{_labels(name, model, versions)}}} {getattr(counts, attribute) // unit}"
        yield from _family(_DURATION, "summary", "As MLServer: from read to answered, s.")
        for model, counts in models.items():
            labels = _labels(_DURATION, model, versions)
            yield f"{_DURATION}_count{{{labels}}} {counts.requests}"
            yield f"{_DURATION}_sum{{{labels}}} {counts.latency_ns / 1e9:.9f}"
        yield from self._of_fleet(list(models))
        yield from _family(_LATENCY, "histogram", "From a request read whole to its answer written.")
        for model, counts in models.items():
            yield from _histogram(_label(model), counts)
        yield from self.more()

    def _of_fleet(self, models: Sequence[str]) -> Iterator[str]:
        memory = self._memory
        yield from _family("headway_errors_total", "counter", "Answers with an error, by HTTP status.")
        errors = memory.errors.total()
        yield from (f'headway_errors_total{{code="{code}"}} {errors[code]}' for code in np.flatnonzero(errors))
        for name, message, tally in (
            (_DROPPED, _SAYS_DROPPED, self.dropped),
            (_CANARY, _SAYS_CANARY, self.canary_errors),
        ):
            yield from _family(name, "counter", message)
            total = tally.total()
            yield from (f"{name}{{{_label(model)}}} {total.get(model, 0)}" for model in models)
        yield from _family(_OUTSIDE, "counter", "Values outside the contract of the release, by column and kind.")
        for name, n in sorted(self._outside.total().items()):
            model, kind, column = name.split("\n", 2)
            yield f'{_OUTSIDE}{{{_label(model)},column="{_escaped(column)}",kind="{kind}"}} {n}'
        yield from _family(
            _REFUSED, "gauge", "1 where a pointer moved to what does not verify, and what was live stays."
        )
        yield from (f'{_REFUSED}{{pointer="{at}"}} {int(now)}' for at, now in self.refused.anywhere().items())
        alive, workers, logs = memory.fleet.total().tolist()
        yield from _family("headway_workers", "gauge", "Worker processes that answer.")
        yield f"headway_workers {alive}"
        yield from _family(_RESTARTS, "counter", "Processes that ended and were replaced.")
        yield f'{_RESTARTS}{{process="worker"}} {workers}'
        yield f'{_RESTARTS}{{process="log"}} {logs}'


_LATENCY = "headway_request_seconds"
_DROPPED = "headway_log_dropped_rows_total"
_SAYS_DROPPED = "Rows that the prediction log lost, since its buffer or the disk was full."
_CANARY = "headway_canary_errors_total"
_SAYS_CANARY = "Requests on which the canary failed, and live answered."
_REFUSED = "headway_pointer_refused"
_OUTSIDE = "headway_outside_values_total"
_RESTARTS = "headway_restarts_total"
_US = 1000
_TRITON, _MLSERVER = "nv_inference_", "model_infer_"
_DURATION = "model_infer_request_duration"
# Name, type, what it says, which count, and by what it is divided. Those of Triton and MLServer bear their labels.
_OF_MODELS = (
    ("headway_requests_total", "counter", "Infer requests answered by the model.", "requests", 1),
    ("headway_failed_requests_total", "counter", "Infer requests that the model could not answer.", "failed", 1),
    ("headway_refused_requests_total", "counter", "Infer requests refused: too many rows waited.", "refused", 1),
    ("headway_expired_requests_total", "counter", "Infer requests whose time passed as they waited.", "expired", 1),
    ("headway_rows_total", "counter", "Rows answered by the model.", "rows", 1),
    ("headway_engine_calls_total", "counter", "Calls of the engine; requests over calls: the mean batch.", "calls", 1),
    ("nv_inference_request_success", "counter", "As Triton: requests answered.", "requests", 1),
    ("nv_inference_request_failure", "counter", "As Triton: requests that failed in the model.", "failed", 1),
    ("nv_inference_count", "counter", "As Triton: rows answered.", "rows", 1),
    ("nv_inference_exec_count", "counter", "As Triton: calls of the engine.", "calls", 1),
    ("nv_inference_request_duration_us", "counter", "As Triton: from read to answered, us.", "latency_ns", _US),
    ("nv_inference_queue_duration_us", "counter", "As Triton: until the engine was called, us.", "queue_ns", _US),
    ("nv_inference_compute_infer_duration_us", "counter", "As Triton: in the engine, us.", "engine_ns", _US),
    ("nv_inference_compute_output_duration_us", "counter", "As Triton: after the engine, us.", "output_ns", _US),
    ("model_infer_request_success_total", "counter", "As MLServer: requests answered.", "requests", 1),
    ("model_infer_request_failure_total", "counter", "As MLServer: requests that failed in the model.", "failed", 1),
)


def _sum(found: Ints) -> ModelCounters:
    """The counts of all rows, int64 [n, width], together."""
    total = ModelCounters(found.sum(axis=0))
    total.cells[6] = int(found[:, 6].max())
    return total


def _family(name: str, kind: str, message: str) -> list[str]:
    return [f"# HELP {name} {message}", f"# TYPE {name} {kind}"]


def _label(model: str) -> str:
    return f'model="{_escaped(model)}"'


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _labels(name: str, model: str, versions: Mapping[str, str]) -> str:
    """The labels of a count; under the names of Triton and MLServer the release that is live is one, as it is there."""
    if not name.startswith((_TRITON, _MLSERVER)):
        return _label(model)
    return f'{_label(model)},version="{versions.get(model, "")}"'


def _histogram(label: str, counts: ModelCounters) -> list[str]:
    edges = [*(f"{edge:g}" for edge in _EDGES_S), "+Inf"]
    upto = np.cumsum(counts.buckets).tolist()
    lines = [f'{_LATENCY}_bucket{{{label},le="{edge}"}} {n}' for edge, n in zip(edges, upto, strict=True)]
    return [
        *lines,
        f"{_LATENCY}_sum{{{label}}} {counts.latency_ns / 1e9:.9f}",
        f"{_LATENCY}_count{{{label}}} {upto[-1]}",
    ]
