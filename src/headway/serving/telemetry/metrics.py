"""Metrics of a server: counters in shared memory, updated once per batch, and their Prometheus text format.

The service-level objectives of `[slo]` are error budgets with burn rates. A burn rate of 1 uses up a budget in exactly
its period. The windows are those of the multi-window alerts in chapter 5 of Google's Site Reliability Workbook: page at
14.4 over 1h and 5m, or at 6 over 6h and 30m.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from headway.serving.settings.slo import SloSection
from headway.serving.workers.shared_memory import CounterMap, FlagMap, NamedCounters, SharedTable
from headway.storage.traffic import MODEL

if TYPE_CHECKING:
    from headway.core.contracts import Feed, Ints

_EDGES_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
_EDGES_NS = np.array(_EDGES_S) * 1e9
_EDGES = _EDGES_NS.tolist()
_FEW_CALLS = 32  # up to here, counting one by one takes less time than numpy
_BUCKETS = len(_EDGES_S) + 1
_FIELDS = 11
_BATCH_EDGES = tuple(1 << power for power in range(11))  # requests of an engine call, the last bucket is open
_BATCH_BUCKETS = len(_BATCH_EDGES) + 1
_BATCHES = _FIELDS + _BUCKETS  # the first cell of the histogram of batch sizes
_WIDTH = _BATCHES + _BATCH_BUCKETS
_MAX_OUTSIDE = 1_024  # columns with a value outside the contract, by model and kind
_NAME_BYTES = 200
_STATUSES = 600
OVERLOADS = ("max_connections", "max_bodies_mb", "label_queue_mb", "push_queue_mb", "open_files")
ALIVE, WORKERS, LOGS = 0, 1, 2  # ready workers; restarted workers and log writers

WINDOWS_S = {"5m": 300, "30m": 1800, "1h": 3600, "6h": 21_600}
SAMPLE_S = 15.0
_EXCHANGE_S, _KEEP_S = 5.0, 86_400
_SLOW_SHARE = 0.01  # the share that a 99th percentile allows
_LATENCY = "headway_request_seconds"
_BATCH = "headway_batch_requests"
_DROPPED = "headway_log_dropped_rows_total"
_HELP_DROPPED = "Rows that sampling left out of the prediction log ([serve] log_mode = sample)."
_LOST = "headway_log_lost_rows_total"
_HELP_LOST = "Rows that the prediction log lost because it could not be written."
_ASIDE = "headway_log_aside_rows_total"
_HELP_ASIDE = "Rows put aside because their segment could not be written; they are lost rows, too."
_CANARY = "headway_canary_errors_total"
_HELP_CANARY = "Requests on which the canary failed and the live release answered."
_REFUSED = "headway_pointer_refused"
_OUTSIDE = "headway_outside_values_total"
_LOOKUP = "headway_feature_lookup_seconds"
_PUSHED = "headway_feature_pushed_rows_total"
_HELP_PUSHED = "Rows of a feature view that were pushed: stored, older than the stored ones, or refused."
# By what `OnlineFeatures` counts: name, help, and whether a feature is named as well as its view.
_OF_FEATURES = (
    ("rows", "headway_feature_rows_total", "Rows for which a feature view was read.", False),
    ("missing", "headway_feature_missing_total", "Values of features that were missing.", True),
    ("stale", "headway_feature_stale_total", "Rows of a feature view that were older than it allows.", False),
    ("decided", "headway_feature_decided_total", "Rows that a first model decided without deferred look-ups.", None),
    ("away", "headway_feature_away_total", "Batches answered while the online store did not answer.", None),
)
_ANSWERS = "headway_answers_total"
_HELP_ANSWERS = "Rows of a release that answers selectively, by who answers them and why the model does not."
_ANSWERED = "headway_answered_share"
_HELP_ANSWERED = "Share of these rows that the model answered itself, since the server started."
_REMOTE = "headway_remote_calls_total"
_HELP_REMOTE = "Messages for the remote stage by what became of them, also those that were not sent."
_RESPONSES = "headway_answer_responses_total"
_HELP_RESPONSES = "Responses of the route /answer, by who answers, and whether a stage has answered."
_RESTARTS = "headway_restarts_total"
_STORE = "headway_store_up"
_OVERLOADS = "headway_overload_refused_total"
_US = 1000
_TRITON, _MLSERVER = "nv_inference_", "model_infer_"
_DURATION = "model_infer_request_duration"
# Name, type, help, counter, and divisor. Names of Triton and MLServer have the labels that they have there.
_OF_MODELS = (
    ("headway_requests_total", "counter", "Infer requests answered.", "requests", 1),
    ("headway_failed_requests_total", "counter", "Infer requests that failed in the model.", "failed", 1),
    ("headway_refused_requests_total", "counter", "Infer requests refused because the queue was full.", "refused", 1),
    ("headway_expired_requests_total", "counter", "Infer requests whose deadline passed in the queue.", "expired", 1),
    ("headway_rows_total", "counter", "Rows answered.", "rows", 1),
    (
        "headway_engine_calls_total",
        "counter",
        "Engine calls; requests divided by calls is the mean batch size.",
        "calls",
        1,
    ),
    ("nv_inference_request_success", "counter", "As Triton: requests answered.", "requests", 1),
    ("nv_inference_request_failure", "counter", "As Triton: requests that failed in the model.", "failed", 1),
    ("nv_inference_count", "counter", "As Triton: rows answered.", "rows", 1),
    ("nv_inference_exec_count", "counter", "As Triton: engine calls.", "calls", 1),
    ("nv_inference_request_duration_us", "counter", "As Triton: request latency, us.", "latency_ns", _US),
    ("nv_inference_queue_duration_us", "counter", "As Triton: time before the engine call, us.", "queue_ns", _US),
    ("nv_inference_compute_infer_duration_us", "counter", "As Triton: time in the engine, us.", "engine_ns", _US),
    (
        "nv_inference_compute_output_duration_us",
        "counter",
        "As Triton: time after the engine call, us.",
        "output_ns",
        _US,
    ),
    ("model_infer_request_success_total", "counter", "As MLServer: requests answered.", "requests", 1),
    ("model_infer_request_failure_total", "counter", "As MLServer: requests that failed in the model.", "failed", 1),
)


class RequestCounts(NamedTuple):
    """Number of answered requests, of slow ones among them, and of failed requests."""

    answered: int = 0
    slow: int = 0
    failed: int = 0


class _Cell:
    """Reads one counter of a model."""

    def __init__(self, index: int) -> None:
        self._index = index

    def __get__(self, counts: ModelCounters, kind: type) -> int:
        return counts.cells[self._index]


class ModelCounters:
    """Counters of one model: requests, rows, engine calls, and latencies from request read to response written.

    `batches` are engine calls by their number of requests, in buckets that double. `queue_ns` is the part of the
    latencies before the engine call, `engine_ns` the part in it. `last_ns` is the time of the last answer, by
    `time.perf_counter_ns`. `failed` requests got an error, `refused` ones met a full queue, and the deadline of
    `expired` ones passed in the queue.
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
        numbers = np.zeros(_WIDTH, dtype=np.int64) if numbers is None else numbers
        self.cells = memoryview(numbers)
        self.buckets = numbers[_FIELDS:_BATCHES]
        self.batches = numbers[_BATCHES:]

    @property
    def output_ns(self) -> int:
        """The part of the latencies after the engine call."""
        return self.latency_ns - self.queue_ns - self.engine_ns

    def add(self, started_ns: Sequence[int], *, engine_ns: tuple[int, int], ended_ns: int, rows: int) -> None:
        """Count one engine call.

        Parameters
        ----------
        started_ns
            Arrival of each request.
        engine_ns
            Start and end of the engine call.
        ended_ns
            When all responses were written.
        rows
            Number of rows.
        """
        began_ns, done_ns = engine_ns
        latency_ns, n, cells = 0, len(started_ns), self.cells
        if n <= _FEW_CALLS:
            for call_ns in started_ns:
                latency_ns += ended_ns - call_ns
                cells[_FIELDS + bisect_left(_EDGES, ended_ns - call_ns)] += 1
        else:
            latencies = ended_ns - np.array(started_ns, dtype=np.int64)
            latency_ns = int(latencies.sum())
            self.buckets += np.bincount(np.searchsorted(_EDGES_NS, latencies), minlength=_BUCKETS)
        cells[0] += n
        cells[1] += rows
        cells[2] += 1
        cells[_BATCHES + min((n - 1).bit_length(), _BATCH_BUCKETS - 1)] += 1
        cells[3] += latency_ns
        cells[4] += latency_ns - n * (ended_ns - began_ns)
        cells[5] += n * (done_ns - began_ns)
        cells[6] = ended_ns

    def fail(self, started_ns: int, *, ended_ns: int) -> None:
        """Count a request that failed in the model."""
        self.cells[7] += 1
        self.cells[8] += ended_ns - started_ns

    def refuse(self, *, expired: bool) -> None:
        """Count a request that was not executed: its deadline had passed, or the queue was full."""
        self.cells[10 if expired else 9] += 1


