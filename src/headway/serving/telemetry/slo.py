"""The service-level objectives of `[slo]`: what is allowed to go wrong, and how fast that budget burns.

A burn rate of 1 uses a budget up in exactly the period that it is for; the windows are those of the multi-window
alerts in chapter 5 of Google's Site Reliability Workbook: page at 14.4 over 1h and 5m, or at 6 over 6h and 30m.
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
_SLOW_SHARE = 0.01  # what a 99th percentile allows


class Sample(NamedTuple):
    """What had been served at a time of the loop's clock."""

    at_s: float
    served: RequestCounts


class ErrorBudget:
    """Looks at what was served every quarter of a minute, for as long as the longest window."""

    def __init__(self, slo: SloSection, served: Callable[[], RequestCounts], *, now_s: float) -> None:
        self._allowed = {"latency": _SLOW_SHARE, "availability": 1 - slo.availability}
        self._served = served
        self._samples = [Sample(now_s, served())]

    def follow(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look now, and again as long as the loop runs."""
        self.look(loop.time())
        loop.call_later(SAMPLE_S, self.follow, loop)

    def look(self, now_s: float) -> None:
        """Keep what was served until now, and forget what no window reaches."""
        samples = self._samples
        samples.append(Sample(now_s, self._served()))
        del samples[: self._begin(now_s, max(WINDOWS_S.values()))]

    def lines(self, now_s: float) -> Iterator[str]:
        """The Prometheus text: what the objectives judge, what is bad of it, and how fast each budget burns."""
        served = self._served()
        families = (
            ("headway_slo_requests_total", "counter", "Requests that an objective judges.", _judged(served)),
            (
                "headway_slo_bad_total",
                "counter",
                "Requests that miss it: slow, or 5xx and refused.",
                _bad(served),
            ),
            ("headway_slo_allowed", "gauge", "The share of them that may.", self._allowed),
        )
        for name, kind, message, values in families:
            yield from (f"# HELP {name} {message}", f"# TYPE {name} {kind}")
            yield from (f'{name}{{objective="{objective}"}} {value:.12g}' for objective, value in values.items())
        yield "# HELP headway_slo_burn Budget burnt in a window over what the window may burn."
        yield "# TYPE headway_slo_burn gauge"
        for window, seconds in WINDOWS_S.items():
            for objective, burn in self._burns(served, self._samples[self._begin(now_s, seconds)].served):
                yield f'headway_slo_burn{{objective="{objective}",window="{window}"}} {burn:.6g}'

    def _begin(self, now_s: float, seconds: float) -> int:
        """The place of the last sample that a window holds wholly, or of the first since the start."""
        return max(0, bisect_right(self._samples, now_s - seconds, key=lambda sample: sample.at_s) - 1)

    def _burns(self, now: RequestCounts, then: RequestCounts) -> Iterator[tuple[str, float]]:
        """A burn rate an objective, 0 where nothing was asked or nothing is allowed and nothing was bad."""
        since = RequestCounts(*(after - before for after, before in zip(now, then, strict=True)))
        judged, bad = _judged(since), _bad(since)
        for objective, allowed in self._allowed.items():
            share = bad[objective] / judged[objective] if judged[objective] else 0.0
            yield objective, share / allowed if share and allowed else (float("inf") if share else 0.0)


def track_objectives(slo: SloSection, metrics: Metrics, loop: asyncio.AbstractEventLoop) -> None:
    """Let the metrics tell what becomes of the objectives, for as long as the loop runs."""
    budget = ErrorBudget(slo, lambda: metrics.served(slo.p99_ms), now_s=loop.time())
    budget.follow(loop)
    metrics.more = lambda: budget.lines(loop.time())


def _judged(served: RequestCounts) -> dict[str, int]:
    return {"latency": served.answered, "availability": served.answered + served.failed}


def _bad(served: RequestCounts) -> dict[str, int]:
    return {"latency": served.slow, "availability": served.failed}
