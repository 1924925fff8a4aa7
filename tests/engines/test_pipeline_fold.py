"""Trees behind encoders and scalers, as trees over raw columns: the answers of the whole pipeline at every edge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import catboost
import lightgbm
import numpy as np
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, PowerTransformer, StandardScaler
from tests.engines.estimators import NUMBERS, TEXTS, fitted, frame, target
from tests.engines.pipelines import ONE_HOT, STEPS, bench_on, beside, bins, filled, variant_of
from tests.optimization.contexts import context_in, opened

from headway.core.contracts import Engine
from headway.core.errors import EngineError, NotApplicable
from headway.engines.formats.trees import Forest, accepted_rows
from headway.engines.sklearn import Sklearn
from headway.optimization.context import TransformContext
from headway.optimization.parity import clip_to_known_ranks, edge_rows
from headway.optimization.transforms import trees
from headway.optimization.transforms.onnx import plugin

MODELS: dict[str, Any] = {
    "forest": lambda: RandomForestClassifier(8, random_state=0),
    "histogram": lambda: HistGradientBoostingClassifier(max_iter=12),
    "boosted": lambda: GradientBoostingClassifier(n_estimators=12),
    "lightgbm": lambda: lightgbm.LGBMClassifier(n_estimators=12, verbose=-1),
    "xgboost": lambda: xgboost.XGBClassifier(n_estimators=12),
    "catboost": lambda: catboost.CatBoostClassifier(iterations=12, verbose=0, depth=4, allow_writing_files=False),
}
FOLDED = (
    *("the usual ones", "imputer with indicator", "min max with clip", "robust", "bins", "scaled, then bins", "above"),
    *("selected", "ordinal", "target", "one-hot less one", "frequent", "one-hot that refuses", "numbers as they are"),
)
# What a library says of a small table, or of names that a table had and an array has not, is no matter here.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:::sklearn"),
    pytest.mark.filterwarnings("ignore:::lightgbm"),
    pytest.mark.filterwarnings("ignore:::xgboost"),
]


@pytest.fixture
def bench(tmp_path: Path) -> TransformContext:
    return context_in(tmp_path)


def dense(model: Any) -> Any:
    """The model, with columns that are never made sparse."""
    for step in model.named_steps.values():
        if hasattr(step, "sparse_threshold"):
            step.sparse_threshold = 0
    return model


@pytest.mark.parametrize("name", MODELS)
def test_every_library_behind_the_usual_steps_compiles(name: str, bench: TransformContext) -> None:
    """The transform compares the graph of the folded trees with the pipeline on rows at every edge."""
    model = variant_of(fitted(dense(make_pipeline(STEPS["the usual ones"](), MODELS[name]()))), bench)
    assert plugin(model, bench_on(bench, model))


@pytest.mark.slow
@pytest.mark.parametrize("steps", FOLDED)
@pytest.mark.parametrize("name", ["histogram", "forest"])
def test_every_step_folds_into_splits_of_its_column(name: str, steps: str, bench: TransformContext) -> None:
    model = variant_of(fitted(dense(make_pipeline(STEPS[steps](), MODELS[name]()))), bench)
    assert plugin(model, bench_on(bench, model))


def test_a_sparse_row_leaves_zeros_out_and_xgboost_takes_them_for_missing(bench: TransformContext) -> None:
    steps = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), TEXTS), sparse_threshold=1)
    model = variant_of(fitted(make_pipeline(steps, MODELS["xgboost"]())), bench)
    assert plugin(model, bench_on(bench, model))


def test_a_regressor_over_whole_numbers_one_hot_is_sets_of_them(bench: TransformContext) -> None:
    people = frame()
    people["age"] = people["age"] // 10
    ages = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    steps = make_column_transformer((ages, ["age"]), (ONE_HOT, TEXTS), sparse_threshold=0)
    estimator = make_pipeline(steps, ExtraTreesRegressor(6, random_state=0)).fit(people, target(people, 9))
    model = variant_of(estimator, bench, "regression")
    forest = Sklearn.forest(bench.read(model))
    assert (forest.category_cast, forest.categorical) == ("exact", [0, 1, 2])
    rows = clip_to_known_ranks(edge_rows(forest, np.zeros((0, 4))), model.signature)
    assert np.array_equal(walked(forest, rows), opened(model, bench).predict(rows)[:, 0].round(12))


def walked(forest: Forest, rows: np.ndarray) -> np.ndarray:
    """What the trees say, node by node."""
    return np.array([sum(_leaf(tree, row) for tree in forest.trees) for row in rows]).round(12)


def _leaf(tree: Any, row: np.ndarray) -> float:
    node = 0
    while node >= 0:
        x, at = row[tree.feature[node]], tree.threshold[node]
        left = x in tree.sets[int(at)] if tree.categorical[node] else x <= at
        left = tree.missing_left[node] if np.isnan(x) else left
        node = tree.left[node] if left else tree.right[node]
    return float(tree.leaf[~node, 0])


def as_categories(model: Any, **given: Any) -> Any:
    """Ranks of texts that the model is told to read as categories, beside numbers as they are."""
    ranks = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    return fitted_with(make_pipeline(make_column_transformer((ranks, TEXTS), ("passthrough", NUMBERS)), model), **given)


def fitted_with(model: Any, **given: Any) -> Any:
    people = frame()
    return model.fit(people, target(people), **given)


@pytest.mark.parametrize("name", ["histogram", "lightgbm"])
def test_ranks_that_the_trees_read_as_categories_are_sets_of_texts(name: str, bench: TransformContext) -> None:
    if name == "histogram":
        model = as_categories(HistGradientBoostingClassifier(max_iter=12, categorical_features=[0, 1]))
    else:
        trees_of_sets = lightgbm.LGBMClassifier(n_estimators=12, verbose=-1, min_data_per_group=5, max_cat_to_onehot=1)
        model = as_categories(trees_of_sets, lgbmclassifier__categorical_feature=[0, 1])
    variant = variant_of(model, bench)
    assert plugin(variant, bench_on(bench, variant))
    assert any(len(each) > 1 for tree in Sklearn.forest(bench.read(variant)).trees for each in tree.sets)


@pytest.mark.parametrize("value", [np.inf, -np.inf, 3.4e38, 1e300], ids=str)
def test_a_number_that_a_step_or_the_trees_refuse_is_not_taken(value: float, bench: TransformContext) -> None:
    model = variant_of(fitted(make_pipeline(STEPS["the usual ones"](), MODELS["forest"]())), bench)
    row = np.array([[0.0, 30.0, 0.0, value]])
    assert not accepted_rows(Sklearn.forest(bench.read(model)), row).any()
    assert refuses(opened(model, bench), row)
    [graph] = plugin(model, bench_on(bench, model))
    assert np.isnan(opened(graph, bench).predict(row)).all()
    [kernel] = trees.plugin(model, bench_on(bench, model))
    assert refuses(opened(kernel, bench), row)


def refuses(engine: Engine, row: np.ndarray) -> bool:
    try:
        engine.predict(row)
    except EngineError:
        return True
    return False


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (lambda: beside(filled(StandardScaler(), PCA(2))), "PCA before its trees mixes columns"),
        (lambda: beside(filled(PowerTransformer())), "PowerTransformer before its trees bends"),
        (lambda: beside(filled(bins())), "one-hot form of KBinsDiscretizer"),
        (lambda: beside(filled(OneHotEncoder(handle_unknown="ignore"))), "no whole ones"),
        (lambda: make_column_transformer((OneHotEncoder(), ["age"])), "refuses a number that it does not know"),
    ],
    ids=lambda value: value if isinstance(value, str) else "made",
)
def test_a_step_that_no_split_says_is_named(steps: Any, message: str, bench: TransformContext) -> None:
    model = variant_of(fitted(make_pipeline(steps(), MODELS["forest"]())), bench)
    with pytest.raises(NotApplicable, match=message):
        Sklearn.forest(bench.read(model))


def test_a_pipeline_that_ends_in_no_trees_is_named(bench: TransformContext) -> None:
    model = variant_of(fitted(make_pipeline(STEPS["the usual ones"](), KNeighborsClassifier())), bench)
    with pytest.raises(NotApplicable, match="KNeighborsClassifier"):
        Sklearn.forest(bench.read(model))


@pytest.mark.parametrize("name", ["histogram", "forest", "lightgbm", "xgboost"])
def test_the_trees_at_the_end_can_be_cut(name: str, bench: TransformContext) -> None:
    model = variant_of(fitted(make_pipeline(STEPS["ordinal"](), MODELS[name]())), bench)
    whole = bench.read(model)
    shorter = Sklearn.truncate(whole, 3)
    rows = bench_on(bench, model).sample
    assert (Sklearn.rounds(whole), Sklearn.rounds(shorter)) == (8 if name == "forest" else 12, 3)
    found, less = walked(Sklearn.forest(whole), rows[:40]), walked(Sklearn.forest(shorter), rows[:40])
    assert np.abs(found - less).max() > 1e-3
    assert not np.array_equal(Sklearn(whole, {}).predict(rows), Sklearn(shorter, {}).predict(rows))


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(
    steps=st.sampled_from(FOLDED),
    name=st.sampled_from(sorted(MODELS)),
    scale=st.sampled_from([1e-3, 1.0, 1e9, 1e30]),
    seed=st.integers(0, 2**31),
)
def test_pipelines_of_any_make_fold_exactly(
    steps: str, name: str, scale: float, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Both transforms compare the folded trees with the pipeline on rows at every edge, to 1e-6."""
    bench = context_in(tmp_path_factory.mktemp("bench"))
    people = frame(250, seed=seed)
    people["income"] = people["income"] * scale
    if steps == "numbers as they are" and name == "boosted":
        people["income"] = people["income"].fillna(0)
    model = dense(make_pipeline(STEPS[steps](), MODELS[name]())).fit(people, target(people))
    variant = variant_of(model, bench)
    rows = bench_on(bench, variant)
    assert plugin(variant, rows) and trees.plugin(variant, rows)
