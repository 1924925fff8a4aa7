"""Percentiles of times with intervals that need no distribution: order statistics, honest where times share fate.

A stall strikes many requests at once, so that n requests may say no more than a few. How much less is measured by the
stretches of time in which they were asked, as in surveys by clusters (Woodruff 1952, Korn and Graubard 1998).
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from headway.core.arrays import Floats, Ints
from headway.core.errors import NotApplicable
from headway.core.evidence import Measurement
from headway.evaluation.statistics.intervals import LEVEL, ratio_of_sums

CONFIDENCE = 0.99


@cache
def min_sample_size(share: float, *, beyond: int = 1) -> int:
    """Requests without which a percentile is no claim: with so many, `beyond` slower ones show it at 99 %.

    >>> min_sample_size(0.99), min_sample_size(0.99, beyond=0), min_sample_size(0.9)
    (662, 459, 64)
    """
    count = beyond + 1
    while binomial_cdf(count, 1 - share)[beyond] > 1 - CONFIDENCE:
        count += 1
    return count


def binomial_cdf(count: int, share: float) -> Floats:
    """The chances that at most 0, 1, ... count of so many come true, each with the chance `share`; float64 [count + 1].

    >>> binomial_cdf(2, 0.5).round(2).tolist()
    [0.25, 0.75, 1.0]
    """
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, count + 1)))])
    some = np.arange(count + 1)
    chances = logs[-1] - logs - logs[::-1] + some * math.log(share) + (count - some) * math.log1p(-share)
    return np.asarray(np.minimum(np.cumsum(np.exp(chances)), 1.0))


def percentile_interval(
    name: str, values: Floats, stretches: Ints, share: float, *, of: tuple[str, str] = ("requests", "stretches of time")
) -> Measurement:
    """A percentile of values [n] (infinite for what never came), each of a stretch of time, int64 [n].

    `of` are the words for a value and for what values share. The ends of its interval are values that were seen, of
    95 %. It has no groups, for the judge weighs ends as they are: `method` says what n was worth. Raises NotApplicable
    where that is too little, or too many never came.
    """
    ordered = np.sort(values)
    count, value = len(values), float(np.quantile(ordered, share, method="inverted_cdf")) if len(values) else 0.0
    worth = int(count / _design_effect(values > value, stretches, share)) if count else 0
    if worth < min_sample_size(share):
        told = f"{count:,} {of[0]}" if worth == count else f"{count:,} {of[0]} that are worth {worth:,}"
        raise NotApplicable(
            f"{name} is no claim from {told}: it needs {min_sample_size(share):,}",
            hint="headway evaluate --budget 5m, or a higher [evaluate] rate_per_s",
        )
    low, high = (ordered[place] for place in _interval_ranks(worth, count, share))
    if not math.isfinite(high):
        raise NotApplicable(f"{name} is not known: too many of {count:,} {of[0]} were not answered right")
    method = f"order statistics, worth {worth:,} {of[0]} over {len(np.unique(stretches)):,} {of[1]}"
    return Measurement(name=name, value=value, low=float(low), high=float(high), method=method, n_rows=count)


def median_interval(name: str, values: Floats, *, of: str) -> Measurement:
    """The median of values [n] that were measured one after the other, with ends that were seen, of 95 % or more.

    Raises NotApplicable for fewer than `needed(0.5)`, which are 11: of so few the ends say nothing.
    """
    if len(values) < min_sample_size(0.5):
        raise NotApplicable(
            f"{name} is no claim from {len(values)} {of}: it needs {min_sample_size(0.5)}",
            hint="headway evaluate --budget 5m",
        )
    found = percentile_interval(name, values, np.zeros(len(values), dtype=np.int64), 0.5, of=(of, "run"))
    return replace(found, method=f"median over {of}, order statistics")


def _design_effect(slower: NDArray[np.bool_], stretches: Ints, share: float) -> float:
    """How many requests say what one would say alone: the variance by stretches over that of lone requests, from 1."""
    _, places = np.unique(stretches, return_inverse=True)
    rows = np.bincount(places).astype(np.float64)
    if len(rows) < 2:
        return 1.0
    se = ratio_of_sums(np.bincount(places, weights=slower).astype(np.float64)[None], rows[None])[0].se
    return max(1.0, se**2 * len(slower) / (share * (1 - share)))


def _interval_ranks(worth: int, count: int, share: float) -> tuple[int, int]:
    """The places from 0, among `count` in order, of the ends that so many lone requests would have."""
    chances = binomial_cdf(worth, share)
    low = int(np.searchsorted(chances, (1 - LEVEL) / 2, side="right"))
    high = int(np.searchsorted(chances, (1 + LEVEL) / 2)) + 1
    return max(math.floor(low / worth * count) - 1, 0), min(math.ceil(high / worth * count), count) - 1
