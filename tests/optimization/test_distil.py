"""A student of the model is compared with the same student of the labels."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace
from tests.optimization.contexts import opened
from tests.optimization.training_rows import context_with, labeled_rows, trained_on

from headway.core.errors import NotApplicable
from headway.core.variant import Field, Signature, Step
from headway.optimization.transforms import truncate
from headway.optimization.transforms.distil import plugin

pytestmark = pytest.mark.slow

LEARNED = labeled_rows(seed=1)
TEXTS = Signature(inputs=(Field(name="note", datatype="BYTES", is_text=True),))


@pytest.fixture
def context(tmp_path):
    return context_with(tmp_path, labeled_rows(seed=2), LEARNED)


def test_every_student_of_the_model_has_a_twin_trained_on_labels(context):
    students = plugin(trained_on(context, LEARNED, trees=300), context)
    settings = [tuple(student.steps[-1].settings.values()) for student in students]
    assert settings == [(100, 31, "in_sample"), (100, 31, "labels"), (30, 15, "in_sample"), (30, 15, "labels")]


def test_the_student_of_the_model_is_closer_to_it_than_its_twin(context):
    model = trained_on(context, LEARNED, trees=300, rate=0.01)
    came = opened(model, context).predict(context.sample)
    by_model, by_labels = (opened(student, context).predict(context.sample) for student in plugin(model, context)[:2])
    assert np.abs(by_model - came).mean() < np.abs(by_labels - came).mean()


def test_the_same_training_rows_give_the_same_students(context):
    model = trained_on(context, LEARNED, trees=300)
    assert plugin(model, context) == plugin(model, context)


def test_a_student_is_not_truncated(context):
    [first, *_] = plugin(trained_on(context, LEARNED, trees=300), context)
    with pytest.raises(NotApplicable, match="distilled student"):
        truncate.plugin(first, context)


def test_unknown_training_rows_leave_no_student(tmp_path):
    context = context_with(tmp_path, LEARNED)
    with pytest.raises(NotApplicable, match="not available"):
        plugin(trained_on(context, LEARNED, trees=300), context)


def test_a_model_not_larger_than_a_student_is_not_distilled(context):
    with pytest.raises(NotApplicable, match="no more than a student"):
        plugin(trained_on(context, LEARNED, trees=3, leaves=4), context)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"steps": (Step(transform="trees"),)}, "only the baseline is distilled"),
        ({"task": "embedding"}, "the task is 'embedding'"),
        ({"signature": TEXTS}, "no model here learns from texts, such as 'note'"),
    ],
)
def test_other_models_are_not_distilled(context, change, why):
    with pytest.raises(NotApplicable, match=why):
        plugin(replace(trained_on(context, LEARNED), **change), context)
