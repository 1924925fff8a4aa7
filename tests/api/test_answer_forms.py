"""A model that headway opened answers in the types and shapes of its library's own estimator, for every method."""

from __future__ import annotations

import functools

import catboost
import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, RidgeClassifier
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.tree import DecisionTreeClassifier

import headway
from headway.api.in_memory_project import create_project
from headway.api.model import AnswerForm, Model, load_model_bytes, save_model_bytes
from headway.core.plugins import load_engine
from headway.optimization import search
from headway.optimization.context import TransformContext
from headway.optimization.importers.models import import_baseline

pytestmark = [pytest.mark.slow, pytest.mark.kernels]

RANDOM = np.random.default_rng(0)
ROWS = RANDOM.normal(size=(160, 4))
BINARY = (ROWS[:, 0] + ROWS[:, 1] > 0).astype(np.int64)
THREE = np.digitize(ROWS[:, 0] - ROWS[:, 2], [-0.5, 0.5])
SEVERAL = (ROWS[:, :3] + RANDOM.normal(size=(160, 3)) > 0).astype(np.int64)
NUMBER = ROWS @ np.array([1.0, 2.0, 0.0, -1.0])
QUIET = {"verbose": 0, "iterations": 5, "allow_writing_files": False, "thread_count": 1}
LOGISTIC = LogisticRegression()
FOREST = RandomForestClassifier(5, max_depth=3, random_state=0)
TREE = DecisionTreeClassifier(max_depth=3)

MODELS = {
    "sklearn binary": (LOGISTIC, BINARY),
    "sklearn strings": (LOGISTIC, np.array(["no", "yes"])[BINARY]),
    "sklearn objects": (LOGISTIC, np.array(["no", "yes"], dtype=object)[BINARY]),
    "sklearn bool": (LOGISTIC, BINARY.astype(bool)),
    "sklearn int32": (LOGISTIC, BINARY.astype(np.int32)),
    "sklearn float32": (LOGISTIC, BINARY.astype(np.float32)),
    "sklearn three": (LOGISTIC, THREE),
    "sklearn margins": (RidgeClassifier(), BINARY),
    "own threshold": (FixedThresholdClassifier(LOGISTIC, threshold=0.3), BINARY),
    "own threshold of a forest": (FixedThresholdClassifier(FOREST, threshold=0.3), BINARY),
    "own threshold of a tree": (FixedThresholdClassifier(TREE, threshold=0.3), BINARY),
    "own threshold of a booster": (
        FixedThresholdClassifier(HistGradientBoostingClassifier(max_iter=5), threshold=0.3, pos_label=0),
        BINARY,
    ),
    "several by trees": (TREE, SEVERAL),
    "several by a forest": (FOREST, SEVERAL),
    "several by neighbours": (KNeighborsClassifier(3), SEVERAL),
    "several by a network": (MLPClassifier((4,), max_iter=300, tol=0.1, random_state=0), SEVERAL),
    "several by rest": (OneVsRestClassifier(LOGISTIC), SEVERAL),
    "several outputs": (MultiOutputClassifier(LOGISTIC), SEVERAL),
    "several in a chain": (ClassifierChain(LOGISTIC), SEVERAL),
    "sklearn number": (Ridge(), NUMBER),
    "sklearn column": (LinearRegression(), NUMBER[:, None]),
    "lightgbm binary": (lightgbm.LGBMClassifier(n_estimators=5, verbose=-1, n_jobs=1), BINARY),
    "lightgbm three": (lightgbm.LGBMClassifier(n_estimators=5, verbose=-1, n_jobs=1), THREE),
    "lightgbm number": (lightgbm.LGBMRegressor(n_estimators=5, verbose=-1, n_jobs=1), NUMBER),
    "xgboost binary": (xgboost.XGBClassifier(n_estimators=5, n_jobs=1), BINARY),
    "xgboost three": (xgboost.XGBClassifier(n_estimators=5, n_jobs=1), THREE),
    "xgboost number": (xgboost.XGBRegressor(n_estimators=5, n_jobs=1), NUMBER),
    "catboost binary": (catboost.CatBoostClassifier(**QUIET), BINARY),
    "catboost three": (catboost.CatBoostClassifier(**QUIET), THREE),
    "catboost strings": (catboost.CatBoostClassifier(**QUIET), np.array(["a", "b", "c"])[THREE]),
    "catboost number": (catboost.CatBoostRegressor(**QUIET), NUMBER),
}


