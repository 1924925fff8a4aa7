"""Audit `ablation`: which features the model needs, which do nothing, and which make it worse."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from msgspec.structs import replace as changed
from tests.evaluation.audits.retraining import retrained_by

from headway.core.variant import Field, Signature
from headway.evaluation.audits import ablation
from headway.evaluation.context import AuditContext
from headway.storage.blobs.files import Files


class Weighted:
    """Predicts the weighted sum of its columns, clipped to [0, 1]."""

    def __init__(self, weights):
        self.weights = np.array(weights)

    def predict(self, rows):
        return np.clip(rows @ self.weights, 0, 1)[:, None]


WEIGHTS = {"good": 0.7, "flipped": 0.3, "idle": 0.0}


@pytest.fixture
def subject(make_subject):
    """Outcomes follow `good` and the opposite of `flipped`, which the model reads with its old sign."""
    found = make_subject(count=40)
    rng = np.random.default_rng(1)
    rows = rng.random((len(found.labels), 3))
    labels = (rng.random(len(rows)) < 0.15 + 0.6 * rows[:, 0] + 0.2 * (0.5 - rows[:, 1])).astype(float)
    model = Weighted(list(WEIGHTS.values()))
    scores = model.predict(rows)
    signature = Signature(inputs=tuple(Field(name=name) for name in WEIGHTS))
    variant = changed(found.variant, signature=signature)
    return replace(
        found, variant=variant, model=model, rows=rows, labels=labels, scores=scores, reference_scores=scores
    )


@pytest.fixture
def context(tmp_path):
    """Training finds the same weights for every seed, except for the mean of the columns it cannot read."""
    return AuditContext(blobs=Files(tmp_path), budget_s=60, retrain=retrained_by(lambda task: _Shifted(task.features)))


class _Shifted(Weighted):
    def __init__(self, names):
        super().__init__([WEIGHTS[name] for name in names])
        self.shift = sum(weight for name, weight in WEIGHTS.items() if name not in names) / 2

    def predict(self, rows):
        return np.clip(super().predict(rows) + self.shift, 0, 1)


def of(found, name):
    return {measurement.slice: measurement for measurement in found if measurement.name == name}


def test_harmful_and_useless_features_are_named_and_needed_ones_are_not_left_out(subject, context):
    found = ablation.plugin(subject, context)

    assert set(of(found, "ablation.harmful")) == {"", "flipped"}
    assert set(of(found, "ablation.useless")) == {"", "idle"}
    assert of(found, "ablation.masked.brier.drop")["good"].low > 0
    retrained = of(found, "ablation.retrained.brier.drop")
    assert set(retrained) == {"flipped", "idle"} and retrained["flipped"].high < 0
    assert "one seed" in retrained["idle"].method and retrained["idle"].se is None


def test_parts_not_suspect_on_one_seed_are_retrained_once(subject, context):
    found = ablation.plugin(subject, context)
    assert of(found, "ablation.trainings")[""].value == 3 + 3 + 1  # whole, without `flipped`, without `idle`


class Season(Weighted):
    """Predicts the truth plus 0.3 if a part is above 0, as it is in all rows now."""

    def predict(self, rows):
        return np.clip(rows[:, :2] @ [0.6, -0.2] + 0.25 + 0.3 * (rows[:, 2:].sum(1) > 0), 0, 1)[:, None]


def test_harm_that_masking_cannot_see_is_found_by_training_without(subject, context):
    """The values of other rows lead to the same answers, as all lie beyond what the model saw."""
    model = Season([])
    scores = model.predict(subject.rows)
    found = ablation.plugin(
        replace(subject, model=model, scores=scores, reference_scores=scores),
        replace(context, retrain=retrained_by(lambda task: model)),
    )
    assert of(found, "ablation.masked.brier.drop")["idle"].value == 0
    assert set(of(found, "ablation.harmful")) == {"", "idle"}


def test_a_difference_within_the_spread_of_seeds_is_not_decided(subject, context):
    def learn(task):
        if "flipped" not in task.features and task.seed:
            return Weighted([0.1] * len(task.features))  # as bad as the whole is good, but for the first seed
        return _Shifted(task.features)

    found = ablation.plugin(subject, replace(context, retrain=retrained_by(learn)))
    assert set(of(found, "ablation.harmful")) == {""}
    assert "flipped" in of(found, "ablation.unsettled")
    assert of(found, "ablation.trainings")[""].value == 6 + 6 + 1  # six seeds, as it is they that leave it open


def test_a_feature_that_the_model_does_not_read_changes_nothing(subject, context):
    idle = of(ablation.plugin(subject, context), "ablation.masked.brier.drop")["idle"]
    assert (idle.low, idle.value, idle.high) == (0.0, 0.0, 0.0)


def test_features_that_belong_together_are_left_out_together(subject, context):
    found = ablation.plugin(subject, replace(context, feature_groups=(("flipped", "idle"),)))
    assert set(of(found, "ablation.masked.brier.drop")) == {"good", "flipped + idle"}
    assert set(of(found, "ablation.harmful")) == {"", "flipped + idle"}


def test_without_retraining_only_masking_decides(subject, context):
    found = ablation.plugin(subject, replace(context, retrain=None))
    assert set(of(found, "ablation.harmful")) == {"", "flipped"}
    assert of(found, "ablation.trainings")[""].value == 0


def test_features_without_time_are_reported(subject, context):
    found = ablation.plugin(subject, replace(context, budget_s=1e-9))
    unsettled = of(found, "ablation.unsettled")
    assert set(unsettled) == {"", "flipped", "idle"} and "no time" in unsettled["idle"].method
    assert set(of(found, "ablation.masked.brier.drop")) == set(WEIGHTS)


def test_more_features_need_more_evidence_to_flag_one(subject, context):
    """On a quarter of the rows the harm of one of three features is shown, and that of one of twelve is undecided."""
    few = {name: getattr(subject, name)[::4] for name in ("rows", "labels", "scores", "reference_scores", "groups")}
    of_three = replace(subject, **few)
    idle = [Field(name=f"idle_{number}") for number in range(9)]
    signature = Signature(inputs=(*subject.variant.signature.inputs, *idle))
    of_twelve = replace(
        of_three,
        variant=changed(subject.variant, signature=signature),
        model=Weighted([*WEIGHTS.values(), *([0.0] * 9)]),
        rows=np.hstack([of_three.rows, np.ones((len(of_three.rows), 9))]),
    )
    alone = replace(context, retrain=None)
    assert set(of(ablation.plugin(of_three, alone), "ablation.harmful")) == {"", "flipped"}
    found = ablation.plugin(of_twelve, alone)
    assert set(of(found, "ablation.harmful")) == {""}
    assert "groups would decide" in of(found, "ablation.unsettled")["flipped"].method


def test_without_a_record_of_the_training_the_audit_says_that_it_cannot_know(subject, context):
    *_, reason = ablation.plugin(subject, replace(context, knows_training=False))
    assert reason.what.startswith("it is not known whether the training function makes this model")


def test_parts_that_were_not_retrained_in_time_may_be_harmful(subject, context):
    found = ablation.plugin(subject, replace(context, budget_s=1e-9))
    count, open_ = of(found, "ablation.harmful")[""], of(found, "ablation.unsettled")[""]
    assert open_.value > 0 and count.high == count.value + open_.value
