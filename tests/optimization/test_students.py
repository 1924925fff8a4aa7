"""Students of slow teachers: soft targets of several classes, and teachers that are refitted on other groups."""

from __future__ import annotations

from dataclasses import replace

import lightgbm
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace as replace_fields
from sklearn.ensemble import VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tests.optimization.contexts import imported, opened
from tests.optimization.exported_networks import exported_network
from tests.optimization.training_rows import THREE, context_with, labeled_rows

from headway.core.contracts import LabeledData
from headway.core.errors import EngineError, NotApplicable
from headway.core.plugins import load_engine
from headway.core.variant import Artifact, Field, Signature, Variant
from headway.optimization.refit import refitted_answers
from headway.optimization.transforms import distil, self_distil, trees
from headway.optimization.transforms._students import (
    cross_answers,
    folds_of,
    train_student,
    with_listed_categories,
)

pytestmark = pytest.mark.slow

FEW = labeled_rows(600, seed=1)
NEAREST = KNeighborsClassifier(1)
THREE_CLASSES = replace(FEW, labels=np.digitize(FEW.rows[:, 0], [-0.5, 0.5]).astype(np.float64))


def variant_of(task: str) -> Variant:
    return Variant(artifact=Artifact(format="", digest="", size_bytes=0), engine="sklearn", signature=THREE, task=task)


def test_a_student_learns_from_a_category_that_no_list_has_as_from_a_missing_one():
    fields = (Field(name="a", datatype="BYTES", categories=("x", "y"), unseen="hashed"), *THREE.inputs[1:])
    variant = replace_fields(variant_of("binary"), signature=Signature(inputs=fields))
    rows = np.array([[0, 5, 9], [1, 5, 9], [2, 5, 9], [2.0**32, 5, 9], [np.nan, 5, 9]])
    data = LabeledData(rows=rows, labels=np.zeros(5), groups=np.arange(5))
    listed = with_listed_categories(data, variant).rows
    assert np.array_equal(listed[:, 0], [0, 1, np.nan, np.nan, np.nan], equal_nan=True)
    assert np.array_equal(listed[:, 1:], rows[:, 1:])
    assert with_listed_categories(data, variant_of("binary")) is data


def answers_of(text: bytes, rows: np.ndarray) -> np.ndarray:
    return load_engine("lightgbm")(text, {}).predict(rows)


def as_teacher(model, context, *, task):
    artifact = load_engine("sklearn").import_model(model).content
    return imported("sklearn", artifact, context, task=task, signature=THREE)


@given(st.integers(2, 5), st.booleans(), st.integers(0, 99))
@settings(max_examples=10)
def test_labels_as_targets_give_the_booster_of_lightgbms_own_objective(classes, is_weighted, seed):
    random = np.random.default_rng(seed)
    rows, labels = random.normal(size=(150, 3)), random.integers(0, classes, 150)
    labels[:classes] = np.arange(classes)
    weights = random.uniform(0.5, 2, 150) if is_weighted else None
    data = LabeledData(rows=rows, labels=labels.astype(float), groups=np.arange(150), weights=weights)
    targets = np.eye(classes)[labels]
    student = train_student(data, targets, variant_of("multiclass"), trees=5, leaves=4)
    same = {"learning_rate": 2.0, "num_leaves": 4, "verbose": -1, "seed": 0, "deterministic": True}
    own = {**same, "force_row_wise": True, "objective": "multiclass", "num_class": classes}
    booster = lightgbm.train(own, lightgbm.Dataset(rows, labels, weight=weights), 5)
    assert np.allclose(answers_of(student, rows), booster.predict(rows).reshape(150, -1), atol=1e-6)


def test_a_student_of_soft_targets_is_compiled_and_closer_to_them_than_their_mean(tmp_path):
    context = context_with(tmp_path, FEW)
    soft = np.abs(FEW.rows) / np.abs(FEW.rows).sum(axis=1, keepdims=True)
    text = train_student(FEW, soft, variant_of("multiclass"), trees=20, leaves=7)
    student = replace_artifact(variant_of("multiclass"), context, text)
    (compiled,) = trees.plugin(student, context)
    answers = opened(compiled, context).predict(FEW.rows)
    assert answers.sum(axis=1) == pytest.approx(1.0)
    assert np.square(answers - soft).mean() < np.square(soft - soft.mean(axis=0)).mean() / 5


