"""Servers of a project as their `/metrics` shows them: read over HTTP, kept for some minutes, and summed.

This process needs no server library: it reads the Prometheus text format that `serving.telemetry.metrics` writes.
"""

from __future__ import annotations

import math
import os
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from statistics import NormalDist
from urllib.error import HTTPError
from urllib.request import Request

from headway.core.config import Config
from headway.core.errors import ConfigError
from headway.core.outbound import KeyNotSent, open_url
from headway.core.record import Record
from headway.monitoring.settings.ui import UiSection
from headway.serving.settings.serve import ServeSection

METRICS_KEY = "HEADWAY_METRICS_KEY"
"""Variable with the API key of scope `metrics`, or with `_FILE` a file that holds it."""
SCRAPE_S, KEEP_S, IDLE_S = 5.0, 900.0, 600.0
TIMEOUT_S = 2.0
MAX_BYTES = 16 << 20
MIN_REQUESTS = 459
"""Requests of which the slowest confirms a 99th percentile at 99 %."""
PAGES = ((14.4, "1h", "5m"), (6.0, "6h", "30m"))
"""Burn rates of an error budget at which a person is called, each in a long and a short window."""
MIN_BAD = 10
"""Bad requests that a burn rate needs before a person is called: a new server may be slow once."""
_SAMPLE = re.compile(r"([A-Za-z_:][A-Za-z0-9_:]*)(?:\{(.*)\})? (\S+)")
_LABEL = re.compile(r'([A-Za-z_]\w*)="((?:[^"\\]|\\.)*)"')
_ESCAPES = re.compile(r"\\(.)")
_LATENCY = "headway_request_seconds_bucket"
_BATCH = "headway_batch_requests_bucket"

Labels = Mapping[str, str]
Samples = Mapping[str, Sequence[tuple[Labels, float]]]


def parse_metrics(text: str) -> Samples:
    """Return the samples of a Prometheus text by name; lines that are none are passed over.

    >>> parse_metrics('a{b="c"} 1\\na{b="d"} 2')["a"]
    [({'b': 'c'}, 1.0), ({'b': 'd'}, 2.0)]
    """
    found: dict[str, list[tuple[Labels, float]]] = {}
    for line in text.splitlines():
        match = None if line.startswith("#") else _SAMPLE.fullmatch(line.strip())
        if match is None:
            continue
        try:
            value = float(match[3])
        except ValueError:
            continue
        labels = {name: _unescaped(text) for name, text in _LABEL.findall(match[2] or "")}
        found.setdefault(match[1], []).append((labels, value))
    return found


def _unescaped(text: str) -> str:
    return _ESCAPES.sub(lambda match: "\n" if match[1] == "n" else match[1], text)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerMetrics:
    """The metrics of a server at a time of the monotonic clock, or the problem with reading them."""

    address: str
    at_s: float
    samples: Samples = field(default_factory=dict)
    problem: str = ""

    def total(self, name: str, **labels: str) -> float:
        """Return the sum of a metric over its samples with these labels."""
        return sum(value for found, value in self.samples.get(name, ()) if labels.items() <= found.items())

    def value(self, name: str, **labels: str) -> float | None:
        """Return the sum of a metric, or None if the server does not have it."""
        return self.total(name, **labels) if any(self._with(name, labels)) else None

    def by(self, label: str, name: str, **labels: str) -> dict[str, float]:
        """Return a metric by the values of a label."""
        found: dict[str, float] = {}
        for its, value in self._with(name, labels):
            found[its.get(label, "")] = found.get(its.get(label, ""), 0.0) + value
        return found

    def _with(self, name: str, labels: Labels) -> Iterable[tuple[Labels, float]]:
        return ((its, value) for its, value in self.samples.get(name, ()) if labels.items() <= its.items())

    @property
    def models(self) -> dict[str, str]:
        """The version of each model's release that this server answers with."""
        return {its.get("model", ""): its.get("version", "") for its, _ in self._with("headway_release_info", {})}


