"""Audit `ablation`: which features the model needs, which do nothing, and which make it worse."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from msgspec.structs import replace as changed

from headway.core.contracts import Ground
from headway.core.variant import Field, Signature
from headway.evidence.audits import ablation
from headway.store.blobs.files import Files


class Weighted:
    """Answers the weighted sum of the columns that it was made of, held in [0, 1]."""

    def __init__(self, weights):
        self.weights = np.array(weights)

    def predict(self, rows):
        return np.clip(rows @ self.weights, 0, 1)[:, None]


WEIGHTS = {"good": 0.7, "flipped": 0.3, "idle": 0.0}


@pytest.fixture
def subject(make_subject):
    """Outcomes follow `good` and the opposite of `flipped`, which the model reads the way it once was."""
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
def ground(tmp_path):
    """Training finds the same weights whatever the seed, but for the mean of what it cannot read."""
    return Ground(blobs=Files(tmp_path), budget_s=60, learn=lambda names, seed: _Shifted(names))


class _Shifted(Weighted):
    def __init__(self, names):
        super().__init__([WEIGHTS[name] for name in names])
        self.shift = sum(weight for name, weight in WEIGHTS.items() if name not in names) / 2

    def predict(self, rows):
        return np.clip(super().predict(rows) + self.shift, 0, 1)


def of(found, name):
    return {each.slice: each for each in found if each.name == name}


def test_the_harmful_and_the_useless_are_named_and_what_is_needed_is_not_trained_without(subject, ground):
    found = ablation.plugin(subject, ground)

    assert set(of(found, "ablation.harmful")) == {"", "flipped"}
    assert set(of(found, "ablation.useless")) == {"", "idle"}
    assert of(found, "ablation.masked.brier.loss")["good"].low > 0
    assert set(of(found, "ablation.retrained.brier.loss")) == {"flipped"}
    assert of(found, "ablation.trainings")[""].value == 2 * ablation.SEEDS


def test_a_feature_that_the_model_does_not_read_changes_nothing(subject, ground):
    idle = of(ablation.plugin(subject, ground), "ablation.masked.brier.loss")["idle"]
    assert (idle.low, idle.value, idle.high) == (0.0, 0.0, 0.0)


def test_features_that_belong_together_are_left_out_together(subject, ground):
    found = ablation.plugin(subject, replace(ground, together=(("flipped", "idle"),)))
    assert set(of(found, "ablation.masked.brier.loss")) == {"good", "flipped + idle"}
    assert set(of(found, "ablation.harmful")) == {"", "flipped + idle"}


def test_where_nobody_knows_how_the_model_is_made_masking_says_it_alone(subject, ground):
    found = ablation.plugin(subject, replace(ground, learn=None))
    assert set(of(found, "ablation.harmful")) == {"", "flipped"}
    assert of(found, "ablation.trainings")[""].value == 0


def test_where_the_time_is_used_up_the_number_of_those_left_is_told(subject, ground):
    found = ablation.plugin(subject, replace(ground, budget_s=1e-9))
    assert of(found, "ablation.unsettled")[""].value == 1
    assert set(of(found, "ablation.masked.brier.loss")) == set(WEIGHTS)


def test_one_seed_that_shows_a_part_to_be_needed_ends_its_race_and_claims_no_interval(subject, ground):
    """Masked, the two undo each other's harm; a model that never saw them is worse than the whole."""
    model = replace(
        ground,
        learn=lambda names, seed: (
            Weighted([WEIGHTS[name] for name in names]) if "flipped" in names else Weighted([0.0] * len(names))
        ),
    )
    found = of(ablation.plugin(subject, model), "ablation.retrained.brier.loss")["flipped"]
    assert found.value > 0 and found.se is None and "one seed" in found.method
