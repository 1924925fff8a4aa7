"""Compare one measurement with one limit: inside, outside or undecided, and how many groups would decide."""

from __future__ import annotations

import math
from dataclasses import dataclass

from headway.core.evidence import Measurement
from headway.core.verdict import Answer
from headway.evaluation.statistics.claims import groups_needed
from headway.evaluation.statistics.intervals import student_quantile

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A limit: at most `value`, or at least if `sign` is -1; `alpha` is the error rate allowed for a fail."""

    value: float
    sign: int
    alpha: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitResult:
    """The answer for one measurement, with its one-sided bounds on the harmful (`worst`) and the good (`best`) side.

    Both are None if the groups give no interval. `needed` is the number of groups that would decide with 90 % power if
    the measured value is true; infinite if more data of this kind would not help.
    """

    measurement: Measurement
    answer: Answer
    best: float | None = None
    worst: float | None = None
    needed: float = math.inf


def compare_with_limit(measurement: Measurement, limit: Limit, *, fewest_groups: int) -> LimitResult:
    """Pass if the 5 % bound is inside the limit, fail if the bound at its alpha is outside, else undecided."""
    if _too_few(measurement, fewest_groups):
        needed = fewest_groups if measurement.n_groups < fewest_groups else math.inf
        return LimitResult(measurement=measurement, answer="undecided", needed=needed)
    best, worst = _bounds(measurement, limit)
    at = limit.sign * limit.value
    answer: Answer = "pass" if worst <= at else "fail" if best > at else "undecided"
    needed = _needed(measurement, limit) if answer == "undecided" else measurement.n_groups
    return LimitResult(
        measurement=measurement, answer=answer, best=limit.sign * best, worst=limit.sign * worst, needed=needed
    )


def _too_few(measurement: Measurement, fewest_groups: int) -> bool:
    """Return True if there are too few groups for an interval; facts and anytime intervals need none."""
    if measurement.validity == "anytime" or measurement.n_groups == 0:
        return False
    return measurement.n_groups < fewest_groups or measurement.se is None or measurement.dof is None


def _bounds(measurement: Measurement, limit: Limit) -> tuple[float, float]:
    """Return the bounds (best, worst), mirrored so that less is better."""
    if measurement.validity == "anytime" or measurement.se is None or measurement.dof is None:
        best, worst = sorted((limit.sign * measurement.low, limit.sign * measurement.high))
        return best, worst
    value = limit.sign * measurement.value
    outside = student_quantile(1 - limit.alpha, measurement.dof) * measurement.se
    inside = student_quantile(CONFIDENCE, measurement.dof) * measurement.se
    return value - outside, value + inside


def _needed(measurement: Measurement, limit: Limit) -> float:
    """Return the number of groups that would show the measured value; infinite beyond ten times those at hand."""
    gap = limit.sign * (limit.value - measurement.value)
    return groups_needed(measurement, gap, 1 - CONFIDENCE if gap > 0 else limit.alpha)