class Percentile(Record, frozen=True, kw_only=True):
    """A percentile of the latency between two edges of the histogram, seconds; `high_s` is infinite beyond the last.

    The interval covers the percentile of the requests to come in 95 of 100 cases, if requests are independent.
    """

    share: float
    low_s: float
    high_s: float
    n_requests: int

    def __str__(self) -> str:
        low, high = (f"{edge * 1000:.3g}" for edge in (self.low_s, self.high_s))
        if math.isinf(self.high_s):
            return f"above {low} ms"
        return f"{low} to {high} ms" if self.low_s else f"below {high} ms"


def percentile(counts: Mapping[float, float], share: float = 0.99) -> Percentile | None:
    """Return a percentile of a latency histogram, or None for fewer than `MIN_REQUESTS` requests.

    Parameters
    ----------
    counts : mapping of float to float
        Requests by the upper edge of their bucket, seconds; not cumulative.
    share : float
        The percentile, in (0, 1).
    """
    total = sum(counts.values())
    if total < MIN_REQUESTS:
        return None
    half = NormalDist().inv_cdf(0.975) * math.sqrt(total * share * (1 - share))
    ranks = (max(total * share - half, 1.0), min(total * share + half, total))
    edges, below = sorted(counts), 0.0
    found: list[tuple[float, float]] = []
    for lower, upper in zip([0.0, *edges], edges, strict=False):
        below += counts[upper]
        found += [(lower, upper) for rank in ranks[len(found) :] if rank <= below]
    (low, _), (_, high) = found
    return Percentile(share=share, low_s=low, high_s=high, n_requests=int(total))


class ModelTraffic(Record, frozen=True, kw_only=True):
    """What servers counted of a model in a time: requests by their end, rows, engine calls, and the latency histogram.

    `seconds` is None since the start of each server. `latency` has the upper edge of each bucket, seconds, with its
    requests; the last edge is infinite, which JSON shows as null. `batches` are engine calls by their number of
    requests, in the same form; empty for a server that does not count them.
    """

    requests: int = 0
    failed: int = 0
    refused: int = 0
    expired: int = 0
    rows: int = 0
    calls: int = 0
    latency: tuple[tuple[float, int], ...] = ()
    batches: tuple[tuple[float, int], ...] = ()
    seconds: float | None = None

    @property
    def per_s(self) -> float | None:
        """Requests answered per second; None since the start, which is not known."""
        return self.requests / self.seconds if self.seconds else None

    @property
    def errors(self) -> int:
        """Requests without a valid answer."""
        return self.failed + self.refused + self.expired

    @property
    def p99(self) -> Percentile | None:
        """The 99th percentile of the latency, None for too few requests."""
        return percentile(dict(self.latency))

    @property
    def batch_requests(self) -> float | None:
        """Mean number of requests of an engine call, None without calls."""
        return self.requests / self.calls if self.calls else None


_COUNTS = {
    "requests": "headway_requests_total",
    "failed": "headway_failed_requests_total",
    "refused": "headway_refused_requests_total",
    "expired": "headway_expired_requests_total",
    "rows": "headway_rows_total",
    "calls": "headway_engine_calls_total",
}


def count_traffic(
    model: str, now: Sequence[ServerMetrics], before: Mapping[str, ServerMetrics] | None = None
) -> ModelTraffic:
    """Sum the traffic of a model over servers, since `before` (metrics by address) or since each server started.

    A counter that fell belongs to a server that was restarted, and counts from 0. Servers without earlier metrics are
    left out of a difference.
    """
    pairs = [(one, before.get(one.address) if before is not None else None) for one in now if not one.problem]
    if before is not None:
        pairs = [(one, old) for one, old in pairs if old is not None and not old.problem]
    counts = {
        name: int(sum(_increase(one, old, metric, model=model) for one, old in pairs))
        for name, metric in _COUNTS.items()
    }
    latency, batches = (_histogram_of(pairs, name, model) for name in (_LATENCY, _BATCH))
    spans = [one.at_s - old.at_s for one, old in pairs if old is not None]
    seconds = max(spans, default=0.0) if before is not None else None
    return ModelTraffic(**counts, latency=latency, batches=batches, seconds=seconds)