def replace_artifact(variant, context, text):
    return Variant(
        artifact=context.save(text, "lightgbm"), engine="lightgbm", signature=variant.signature, task=variant.task
    )


def test_several_labels_are_learned_as_probabilities_of_their_own():
    soft = np.column_stack([FEW.rows[:, 0] > 0, FEW.rows[:, 0] > 1]) * 0.8 + 0.1
    text = train_student(FEW, soft, variant_of("multilabel"), trees=40, leaves=7)
    assert np.abs(answers_of(text, FEW.rows) - soft).max() < 0.1


def test_equal_targets_of_all_rows_give_a_student_without_a_split():
    soft = np.tile([0.2, 0.3, 0.5], (600, 1))
    text = train_student(FEW, soft, variant_of("multiclass"), trees=3, leaves=4)
    assert answers_of(text, FEW.rows) == pytest.approx(soft)


def test_columns_without_any_value_to_split_on_are_refused():
    constant = LabeledData(rows=np.zeros((50, 3)), labels=np.zeros(50), groups=np.arange(50))
    with pytest.raises(EngineError, match="LightGBM cannot learn from these rows"):
        train_student(constant, np.full((50, 2), 0.5), variant_of("multiclass"), trees=3, leaves=4)


def test_folds_hold_whole_groups_and_neighbours_in_time_stay_together():
    folds = folds_of(FEW, ordered=True)
    assert all(len(np.unique(folds[FEW.groups == group])) == 1 for group in range(40))
    assert (np.diff(folds[np.argsort(FEW.groups, kind="stable")]) >= 0).all()
    with pytest.raises(NotApplicable, match="fewer than 5 groups"):
        folds_of(replace(FEW, groups=FEW.groups % 4), ordered=False)


def test_a_fold_without_a_class_is_refused():
    with pytest.raises(NotApplicable, match="lack a class"):
        cross_answers(np.arange(10) % 5, lambda learned, own: np.zeros((2, 2 + (0 in own))))


@pytest.fixture(scope="module")
def students(tmp_path_factory):
    """Students of a nearest neighbour of three classes, which knows its training rows by heart."""
    context = context_with(tmp_path_factory.mktemp("students"), labeled_rows(600, seed=2), THREE_CLASSES)
    teacher = as_teacher(NEAREST.fit(FEW.rows, THREE_CLASSES.labels), context, task="multiclass")
    return context, teacher, distil.plugin(teacher, context)


def test_a_slow_teacher_of_three_classes_has_students_of_its_out_of_fold_answers(students):
    context, _, found = students
    assert [student.steps[-1].settings["taught_by"] for student in found] == ["out_of_fold", "labels"] * 2
    rows, labels = context.sample, np.digitize(context.sample[:, 0], [-0.5, 0.5])
    for student in found:
        answers = opened(student, context).predict(rows)
        assert answers.sum(axis=1) == pytest.approx(1.0)
        assert (answers.argmax(axis=1) == labels).mean() > 0.85


def test_refits_answer_each_row_without_its_group(students):
    context, teacher, _ = students
    folds = folds_of(THREE_CLASSES, ordered=True)
    content = context.read(teacher)
    found = refitted_answers("sklearn", content, THREE_CLASSES, folds, limit_s=60)
    for number in range(5):
        own = folds == number
        expected = KNeighborsClassifier(1).fit(FEW.rows[~own], THREE_CLASSES.labels[~own]).predict_proba(FEW.rows[own])
        assert np.array_equal(found[own], expected)
    with pytest.raises(NotApplicable, match=r"the refits took more than 0\.001 s"):
        refitted_answers("sklearn", content, THREE_CLASSES, folds, limit_s=0.001)
    with pytest.raises(NotApplicable, match="engine 'onnxruntime' cannot refit a model"):
        refitted_answers("onnxruntime", b"", FEW, folds, limit_s=60)


def test_a_network_that_cannot_be_refitted_teaches_in_sample(tmp_path):
    rows = np.random.default_rng(0).normal(size=(600, 4))
    data = replace(FEW, rows=rows)
    context = context_with(tmp_path, data, data)
    network = imported("onnxruntime", exported_network(), context)
    content = context.open(network)
    width = content.predict(rows[:1]).shape[1]
    found = distil.plugin(network, context)
    assert [student.steps[-1].settings["taught_by"] for student in found] == ["in_sample", "labels"] * 2
    assert opened(found[0], context).predict(rows).shape == (600, width)


