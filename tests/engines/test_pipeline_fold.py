"""Trees after encoders and scalers, as trees over raw columns: the predictions of the pipeline at every edge."""

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
from tests.engines.pipelines import ONE_HOT, STEPS, bins, context_for, filled, variant_of, with_categories
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
# Warnings of the libraries about small tables and absent feature names are expected.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:::sklearn"),
    pytest.mark.filterwarnings("ignore:::lightgbm"),
    pytest.mark.filterwarnings("ignore:::xgboost"),
]


@pytest.fixture
def context(tmp_path: Path) -> TransformContext:
    return context_in(tmp_path)


def dense(model: Any) -> Any:
    """The model, with columns that are never made sparse."""
    for step in model.named_steps.values():
        if hasattr(step, "sparse_threshold"):
            step.sparse_threshold = 0
    return model


@pytest.mark.parametrize("name", MODELS)
def test_every_library_behind_the_usual_steps_compiles(name: str, context: TransformContext) -> None:
    """The transform compares the graph of the folded trees with the pipeline on rows at every edge."""
    model = variant_of(fitted(dense(make_pipeline(STEPS["the usual ones"](), MODELS[name]()))), context)
    assert plugin(model, context_for(context, model))


@pytest.mark.slow
@pytest.mark.parametrize("steps", FOLDED)
@pytest.mark.parametrize("name", ["histogram", "forest"])
def test_every_step_folds_into_splits_of_its_column(name: str, steps: str, context: TransformContext) -> None:
    model = variant_of(fitted(dense(make_pipeline(STEPS[steps](), MODELS[name]()))), context)
    assert plugin(model, context_for(context, model))


def test_xgboost_treats_the_absent_zeros_of_a_sparse_row_as_missing(context: TransformContext) -> None:
    steps = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), TEXTS), sparse_threshold=1)
    model = variant_of(fitted(make_pipeline(steps, MODELS["xgboost"]())), context)
    assert plugin(model, context_for(context, model))


def test_a_regressor_over_one_hot_integers_becomes_sets_of_integers(context: TransformContext) -> None:
    people = frame()
    people["age"] = people["age"] // 10
    ages = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    steps = make_column_transformer((ages, ["age"]), (ONE_HOT, TEXTS), sparse_threshold=0)
    estimator = make_pipeline(steps, ExtraTreesRegressor(6, random_state=0)).fit(people, target(people, 9))
    model = variant_of(estimator, context, "regression")
    forest = Sklearn.forest(context.read(model))
    assert (forest.category_cast, forest.categorical) == ("exact", [0, 1, 2])
    rows = clip_to_known_ranks(edge_rows(forest, np.zeros((0, 4))), model.signature)
    assert np.array_equal(walked(forest, rows), opened(model, context).predict(rows)[:, 0].round(12))


def walked(forest: Forest, rows: np.ndarray) -> np.ndarray:
    """The predictions of the trees, node by node."""
    return np.array([sum(_leaf(tree, row) for tree in forest.trees) for row in rows]).round(12)


def _leaf(tree: Any, row: np.ndarray) -> float:
    node = 0
    while node >= 0:
        x, at = row[tree.feature[node]], tree.threshold[node]
        goes_left = x in tree.sets[int(at)] if tree.categorical[node] else x <= at
        goes_left = tree.missing_left[node] if np.isnan(x) else goes_left
        node = tree.left[node] if goes_left else tree.right[node]
    return float(tree.leaf[~node, 0])


def as_categories(model: Any, **options: Any) -> Any:
    """Ranks of strings that the model reads as categories, and unchanged numbers."""
    ranks = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    return fitted_with(
        make_pipeline(make_column_transformer((ranks, TEXTS), ("passthrough", NUMBERS)), model), **options
    )


def fitted_with(model: Any, **options: Any) -> Any:
    people = frame()
    return model.fit(people, target(people), **options)


@pytest.mark.parametrize("name", ["histogram", "lightgbm"])
def test_ranks_that_trees_read_as_categories_become_sets_of_strings(name: str, context: TransformContext) -> None:
    if name == "histogram":
        model = as_categories(HistGradientBoostingClassifier(max_iter=12, categorical_features=[0, 1]))
    else:
        trees_of_sets = lightgbm.LGBMClassifier(n_estimators=12, verbose=-1, min_data_per_group=5, max_cat_to_onehot=1)
        model = as_categories(trees_of_sets, lgbmclassifier__categorical_feature=[0, 1])
    variant = variant_of(model, context)
    assert plugin(variant, context_for(context, variant))
    assert any(len(members) > 1 for tree in Sklearn.forest(context.read(variant)).trees for members in tree.sets)