def _histogram_of(
    pairs: Sequence[tuple[ServerMetrics, ServerMetrics | None]], name: str, model: str
) -> tuple[tuple[float, int], ...]:
    """Return a histogram summed over servers: the upper edge of each bucket with its count."""
    found: dict[float, int] = {}
    for one, old in pairs:
        for edge, count in _histogram(one, old, name, model).items():
            found[edge] = found.get(edge, 0) + count
    return tuple(sorted(found.items()))


def _increase(now: ServerMetrics, before: ServerMetrics | None, name: str, **labels: str) -> float:
    value, old = now.total(name, **labels), before.total(name, **labels) if before else 0.0
    return value - old if value >= old else value


def _histogram(now: ServerMetrics, before: ServerMetrics | None, name: str, model: str) -> dict[float, int]:
    """Return the count of each bucket by its upper edge."""
    cumulative = sorted((float(edge), edge) for edge in now.by("le", name, model=model))
    below, found = 0.0, {}
    for edge, text in cumulative:
        count = _increase(now, before, name, model=model, le=text)
        found[edge] = max(int(count - below), 0)
        below = count
    return found


def burn_rates(server: ServerMetrics) -> dict[str, dict[str, float]]:
    """Return the burn rate of each objective by window: over all servers if this one knows it, else its own."""
    prefix = _slo_prefix(server)
    objectives = server.by("objective", f"{prefix}_burn")
    return {name: server.by("window", f"{prefix}_burn", objective=name) for name in objectives}


def objectives(server: ServerMetrics) -> dict[str, tuple[float, float, float]]:
    """Return of each objective the requests that it counts, those that missed it, and the share that may."""
    prefix = _slo_prefix(server)
    return {
        name: (
            server.total(f"{prefix}_requests_total", objective=name),
            server.total(f"{prefix}_bad_total", objective=name),
            allowed,
        )
        for name, allowed in server.by("objective", f"{prefix}_allowed").items()
    }


def _slo_prefix(server: ServerMetrics) -> str:
    return "headway_fleet_slo" if "headway_fleet_slo_burn" in server.samples else "headway_slo"


def burning(server: ServerMetrics) -> dict[str, float]:
    """Return the objectives whose budget burns so fast that a person is called, with the rate in the long window."""
    counted = objectives(server)
    found: dict[str, float] = {}
    for name, rates in burn_rates(server).items():
        for limit, long, short in PAGES:
            fast = min(rates.get(long, 0.0), rates.get(short, 0.0)) >= limit
            if fast and counted.get(name, (0.0, 0.0, 0.0))[1] >= MIN_BAD:
                found.setdefault(name, rates[long])
    return found


def server_addresses(config: Config) -> tuple[str, ...]:
    """Return the addresses of the project's servers: `[ui] servers`, else that of `[serve]` on this machine."""
    if config[UiSection].servers:
        return config[UiSection].servers
    if not config[ServeSection].port:
        return ()
    scheme = "https" if config[ServeSection].tls_certificate else "http"
    return (f"{scheme}://127.0.0.1:{config[ServeSection].port}",)


def metrics_key(environment: Mapping[str, str] = os.environ) -> str:
    """Return the API key for `/metrics` from the environment, empty for none; raises ConfigError for a missing file."""
    file = environment.get(f"{METRICS_KEY}_FILE")
    if not file:
        return environment.get(METRICS_KEY, "")
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigError(
            "the file with the API key for /metrics cannot be read", where=f"{METRICS_KEY}_FILE={file}"
        ) from error


