"""Counts of what was served, kept in arrays once per turn of the loop, and their Prometheus text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from headway.core.contracts import Ints

_EDGES_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
_EDGES_NS = np.array(_EDGES_S) * 1e9


class Served(NamedTuple):
    """Requests that were answered, those of them that took too long, and requests that failed."""

    answered: int = 0
    slow: int = 0
    failed: int = 0


@dataclass(slots=True)
class Counts:
    """What one model answered: requests, rows, engine calls, and latencies from request read to answer written.

    Of the latencies, `queue_ns` passed before the engine was called and `engine_ns` in it. `last_ns` is when it
    answered last, by `time.perf_counter_ns`; `failed` are the requests that it could not answer.
    """

    requests: int = 0
    rows: int = 0
    calls: int = 0
    latency_ns: int = 0
    queue_ns: int = 0
    engine_ns: int = 0
    last_ns: int = 0
    failed: int = 0
    failed_ns: int = 0
    buckets: Ints = field(default_factory=lambda: np.zeros(len(_EDGES_S) + 1, dtype=np.int64))

    def add(self, started_ns: Sequence[int], *, engine_ns: tuple[int, int], ended_ns: int, rows: int) -> None:
        """Count one engine call: when each of its requests had come, when it began and ended, and was answered."""
        began_ns, done_ns = engine_ns
        latencies = ended_ns - np.array(started_ns, dtype=np.int64)
        self.buckets += np.bincount(np.searchsorted(_EDGES_NS, latencies), minlength=len(self.buckets))
        latency_ns, n = int(latencies.sum()), len(started_ns)
        self.latency_ns += latency_ns
        self.queue_ns += latency_ns - n * (ended_ns - began_ns)
        self.engine_ns += n * (done_ns - began_ns)
        self.last_ns = ended_ns
        self.requests += n
        self.rows += rows
        self.calls += 1

    def fail(self, started_ns: int, *, ended_ns: int) -> None:
        """Count a request that the model could not answer."""
        self.failed += 1
        self.failed_ns += ended_ns - started_ns


class Metrics:
    """Counts by model, and errors by HTTP status."""

    def __init__(self) -> None:
        self.models: dict[str, Counts] = {}
        self.errors: Counter[int] = Counter()
        self.dropped: Counter[str] = Counter()
        self.canary_errors: Counter[str] = Counter()
        self.refused: dict[str, bool] = {}
        self.more: Callable[[], Iterable[str]] = tuple  # lines that others add to the text

    def of(self, model: str) -> Counts:
        """The counts of a model; they live on when another release takes its name."""
        return self.models.setdefault(model, Counts())

    def served(self, within_ms: float) -> Served:
        """What became of requests; slow by the edge of the histogram that is at `within_ms`, or next below it."""
        fast = int(np.searchsorted(_EDGES_S, within_ms / 1000 * (1 + 1e-9), side="right"))
        buckets = sum((counts.buckets for counts in self.models.values()), start=Counts().buckets)
        failed = sum(n for status, n in self.errors.items() if status >= 500)
        return Served(int(buckets.sum()), int(buckets[fast:].sum()), failed)

    def text(self, versions: dict[str, str]) -> bytes:
        """The Prometheus text format; `versions` says which release each model's name points to."""
        lines = [*_family("headway_release_info", "gauge", "The release that answers, by its version.")]
        lines += [f'headway_release_info{{{_label(m)},version="{version}"}} 1' for m, version in versions.items()]
        for name, says, attribute in _COUNTERS:
            lines += _family(name, "counter", says)
            lines += [f"{name}{{{_label(model)}}} {getattr(c, attribute)}" for model, c in self.models.items()]
        lines += _family("headway_errors_total", "counter", "Answers with an error, by HTTP status.")
        lines += [f'headway_errors_total{{code="{code}"}} {n}' for code, n in sorted(self.errors.items())]
        lines += _family(
            _DROPPED, "counter", "Rows that the prediction log lost, since its buffer or the disk was full."
        )
        lines += [f"{_DROPPED}{{{_label(model)}}} {self.dropped[model]}" for model in self.models]
        lines += _family(_CANARY, "counter", "Requests on which the canary failed, and live answered.")
        lines += [f"{_CANARY}{{{_label(model)}}} {self.canary_errors[model]}" for model in self.models]
        lines += _family(_REFUSED, "gauge", "1 where a pointer moved to what does not verify, and what was live stays.")
        lines += [f'{_REFUSED}{{pointer="{pointer}"}} {int(now)}' for pointer, now in self.refused.items()]
        lines += _family(_LATENCY, "histogram", "From a request read whole to its answer written.")
        for model, counts in self.models.items():
            lines += _histogram(_label(model), counts)
        lines += self.more()
        return ("\n".join(lines) + "\n").encode()


_LATENCY = "headway_request_seconds"
_DROPPED = "headway_log_dropped_rows_total"
_CANARY = "headway_canary_errors_total"
_REFUSED = "headway_pointer_refused"
_COUNTERS = (
    ("headway_requests_total", "Infer requests answered by the model.", "requests"),
    ("headway_rows_total", "Rows answered by the model.", "rows"),
    ("headway_engine_calls_total", "Calls of the engine; requests over calls is the mean batch.", "calls"),
)


def _family(name: str, kind: str, says: str) -> list[str]:
    return [f"# HELP {name} {says}", f"# TYPE {name} {kind}"]


def _label(model: str) -> str:
    text = model.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'model="{text}"'


def _histogram(label: str, counts: Counts) -> list[str]:
    edges = [*(f"{edge:g}" for edge in _EDGES_S), "+Inf"]
    upto = np.cumsum(counts.buckets).tolist()
    lines = [f'{_LATENCY}_bucket{{{label},le="{edge}"}} {n}' for edge, n in zip(edges, upto, strict=True)]
    return [
        *lines,
        f"{_LATENCY}_sum{{{label}}} {counts.latency_ns / 1e9:.9f}",
        f"{_LATENCY}_count{{{label}}} {upto[-1]}",
    ]
