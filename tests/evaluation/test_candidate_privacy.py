"""Candidates of a search are attacked on the same shadow models, within a time limit."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from msgspec.structs import replace as changed
from tests.evaluation.membership_worlds import world
from tests.optimization.evaluated_variants import evaluated

from headway.core.errors import NotApplicable
from headway.core.evidence import Measurement
from headway.core.training import TrainingTask
from headway.core.variant import Step
from headway.evaluation.candidate_privacy import HALVES, audit_candidates, candidate_context, select_results
from headway.optimization.screening import TimeBudget

AUC, RATE = "privacy.membership.auc", "privacy.membership.tpr_1pct"


@dataclass
class Trained:
    """A shadow model, which opens to a model of the world."""

    model: object

    def open(self):
        return self.model


@pytest.fixture
def trainings():
    """Return a world whose trainings are counted: its context, and the tasks that were trained."""
    made, tasks = world(leak=3.0), []

    def train(wanted, proceed):
        tasks.extend(wanted)
        for number, model in made.context.retrain(wanted, proceed):
            yield number, Trained(model)

    return made, replace(made.context, retrain_variants=train), tasks


def variants_of(made, *names):
    """Return the baseline of a world, and a variant for each name of a transform, which keeps nothing."""
    baseline = made.subject.variant
    steps = [(Step(transform=name, settings={"number": number}),) for number, name in enumerate(names)]
    return [baseline, *(changed(baseline, steps=one) for one in steps)]


def attack(made, variants, context, *, limit_s=60.0, budget=None):
    lines = []
    found = audit_candidates(
        variants,
        lambda variant: replace(made.subject, variant=variant),
        audits=["membership"],
        context=context,
        limit_s=limit_s,
        budget=budget or TimeBudget(0),
        callback=lines.append,
    )
    return found, lines


def test_models_are_trained_once_on_other_halves_than_those_of_the_judge(trainings):
    made, context, tasks = trainings
    shared = candidate_context(context)
    first, second = (attack(made, variants_of(made), shared)[0][()]["membership"] for _ in range(2))
    assert [task.half for task in tasks] == list(HALVES)
    assert not set(HALVES) & set(made.context.halves)
    assert [str(one) for one in first] == [str(one) for one in second]
    auc = next(one for one in first if isinstance(one, Measurement) and one.name == AUC and not one.slice)
    assert auc.low > 0.5


def test_later_candidates_get_the_models_of_the_first_and_no_others(trainings):
    _, context, tasks = trainings
    shared = candidate_context(context)
    some = [TrainingTask(features=(), seed=half, half=half) for half in HALVES]
    assert [number for number, _ in shared.retrain(some[:2], lambda: True)] == [0, 1]
    assert [number for number, _ in shared.retrain(some, lambda: True)] == [0, 1]
    assert not list(shared.retrain(some, lambda: False))
    assert len(tasks) == 2


def test_a_context_without_a_training_function_stays_as_it_is():
    made = world(leak=3.0, recipe=False)
    assert candidate_context(made.context) is made.context


def test_variants_with_the_same_answers_are_attacked_once_and_those_with_one_step_first(trainings):
    made, context, _ = trainings
    variants = variants_of(made, "prune", "prune", "truncate")
    both = changed(variants[1], steps=(*variants[1].steps, *variants[3].steps))
    kept = changed(variants[0], steps=(Step(transform="threads"),))
    found, lines = attack(made, [both, kept, *variants], candidate_context(context))
    assert list(found) == [(), *((str(variants[at].steps[0]),) for at in (1, 3, 2)), tuple(map(str, both.steps))]
    assert len(lines) == 5 and lines[-1].endswith("0 more")


def test_an_attack_that_would_not_end_in_time_is_left_out_with_its_expected_duration(trainings):
    made, context, _ = trainings
    now = [0.0]
    budget = TimeBudget(0, lambda: now[0])
    with budget.timed("prune"):
        now[0] += 1.0
    found, _ = attack(
        made, variants_of(made, "prune", "truncate"), candidate_context(context), limit_s=10, budget=budget
    )
    late = found["prune(number=0)",]["membership"]
    assert late.what == "it takes about 24 s, and 10 s were left for it"
    assert isinstance(found["truncate(number=1)",]["membership"], list)


def test_slices_and_reasons_are_kept_only_where_a_rule_needs_them():
    whole = evaluated(1, 0.1).evidence.measurements[0]
    of_slice, why = changed(whole, name=RATE, slice="side=left"), NotApplicable("too few rows")
    results = [whole, of_slice, why]
    assert select_results(results, ruled=[]) == [whole]
    assert select_results(results, ruled=[RATE]) == [whole, of_slice]
    assert select_results(results, ruled=["privacy.membership.tpr_0.1pct"]) == [whole, why]
    assert select_results(why, ruled=[]) == [why]
