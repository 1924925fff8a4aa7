"""Percentiles with distribution-free intervals: order statistics that account for dependent values.

A stall slows many requests at once, so that n requests may carry the information of a few. The design effect is
estimated from time buckets, as in cluster surveys (Woodruff 1952, Korn and Graubard 1998).
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from msgspec.structs import replace

from headway.core.arrays import Bools, Floats, Ints
from headway.core.errors import NotApplicable
from headway.core.evidence import Measurement
from headway.evaluation.statistics.intervals import LEVEL, ratio_of_sums

CONFIDENCE = 0.99


@cache
def min_sample_size(share: float, *, beyond: int = 1) -> int:
    """Return the requests that a percentile needs, so that `beyond` slower ones confirm it at 99 %.

    >>> min_sample_size(0.99), min_sample_size(0.99, beyond=0), min_sample_size(0.9)
    (662, 459, 64)
    """
    count = beyond + 1
    while binomial_cdf(count, 1 - share)[beyond] > 1 - CONFIDENCE:
        count += 1
    return count


def binomial_cdf(count: int, share: float) -> Floats:
    """Return the binomial distribution function at 0, 1, ..., count for the probability `share`, float64 (count + 1,).

    >>> binomial_cdf(2, 0.5).round(2).tolist()
    [0.25, 0.75, 1.0]
    """
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, count + 1)))])
    some = np.arange(count + 1)
    chances = logs[-1] - logs - logs[::-1] + some * math.log(share) + (count - some) * math.log1p(-share)
    return np.asarray(np.minimum(np.cumsum(np.exp(chances)), 1.0))


def percentile_interval(
    name: str, values: Floats, buckets: Ints, share: float, *, of: tuple[str, str] = ("requests", "time buckets")
) -> Measurement:
    """Estimate a percentile with a 95 % interval between observed values.

    Parameters
    ----------
    name : str
        Name of the measure.
    values : ndarray of shape (n,)
        Infinite for requests without an answer.
    stretches : ndarray of shape (n,)
        Time bucket, or other cluster, of each value.
    share : float
        The percentile, in (0, 1).
    of : tuple of str
        Words for a value and for a cluster.

    Returns
    -------
    Measurement
        Without groups, since the judge reads its ends; `method` gives the effective sample size.

    Raises
    ------
    NotApplicable
        If the effective sample is too small, or too many requests have no answer.
    """
    ordered = np.sort(values)
    count, value = len(values), float(np.quantile(ordered, share, method="inverted_cdf")) if len(values) else 0.0
    effective = int(count / _design_effect(values > value, buckets, share)) if count else 0
    if effective < min_sample_size(share):
        sample = f"{count:,}" if effective == count else f"{count:,} worth {effective:,} independent ones"
        raise NotApplicable(
            f"{name} needs {min_sample_size(share):,} {of[0]}, there are {sample}",
            hint="headway evaluate --budget 5m, or a higher [evaluate] rate_per_s",
        )
    low, high = (ordered[rank] for rank in _interval_ranks(effective, count, share))
    if not math.isfinite(high):
        raise NotApplicable(f"{name} is unknown: too many of {count:,} {of[0]} had no right answer")
    method = f"order statistics, worth {effective:,} independent {of[0]} over {len(np.unique(buckets)):,} {of[1]}"
    return Measurement(name=name, value=value, low=float(low), high=float(high), method=method, n_rows=count)


def median_interval(name: str, values: Floats, *, of: str) -> Measurement:
    """Estimate the median of sequential values (n,) with an interval of at least 95 %.

    Raises NotApplicable for fewer than `min_sample_size(0.5)` values, which is 11.
    """
    if len(values) < min_sample_size(0.5):
        raise NotApplicable(
            f"{name} needs {min_sample_size(0.5)} {of}, there are {len(values)}",
            hint="headway evaluate --budget 5m",
        )
    found = percentile_interval(name, values, np.zeros(len(values), dtype=np.int64), 0.5, of=(of, "run"))
    return replace(found, method=f"median over {of}, order statistics")


def _design_effect(slower: Bools, buckets: Ints, share: float) -> float:
    """Return the variance by time buckets over that of independent requests, at least 1."""
    _, codes = np.unique(buckets, return_inverse=True)
    rows = np.bincount(codes).astype(np.float64)
    if len(rows) < 2:
        return 1.0
    se = ratio_of_sums(np.bincount(codes, weights=slower).astype(np.float64)[None], rows[None])[0].se
    return max(1.0, se**2 * len(slower) / (share * (1 - share)))


def _interval_ranks(effective: int, count: int, share: float) -> tuple[int, int]:
    """Return the ranks from 0, among `count`, of the interval that `worth` independent requests would have."""
    chances = binomial_cdf(effective, share)
    low = int(np.searchsorted(chances, (1 - LEVEL) / 2, side="right"))
    high = int(np.searchsorted(chances, (1 + LEVEL) / 2)) + 1
    return max(math.floor(low / effective * count) - 1, 0), min(math.ceil(high / effective * count), count) - 1