def read_server(address: str, *, key: str = "", clock: Callable[[], float] = time.monotonic) -> ServerMetrics:
    """Read the metrics of a server; a server that does not answer is a result with its problem."""
    request = Request(f"{address.rstrip('/')}/metrics", headers={"Authorization": f"Bearer {key}"} if key else {})
    try:
        with open_url(request, timeout_s=TIMEOUT_S) as response:
            text = response.read(MAX_BYTES).decode("utf-8", errors="replace")
    except KeyNotSent as error:
        return ServerMetrics(address=address, at_s=clock(), problem=str(error))
    except HTTPError as error:
        error.close()
        needs_key = error.code in (401, 403)
        problem = f"it refuses to show its metrics: set {METRICS_KEY}" if needs_key else f"it answers {error.code}"
        return ServerMetrics(address=address, at_s=clock(), problem=problem)
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        what = "it refused the connection" if isinstance(reason, ConnectionRefusedError) else _problem(reason)
        return ServerMetrics(address=address, at_s=clock(), problem=what)
    samples = parse_metrics(text)
    if "headway_workers" not in samples:
        return ServerMetrics(address=address, at_s=clock(), problem="what answers there is not a headway server")
    return ServerMetrics(address=address, at_s=clock(), samples=samples)


def _problem(reason: object) -> str:
    if isinstance(reason, TimeoutError):
        return f"it did not answer within {TIMEOUT_S:g} s"
    return "it cannot be reached" if isinstance(reason, OSError) else "it sent no valid answer"


class ServerReader:
    """Reads the metrics of a project's servers, every few seconds while pages ask for them, and keeps the last minutes.

    `declared` is False for the one server of `[serve]`, which need not run.
    """

    def __init__(self, config: Config) -> None:
        self.addresses = server_addresses(config)
        self.declared = bool(config[UiSection].servers)
        self._seen: deque[tuple[ServerMetrics, ...]] = deque()
        self._lock = threading.Lock()
        self._reading = threading.Lock()
        self._asked_s = 0.0
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def read(self) -> tuple[ServerMetrics, ...]:
        """Read every server now, all at once."""
        if not self.addresses:
            return ()
        try:
            key = metrics_key()
        except ConfigError as error:
            return tuple(
                ServerMetrics(address=one, at_s=time.monotonic(), problem=error.what) for one in self.addresses
            )
        with ThreadPoolExecutor(min(len(self.addresses), 16)) as pool:
            found = tuple(pool.map(lambda address: read_server(address, key=key), self.addresses))
        with self._lock:
            self._seen.append(found)
            while self._seen and found[0].at_s - self._seen[0][0].at_s > KEEP_S:
                self._seen.popleft()
        return found

    def latest(self) -> tuple[ServerMetrics, ...]:
        """Return the last metrics, read now unless they are fresh; from then on they are read in the background."""
        self._asked_s = time.monotonic()
        with self._reading:
            last = self._last()
            if self.addresses and (not last or time.monotonic() - last[0].at_s > 2 * SCRAPE_S):
                last = self.read()
            self._start()
        return last

    def before(self, seconds: float) -> dict[str, ServerMetrics] | None:
        """Return the metrics by address from so long before the last ones, or the oldest since; None without any."""
        with self._lock:
            seen = list(self._seen)
        if len(seen) < 2:
            return None
        since = seen[-1][0].at_s - seconds
        old = next((found for found in reversed(seen[:-1]) if found[0].at_s <= since), seen[0])
        return {one.address: one for one in old}

    def traffic(self, model: str, *, seconds: float) -> ModelTraffic | None:
        """Return a model's traffic of the last seconds, None before the servers were read twice."""
        before = self.before(seconds)
        return None if before is None else count_traffic(model, self._last(), before)

    def _last(self) -> tuple[ServerMetrics, ...]:
        with self._lock:
            return self._seen[-1] if self._seen else ()

    def _start(self) -> None:
        if self.addresses and not self._ended.is_set() and (self._thread is None or not self._thread.is_alive()):
            self._thread = threading.Thread(target=self._follow, name="metrics of servers", daemon=True)
            self._thread.start()

    def _follow(self) -> None:
        while not self._ended.wait(SCRAPE_S) and time.monotonic() - self._asked_s < IDLE_S:
            self.read()

    def close(self) -> None:
        """End the reading in the background."""
        self._ended.set()
