"""Privacy of the candidates of a search: all are attacked on the same shadow models, so that differences are paired."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from headway.core.contracts import Engine
from headway.core.errors import NotApplicable
from headway.core.evidence import Measurement
from headway.core.training import TrainingTask
from headway.core.variant import Variant
from headway.evaluation.context import REGISTERED_MODELS, AuditContext, Comparison, MetricResults
from headway.evaluation.measure import Audits, run_audits
from headway.optimization.screening import Answers, TimeBudget, answer_changing_steps, answers_of
from headway.optimization.training import TrainedModel

HALVES = range(1_000, 1_000 + REGISTERED_MODELS)
"""Halves of the shadow models: others than those of the audit that judges the winner, which was chosen by these."""
_PRIVACY = "privacy"
_TRAINING_SHARE = 0.5  # of the time limit, for the baseline, with which the shadow models are trained


class SharedTrainings:
    """Shadow models that are trained once, for every candidate."""

    def __init__(self, context: AuditContext) -> None:
        self._retrain_variants = context.retrain_variants
        self._models: dict[TrainingTask, TrainedModel] | None = None

    def retrain_variants(
        self, tasks: Sequence[TrainingTask], proceed: Callable[[], bool]
    ) -> Iterator[tuple[int, TrainedModel]]:
        """Train the models of the first call; yield those of a later one that were trained then."""
        if self._models is None:
            assert self._retrain_variants is not None
            self._models = {tasks[number]: model for number, model in self._retrain_variants(tasks, proceed)}
        for number, task in enumerate(tasks):
            if task in self._models and proceed():
                yield number, self._models[task]

    def retrain(self, tasks: Sequence[TrainingTask], proceed: Callable[[], bool]) -> Iterator[tuple[int, Engine]]:
        """Yield the same models, opened."""
        for number, model in self.retrain_variants(tasks, proceed):
            yield number, model.open()


def candidate_context(context: AuditContext) -> AuditContext:
    """Return the context in which candidates are audited: with fewer shadow models, trained once."""
    if context.retrain_variants is None:
        return context
    shared = SharedTrainings(context)
    return replace(context, halves=HALVES, retrain=shared.retrain, retrain_variants=shared.retrain_variants)


def audit_candidates(
    variants: Sequence[Variant],
    open_subject: Callable[[Variant], Comparison],
    *,
    audits: Sequence[str],
    context: AuditContext,
    limit_s: float,
    budget: TimeBudget,
    callback: Callable[[str], object],
) -> dict[Answers, dict[str, MetricResults | NotApplicable]]:
    """Attack the candidates, and return the results of each audit by `answers_of` a variant.

    Variants with the same such steps give the same answers, and are attacked once. The baseline comes first, then
    variants with one step: the first with each transform, then the second.

    Parameters
    ----------
    variants : sequence of Variant
        The baseline and the candidates, the most promising first.
    open_subject : callable
        Returns the comparison of a variant with the baseline.
    limit_s : float
        Time limit of all attacks together. One that would not end in time is left out, by the time that its transforms
        took in the search.
    budget : TimeBudget
        Time budget of the search, which knows these times.
    """
    distinct: dict[Answers, Variant] = {}
    for variant in variants:
        key = answers_of(variant)
        if key not in distinct or len(variant.steps) < len(distinct[key].steps):
            distinct[key] = variant
    ends = budget.elapsed_s + limit_s
    found: dict[Answers, dict[str, MetricResults | NotApplicable]] = {}
    for key in _in_turns(distinct):
        variant, step = distinct[key], f"{_PRIVACY} of {_transforms(distinct[key])}"
        repeated_s = math.fsum(budget.expected_s(step.transform) for step in variant.steps) * len(HALVES)
        expected_s = budget.expected_s(step, repeated_s if key else 0.0)
        left_s = (ends - budget.elapsed_s) * (1 if found else _TRAINING_SHARE)
        if expected_s > left_s:
            late = NotApplicable(f"it takes about {expected_s:.2g} s, and {max(left_s, 0):.2g} s were left for it")
            found[key] = dict.fromkeys(audits, late)
            continue
        limited = replace(context, budget_s=min(left_s, context.budget_s))
        with budget.timed(step):
            found[key] = run_audits(
                open_subject(variant), Audits(names=audits, context=limited, callback=lambda _: None)
            )
        callback(f"attacked {variant.name}, {len(distinct) - len(found)} more")
    return found


def _transforms(variant: Variant) -> str:
    return "+".join(step.transform for step in answer_changing_steps(variant))


def _in_turns(distinct: Mapping[Answers, Variant]) -> list[Answers]:
    """Sort by the number of steps, the baseline first; then one of each combination of transforms, then the second."""
    counts: Counter[str] = Counter()
    turns: list[tuple[int, int, int, Answers]] = []
    for index, (key, variant) in enumerate(distinct.items()):
        names = _transforms(variant)
        counts[names] += 1
        turns.append((len(key), counts[names], index, key))
    return [key for *_, key in sorted(turns)]


def select_results(found: MetricResults | NotApplicable, *, ruled: Collection[str]) -> MetricResults:
    """Return what a search keeps of an audit: measures over all rows, and slices of those that rules name.

    The reasons for what was not measured are kept only if a rule needs it, or nothing was measured.
    """
    if isinstance(found, NotApplicable):
        return [found]
    measured = [one for one in found if isinstance(one, Measurement)]
    selected = [one for one in measured if not one.slice or one.name in ruled]
    is_missing = not {one.name for one in measured} >= set(ruled)
    return [*selected, *(one for one in found if is_missing and isinstance(one, NotApplicable))]