class SharedMetrics:
    """Shared memory of all counters, with a row for each worker and one for the log writer.

    Create it before forking.
    """

    def __init__(self, workers: int = 1, *, models: int = 32) -> None:
        rows = workers + 1
        self.models = NamedCounters(rows, _WIDTH, max_names=models)
        self.errors = SharedTable(rows, _STATUSES)
        self.dropped, self.lost, self.aside, self.canary_errors = (
            NamedCounters(rows, 1, max_names=models) for _ in range(4)
        )
        self.refused = NamedCounters(rows, 1, max_names=2 * models)
        self.outside = NamedCounters(rows, 1, max_names=_MAX_OUTSIDE)
        self.features = NamedCounters(rows, 1, max_names=_MAX_OUTSIDE)
        self.pushed = NamedCounters(rows, 1, max_names=_MAX_OUTSIDE)
        self.answers = NamedCounters(rows, 1, max_names=16 * models)
        self.remote = NamedCounters(rows, 1, max_names=32)
        self.responses = NamedCounters(rows, 1, max_names=8 * models)
        self.overloads = NamedCounters(rows, 1, max_names=8)
        self.away = NamedCounters(rows, 1, max_names=8)
        self.fleet = SharedTable(1, 3)  # ALIVE, WORKERS and LOGS, written by the supervisor


