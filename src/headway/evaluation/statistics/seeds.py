"""Pools evidence on several training seeds: every interval includes the variance of training.

The released model is one draw of the recipe, so its expectation is the mean over seeds, and its variance that of the
groups plus that of one draw about the mean of S seeds: sd^2 (1 + 1 / S). Degrees of freedom are Satterthwaite's (1946).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from msgspec.structs import replace

from headway.core.evidence import Evidence, Measurement
from headway.evaluation.statistics.intervals import LEVEL, UNBOUNDED, Estimate, student_quantile

MIN_DOF = 3


def pool_seeds(evidence: Sequence[Evidence]) -> Evidence:
    """Return the evidence on the first seed with the intervals of all, measured on the same rows.

    Counts and maxima take the largest value. If seeds leave fewer than 3 degrees of freedom there is no interval: more
    seeds are needed.
    """
    first, *others = evidence
    if not others:
        return first
    measured = [[each.find(found.name, found.slice) for each in evidence] for found in first.measurements]
    return replace(first, measurements=tuple(pool_measurements([each for each in same if each]) for same in measured))


def pool_measurements(same: Sequence[Measurement], *, ships_one: bool = True) -> Measurement:
    """Pool one measure of several trainings, within its bounds.

    Without `ships_one`, when the recipe is judged and no single model, the variance of seeds is that of their mean,
    sd^2 / S.
    """
    first = same[0]
    if first.n_groups == 0:
        return max(same, key=lambda each: each.value)
    if any(each.se is None for each in same) or len(same) < 2:
        return next((each for each in same if each.se is None), first)
    values = np.array([each.value for each in same])
    by_group = float(np.mean([(each.se or 0.0) ** 2 for each in same]))
    by_seed = float(values.var(ddof=1)) * (ships_one + 1 / len(same))
    dof = _dof(by_group, first.dof or MIN_DOF, by_seed, len(same) - 1)
    estimate = Estimate(
        value=float(values.mean()),
        se=math.sqrt(by_group + by_seed),
        dof=dof,
        method=f"{first.method}; mean of {len(same)} seeds with their variance",
    )
    return _pooled_measurement(first, estimate)


def _dof(by_group: float, of_groups: float, by_seed: float, of_seeds: int) -> float:
    whole = by_group + by_seed
    return whole**2 / (by_group**2 / of_groups + by_seed**2 / of_seeds) if whole else of_groups


def _pooled_measurement(first: Measurement, estimate: Estimate) -> Measurement:
    least, most = first.bounds or UNBOUNDED
    known = estimate.dof >= MIN_DOF
    half = student_quantile(0.5 + LEVEL / 2, estimate.dof) * estimate.se if known else math.inf
    return replace(
        first,
        value=estimate.value,
        low=max(estimate.value - half, least),
        high=min(estimate.value + half, most),
        se=estimate.se if known else None,
        dof=estimate.dof if known else None,
        method=estimate.method,
    )
