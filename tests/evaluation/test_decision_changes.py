"""Decisions that differ from the baseline's, and when none of them is known of every row."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from msgspec.structs import replace as changed
from tests.evaluation.test_multilabel_quality import several
from tests.evaluation.test_other_tasks import classes

from headway.core.variant import Step
from headway.evaluation.metrics.decisions import plugin as decisions
from headway.evaluation.metrics.parity import plugin as parity
from headway.evaluation.quality.decision_changes import decision_margins
from headway.evaluation.quality.row_errors import decision_changes
from headway.evaluation.statistics.tables import build_blocks


def by_name(measurements):
    return {measurement.name: measurement for measurement in measurements if not measurement.slice}


def equal(make_subject, *, keeps_answers, moved=0.0, steps=("compile",)):
    """Return a comparison whose answers moved by so much, and whose decisions are all the same."""
    subject = make_subject(count=30)
    variant = replace_steps(subject.variant, steps)
    away = np.abs(subject.reference_scores - subject.threshold) > 10 * moved
    scores = subject.reference_scores + np.where(away, moved, 0.0)
    return replace(subject, variant=variant, scores=scores, keeps_answers=keeps_answers)


def replace_steps(variant, steps):
    return changed(variant, steps=tuple(Step(transform=name, settings={}) for name in steps))


def exactness(subject):
    return decision_changes(subject, build_blocks(subject)).exact


def test_a_lossy_variant_that_changed_no_decision_may_change_another(make_subject):
    subject = equal(make_subject, keeps_answers=False)
    churn = by_name(parity(subject))["decision_churn"]
    assert (churn.value, churn.low) == (0, 0) and 0 < churn.high < 0.2 and churn.n_groups == 30
    drops = {name: one for name, one in by_name(decisions(subject)).items() if name.endswith(".drop")}
    assert len(drops) >= 5 and all(drop.low < 0 == drop.value < drop.high for drop in drops.values())


def test_steps_that_keep_the_answers_change_no_decision_and_say_so(make_subject):
    subject = equal(make_subject, keeps_answers=True, moved=1e-9)
    churn = by_name(parity(subject))["decision_churn"]
    assert (churn.value, churn.high, churn.n_groups) == (0, 0, 0) and churn.method.startswith("exact: every step keeps")
    drop = by_name(decisions(subject))["accuracy.drop"]
    assert (drop.low, drop.high, drop.method) == (0, 0, churn.method)


def test_the_baseline_changes_no_decision_of_its_own(make_subject):
    assert exactness(equal(make_subject, keeps_answers=True, steps=())) == "exact: it is the baseline"


def test_what_moved_beyond_parity_or_near_the_threshold_is_not_exact(make_subject):
    assert exactness(equal(make_subject, keeps_answers=True, moved=1e-5)) == ""
    subject = equal(make_subject, keeps_answers=True, moved=1e-9)
    near = subject.reference_scores.copy()
    near[5] = subject.threshold + 1e-7
    at_threshold = replace(subject, reference_scores=near, scores=near)
    assert exactness(at_threshold).startswith("exact")  # this row did not move
    assert exactness(replace(at_threshold, scores=near + 1e-9)) == ""


def test_a_changed_decision_contradicts_every_proof(make_subject):
    subject = make_subject(count=30)
    assert exactness(replace(subject, keeps_answers=True, keeps_decisions=True)) == ""


@pytest.mark.parametrize("make", [classes, several])
def test_several_classes_and_labels_are_exact_in_the_same_way(make):
    subject = replace(make(harm=0.0), keeps_answers=True)
    subject = replace(subject, variant=replace_steps(subject.variant, ["compile"]))
    assert exactness(subject).startswith("exact: every step")
    assert exactness(replace(subject, keeps_answers=False)) == ""


def test_the_lead_of_the_first_row_is_the_margin_of_its_query(make_subject):
    subject = make_subject(count=20)
    scores = np.zeros((len(subject.labels), 1))
    scores[:5, 0], queries = [3.0, 1.0, 2.5, 7.0, 7.0], np.full(len(scores), 2)
    queries[:3], queries[3:5] = 0, 1
    variant = replace_steps(subject.variant, ["compile"])
    ranking = replace(subject, reference_scores=scores, scores=scores, query_ids=queries, variant=variant)
    ranking = replace(ranking, variant=changed(variant, task="ranking"))
    assert decision_margins(ranking)[:5].tolist() == [0.5, 0.5, 0.5, 0.0, 0.0]
    alone = replace(ranking, query_ids=np.arange(len(scores)))
    assert np.isinf(decision_margins(alone)).all()