class Metrics:
    """Counters by model, and errors by HTTP status: a process writes its row, and a scrape returns the sums."""

    def __init__(self, memory: SharedMetrics | None = None, row: int = 0) -> None:
        self._memory = memory = memory or SharedMetrics()
        self._row = row
        self._own: dict[str, ModelCounters] = {}
        self.errors = memory.errors.row(row)
        self.dropped, self.canary_errors = CounterMap(memory.dropped, row), CounterMap(memory.canary_errors, row)
        self.lost, self.aside = CounterMap(memory.lost, row), CounterMap(memory.aside, row)
        self.refused = FlagMap(memory.refused, row)
        self.away = FlagMap(memory.away, row)  # by role of [store]
        self._outside = CounterMap(memory.outside, row)
        self._features = CounterMap(memory.features, row)
        self._pushed = CounterMap(memory.pushed, row)
        self._answers = CounterMap(memory.answers, row)
        self._remote = CounterMap(memory.remote, row)
        self._responses = CounterMap(memory.responses, row)
        self.remote_spend: Callable[[], float] | None = None  # of the day
        self._feature_cells: dict[str, dict[tuple[str, str, str], memoryview[int]]] = {}
        self.overloads = CounterMap(memory.overloads, row)
        self.log_lines: Callable[[], Iterable[str]] = tuple  # the state of the prediction log
        self.model_lines: Callable[[], Iterable[str]] = tuple  # what monitoring found of the models
        self.extra_lines: Callable[[], Iterable[str]] = tuple  # appended to the text

    def of(self, model: str) -> ModelCounters:
        """Return the counters of a model in this process; they continue when another release takes its name."""
        counts = self._own.get(model)
        if counts is None:
            counts = self._own[model] = ModelCounters(self._memory.models.of(self._row, model))
        return counts

    def total(self, model: str) -> ModelCounters:
        """Return the counters of a model over all processes."""
        self.of(model)
        return _sum(self._memory.models.by_name()[model])

    def fail(self, status: int) -> None:
        """Count an error response."""
        self.errors[status] += 1

    def outside(self, model: str, column: str, kind: str, n: int = 1) -> None:
        """Count values outside the contract; columns beyond the space are not counted."""
        name = f"{model}\n{kind}\n{column}".encode()[:_NAME_BYTES].decode(errors="ignore")
        with suppress(IndexError):
            self._outside[name] += n

    def count_features(self, model: str, counts: Mapping[tuple[str, str, str], int]) -> None:
        """Count what was looked up, by kind, view and feature; names beyond the space are not counted."""
        known = self._feature_cells.setdefault(model, {})
        for key, n in counts.items():
            cells = known.get(key)
            if cells is None:
                name = "\n".join((model, *key)).encode()[:_NAME_BYTES].decode(errors="ignore")
                with suppress(IndexError):
                    cells = known[key] = memoryview(self._memory.features.of(self._row, name))
            if cells is not None:
                cells[0] += n

    def count_pushed(self, view: str, counts: Mapping[str, int]) -> None:
        """Count pushed rows of a view by what became of them; views beyond the space are not counted."""
        for result, n in counts.items():
            name = f"{result}\n{view}".encode()[:_NAME_BYTES].decode(errors="ignore")
            with suppress(IndexError):
                self._pushed[name] += n

    def count_answers(self, model: str, answered_by: Sequence[str], reasons: Sequence[str]) -> None:
        """Count rows of a release that answers selectively."""
        for (by, reason), n in Counter(zip(answered_by, reasons, strict=True)).items():
            with suppress(IndexError):
                self._answers[f"{by}\n{reason}\n{model}"] += n

    def count_remote(self, result: str) -> None:
        """Count a message for the remote stage by what became of it."""
        self._remote[result] += 1

    def count_response(self, model: str, answered_by: str, status: str) -> None:
        """Count a response of the route `/answer`; models beyond the space are not counted."""
        with suppress(IndexError):
            self._responses[f"{answered_by}\n{status}\n{model}"] += 1

    def request_counts(self, within_ms: float) -> RequestCounts:
        """Count requests; slow ones by the edge of the histogram at `within_ms`, or the next one below it.

        Failed requests have a 5xx status, or met a full queue: a server that is too small is not available.
        """
        fast = int(np.searchsorted(_EDGES_S, within_ms / 1000 * (1 + 1e-9), side="right"))
        models = [_sum(rows) for rows in self._memory.models.by_name().values()]
        buckets = sum((counters.buckets for counters in models), start=ModelCounters().buckets)
        failed = int(self._memory.errors.total()[500:].sum()) + sum(counters.refused for counters in models)
        return RequestCounts(int(buckets.sum()), int(buckets[fast:].sum()), failed)

    def text(self, versions: Mapping[str, str]) -> bytes:
        """Return the Prometheus text format; `versions` maps each model to its live version."""
        return ("\n".join(self._lines(versions)) + "\n").encode()

    def _lines(self, versions: Mapping[str, str]) -> Iterator[str]:
        yield from _family("headway_release_info", "gauge", "Version of the live release.")
        for model, version in versions.items():
            yield f'headway_release_info{{{_label(model)},version="{version}"}} 1'
        models = {name: _sum(rows) for name, rows in self._memory.models.by_name().items()}
        for name, kind, message, attribute, unit in _OF_MODELS:
            yield from _family(name, kind, message)
            for model, counts in models.items():
                yield f"{name}{{{_labels(name, model, versions)}}} {getattr(counts, attribute) // unit}"
        yield from _family(_DURATION, "summary", "As MLServer: request latency, seconds.")
        for model, counts in models.items():
            labels = _labels(_DURATION, model, versions)
            yield f"{_DURATION}_count{{{labels}}} {counts.requests}"
            yield f"{_DURATION}_sum{{{labels}}} {counts.latency_ns / 1e9:.9f}"
        yield from self._of_fleet(list(models))
        yield from self.log_lines()
        yield from _family(_LATENCY, "histogram", "Latency from request read to response written, seconds.")
        for model, counts in models.items():
            yield from _histogram(_label(model), counts)
        yield from _family(_BATCH, "histogram", "Requests of an engine call: batch sizes.")
        for model, counts in models.items():
            yield from _batch_histogram(_label(model), counts)
        yield from self.model_lines()
        yield from self.extra_lines()

    def _of_fleet(self, models: Sequence[str]) -> Iterator[str]:
        memory = self._memory
        yield from _family("headway_errors_total", "counter", "Error responses by HTTP status.")
        errors = memory.errors.total()
        yield from (f'headway_errors_total{{code="{code}"}} {errors[code]}' for code in np.flatnonzero(errors))
        for name, message, tally in (
            (_DROPPED, _HELP_DROPPED, self.dropped),
            (_LOST, _HELP_LOST, self.lost),
            (_ASIDE, _HELP_ASIDE, self.aside),
            (_CANARY, _HELP_CANARY, self.canary_errors),
        ):
            yield from _family(name, "counter", message)
            total = tally.total()
            yield from (f"{name}{{{_label(model)}}} {total.get(model, 0)}" for model in models)
        yield from _family(_OUTSIDE, "counter", "Values outside the contract of the release, by column and kind.")
        for name, n in sorted(self._outside.total().items()):
            model, kind, column = name.split("\n", 2)
            yield f'{_OUTSIDE}{{{_label(model)},column="{_escaped(column)}",kind="{kind}"}} {n}'
        yield from self._of_features()
        yield from self._of_answers()
        yield from _family(
            _REFUSED,
            "gauge",
            "1 if a pointer moved to a release that does not verify, and the previous release stays live.",
        )
        yield from (f'{_REFUSED}{{pointer="{at}"}} {int(now)}' for at, now in self.refused.any_row().items())
        yield from _family(_STORE, "gauge", "1 if the store of a role of [store] answered last, 0 while it is away.")
        yield from (f'{_STORE}{{role="{role}"}} {int(not away)}' for role, away in self.away.any_row().items())
        yield from _family(_OVERLOADS, "counter", "Connections and requests refused, by the limit that was reached.")
        for limit in OVERLOADS:
            yield f'{_OVERLOADS}{{limit="{limit}"}} {self.overloads.total().get(limit, 0)}'
        alive, workers, logs = memory.fleet.total().tolist()
        yield from _family("headway_workers", "gauge", "Worker processes that are ready.")
        yield f"headway_workers {alive}"
        yield from _family(_RESTARTS, "counter", "Processes that ended and were restarted.")
        yield f'{_RESTARTS}{{process="worker"}} {workers}'
        yield f'{_RESTARTS}{{process="log"}} {logs}'

    def _of_answers(self) -> Iterator[str]:
        """Yield who answered rows; nothing if no release answers selectively."""
        found = [(name.split("\n", 2), n) for name, n in sorted(self._answers.total().items())]
        yield from _family(_ANSWERS, "counter", _HELP_ANSWERS) if found else ()
        total, by_model = Counter[str](), Counter[str]()
        for (by, reason, model), n in found:
            yield f'{_ANSWERS}{{{_label(model)},answered_by="{by}",reason="{reason}"}} {n}'
            total[model] += n
            by_model[model] += n if by == MODEL else 0
        yield from _family(_ANSWERED, "gauge", _HELP_ANSWERED) if found else ()
        yield from (f"{_ANSWERED}{{{_label(model)}}} {by_model[model] / n:.12g}" for model, n in total.items())
        responses = [(name.split("\n", 2), n) for name, n in sorted(self._responses.total().items())]
        yield from _family(_RESPONSES, "counter", _HELP_RESPONSES) if responses else ()
        for (by, status, model), n in responses:
            yield f'{_RESPONSES}{{{_label(model)},answered_by="{by}",status="{status}"}} {n}'
        if self.remote_spend is not None:
            yield from _family(_REMOTE, "counter", _HELP_REMOTE)
            yield from (f'{_REMOTE}{{result="{result}"}} {n}' for result, n in sorted(self._remote.total().items()))
            spend = ("headway_remote_spend", "Spent on the remote stage today (UTC), in the currency of [cost].")
            yield from gauges([(*spend, self.remote_spend())])

    def _of_features(self) -> Iterator[str]:
        """Yield the counters of feature views; none if no request needed any."""
        total = {tuple(name.split("\n", 3)): n for name, n in sorted(self._features.total().items())}
        for kind, name, message, names_feature in _OF_FEATURES:
            found = [(key, n) for key, n in total.items() if key[1] == kind]
            yield from _family(name, "counter", message) if found else ()
            for (model, _, view, feature), n in found:
                labels = [_label(model)]
                labels += [f'view="{_escaped(view)}"'] if names_feature is not None else []
                labels += [f'feature="{_escaped(feature)}"'] if names_feature else []
                yield f"{name}{{{','.join(labels)}}} {n}"
        lookups = [(model, n) for (model, kind, *_), n in total.items() if kind == "lookups"]
        yield from _family(_LOOKUP, "summary", "Time of a look-up of all views of a batch, seconds.") if lookups else ()
        for model, n in lookups:
            yield f"{_LOOKUP}_count{{{_label(model)}}} {n}"
            yield f"{_LOOKUP}_sum{{{_label(model)}}} {total.get((model, 'lookup_ns', '', ''), 0) / 1e9:.9f}"
        pushed = sorted(self._pushed.total().items())
        yield from _family(_PUSHED, "counter", _HELP_PUSHED) if pushed else ()
        for name, n in pushed:
            result, view = name.split("\n", 1)
            yield f'{_PUSHED}{{view="{_escaped(view)}",result="{result}"}} {n}'


