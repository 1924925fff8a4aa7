"""XGBoost, CatBoost and scikit-learn forests as ONNX graphs predict as their libraries at every edge."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
import xgboost
from hypothesis import given
from hypothesis import strategies as st
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
)
from tests.engines import xgboosters
from tests.engines.boosters import table
from tests.engines.catboosters import LOSSES, cbm
from tests.engines.estimators import dataset, frame, unseen_rows
from tests.engines.estimators import target as target_of
from tests.engines.forests import complete_rows, fitted
from tests.engines.xgboosters import OBJECTIVES, ubj
from tests.optimization.contexts import TEXTS, context_in, imported, opened
from threadpoolctl import threadpool_limits

from headway.core.errors import NotApplicable
from headway.core.plugins import load_engine
from headway.core.variant import Field, Signature
from headway.data.matrix import dataset_signature, matrix
from headway.engines.catboost import Catboost
from headway.engines.formats.trees import Forest, Tree, accepted_rows, constant_tree
from headway.engines.sklearn import Sklearn
from headway.engines.xgboost import Xgboost
from headway.optimization.context import TransformContext
from headway.optimization.forest_onnx import forest_to_onnx
from headway.optimization.parity import edge_rows
from headway.optimization.transforms.onnx import plugin

pytestmark = pytest.mark.slow


@pytest.fixture
def context(tmp_path: Path) -> TransformContext:
    return context_in(tmp_path)


def moved(name: str, content: bytes, rows: np.ndarray) -> float:
    """The largest change on rows at the edges of the trees, relative where predictions exceed 1."""
    engine = load_engine(name)
    forest = engine.forest(content)
    hard_rows = np.concatenate([rows, edge_rows(forest, rows)])
    hard_rows = hard_rows[accepted_rows(forest, hard_rows)]
    with np.errstate(over="ignore", invalid="ignore"):  # numbers beyond float32 are among the edges
        expected = engine(content, {"threads": 1}).predict(hard_rows)
        found = load_engine("onnxruntime")(forest_to_onnx(forest, truncated=forest.categorical), {}).predict(hard_rows)
    assert np.isfinite(expected).all()
    return float(np.max(np.abs(expected - found) / np.maximum(1, np.abs(expected))))


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_of_xgboost_is_within_the_rounding_of_float32(objective: str) -> None:
    links = ("identity", "positive")
    exact = Xgboost.forest(ubj(objective)).link in links
    assert moved("xgboost", ubj(objective, 30), table()) <= (0 if exact else 4e-7)


@pytest.mark.parametrize(
    "parameters",
    [
        {"booster": "dart", "rate_drop": 0.5},
        {"num_parallel_tree": 3, "subsample": 0.5},
        {"max_cat_to_onehot": 64},
        {"tree_method": "exact", "gamma": 2.0, "categorical": False},
        {"max_depth": 9, "grow_policy": "lossguide"},
        {"min_child_weight": 1e9},
    ],
    ids=str,
)
def test_every_kind_of_tree_of_xgboost_is_exact(parameters: dict[str, object]) -> None:
    assert moved("xgboost", ubj("reg:squarederror", 10, **parameters), table()) == 0


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_of_catboost_is_exact(loss: str) -> None:
    assert moved("catboost", cbm(loss, 30), table()) < 1e-14


@pytest.mark.parametrize(
    "parameters",
    [
        {"grow_policy": "Lossguide"},
        {"grow_policy": "Depthwise", "min_data_in_leaf": 60},
        {"nan_mode": "Max", "border_count": 400},
        {"depth": 8},
    ],
    ids=str,
)
@pytest.mark.parametrize("loss", ["RMSE", "MultiClass"])
def test_every_kind_of_tree_of_catboost_is_exact(loss: str, parameters: dict[str, object]) -> None:
    assert moved("catboost", cbm(loss, 10, **parameters), table()) < 1e-14


SKLEARN = {
    "forest": (RandomForestClassifier(8, random_state=0), table, "multiclass"),
    "forest of values": (ExtraTreesRegressor(8, random_state=0), table, "regression"),
    "boosting": (GradientBoostingClassifier(n_estimators=8, random_state=0), complete_rows, "binary"),
    "histograms": (HistGradientBoostingRegressor(max_iter=8, loss="poisson"), table, "poisson"),
    "categories": (HistGradientBoostingClassifier(max_iter=8, categorical_features=[0]), table, "binary"),
    "isolation": (IsolationForest(n_estimators=8, random_state=0), table, "regression"),
}


@pytest.mark.parametrize("name", SKLEARN)
def test_every_kind_of_tree_of_scikit_learn_is_exact(name: str) -> None:
    """Missing values, recent versions, and categories, on which converters fail."""
    model, rows, target = SKLEARN[name]
    with threadpool_limits(1, "openmp"):
        assert moved("sklearn", fitted(model, rows(), target), rows()) < 1e-14


def test_exact_categories_may_be_negative_and_have_no_fraction() -> None:
    rows = table()
    rows[:, 2] = rows[:, 0] % 7 - 3
    model = HistGradientBoostingClassifier(max_iter=8, categorical_features=[2])
    with threadpool_limits(1, "openmp"):
        content = fitted(model, rows, "binary")
        assert min(members.min() for tree in Sklearn.forest(content).trees for members in tree.sets) < 0
        assert moved("sklearn", content, rows) < 1e-14


def test_a_split_between_missing_and_present_strings_has_an_empty_set() -> None:
    city = pd.Series(["Bern", "Lima", "Oslo", None] * 100, dtype=object)
    rows = pd.DataFrame({"city": city, "age": np.arange(400) % 7})
    model = HistGradientBoostingClassifier(max_iter=3, categorical_features=["city"]).fit(rows, city.isna())
    inputs = (Field(name="city", datatype="BYTES", categories=("Bern", "Lima", "Oslo")), Field(name="age"))
    content, _ = Sklearn.bind(Sklearn.import_model(model).content, Signature(inputs=inputs))
    ranks = np.array([[0, 2], [1, 2], [2, 2], [3, 2], [np.nan, 2]])
    assert any(not len(members) for tree in Sklearn.forest(content).trees for members in tree.sets)
    found = load_engine("onnxruntime")(forest_to_onnx(Sklearn.forest(content)), {}).predict(ranks)
    np.testing.assert_allclose(found, Sklearn(content, {}).predict(ranks), rtol=0, atol=1e-14)
    assert found[4] > found[3]


def test_a_category_beyond_32_bits_does_not_apply() -> None:
    rows = table()
    rows[:, 2] = 2.0**40 + rows[:, 0] % 2
    with threadpool_limits(1, "openmp"):
        model = HistGradientBoostingClassifier(max_iter=3, categorical_features=[2]).fit(rows, rows[:, 0] % 2)
    with pytest.raises(NotApplicable, match="32 bits"):
        forest_to_onnx(Sklearn.forest(Sklearn.import_model(model).content))


def test_a_row_that_the_library_rejects_is_answered_with_nan() -> None:
    rows = complete_rows(4)
    rows[1, 0], rows[2, 3] = np.nan, np.inf
    kinds = GradientBoostingClassifier(n_estimators=2), RandomForestClassifier(2)
    graphs = [forest_to_onnx(Sklearn.forest(fitted(kind, complete_rows(), "binary"))) for kind in kinds]
    found = [np.isnan(load_engine("onnxruntime")(graph, {}).predict(rows))[:, 0].tolist() for graph in graphs]
    assert found == [[False, True, True, False], [False, False, True, False]]


def test_strings_of_histogram_boosting_stay_ranks_in_the_graph(context: TransformContext) -> None:
    model = HistGradientBoostingClassifier(max_iter=5, categorical_features=["carrier", "city"])
    model.fit(frame(), target_of(frame()))
    content, signature = Sklearn.bind(Sklearn.import_model(model).content, dataset_signature(dataset(frame())))
    sample = matrix(dataset(unseen_rows()).table, signature)
    [variant] = plugin(
        imported("sklearn", content, context, signature=signature), TransformContext(blobs=context.blobs, sample=sample)
    )
    np.testing.assert_allclose(
        opened(variant, context).predict(sample), model.predict_proba(unseen_rows())[:, 1:], rtol=0, atol=1e-14
    )


def test_a_value_that_counts_as_missing_is_missing_in_the_graph() -> None:
    rows = table()
    rows[::3, 2] = -999.0
    model = xgboost.XGBClassifier(n_estimators=5, missing=-999.0, n_jobs=1).fit(rows, (rows[:, 3] > 2**32).astype(int))
    content = Xgboost.import_model(model).content
    assert moved("xgboost", content, rows) < 4e-7
    kinds = [node.op_type for node in onnx.load_from_string(forest_to_onnx(Xgboost.forest(content))).graph.node]
    assert kinds == ["Equal", "Where", "TreeEnsemble", "Sigmoid"]


@pytest.mark.parametrize("engine", ["xgboost", "catboost"])
def test_a_graph_is_valid_and_replaces_the_library(engine: str, context: TransformContext) -> None:
    model = imported(engine, ubj() if engine == "xgboost" else cbm(), context)
    [variant] = plugin(model, context)
    onnx.checker.check_model(onnx.load_from_string(context.read(variant)), full_check=True)
    assert (variant.engine, variant.artifact.format, variant.name) == ("onnxruntime", "onnx", "onnxruntime")
    assert np.allclose(opened(model, context).predict(table()), opened(variant, context).predict(table()), atol=1e-6)


def test_the_rank_of_a_string_is_an_integer_and_is_not_truncated(context: TransformContext) -> None:
    graphs = [plugin(imported("xgboost", ubj(), context, **options), context) for options in ({}, {"signature": TEXTS})]
    kinds = [[n.op_type for n in onnx.load_from_string(context.read(made)).graph.node] for [made] in graphs]
    assert kinds == [["Floor", "Where", "TreeEnsemble", "Sigmoid"], ["TreeEnsemble", "Sigmoid"]]


def test_a_linear_model_does_not_apply(context: TransformContext) -> None:
    linear = ubj("reg:squarederror", booster="gblinear", categorical=False)
    with pytest.raises(NotApplicable, match="linear model"):
        plugin(imported("xgboost", linear, context, task="regression"), context)


def test_a_forest_made_by_hand_is_added_in_order_from_its_base() -> None:
    split = Tree(
        feature=np.array([1]),
        threshold=np.array([0.5]),
        categorical=np.array([False]),
        missing_left=np.array([False]),
        left=np.array([~0]),
        right=np.array([~1]),
        leaf=np.array([[1.0, 10.0], [2.0, 20.0]]),
        outputs=(0, 2),
    )
    forest = Forest(width=2, trees=(split, constant_tree([100.0], (1,))), base=np.array([0.25, 0.0, 0.0]))
    found = load_engine("onnxruntime")(forest_to_onnx(forest), {}).predict(np.array([[0, 0.5], [0, 0.6], [0, np.nan]]))
    assert found.tolist() == [[1.25, 100.0, 10.0], [2.25, 100.0, 20.0], [2.25, 100.0, 20.0]]


@pytest.mark.slow
@given(
    depth=st.integers(1, 8),
    trees=st.integers(1, 25),
    seed=st.integers(0, 2**31),
    objective=st.sampled_from(["binary:logistic", "multi:softprob", "reg:squarederror", "count:poisson"]),
    categorical=st.booleans(),
)
def test_models_of_xgboost_of_any_shape_stay_within_float32(
    depth: int, trees: int, seed: int, objective: str, categorical: bool
) -> None:
    training = xgboosters.data(objective, categorical=categorical)
    params = {"objective": objective, "max_depth": depth, "seed": seed % 1000, "subsample": 0.8, "max_cat_to_onehot": 2}
    params |= {"num_class": 3} if objective.startswith("multi") else {}
    model = xgboost.train({**params, "nthread": 1, "verbosity": 0}, training, trees)
    assert moved("xgboost", Xgboost.import_model(model).content, table(seed=seed)) < 5e-7


def test_the_trees_of_a_model_do_not_change_when_it_is_saved_by_its_library() -> None:
    before, after = (Catboost.forest(content) for content in (cbm("RMSE"), Catboost.truncate(cbm("RMSE"), 7)))
    for one, other in zip(before.trees, after.trees, strict=True):
        assert np.array_equal(one.threshold, other.threshold) and np.array_equal(one.leaf, other.leaf)
