"""A student of the model stands beside the same student of the labels."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace
from tests.optimization.benches import opened
from tests.optimization.lessons import bench_of, lesson, taught

from headway.core.errors import NotApplicable
from headway.core.variant import Step
from headway.optimization.transforms import truncate
from headway.optimization.transforms.distil import plugin

pytestmark = pytest.mark.slow

LEARNED = lesson(seed=1)


@pytest.fixture
def bench(tmp_path):
    return bench_of(tmp_path, lesson(seed=2), LEARNED)


def test_every_student_of_the_model_has_its_twin_that_learned_the_labels(bench):
    students = plugin(taught(bench, LEARNED, trees=300), bench)
    said = [tuple(each.steps[-1].settings.values()) for each in students]
    assert said == [(100, 31, "model"), (100, 31, "labels"), (30, 15, "model"), (30, 15, "labels")]


def test_the_student_of_the_model_answers_more_like_it_than_its_twin(bench):
    model = taught(bench, LEARNED, trees=300, rate=0.01)
    came = opened(model, bench).predict(bench.sample)
    by_model, by_labels = (opened(each, bench).predict(bench.sample) for each in plugin(model, bench)[:2])
    assert np.abs(by_model - came).mean() < np.abs(by_labels - came).mean()


def test_the_same_lesson_gives_the_same_students(bench):
    model = taught(bench, LEARNED, trees=300)
    assert plugin(model, bench) == plugin(model, bench)


def test_a_student_is_not_cut_shorter(bench):
    [first, *_] = plugin(taught(bench, LEARNED, trees=300), bench)
    with pytest.raises(NotApplicable, match="student of the size"):
        truncate.plugin(first, bench)


def test_without_what_the_model_learned_from_there_is_no_student(tmp_path):
    bench = bench_of(tmp_path, LEARNED)
    with pytest.raises(NotApplicable, match="none are at hand"):
        plugin(taught(bench, LEARNED, trees=300), bench)


def test_a_model_no_larger_than_its_student_teaches_none(bench):
    with pytest.raises(NotApplicable, match="no more than a student"):
        plugin(taught(bench, LEARNED, trees=3, leaves=4), bench)


@pytest.mark.parametrize(
    ("change", "why"),
    [({"steps": (Step(transform="trees"),)}, "teaches alone"), ({"task": "multiclass"}, "one number")],
)
def test_other_models_teach_none(bench, change, why):
    with pytest.raises(NotApplicable, match=why):
        plugin(replace(taught(bench, LEARNED), **change), bench)