def _sum(rows: Ints) -> ModelCounters:
    """Sum the counters of all rows, int64 [n, width]."""
    total = ModelCounters(rows.sum(axis=0))
    total.cells[6] = int(rows[:, 6].max())
    return total


def gauges(values: Iterable[tuple[str, str, float]]) -> Iterator[str]:
    """Yield the Prometheus text of gauges without labels: name, help and value."""
    for name, message, value in values:
        yield from (*_family(name, "gauge", message), f"{name} {value:.12g}")


def labeled_gauges(name: str, message: str, values: Iterable[tuple[Mapping[str, str], float]]) -> Iterator[str]:
    """Yield the Prometheus text of a gauge: the labels and the value of each of its samples."""
    yield from _family(name, "gauge", message)
    for labels, value in values:
        shown = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
        yield f"{name}{{{shown}}} {value:.12g}"


def _family(name: str, kind: str, message: str) -> list[str]:
    return [f"# HELP {name} {message}", f"# TYPE {name} {kind}"]


def _label(model: str) -> str:
    return f'model="{_escaped(model)}"'


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _labels(name: str, model: str, versions: Mapping[str, str]) -> str:
    """Return the labels of a counter; names of Triton and MLServer also have the live version, as they do there."""
    if not name.startswith((_TRITON, _MLSERVER)):
        return _label(model)
    return f'{_label(model)},version="{versions.get(model, "")}"'


