"""Shapes of load: when each request is due, at one mean rate."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from headway.evaluation.statistics.intervals import Floats

BURST = 0.1
"""The share of each second in which all requests of a burst come."""


def _bursts(share: Floats, seconds: float) -> Floats:
    turns = max(1, round(seconds))
    whole, rest = np.divmod(share * turns, 1.0)
    return np.asarray((whole + BURST * rest) / turns)


SHAPES: dict[str, Callable[[Floats, float], Floats]] = {
    "steady": lambda share, _: share,
    "bursts": _bursts,
    "ramp": lambda share, _: np.sqrt(share),
}
"""`steady` is a constant rate; `bursts` are ten times as fast for a tenth of each second; `ramp` goes from 0 to twice
the rate. Each maps the share of requests that are done to the share of time that has gone."""


def due(shape: str, *, rate_per_s: float, seconds: float, seed: int = 0) -> Floats:
    """When requests are due, s, in order: as callers come who know nothing of each other (Poisson), seeded."""
    shares = np.sort(np.random.default_rng(seed).random(max(1, round(rate_per_s * seconds))))
    return SHAPES[shape](shares, seconds) * seconds
