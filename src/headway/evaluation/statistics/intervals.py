"""Intervals that hold their promise where rows share fate: everything varies by group, never by row.

Which method answers which question, and what each was measured to cover, is in docs/decisions.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

import numpy as np

from headway.core.arrays import Floats
from headway.core.evidence import Measurement

MIN_GROUPS = 20
LEVEL = 0.95
UNBOUNDED = (-sys.float_info.max, sys.float_info.max)
SHARE = (0.0, 1.0)
CHANGE = (-1.0, 1.0)

_ROUNDING = 1e-14

JACKKNIFE = "leave-one-group-out jackknife, neighbours lean, t"
LINEARISED = "ratio of sums linearised by group, neighbours lean, t"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What a number was taken of: rows, groups, and the range [least, most] that the measure can have."""

    n_rows: int
    n_groups: int
    bounds: tuple[float, float] = UNBOUNDED


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A value with its standard error and the degrees of freedom of that; `method` in words."""

    value: float
    se: float
    dof: float
    method: str


def student_quantile(p: float, dof: float) -> float:
    """The p-quantile of Student's t, p in (0, 1), dof >= 3; relative error < 1e-7 for dof 3 to 1,000 and p to 1 - 1e-6.

    Abramowitz and Stegun 26.7.5, then Newton steps on the distribution function.

    >>> round(student_quantile(0.975, 61), 6)
    1.999624
    """
    return _upper_quantile(p, dof) if p >= 0.5 else -_upper_quantile(1 - p, dof)


@cache
def _upper_quantile(p: float, dof: float) -> float:
    z = NormalDist().inv_cdf(p)
    t: float = z + (z**3 + z) / (4 * dof) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * dof**2)
    for _ in range(8):
        t -= _newton(t, p, dof)
    return t


def _newton(t: float, p: float, dof: float) -> float:
    """(F(t) - p) / f(t); with t = sqrt(dof) tan(angle), F is 1/2 + c times the integral of cos(angle)^(dof-1)."""
    c = math.exp(math.lgamma((dof + 1) / 2) - math.lgamma(dof / 2)) / math.sqrt(math.pi)
    half = math.atan(t / math.sqrt(dof)) / 2
    nodes, weights = _gauss()
    integral = half * float(weights @ np.cos(half * (nodes + 1)) ** (dof - 1))
    density: float = c / math.sqrt(dof) * (1 + t * t / dof) ** (-(dof + 1) / 2)
    return (0.5 + c * integral - p) / density


@cache
def _gauss() -> tuple[Floats, Floats]:
    nodes, weights = np.polynomial.legendre.leggauss(64)
    return np.asarray(nodes), np.asarray(weights)


def t_interval(name: str, estimate: Estimate, sample: Sample) -> Measurement:
    """The two-sided interval value +- t(dof) * se, clipped to the bounds of the measure, as is rounding beyond them.

    Below FEWEST_GROUPS groups (dof + 1), and where se is no number, the data cannot say: then there is no se, and the
    interval is the whole range.
    """
    least, most = sample.bounds
    known = estimate.dof >= MIN_GROUPS - 1 and math.isfinite(estimate.se)
    half = student_quantile(0.5 + LEVEL / 2, estimate.dof) * estimate.se if known else math.inf
    return Measurement(
        name=name,
        value=min(max(estimate.value, least), most),
        low=min(max(estimate.value - half, least), most),
        high=max(min(estimate.value + half, most), least),
        method=estimate.method,
        n_rows=sample.n_rows,
        n_groups=sample.n_groups,
        level=LEVEL,
        se=float(estimate.se) if known else None,
        dof=float(estimate.dof) if known else None,
        bounds=None if sample.bounds == UNBOUNDED else sample.bounds,
    )


def exact_measurement(name: str, value: float, *, n_rows: int, method: str, slice: str = "") -> Measurement:
    """A count or a maximum over the rows at hand: no interval, for it says nothing of other rows."""
    return Measurement(name=name, value=value, low=value, high=value, method=method, n_rows=n_rows, slice=slice)


def jackknife_interval(name: str, value: float, without_each: Floats, sample: Sample) -> Measurement:
    """One number, or a paired difference on the same groups; `without_each` [G] is it with each group left out.

    se^2 = (G-1)/G * sum (theta_-g - mean)^2, t with G-1 degrees of freedom (MacKinnon, Nielsen and Webb 2023), times
    `autocorrelation_factor` where groups in order of time lean on their neighbours.
    """
    estimate = Estimate(
        value=value, se=float(jackknife_error(without_each)), dof=len(without_each) - 1, method=JACKKNIFE
    )
    return t_interval(name, estimate, sample)


def jackknife_error(without_each: Floats) -> Floats:
    """The standard error of `jackknife_interval`, for `without_each` [..., G] -> [...]."""
    count = without_each.shape[-1]
    influence = without_each - without_each.mean(-1, keepdims=True)
    error: Floats = np.sqrt((count - 1) / count * np.square(influence).sum(-1) * autocorrelation_factor(influence))
    return error


def mean_over_repeats(name: str, values: Floats, *, what: str, n_rows: int = 0) -> Measurement:
    """The mean of a quantity that was measured again and again; each time is a group, called `what` (`starts`)."""
    count = len(values)
    se = float(values.std(ddof=1)) / math.sqrt(count) if count > 1 else math.inf
    estimate = Estimate(value=float(values.mean()), se=se, dof=count - 1, method=f"mean over {what}, t")
    return t_interval(name, estimate, Sample(n_rows=n_rows or count, n_groups=count, bounds=(0.0, UNBOUNDED[1])))


def ratio_of_sums(sums: Floats, rows: Floats) -> list[Estimate]:
    """Means over rows of many slices at once: sums and rows, both [slices, G]; every slice must have a row.

    The variance is that of the linearised ratio over the groups which the slice has, G/(G-1) * sum ((s - d n) / N)^2,
    times `autocorrelation_factor`.
    """
    total, groups = rows.sum(1), (rows > 0).sum(1)
    values = sums.sum(1) / total
    influence = (sums - values[:, None] * rows) / total[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        errors = np.sqrt(np.square(influence).sum(1) * autocorrelation_factor(influence) * groups / (groups - 1))
    return [
        Estimate(value=float(value), se=float(se), dof=int(count) - 1, method=LINEARISED)
        for value, se, count in zip(values, errors, groups, strict=True)
    ]


def autocorrelation_factor(influence: Floats) -> Floats:
    """How much more a mean varies for groups that lean on their neighbours: (1 + r) / (1 - r), at least 1.

    `influence` [..., G] in order of time, centred -> [...]. r is the lag-1 correlation, freed of its bias in short
    series (Kendall 1954) and held in [0, 0.7]; the factor is that of a first-order autoregression. Groups in no order
    pay for it with intervals that are 4 to 6 % wider at 60 to 120 groups.
    """
    count = influence.shape[-1]
    corrected = (count * _correlation(influence) + 1) / max(count - 4, 1)
    r = np.clip(corrected, 0.0, 0.7)
    factor: Floats = (1 + r) / (1 - r)
    return factor


def _correlation(influence: Floats) -> Floats:
    """Lag-1 correlation of centred influence [..., G] -> [...]; 0 where there is none but rounding."""
    power = np.square(influence).sum(-1)
    neighbours = (influence[..., 1:] * influence[..., :-1]).sum(-1)
    some = power > influence.shape[-1] * _ROUNDING**2
    correlation: Floats = np.where(some, neighbours, 0.0) / np.where(some, power, 1.0)
    return correlation


def lag1_measurement(name: str, without_each: Floats, sample: Sample) -> Measurement:
    """Correlation of a group's influence with that of the group before it, groups in order of time.

    Far above 0 means that neighbours lean on each other, for which `jackknife_interval` pays with width. The standard error is
    that of no correlation, 1 / sqrt(G) (Bartlett).
    """
    count = len(without_each)
    value = float(_correlation(without_each - without_each.mean()))
    se = 1 / math.sqrt(count) if np.isfinite(without_each).all() else math.inf
    return t_interval(name, Estimate(value=value, se=se, dof=count - 1, method="lag-1 autocorrelation"), sample)