@pytest.mark.parametrize("value", [np.inf, -np.inf, 3.4e38, 1e300], ids=str)
def test_a_number_that_a_step_or_the_trees_reject_is_rejected(value: float, context: TransformContext) -> None:
    model = variant_of(fitted(make_pipeline(STEPS["the usual ones"](), MODELS["forest"]())), context)
    row = np.array([[0.0, 30.0, 0.0, value]])
    assert not accepted_rows(Sklearn.forest(context.read(model)), row).any()
    assert refuses(opened(model, context), row)
    [graph] = plugin(model, context_for(context, model))
    assert np.isnan(opened(graph, context).predict(row)).all()
    [kernel] = trees.plugin(model, context_for(context, model))
    assert refuses(opened(kernel, context), row)


def refuses(engine: Engine, row: np.ndarray) -> bool:
    try:
        engine.predict(row)
    except EngineError:
        return True
    return False


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (lambda: with_categories(filled(StandardScaler(), PCA(2))), "PCA before its trees mixes columns"),
        (lambda: with_categories(filled(PowerTransformer())), "PowerTransformer before its trees is not monotone"),
        (lambda: with_categories(filled(bins())), "one-hot form of KBinsDiscretizer"),
        (lambda: with_categories(filled(OneHotEncoder(handle_unknown="ignore"))), "not integers"),
        (lambda: make_column_transformer((OneHotEncoder(), ["age"])), "rejects unknown numbers"),
    ],
    ids=lambda value: value if isinstance(value, str) else "made",
)
def test_a_step_that_cannot_be_folded_is_named(steps: Any, message: str, context: TransformContext) -> None:
    model = variant_of(fitted(make_pipeline(steps(), MODELS["forest"]())), context)
    with pytest.raises(NotApplicable, match=message):
        Sklearn.forest(context.read(model))


def test_a_pipeline_that_does_not_end_in_trees_is_named(context: TransformContext) -> None:
    model = variant_of(fitted(make_pipeline(STEPS["the usual ones"](), KNeighborsClassifier())), context)
    with pytest.raises(NotApplicable, match="KNeighborsClassifier"):
        Sklearn.forest(context.read(model))


@pytest.mark.parametrize("name", ["histogram", "forest", "lightgbm", "xgboost"])
def test_the_trees_of_the_last_step_can_be_truncated(name: str, context: TransformContext) -> None:
    model = variant_of(fitted(make_pipeline(STEPS["ordinal"](), MODELS[name]())), context)
    content = context.read(model)
    shorter = Sklearn.truncate(content, 3)
    rows = context_for(context, model).sample
    assert (Sklearn.rounds(content), Sklearn.rounds(shorter)) == (8 if name == "forest" else 12, 3)
    found, less = walked(Sklearn.forest(content), rows[:40]), walked(Sklearn.forest(shorter), rows[:40])
    assert np.abs(found - less).max() > 1e-3
    assert not np.array_equal(Sklearn(content, {}).predict(rows), Sklearn(shorter, {}).predict(rows))


@pytest.mark.slow
@settings(max_examples=settings().max_examples // 5)
@given(
    steps=st.sampled_from(FOLDED),
    name=st.sampled_from(sorted(MODELS)),
    scale=st.sampled_from([1e-3, 1.0, 1e9, 1e30]),
    seed=st.integers(0, 2**31),
)
def test_random_pipelines_fold_exactly(
    steps: str, name: str, scale: float, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Both transforms compare the folded trees with the pipeline on rows at every edge, to 1e-6."""
    context = context_in(tmp_path_factory.mktemp("context"))
    people = frame(250, seed=seed)
    people["income"] = people["income"] * scale
    if steps == "numbers as they are" and name == "boosted":
        people["income"] = people["income"].fillna(0)
    model = dense(make_pipeline(STEPS[steps](), MODELS[name]())).fit(people, target(people))
    variant = variant_of(model, context)
    rows = context_for(context, variant)
    assert plugin(variant, rows) and trees.plugin(variant, rows)
