"""Service-level objectives of `[slo]`: the error budgets, and their burn rates.

A burn rate of 1 uses up a budget in exactly its period. The windows are those of the multi-window alerts in chapter 5
of Google's Site Reliability Workbook: page at 14.4 over 1h and 5m, or at 6 over 6h and 30m.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import NamedTuple

from headway.core.config import SloSection
from headway.serving.telemetry.metrics import Metrics, RequestCounts

WINDOWS_S = {"5m": 300, "30m": 1800, "1h": 3600, "6h": 21_600}
SAMPLE_S = 15.0
_SLOW_SHARE = 0.01  # the share that a 99th percentile allows


class Sample(NamedTuple):
    """Request counts at a time of the loop's clock."""

    at_s: float
    counts: RequestCounts


class ErrorBudget:
    """Samples the request counts every 15 s, and keeps them for the longest window."""

    def __init__(self, slo: SloSection, count: Callable[[], RequestCounts], *, now_s: float) -> None:
        self._allowed = {"latency": _SLOW_SHARE, "availability": 1 - slo.availability}
        self._count = count
        self._samples = [Sample(now_s, count())]

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Sample now, and regularly as long as the loop runs."""
        self.sample(loop.time())
        loop.call_later(SAMPLE_S, self.start, loop)

    def sample(self, now_s: float) -> None:
        """Store the counts, and drop samples that no window reaches."""
        samples = self._samples
        samples.append(Sample(now_s, self._count()))
        del samples[: self._first_index(now_s, max(WINDOWS_S.values()))]

    def lines(self, now_s: float) -> Iterator[str]:
        """Yield the Prometheus text: requests and bad requests of each objective, and the burn rates."""
        served = self._count()
        families = (
            ("headway_slo_requests_total", "counter", "Requests that an objective counts.", _counted(served)),
            (
                "headway_slo_bad_total",
                "counter",
                "Requests that miss an objective: slow ones, or 5xx and refused ones.",
                _bad(served),
            ),
            ("headway_slo_allowed", "gauge", "Share of requests that may miss an objective.", self._allowed),
        )
        for name, kind, message, values in families:
            yield from (f"# HELP {name} {message}", f"# TYPE {name} {kind}")
            yield from (f'{name}{{objective="{objective}"}} {value:.12g}' for objective, value in values.items())
        yield "# HELP headway_slo_burn Burn rate of the error budget in a window."
        yield "# TYPE headway_slo_burn gauge"
        for window, seconds in WINDOWS_S.items():
            for objective, burn in self._burns(served, self._samples[self._first_index(now_s, seconds)].counts):
                yield f'headway_slo_burn{{objective="{objective}",window="{window}"}} {burn:.6g}'

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


def track_objectives(slo: SloSection, metrics: Metrics, loop: asyncio.AbstractEventLoop) -> None:
    """Add the objectives to the metrics, as long as the loop runs."""
    budget = ErrorBudget(slo, lambda: metrics.request_counts(slo.p99_ms), now_s=loop.time())
    budget.start(loop)
    metrics.extra_lines = lambda: budget.lines(loop.time())


def _counted(served: RequestCounts) -> dict[str, int]:
    return {"latency": served.answered, "availability": served.answered + served.failed}


def _bad(served: RequestCounts) -> dict[str, int]:
    return {"latency": served.slow, "availability": served.failed}
