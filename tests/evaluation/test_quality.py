"""Metric `quality`: values equal scikit-learn's, drops are positive if the variant is worse."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from msgspec.structs import replace as replaced
from sklearn import metrics

from headway.core.errors import NotApplicable
from headway.core.variant import Step
from headway.evaluation.metrics.quality import plugin


def measured(subject):
    return {measurement.name: measurement for measurement in plugin(subject)}


def test_values_are_those_of_scikit_learn(make_subject):
    subject = make_subject(count=25)
    found = measured(subject)
    labels, scores, reference = subject.labels, subject.scores[:, 0], subject.reference_scores[:, 0]
    assert found["roc_auc"].value == pytest.approx(metrics.roc_auc_score(labels, scores), abs=1e-12)
    assert found["brier"].value == pytest.approx(metrics.brier_score_loss(labels, scores), abs=1e-12)
    assert found["log_loss"].value == pytest.approx(metrics.log_loss(labels, scores), abs=1e-12)
    assert found["base_rate"].value == pytest.approx(labels.mean())
    auc, brier = metrics.roc_auc_score(labels, reference), metrics.brier_score_loss(labels, reference)
    assert found["roc_auc.drop"].value == pytest.approx(auc - found["roc_auc"].value, abs=1e-12)
    assert found["brier.drop"].value == pytest.approx(found["brier"].value - brier, abs=1e-12)


def test_a_variant_that_is_worse_shows_a_loss_above_nothing(make_subject):
    found = measured(make_subject(count=60, harm=3.0))
    assert found["roc_auc.drop"].low > 0 and found["brier.drop"].low > 0


def test_equal_answers_lose_exactly_nothing(make_subject):
    subject = make_subject(count=25)
    found = measured(replace(subject, scores=subject.reference_scores))
    for name in ("roc_auc.drop", "brier.drop"):
        assert (found[name].low, found[name].value, found[name].high, found[name].se) == (0, 0, 0, 0)


@pytest.mark.parametrize(("transform", "rounding", "is_kept"), [("pipeline", 1e-9, True), ("pipeline", 1e-5, False),
                                                                ("truncate", 1e-9, False)])  # fmt: skip
def test_rounding_of_a_form_that_keeps_the_answers_does_not_change_the_order_of_equal_rows(
    make_subject, transform, rounding, is_kept
):
    subject = make_subject(count=25)
    certain = np.where(subject.reference_scores > 0.5, 1.0, 0.0)
    rounded = np.abs(certain - rounding * np.random.default_rng(0).random(certain.shape))
    variant = replaced(subject.variant, steps=(Step(transform=transform),))
    found = measured(replace(subject, variant=variant, reference_scores=certain, scores=rounded))
    drop = found["roc_auc.drop"]
    assert (drop.low == drop.value == drop.high == 0) is is_kept


def test_a_paired_loss_is_far_surer_than_the_two_numbers(make_subject):
    found = measured(make_subject(count=40, harm=0.2))
    assert found["brier.drop"].se < found["brier"].se / 3


def test_certainty_that_was_wrong_costs_a_finite_log_loss(make_subject):
    subject = make_subject(count=20)
    found = measured(replace(subject, scores=1 - subject.labels[:, None]))
    assert found["log_loss"].value == pytest.approx(-np.log(np.finfo(float).eps))


def test_lag_one_is_high_for_autocorrelated_days(make_subject):
    found = measured(make_subject(count=200, lean=0.9, seed=3))
    assert found["brier.lag1"].low > 0.3 and found["roc_auc.lag1"].n_groups == 200


def test_a_single_class_cannot_be_judged(make_subject):
    subject = make_subject(count=20)
    with pytest.raises(NotApplicable, match="ranking is undefined"):
        plugin(replace(subject, labels=np.zeros_like(subject.labels)))
