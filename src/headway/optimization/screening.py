"""Screening by successive halving: measure the speed of every candidate briefly, evaluate the promising ones in full.

V002: A candidate was screened out: too slow to win, or the time budget was used up (note).
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from headway.core import plugins
from headway.core.evidence import Finding
from headway.core.variant import Step, Variant
from headway.core.verdict import EvaluatedVariant


class TimeBudget:
    """A time that began when this was made; 0 seconds set no end."""

    def __init__(self, budget_s: float, now: Callable[[], float] = time.monotonic) -> None:
        self._budget_s, self._now, self._began = budget_s, now, now()

    def is_over(self, share: float = 1.0) -> bool:
        """Whether this share of the time is used up."""
        return 0 < self._budget_s * share <= self._now() - self._began

    def __str__(self) -> str:
        return f"the budget of {self._budget_s:g} s"


UNLIMITED = TimeBudget(0)


_MORE_IS_BETTER = ("rows/s", "x")


def objective_cost(row: EvaluatedVariant, objective: str) -> float:
    """What the search makes small; infinite where it was not measured."""
    found = row.evidence.find(objective)
    if found is None:
        return math.inf
    return -found.value if found.unit in _MORE_IS_BETTER else found.value


def cost_lower_bound(row: EvaluatedVariant, objective: str) -> float:
    """The good end of the interval of what the search makes small."""
    found = row.evidence.find(objective)
    if found is None:
        return math.inf
    return -found.high if found.unit in _MORE_IS_BETTER else found.low


def cost_upper_bound(row: EvaluatedVariant, objective: str) -> float:
    """The bad end of the interval of what the search makes small."""
    found = row.evidence.find(objective)
    if found is None:
        return math.inf
    return -found.low if found.unit in _MORE_IS_BETTER else found.high


SCREENED_OUT = "V002"
_REPORT_EVERY = 10  # of so many first looks one is told
_SCREENING_SHARE = 0.75  # share of a search's time in which first looks are begun
SPEED_METRICS = ("latency.one_row", "throughput.batch")
"""What may be the fastest by one of these is measured wholly: one form may be for rows, another for batches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Looks:
    """How a variant is looked at: `first` measures its speed for a moment, `whole` all that a policy may ask for."""

    first: Callable[[Variant], EvaluatedVariant]
    whole: Callable[[Variant], EvaluatedVariant]


def screen_candidates(
    variants: Sequence[Variant], looks: Looks, objective: str, *, clock: TimeBudget, callback: Callable[[str], object]
) -> list[EvaluatedVariant]:
    """Each variant as far as it was measured, in the order given; the model as it came, the first one, is so wholly.

    Variants are measured wholly in the order of their first look, fastest first, as long as there is time; those that
    cannot win keep their first look, and a finding V002 in it says why.
    """
    origin = looks.whole(variants[0])
    seen: dict[str, EvaluatedVariant] = {}
    for number, variant in enumerate(sorted(variants[1:], key=lambda each: _screening_order(each, variants[0])), 1):
        if clock.is_over(_SCREENING_SHARE):
            break
        if number % _REPORT_EVERY == 1:
            callback(f"first look {number}/{len(variants) - 1} {variant.name}")
        seen[variant.digest] = looks.first(variant)
    measures = dict.fromkeys((objective, *SPEED_METRICS))
    able = [row for row in seen.values() if any(_can_win(row, origin, seen.values(), name) for name in measures)]
    for number, row in enumerate(sorted(able, key=lambda row: objective_cost(row, objective)), 1):
        if clock.is_over():
            seen[row.variant.digest] = _mark_screened_out(
                row, f"{clock} was used up before more than its speed was measured"
            )
        else:
            callback(f"measured {number}/{len(able)} {row.variant.name}")
            seen[row.variant.digest] = looks.whole(row.variant)
    slow = "slower in a first look"
    done = {row.variant.digest for row in able}
    found = {digest: row if digest in done else _mark_screened_out(row, slow) for digest, row in seen.items()}
    return [origin, *(found[each.digest] for each in variants[1:] if each.digest in found)]


def _screening_order(variant: Variant, origin: Variant) -> tuple[bool, int]:
    """Other engines than that of the model as it came are looked at first, then forms of fewer steps."""
    return variant.engine == origin.engine, len(variant.steps)


def screened_out(row: EvaluatedVariant) -> str:
    """Why a variant was left after a first look; empty for one that was measured wholly."""
    return next((finding.message for finding in row.evidence.findings if finding.code == SCREENED_OUT), "")


def _can_win(row: EvaluatedVariant, origin: EvaluatedVariant, rows: Iterable[EvaluatedVariant], measure: str) -> bool:
    """Whether a variant may be faster than the model as it came, and than every other form of the same answers."""
    if row.evidence.find(measure) is None:
        return False
    rivals = [
        origin,
        *(other for other in rows if answer_changing_steps(other.variant) == answer_changing_steps(row.variant)),
    ]
    return all(cost_lower_bound(row, measure) <= cost_upper_bound(rival, measure) for rival in rivals)


def answer_changing_steps(variant: Variant) -> tuple[Step, ...]:
    """The steps that change what a model answers."""
    return tuple(step for step in variant.steps if not _keeps_answers(step.transform))


@functools.cache
def _keeps_answers(transform: str) -> bool:
    """Return what a transform declares as KEEPS_ANSWERS; one that is not installed may have changed them."""
    installed = transform in plugins.names("transform")
    return installed and bool(plugins.declaration("transform", transform, "KEEPS_ANSWERS", False))


def _mark_screened_out(row: EvaluatedVariant, why: str) -> EvaluatedVariant:
    finding = Finding(code=SCREENED_OUT, severity="note", message=why, where=row.variant.name)
    return replace(row, evidence=replace(row.evidence, findings=(*row.evidence.findings, finding)))
