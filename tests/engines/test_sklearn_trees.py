"""Forests read from scikit-learn predict as the library at every edge, and reject what it rejects."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor
from tests.engines.boosters import table, targets
from tests.engines.estimators import encoded, frame, target
from tests.engines.forest_walk import answers
from tests.engines.forests import complete_rows, fitted, hard, moved

from headway.core.errors import EngineError, NotApplicable
from headway.core.variant import Field, Signature
from headway.engines.formats.trees import accepted_rows
from headway.engines.sklearn import Sklearn

pytestmark = pytest.mark.slow

Parameters = dict[str, Any]

FORESTS: list[tuple[type, Parameters, str]] = [
    (RandomForestClassifier, {}, "binary"),
    (RandomForestClassifier, {"class_weight": "balanced"}, "multiclass"),
    (RandomForestRegressor, {}, "regression"),
    (RandomForestRegressor, {"criterion": "poisson"}, "poisson"),
    (RandomForestRegressor, {"max_leaf_nodes": 9}, "regression"),
    (ExtraTreesClassifier, {}, "binary"),
    (ExtraTreesClassifier, {"bootstrap": True, "max_samples": 0.5}, "multiclass"),
    (ExtraTreesRegressor, {"min_samples_leaf": 5}, "regression"),
]
TREES: list[tuple[type, Parameters, str]] = [
    (DecisionTreeClassifier, {}, "binary"),
    (DecisionTreeClassifier, {"max_leaf_nodes": 12}, "multiclass"),
    (DecisionTreeRegressor, {"ccp_alpha": 0.01}, "regression"),
    (ExtraTreeClassifier, {}, "multiclass"),
    (ExtraTreeRegressor, {}, "regression"),
]
BOOSTED: list[tuple[type, Parameters, str]] = [
    (GradientBoostingClassifier, {}, "binary"),
    (GradientBoostingClassifier, {"loss": "exponential"}, "binary"),
    (GradientBoostingClassifier, {"init": "zero"}, "multiclass"),
    (GradientBoostingClassifier, {"init": DummyClassifier(strategy="prior")}, "multiclass"),
    (GradientBoostingRegressor, {"loss": "huber"}, "regression"),
    (GradientBoostingRegressor, {"loss": "quantile", "alpha": 0.3, "subsample": 0.5}, "regression"),
    (GradientBoostingRegressor, {"init": "zero", "max_leaf_nodes": 7}, "regression"),
]


@pytest.mark.parametrize("gaps", [True, False], ids=["gaps", "no gaps"])
@pytest.mark.parametrize(("kind", "parameters", "target"), FORESTS, ids=str)
def test_a_forest_is_exact_with_and_without_missing_values(
    kind: type, parameters: Parameters, target: str, gaps: bool
) -> None:
    """Other readers are wrong on every row with a missing value."""
    rows = table() if gaps else complete_rows()
    assert moved("sklearn", fitted(kind(8, random_state=0, **parameters), rows, target), rows) < 1e-14


@pytest.mark.parametrize("gaps", [True, False], ids=["gaps", "no gaps"])
@pytest.mark.parametrize(("kind", "parameters", "target"), TREES, ids=str)
def test_a_single_tree_is_exact_with_and_without_missing_values(
    kind: type, parameters: Parameters, target: str, gaps: bool
) -> None:
    rows = table() if gaps else complete_rows()
    assert moved("sklearn", fitted(kind(random_state=0, **parameters), rows, target), rows) == 0


@pytest.mark.parametrize(("kind", "parameters", "target"), BOOSTED, ids=str)
def test_gradient_boosting_is_exact(kind: type, parameters: Parameters, target: str) -> None:
    model = kind(n_estimators=12, random_state=0, **parameters)
    assert moved("sklearn", fitted(model, complete_rows(), target), complete_rows()) < 1e-14


@pytest.mark.parametrize("parameters", [{}, {"max_features": 0.5}, {"max_samples": 1}], ids=str)
def test_an_isolation_forest_predicts_its_score_samples(parameters: Parameters) -> None:
    model = IsolationForest(n_estimators=12, random_state=0, **parameters).fit(table())
    adopted = Sklearn.import_model(model)
    rows = hard("sklearn", adopted.content, table())
    with np.errstate(over="ignore"):
        expected = model.score_samples(rows)[:, None]
        assert np.array_equal(Sklearn(adopted.content, {}).predict(rows), expected)
    assert adopted.task == "anomaly"
    np.testing.assert_allclose(answers(Sklearn.forest(adopted.content), rows), expected, rtol=1e-14)


REFUSING: list[tuple[type, Parameters, bool]] = [
    (RandomForestClassifier, {"n_estimators": 3}, False),
    (ExtraTreesClassifier, {"n_estimators": 3}, False),
    (DecisionTreeClassifier, {}, False),
    (ExtraTreeClassifier, {"splitter": "best"}, True),
    (GradientBoostingClassifier, {"n_estimators": 3}, True),
]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39, -3.5e38, 2.0**128 - 2.0**103, 3.4028235677e38])
@pytest.mark.parametrize(("kind", "parameters", "gaps"), REFUSING, ids=str)
def test_the_forest_rejects_what_the_library_rejects(
    kind: type, parameters: Parameters, gaps: bool, value: float
) -> None:
    content = fitted(kind(random_state=0, **parameters), complete_rows(), "binary")
    rows = complete_rows(3)
    rows[1, 3] = value
    try:
        with np.errstate(over="ignore"):
            Sklearn(content, {}).predict(rows)
        refused = False
    except EngineError:
        refused = True
    assert accepted_rows(Sklearn.forest(content), rows).tolist() == [True, not refused, True]
    assert refused == (gaps if np.isnan(value) else abs(value) >= 2.0**128 - 2.0**103)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (AdaBoostClassifier(n_estimators=3), "by votes"),
        (BaggingClassifier(n_estimators=3), "a BaggingClassifier is not a sum of tree leaves"),
        (LogisticRegression(max_iter=1000), "a LogisticRegression is not a sum of tree leaves"),
        (GradientBoostingClassifier(n_estimators=3, init=RandomForestClassifier(3)), "predictions of a RandomForest"),
        (
            GradientBoostingClassifier(n_estimators=3, init=DummyClassifier(strategy="uniform")),
            "predictions of a Dummy",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_estimators_that_do_not_sum_leaves_do_not_apply(model: Any, message: str) -> None:
    with pytest.raises(NotApplicable, match=message):
        Sklearn.forest(fitted(model, complete_rows(), "binary"))


def test_several_targets_do_not_apply() -> None:
    rows = complete_rows()
    content = Sklearn.import_model(RandomForestRegressor(2).fit(rows, rows[:, :2])).content
    with pytest.raises(NotApplicable, match="2 targets"):
        Sklearn.forest(content)


def test_strings_before_trees_do_not_apply() -> None:
    """Only an encoder converts strings to numbers, and a forest alone has none."""
    content = fitted(RandomForestClassifier(2), complete_rows(), "binary")
    inputs = (Field(name="a", datatype="BYTES", categories=("x",)), *(Field(name=name) for name in "bcd"))
    bound, _ = Sklearn.bind(content, Signature(inputs=inputs))
    with pytest.raises(NotApplicable, match="has strings"):
        Sklearn.forest(bound)


CUT: list[tuple[type, Parameters]] = [
    (RandomForestClassifier, {}),
    (ExtraTreesRegressor, {"max_depth": 4}),
    (GradientBoostingClassifier, {}),
    (IsolationForest, {"max_features": 0.5}),
]


@pytest.mark.parametrize(("kind", "parameters"), CUT)
def test_the_first_trees_are_a_valid_model(kind: type, parameters: Parameters) -> None:
    content = fitted(kind(n_estimators=9, random_state=0, **parameters), complete_rows(), "binary")
    shorter = Sklearn.truncate(content, 4)
    assert (Sklearn.rounds(content), Sklearn.rounds(shorter)) == (9, 4)
    assert len(shorter) < len(content) and moved("sklearn", shorter, complete_rows()) < 1e-14
    assert not np.array_equal(
        Sklearn(shorter, {}).predict(complete_rows()), Sklearn(content, {}).predict(complete_rows())
    )


def test_the_first_trees_of_a_forest_predict_their_mean() -> None:
    model = RandomForestClassifier(9, random_state=0).fit(complete_rows(), targets(complete_rows(), "multiclass"))
    mean = np.mean([tree.predict_proba(complete_rows()) for tree in model.estimators_[:4]], axis=0)
    found = Sklearn(Sklearn.truncate(Sklearn.import_model(model).content, 4), {}).predict(complete_rows())
    np.testing.assert_allclose(found, mean, rtol=0, atol=1e-15)


def test_the_first_rounds_of_boosting_equal_its_stage() -> None:
    model = GradientBoostingRegressor(n_estimators=9, random_state=0).fit(
        complete_rows(), targets(complete_rows(), "regression")
    )
    stage = list(model.staged_predict(complete_rows()))[3]
    assert np.array_equal(
        Sklearn(Sklearn.truncate(Sklearn.import_model(model).content, 4), {}).predict(complete_rows())[:, 0], stage
    )


def test_one_tree_is_one_round() -> None:
    content = fitted(DecisionTreeClassifier(), complete_rows(), "binary")
    assert Sklearn.rounds(content) == 1
    assert np.array_equal(
        Sklearn(Sklearn.truncate(content, 1), {}).predict(complete_rows()),
        Sklearn(content, {}).predict(complete_rows()),
    )


def test_a_pipeline_has_the_rounds_of_its_last_step() -> None:
    pipeline = make_pipeline(encoded(), RandomForestClassifier(2)).fit(frame(), target(frame()))
    assert Sklearn.rounds(Sklearn.import_model(pipeline).content) == 2


@settings(max_examples=settings().max_examples // 2)
@given(
    kind=st.sampled_from([RandomForestClassifier, ExtraTreesClassifier, GradientBoostingClassifier]),
    trees=st.integers(1, 6),
    depth=st.integers(1, 12),
    columns=st.integers(1, 5),
    scale=st.sampled_from([1e-3, 1.0, 1e9, 1e37]),
    seed=st.integers(0, 1000),
)
def test_forests_of_any_shape_are_exact_at_the_edges(
    kind: type, trees: int, depth: int, columns: int, scale: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    rows = random.normal(size=(120, columns)) * scale
    rows[random.random(rows.shape) < 0.1] = 0.0 if kind is GradientBoostingClassifier else np.nan
    model = kind(n_estimators=trees, max_depth=depth, random_state=0).fit(rows, np.arange(120) % 3)
    assert moved("sklearn", Sklearn.import_model(model).content, rows) < 1e-14