def _histogram(label: str, counts: ModelCounters) -> list[str]:
    edges = [*(f"{edge:g}" for edge in _EDGES_S), "+Inf"]
    cumulative = np.cumsum(counts.buckets).tolist()
    lines = [f'{_LATENCY}_bucket{{{label},le="{edge}"}} {n}' for edge, n in zip(edges, cumulative, strict=True)]
    return [
        *lines,
        f"{_LATENCY}_sum{{{label}}} {counts.latency_ns / 1e9:.9f}",
        f"{_LATENCY}_count{{{label}}} {cumulative[-1]}",
    ]


def _batch_histogram(label: str, counts: ModelCounters) -> list[str]:
    edges = [*map(str, _BATCH_EDGES), "+Inf"]
    cumulative = np.cumsum(counts.batches).tolist()
    lines = [f'{_BATCH}_bucket{{{label},le="{edge}"}} {n}' for edge, n in zip(edges, cumulative, strict=True)]
    return [*lines, f"{_BATCH}_sum{{{label}}} {counts.requests}", f"{_BATCH}_count{{{label}}} {cumulative[-1]}"]


class MetricSample(NamedTuple):
    """Request counts at a time of the loop's clock."""

    at_s: float
    counts: RequestCounts


class ErrorBudget:
    """Samples the request counts every 15 s, and keeps them for the longest window; `prefix` names its metrics."""

    def __init__(
        self, slo: SloSection, count: Callable[[], RequestCounts], *, now_s: float, prefix: str = "headway_slo"
    ) -> None:
        self._prefix = prefix
        self._allowed = {"latency": _SLOW_SHARE, "availability": 1 - slo.availability}
        self._count = count
        self._samples = [MetricSample(now_s, count())]

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Sample now, and regularly as long as the loop runs."""
        self.sample(loop.time())
        loop.call_later(SAMPLE_S, self.start, loop)

    def sample(self, now_s: float) -> None:
        """Store the counts, and drop samples that no window reaches."""
        samples = self._samples
        samples.append(MetricSample(now_s, self._count()))
        del samples[: self._first_index(now_s, max(WINDOWS_S.values()))]

    def lines(self, now_s: float) -> Iterator[str]:
        """Yield the Prometheus text: requests and bad requests of each objective, and the burn rates."""
        served, prefix = self._count(), self._prefix
        families = (
            (f"{prefix}_requests_total", "counter", "Requests that an objective counts.", _counted(served)),
            (
                f"{prefix}_bad_total",
                "counter",
                "Requests that miss an objective: slow ones, or 5xx and refused ones.",
                _bad(served),
            ),
            (f"{prefix}_allowed", "gauge", "Share of requests that may miss an objective.", self._allowed),
        )
        for name, kind, message, values in families:
            yield from _family(name, kind, message)
            yield from (f'{name}{{objective="{objective}"}} {value:.12g}' for objective, value in values.items())
        yield from _family(f"{prefix}_burn", "gauge", "Burn rate of the error budget in a window.")
        for window, seconds in WINDOWS_S.items():
            for objective, burn in self._burns(served, self._samples[self._first_index(now_s, seconds)].counts):
                yield f'{prefix}_burn{{objective="{objective}",window="{window}"}} {burn:.6g}'

    def _first_index(self, now_s: float, seconds: float) -> int:
        """Return the index of the last sample before a window, or of the first sample."""
        return max(0, bisect_right(self._samples, now_s - seconds, key=lambda sample: sample.at_s) - 1)

    def _burns(self, now: RequestCounts, then: RequestCounts) -> Iterator[tuple[str, float]]:
        """Yield the burn rate of each objective; 0 without requests, or if nothing is allowed and nothing was bad."""
        since = RequestCounts(*(after - before for after, before in zip(now, then, strict=True)))
        counted, bad = _counted(since), _bad(since)
        for objective, allowed in self._allowed.items():
            share = bad[objective] / counted[objective] if counted[objective] else 0.0
            yield objective, share / allowed if share and allowed else (float("inf") if share else 0.0)


class FleetCounts:
    """Request counts over all servers of a project: `exchange` adds those of this server to the feed, reads the sum.

    Each worker reads the sum, and the one that `adds` adds what the server has counted since its last exchange. The sum
    in the feed may be lost: it then begins again, and this one goes on.
    """

    def __init__(self, project: str, count: Callable[[], RequestCounts], *, adds: bool) -> None:
        self._name = f"slo:{project}"
        self._count = count
        self._adds = adds
        self._added = count()
        self._in_feed: Sequence[int] | None = None
        self._due_s = 0.0
        self.total = RequestCounts()

    def exchange(self, feed: Feed) -> None:
        """Exchange the counts if they are due; raises StoreUnavailable, and then adds them the next time."""
        if time.monotonic() < self._due_s:
            return
        now = self._count() if self._adds else self._added
        sums = feed.add(self._name, [new - old for new, old in zip(now, self._added, strict=True)], keep_s=_KEEP_S)
        self._added, before, self._in_feed = now, self._in_feed, sums
        if before is not None:
            more = (new - old if new >= old else new for new, old in zip(sums, before, strict=True))
            self.total = RequestCounts(*(old + new for old, new in zip(self.total, more, strict=True)))
        self._due_s = time.monotonic() + _EXCHANGE_S


def track_objectives(
    slo: SloSection, metrics: Metrics, loop: asyncio.AbstractEventLoop, fleet: FleetCounts | None = None
) -> None:
    """Add the objectives of this server to the metrics, and those of all servers, as long as the loop runs."""
    budgets = [ErrorBudget(slo, lambda: metrics.request_counts(slo.p99_ms), now_s=loop.time())]
    if fleet is not None:
        budgets.append(ErrorBudget(slo, lambda: fleet.total, now_s=loop.time(), prefix="headway_fleet_slo"))
    for budget in budgets:
        budget.start(loop)
    metrics.extra_lines = lambda: (line for budget in budgets for line in budget.lines(loop.time()))


def _counted(served: RequestCounts) -> dict[str, int]:
    return {"latency": served.answered, "availability": served.answered + served.failed}


def _bad(served: RequestCounts) -> dict[str, int]:
    return {"latency": served.slow, "availability": served.failed}