@functools.cache
def fitted(name: str):
    model, labels = MODELS[name]
    return model.fit(ROWS, labels), labels


def opened_forms(name: str) -> list[Model]:
    """The original as headway opens it, and each compiled form, as `optimize` would return them."""
    model, labels = fitted(name)
    memory = create_project(model, ROWS, labels)
    baseline = import_baseline(memory.imported, memory.rows, memory.project.blobs)
    context = TransformContext(blobs=memory.project.blobs, sample=ROWS)
    made = search.generate_candidates(baseline, context, ["pipeline", "trees"])
    assert [finding.message for finding in made.refusals if "raised" in finding.message] == []
    threshold = 0.3 if "own threshold" in name else None
    if "booster" in name:
        threshold = np.nextafter(0.7, 1)
    return [
        Model(
            variant,
            load_engine(variant.engine)(context.read(variant), variant.settings),
            threshold=threshold,
            content=context.read(variant),
            form=memory.form,
        )
        for variant in made.variants
    ]


def described(answer: object) -> object:
    """Shape and type of an answer, of each array of a list."""
    return [described(array) for array in answer] if isinstance(answer, list) else (answer.shape, answer.dtype)


@pytest.mark.parametrize("name", MODELS)
def test_every_form_answers_in_the_shapes_and_types_of_the_library(name: str) -> None:
    model, _ = fitted(name)
    for form in opened_forms(name):
        assert hasattr(form, "classes_") == bool(len(getattr(model, "classes_", ())))
        if hasattr(form, "classes_"):
            assert described(form.classes_) == described(model.classes_)
            assert np.array_equal(form.classes_, model.classes_)
        for method in ("predict", "predict_proba"):
            if hasattr(model, method):
                check_answers(getattr(form, method), getattr(model, method), form.variant.name)


def check_answers(call, library_call, name: str) -> None:
    for rows in (ROWS, ROWS[:1], ROWS[:7].astype(np.float32)):
        answer, expected = call(rows), library_call(rows)
        assert described(answer) == described(expected), name
        if np.asarray(expected).dtype.kind == "f":
            assert np.allclose(answer, expected, atol=1e-6), name
        else:
            assert np.array_equal(answer, expected), name


@pytest.mark.parametrize("name", ["several by trees", "xgboost three", "catboost three", "several in a chain"])
def test_a_saved_model_keeps_the_form_and_scores_as_the_library_does(name: str) -> None:
    model, labels = fitted(name)
    form = load_model_bytes(save_model_bytes(opened_forms(name)[-1]))
    assert described(form.predict_proba(ROWS)) == described(model.predict_proba(ROWS))
    assert described(form.predict(ROWS)) == described(model.predict(ROWS))
    assert form.score(ROWS, labels) == pytest.approx(model.score(ROWS, labels))


@pytest.mark.parametrize("name", ["own threshold of a forest", "own threshold of a tree", "own threshold of a booster"])
def test_the_trees_behind_a_threshold_are_compiled(name: str) -> None:
    assert "trees" in [form.variant.engine for form in opened_forms(name)]


def test_an_optimized_model_has_the_form_of_the_original_with_columns_that_it_does_not_read() -> None:
    table = pd.DataFrame(ROWS, columns=list("abcd")).assign(day=np.arange(160) // 4)
    model = xgboost.XGBRegressor(n_estimators=5, n_jobs=1).fit(table[list("abcd")], NUMBER)
    best = headway.optimize(model, table, NUMBER, groups="day", transforms=["trees"], budget="2s")
    assert described(best.predict(table)) == described(model.predict(table[list("abcd")]))


def test_a_model_of_sums_of_leaves_keeps_headways_own_form_of_classes() -> None:
    model = catboost.CatBoost({**QUIET, "loss_function": "Logloss"}).fit(ROWS, BINARY)
    memory = create_project(model, ROWS, BINARY)
    assert memory.form.decisions == "" and not memory.form.is_list
    assert create_project(model, ROWS, BINARY).form == memory.form != AnswerForm(decisions="float64")
