"""Intervals of shares that hold near 0 and 1, and with few groups: Clopper-Pearson's on the effective rows.

A share of which no event was seen has no variance between groups, yet it is not known to be 0: none of 143 rows allows
2.1 %. Coverage and width are measured by `python bench/evidence.py coverage_edge`.
"""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

import msgspec
import numpy as np

from headway.core.arrays import Floats
from headway.core.evidence import Measurement
from headway.evaluation.statistics.intervals import (
    LEVEL,
    MIN_GROUPS,
    SHARE,
    Sample,
    linearised_variance,
    significant_autocorrelation,
)

CLOPPER_PEARSON = "Clopper-Pearson on effective rows"
UNSEEN = 4.0
"""Rows that may differ though none was seen to: the variance of a paired difference counts so many more."""
MANY_EVENTS = 20.0
"""Effective events from which a jackknife of them is near the truth."""
_FEW_EVENTS, _MANY_EVENTS = 5.0, 100.0
_NEWTON_STEPS, _FRACTION_TERMS, _PRECISION, _TINY = 100, 10_000, 1e-13, 1e-290


def upper_share(share: float, rows: float, alpha: float) -> float:
    """Return the upper end of Clopper and Pearson (1934) of a share of `rows`, each of them wrong by chance `alpha`.

    `rows`, and the number of events among them, may be fractions (Korn and Graubard 1998).

    >>> round(upper_share(0.0, 143, 0.05), 4), round(upper_share(0.0, 299, 0.05), 5)
    (0.0207, 0.00997)
    """
    if not share:
        return float(1 - alpha ** (1 / rows))
    return 1.0 if share >= 1 else _beta_quantile(share * rows + 1, (1 - share) * rows, alpha)


def lower_share(share: float, rows: float, alpha: float) -> float:
    """Return the lower end, in the same way."""
    return 1.0 - upper_share(1.0 - share, rows, alpha)


def rows_below(share: float, limit: float, alpha: float, *, power: float = 0.9, max_rows: float = math.inf) -> float:
    """Return the effective rows of which `share` shows that it is below a limit, with that power; infinite beyond most.

    >>> rows_below(0.0, 0.01, 0.05)
    299.0
    """
    if share >= limit:
        return math.inf
    z = NormalDist().inv_cdf(power)

    def shows(rows: float) -> bool:
        observed = min(share + z * math.sqrt(share * (1 - share) / rows), 1.0)
        return upper_share(observed, rows, alpha) <= limit

    low, high = 0.0, 1.0
    while not shows(high):
        low, high = high, 2 * high
        if low > max_rows:
            return math.inf
    while high - low > 1:
        middle = math.floor((low + high) / 2)
        low, high = (low, float(middle)) if shows(middle) else (float(middle), high)
    return high if high <= max_rows else math.inf


def chance_of_at_most(events: int, rows: int, share: float) -> float:
    """Return the chance of at most so many events among `rows`, each of them one by chance `share` in (0, 1).

    >>> round(chance_of_at_most(1, 2, 0.5), 4), round(chance_of_at_most(1, 299, 0.01), 4)
    (0.75, 0.1991)
    """
    return 1.0 if events >= rows else _beta_tail(share, events + 1, rows - events)


def share_measurement(name: str, share: float, effective_rows: float, sample: Sample) -> Measurement:
    """Build the two-sided interval of a share; below MIN_GROUPS groups none is known.

    `se` is that of Agresti and Coull (1998), with two more events and two more rows without one: it is never 0, and is
    what differences of shares are made of. The bounds themselves are those of `effective_rows`.
    """
    share = min(max(share, 0.0), 1.0)
    has_interval = sample.n_groups >= MIN_GROUPS and math.isfinite(effective_rows)
    alpha = (1 - LEVEL) / 2
    middle = (share * effective_rows + 2) / (effective_rows + 4) if has_interval else share
    return Measurement(
        name=name,
        value=share,
        low=lower_share(share, effective_rows, alpha) if has_interval else 0.0,
        high=upper_share(share, effective_rows, alpha) if has_interval else 1.0,
        method=CLOPPER_PEARSON,
        n_rows=sample.n_rows,
        n_groups=sample.n_groups,
        level=LEVEL,
        se=math.sqrt(middle * (1 - middle) / effective_rows) if has_interval else None,
        dof=float(sample.n_groups - 1) if has_interval else None,
        bounds=SHARE,
        effective_rows=effective_rows if has_interval else msgspec.UNSET,
    )


def groups_share(name: str, hits: Floats, rows: Floats, sample: Sample) -> Measurement:
    """Measure a share by its events and rows in each group, both (groups,), by weight; at least one row is needed.

    No continuous quantity is known of the rows: with few events, rows of a group count as one.
    """
    hits, rows = hits[rows > 0], rows[rows > 0]
    count, total = float(sample.n_rows), float(rows.sum())
    max_effect = count * float(np.square(rows).sum()) / total**2
    with np.errstate(divide="ignore", invalid="ignore"):
        independent = effective_rows(
            hits[None],
            rows[None],
            n_rows=np.array([count]),
            min_effect=np.array([min(1.0, max_effect)]),
            max_effect=np.array([max_effect]),
            related=None,
        )
    return share_measurement(name, float(hits.sum()) / total, float(independent[0]), sample)


