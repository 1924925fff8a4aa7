"""Pools evidence on several training seeds: every interval includes the variance of training.

The released model is one draw of the recipe, so its expectation is the mean over seeds, and its variance that of the
groups plus that of one draw about the mean of S seeds: sd^2 (1 + 1 / S). Degrees of freedom are Satterthwaite's (1946).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from msgspec.structs import replace

from headway.core.evidence import Evidence, Measurement
from headway.core.student import student_quantile
from headway.evaluation.statistics.intervals import LEVEL, UNBOUNDED, Estimate

MIN_DOF = 3


def pool_seeds(evidence: Sequence[Evidence]) -> Evidence:
    """Return the evidence on the first seed with the intervals of all, measured on the same rows.

    Counts and maxima take the largest value. With fewer than 3 degrees of freedom the interval is unknown: more
    seeds are needed.
    """
    first, *others = evidence
    if not others:
        return first
    measured = [[single.find(found.name, found.slice) for single in evidence] for found in first.measurements]
    return replace(
        first,
        measurements=tuple(
            pool_measurements([measurement for measurement in same if measurement]) for same in measured
        ),
    )


def pool_measurements(same: Sequence[Measurement], *, ships_one: bool = True) -> Measurement:
    """Pool one measure of several trainings, within its bounds.

    Without `ships_one`, when the recipe is judged and no single model, the variance of seeds is that of their mean,
    sd^2 / S.
    """
    first = same[0]
    if first.n_groups == 0:
        return max(same, key=lambda measurement: measurement.value)
    if any(measurement.se is None for measurement in same) or len(same) < 2:
        return next((measurement for measurement in same if measurement.se is None), first)
    values = np.array([measurement.value for measurement in same])
    by_group = float(np.mean([(measurement.se or 0.0) ** 2 for measurement in same]))
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
    total = by_group + by_seed
    return total**2 / (by_group**2 / of_groups + by_seed**2 / of_seeds) if total else of_groups


def _pooled_measurement(first: Measurement, estimate: Estimate) -> Measurement:
    min_value, max_value = first.bounds or UNBOUNDED
    known = estimate.dof >= MIN_DOF
    half = student_quantile(0.5 + LEVEL / 2, estimate.dof) * estimate.se if known else math.inf
    return replace(
        first,
        value=estimate.value,
        low=max(estimate.value - half, min_value),
        high=min(estimate.value + half, max_value),
        se=estimate.se if known else None,
        dof=estimate.dof if known else None,
        method=estimate.method,
        effective_rows=msgspec.UNSET,
    )
