"""Audit `imbalance`: effect of class weights, prior correction and the threshold on a rare class."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from msgspec.structs import replace as changed
from tests.evaluation.audits.retraining import retrained_by

from headway.core.contracts import LabeledData
from headway.core.errors import NotApplicable
from headway.core.evidence import Measurement
from headway.core.variant import Field, Signature
from headway.evaluation.audits import imbalance
from headway.evaluation.calibration.apply import adjust_to_prior
from headway.evaluation.context import AuditContext
from headway.evaluation.measure import imbalance_findings
from headway.storage.blobs.files import Files

SHARE = 0.06


class Says:
    """Predicts the first column, as if this share of all rows were positive."""

    def __init__(self, share):
        self.share = share

    def predict(self, rows):
        return adjust_to_prior(rows[:, 0], SHARE, self.share)[:, None]


@pytest.fixture
def subject(make_subject):
    """Rows of which 6 % are positive, with the true probability as their only column.

    A false negative costs four false positives.
    """
    found = make_subject(count=60)
    rng = np.random.default_rng(3)
    chance = rng.beta(0.3, 0.3 / SHARE - 0.3, len(found.labels))
    labels = (rng.random(len(chance)) < chance).astype(float)
    variant = changed(found.variant, signature=Signature(inputs=(Field(name="x"),)))
    scores = chance[:, None]
    rest = {"rows": scores, "scores": scores, "reference_scores": scores, "model": Says(SHARE)}
    return replace(found, variant=variant, labels=labels, threshold=0.2, costs=(1.0, 4.0), **rest)


@pytest.fixture
def context(subject, tmp_path):
    """Training with balanced classes gives the same model with the odds of one half."""
    labels = (np.arange(10_000) < SHARE * 10_000).astype(float)
    training_data = LabeledData(rows=np.zeros((10_000, 1)), labels=labels, groups=np.zeros(10_000, dtype=np.int64))
    return AuditContext(
        blobs=Files(tmp_path),
        budget_s=60,
        train=lambda: training_data,
        retrain=retrained_by(lambda task: Says(0.5 if task.balanced else SHARE)),
    )


def of(found, name):
    return {
        measurement.slice: measurement
        for measurement in found
        if isinstance(measurement, Measurement) and measurement.name == f"imbalance.{name}"
    }


def test_weights_without_correction_raise_recall_and_cost_more(subject, context):
    found = imbalance.plugin(subject, context)

    assert of(found, "recall.drop")["weights"].high < 0 < of(found, "false_positive_rate.drop")["weights"].low
    assert of(found, "cost.drop")["weights"].low > 0 and of(found, "brier.drop")["weights"].low > 0
    assert of(found, "roc_auc.drop")["weights"].value == pytest.approx(0, abs=1e-12)


def test_weights_corrected_to_the_training_prior_have_little_effect(subject, context):
    found = imbalance.plugin(subject, context)
    assert of(found, "brier.drop")["weights, corrected"].value == pytest.approx(0, abs=1e-12)
    assert of(found, "cost.drop")["weights, corrected"].value == pytest.approx(0, abs=1e-12)


def test_the_threshold_of_one_half_finds_less_and_costs_more(subject, context):
    found = imbalance.plugin(subject, context)
    assert of(found, "recall.drop")["threshold 0.5"].low > 0
    assert of(found, "cost.drop")["threshold 0.5"].low > 0


def test_the_base_rate_has_an_interval_and_every_treatment_its_measures(subject, context):
    found = imbalance.plugin(subject, context)
    [rate] = of(found, "base_rate").values()

    assert rate.low < SHARE < rate.high and rate.n_groups == 60
    slices = {"baseline", "weights", "weights, corrected", "prior of the rows", "threshold 0.5"}
    assert set(of(found, "recall")) == set(of(found, "cost")) == slices
    assert "3 seeds" in of(found, "brier.drop")["weights"].method


def test_each_treatment_is_a_sentence(subject, context):
    findings = {reason.where: reason for reason in imbalance_findings(imbalance.plugin(subject, context))}

    assert findings["weights"].message.startswith("rare class, weights: decisions cost more (+0.")
    assert findings["weights"].hint.startswith("keep the classes as they are")
    assert "no significant change of cost" in findings["weights, corrected"].message
    assert "recall 0." in findings["threshold 0.5"].message and "60 groups" in findings["threshold 0.5"].message


def test_one_seed_claims_no_interval(subject, context):
    found = imbalance.plugin(subject, replace(context, budget_s=0.0))
    assert {measurement.method for measurement in of(found, "cost.drop").values()} == {"one seed, no interval"}
    assert "no significant change of cost" in imbalance_findings(found)[0].message


def test_classes_that_are_not_rare_are_measured_and_not_treated(subject, context):
    common = replace(subject, labels=(subject.rows[:, 0] > 0.05).astype(float))
    [rate] = imbalance.plugin(common, context)
    assert rate.name == "imbalance.base_rate"
    [rate] = imbalance.plugin(replace(subject, labels=np.zeros(len(subject.labels))), context)
    assert rate.value == 0.0


def test_a_model_that_cannot_be_retrained_is_reported(subject, context):
    rate, reason = imbalance.plugin(subject, replace(context, retrain=None))
    assert isinstance(reason, NotApplicable) and "cannot be retrained" in reason.what and rate.value < 0.1


def test_without_a_record_of_the_training_the_audit_says_that_it_cannot_know(subject, context):
    *_, reason = imbalance.plugin(subject, replace(context, knows_training=False))
    assert reason.what.startswith("it is not known whether the training function makes this model")