def effective_rows(
    hits: Floats,
    rows: Floats,
    *,
    n_rows: Floats,
    min_effect: Floats,
    max_effect: Floats,
    related: tuple[Floats, Floats] | None,
) -> Floats:
    """Return how many independent rows carry as much as these, for many shares at once, float64 (shares,).

    The rows over the design effect, which is at least that of the events between groups. A continuous quantity of the
    same rows, such as how far probabilities moved, has a design effect that is known even if no event was seen. Its
    excess counts for less the more events there are: half at 100 effective ones. Without such a quantity, or where it
    is constant, that of groups whose rows all agree takes its place, and counts half at 5.

    Parameters
    ----------
    hits, rows : ndarray of shape (shares, groups)
        Events, and rows, by weight.
    n_rows : ndarray of shape (shares,)
        Number of rows.
    min_effect, max_effect : ndarray of shape (shares,)
        Design effect of independent rows (1 without weights), and of groups whose rows all agree.
    related : tuple of two ndarrays, optional
        Sums of a continuous quantity, of shape (shares, groups), and its variance over rows, of shape (shares,).
    """
    share = hits.sum(1) / rows.sum(1)
    variance, influence = linearised_variance(hits, rows)
    own = _ratio(n_rows * variance, share * (1 - share))
    lags = significant_autocorrelation(influence)
    events = np.minimum(share, 1 - share) * n_rows / np.maximum(own, min_effect)
    excess = _mixed(np.clip(own, min_effect, max_effect), max_effect, events / (events + _FEW_EVENTS))
    if related is not None:
        sums, spread = related
        other_variance, other_influence = linearised_variance(sums, rows)
        other = _mixed(own, _ratio(n_rows * other_variance, spread), events / (events + _MANY_EVENTS))
        excess = np.where(spread > np.finfo(np.float64).tiny, np.maximum(own, other), excess)
        lags = np.maximum(lags, significant_autocorrelation(other_influence))
    effect = np.clip(excess, min_effect, max_effect * lags)
    independent: Floats = np.maximum(n_rows / effect, 1.0)
    return independent


def _mixed(own: Floats, other: Floats, trust: Floats) -> Floats:
    return trust * own + (1 - trust) * other


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Return the ratio, 0 where the denominator is rounding alone."""
    some = denominator > np.finfo(np.float64).tiny
    ratio: Floats = np.where(some, numerator, 0.0) / np.where(some, denominator, 1.0)
    return ratio


@lru_cache(maxsize=4096)
def _beta_quantile(a: float, b: float, alpha: float) -> float:
    """Return the number that a beta variable exceeds by chance `alpha`, by Newton's steps within a bracket."""
    low, high = 0.0, 1.0
    mean = a / (a + b)
    quantile = min(mean + NormalDist().inv_cdf(1 - alpha) * math.sqrt(mean * (1 - mean) / (a + b + 1)), (1 + mean) / 2)
    constant = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    for _ in range(_NEWTON_STEPS):
        tail = _beta_tail(quantile, a, b)
        low, high = (quantile, high) if tail > alpha else (low, quantile)
        density = math.exp(constant + (a - 1) * math.log(quantile) + (b - 1) * math.log1p(-quantile))
        before, quantile = quantile, (low + high) / 2
        if tail > 0 and density > _TINY:  # on the logarithm of the tail, which is nearly straight
            step = before + tail * math.log(tail / alpha) / density
            quantile = step if low < step < high else quantile
        if abs(quantile - before) <= _PRECISION * before:
            break
    return quantile


def _beta_tail(p: float, a: float, b: float) -> float:
    """Return the chance that a beta variable exceeds p, in (0, 1)."""
    if p < (a + 1) / (a + b + 2):
        return 1.0 - _incomplete_beta(p, a, b)
    return _incomplete_beta(1.0 - p, b, a)


def _incomplete_beta(x: float, a: float, b: float) -> float:
    """Return the regularised incomplete beta function by its continued fraction (DLMF 8.17.22), for x below the mean.

    The fraction is evaluated from the front (Lentz 1976).
    """
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x) - math.log(a)
    )
    value, above, below = 1.0, 1.0, 0.0
    for term in range(1, _FRACTION_TERMS):
        m = term // 2
        if term % 2:
            term_value = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            term_value = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        below = 1.0 / _not_zero(1.0 + term_value * below)
        above = _not_zero(1.0 + term_value / above)
        value *= above * below
        if abs(above * below - 1.0) < _PRECISION:
            break
    return front / value


def _not_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
