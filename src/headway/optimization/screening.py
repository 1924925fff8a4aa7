"""Screening by successive halving: measure the speed of every candidate briefly, evaluate the promising ones in full.

V002: A candidate was screened out: too slow to win, or the time budget was used up (note).
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Iterable, Sequence

from msgspec.structs import replace

from headway.core import plugins
from headway.core.evidence import Finding
from headway.core.variant import Step, Variant
from headway.core.verdict import EvaluatedVariant


class TimeBudget:
    """Time budget of a search, which starts when the object is made; 0 seconds set no limit."""

    def __init__(self, budget_s: float, now: Callable[[], float] = time.monotonic) -> None:
        self._budget_s, self._now, self._began = budget_s, now, now()

    def is_over(self, share: float = 1.0) -> bool:
        """Return whether this share of the budget is used up."""
        return 0 < self._budget_s * share <= self._now() - self._began

    def __str__(self) -> str:
        return f"the budget of {self._budget_s:g} s"


UNLIMITED = TimeBudget(0)


_MORE_IS_BETTER = ("rows/s", "x")


def objective_cost(row: EvaluatedVariant, objective: str) -> float:
    """Return the value that the search minimizes; infinite if it was not measured."""
    found = row.evidence.find(objective)
    if found is None:
        return math.inf
    return -found.value if found.unit in _MORE_IS_BETTER else found.value


def cost_lower_bound(row: EvaluatedVariant, objective: str) -> float:
    """Return the lower end of the interval of the value that the search minimizes."""
    found = row.evidence.find(objective)
    if found is None:
        return math.inf
    return -found.high if found.unit in _MORE_IS_BETTER else found.low


def cost_upper_bound(row: EvaluatedVariant, objective: str) -> float:
    """Return the upper end of the interval of the value that the search minimizes."""
    found = row.evidence.find(objective)
    if found is None:
        return math.inf
    return -found.low if found.unit in _MORE_IS_BETTER else found.high


SCREENED_OUT = "V002"
SPEED_METRICS = ("latency.one_row", "throughput.batch")
"""A variant that may be the fastest by one of these is evaluated in full: one form may suit rows, another batches."""
_REPORT_EVERY = 10  # variants
_SCREENING_SHARE = 0.75  # share of the time budget in which screening of a variant may begin


def screen_candidates(
    variants: Sequence[Variant],
    objective: str,
    *,
    measure_speed: Callable[[Variant], EvaluatedVariant],
    evaluate: Callable[[Variant], EvaluatedVariant],
    budget: TimeBudget,
    callback: Callable[[str], object],
) -> list[EvaluatedVariant]:
    """Measure the speed of every candidate briefly, then evaluate in full those that can still win.

    Parameters
    ----------
    variants
        Candidates, the baseline first. The baseline is always evaluated in full.
    objective
        Name of the measure that the search minimizes.
    measure_speed
        Low fidelity: a short measurement of speed alone.
    evaluate
        Full fidelity: every measure that a policy may use. Called fastest first while there is time.
    budget
        Time budget of the search.
    callback
        Receives progress messages.

    Returns
    -------
    list of EvaluatedVariant
        In the order given, without candidates that were not reached. One that was screened out keeps the short
        measurement, and a finding V002 that explains why.
    """
    baseline = evaluate(variants[0])
    rows: dict[str, EvaluatedVariant] = {}
    ordered = sorted(variants[1:], key=lambda variant: _screening_order(variant, variants[0]))
    for number, variant in enumerate(ordered, 1):
        if budget.is_over(_SCREENING_SHARE):
            break
        if number % _REPORT_EVERY == 1:
            callback(f"measured speed {number}/{len(ordered)} {variant.name}")
        rows[variant.digest] = measure_speed(variant)
    measures = dict.fromkeys((objective, *SPEED_METRICS))
    promising = [row for row in rows.values() if any(_can_win(row, baseline, rows.values(), name) for name in measures)]
    for number, row in enumerate(sorted(promising, key=lambda row: objective_cost(row, objective)), 1):
        if budget.is_over():
            rows[row.variant.digest] = _mark_screened_out(row, f"{budget} was used up after its speed was measured")
        else:
            callback(f"evaluated {number}/{len(promising)} {row.variant.name}")
            rows[row.variant.digest] = evaluate(row.variant)
    evaluated = {row.variant.digest for row in promising}
    for digest, row in rows.items():
        if digest not in evaluated:
            rows[digest] = _mark_screened_out(row, "too slow to win in a short measurement")
    return [baseline, *(rows[variant.digest] for variant in variants[1:] if variant.digest in rows)]


def _screening_order(variant: Variant, baseline: Variant) -> tuple[bool, int]:
    """Order by engine, those other than the baseline's first, then by number of steps."""
    return variant.engine == baseline.engine, len(variant.steps)


def screened_out(row: EvaluatedVariant) -> str:
    """Return why a variant was screened out; empty for one that was evaluated in full."""
    return next((finding.message for finding in row.evidence.findings if finding.code == SCREENED_OUT), "")


def _can_win(row: EvaluatedVariant, baseline: EvaluatedVariant, rows: Iterable[EvaluatedVariant], measure: str) -> bool:
    """Return whether a variant may be faster than the baseline and than every variant with the same answers."""
    if row.evidence.find(measure) is None:
        return False
    rivals = [
        baseline,
        *(other for other in rows if answer_changing_steps(other.variant) == answer_changing_steps(row.variant)),
    ]
    return all(cost_lower_bound(row, measure) <= cost_upper_bound(rival, measure) for rival in rivals)


def answer_changing_steps(variant: Variant) -> tuple[Step, ...]:
    """Return the steps that change the answers of a model."""
    return tuple(step for step in variant.steps if not _keeps_answers(step.transform))


@functools.cache
def _keeps_answers(transform: str) -> bool:
    """Return what a transform declares as KEEPS_ANSWERS; one that is not installed may have changed them."""
    installed = transform in plugins.names("transform")
    return installed and bool(plugins.declaration("transform", transform, "KEEPS_ANSWERS", False))


def _mark_screened_out(row: EvaluatedVariant, why: str) -> EvaluatedVariant:
    finding = Finding(code=SCREENED_OUT, severity="note", message=why, where=row.variant.name)
    return replace(row, evidence=replace(row.evidence, findings=(*row.evidence.findings, finding)))