def test_the_training_function_of_a_project_refits_within_the_time(tmp_path):
    asked = []

    def refit(learned, own):
        asked.append((learned, own))
        return np.full((len(own), 1), FEW.labels[learned].mean())

    context = replace(context_with(tmp_path, FEW, FEW), refit=refit)
    teacher = as_teacher(LogisticRegression().fit(FEW.rows, FEW.labels), context, task="binary")
    assert distil.plugin(teacher, context)[0].steps[-1].settings["taught_by"] == "out_of_fold"
    assert len(asked) == 5 and all(not set(FEW.groups[a]) & set(FEW.groups[b]) for a, b in asked)
    assert distil._teach(teacher, context, FEW, np.arange(600), 0.0)[0] == "in_sample"


def test_a_teacher_that_answers_too_slowly_answers_evenly_spaced_rows():
    assert np.array_equal(distil.answered_rows(3_000, 1e-3, 1.0), np.arange(0, 3_000, 3))
    with pytest.raises(NotApplicable, match=r"takes 0\.001 s a row, too long to teach in 0\.4 s"):
        distil.answered_rows(3_000, 1e-3, 0.4)


def test_a_network_faster_than_the_student_is_not_distilled():
    class Quick:
        def predict(self, rows):
            return rows

    text = train_student(FEW, FEW.labels[:, None], variant_of("binary"), trees=30, leaves=15)
    with pytest.raises(NotApplicable, match="us a row, and a student"):
        distil._require_slower(Quick(), text, FEW.rows)


def test_scores_outside_0_to_1_are_not_taught(tmp_path):
    context = context_with(tmp_path, FEW, FEW)
    numbers = as_teacher(KNeighborsRegressor(1).fit(FEW.rows, 9 * FEW.labels), context, task="binary")
    with pytest.raises(NotApplicable, match="not probabilities"):
        distil.plugin(numbers, replace(context, refit=lambda learned, own: np.full((len(own), 1), 9.0)))


def test_a_self_distilled_student_may_have_several_classes_or_answer_numbers(students):
    context, teacher, _ = students
    (student,) = self_distil.plugin(teacher, context)
    assert opened(student, context).predict(FEW.rows).sum(axis=1) == pytest.approx(1.0)
    numbers = as_teacher(KNeighborsRegressor(1).fit(FEW.rows, FEW.rows[:, 0]), context, task="regression")
    data = replace(FEW, labels=FEW.rows[:, 0])
    (student,) = self_distil.plugin(numbers, replace(context, train=lambda: data))
    assert np.abs(opened(student, context).predict(FEW.rows)[:, 0] - data.labels).mean() < 0.2


def test_an_estimator_is_refitted_without_the_parts_that_stay_fitted(tmp_path):
    engine = load_engine("sklearn")
    pipeline = make_pipeline(StandardScaler(), MLPClassifier((4,), max_iter=5), memory=str(tmp_path / "cache"))
    with pytest.warns(Warning):
        content = engine.import_model(pipeline.fit(FEW.rows, FEW.labels)).content
    (tmp_path / "cache").rename(tmp_path / "old")
    with pytest.warns(Warning):
        again = engine.refit(content, FEW.rows[:100], FEW.labels[:100], None)
    assert not (tmp_path / "cache").exists()
    assert engine(again, {}).predict(FEW.rows).shape == (600, 1)
    prefit = VotingClassifier([("lightgbm", lightgbm.LGBMClassifier(n_estimators=3, verbose=-1))], voting="soft")
    content = engine.import_model(prefit.fit(FEW.rows, FEW.labels)).content
    with pytest.raises(NotApplicable, match="a part of it cannot be fitted again"):
        engine.refit(content, FEW.rows, FEW.labels, None)
    content = engine.import_model(LogisticRegression().fit(FEW.rows, FEW.labels)).content
    with pytest.raises(NotApplicable, match="LogisticRegression cannot be fitted on these rows"):
        engine.refit(content, FEW.rows[:5], np.zeros(5), None)
