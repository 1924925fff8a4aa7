"""Fewer trees are the first trees, in round numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from sklearn.ensemble import RandomForestClassifier
from tests.engines.boosters import booster, table, text
from tests.engines.catboosters import cbm
from tests.engines.forests import complete_rows, fitted
from tests.engines.xgboosters import ubj
from tests.optimization.contexts import baseline_of, context_in, imported, opened

from headway.core.errors import NotApplicable
from headway.core.plugins import load_engine
from headway.core.variant import Step
from headway.engines.sklearn import Sklearn
from headway.optimization.context import TransformContext
from headway.optimization.transforms.truncate import cut_sizes, plugin

pytestmark = pytest.mark.slow


@pytest.fixture
def context(tmp_path: Path) -> TransformContext:
    return context_in(tmp_path)


@pytest.mark.parametrize("objective", ["binary", "multiclass"])
def test_a_truncated_model_predicts_as_the_library_with_that_many_trees(
    objective: str, context: TransformContext
) -> None:
    variants = plugin(baseline_of(text(objective, trees=30), context), context)
    assert [variant.steps[-1].settings["trees"] for variant in variants] == [25, 20, 15, 10]
    for variant in variants:
        trees = variant.steps[-1].settings["trees"]
        expected = booster(objective, trees=30).predict(table(), num_iteration=trees)
        found = opened(variant, context).predict(table())
        assert np.array_equal(found, expected.reshape(found.shape))


def test_a_truncated_model_keeps_engine_settings_and_parameters(context: TransformContext) -> None:
    model = replace(baseline_of(text(trees=3), context), settings={"threads": 1})
    variant = plugin(model, context)[0]
    assert (variant.engine, variant.settings, variant.name) == (
        "lightgbm",
        {"threads": 1},
        "lightgbm · truncate(trees=2) · threads=1",
    )
    assert b"[objective: binary]" in context.read(variant) and b"feature_importances" not in context.read(variant)


@pytest.mark.parametrize(
    ("iterations", "expected"),
    [
        (1, []),
        (2, [1]),
        (3, [2, 1]),
        (100, [80, 70, 50, 30]),
        (299, [250, 200, 150, 100]),
        (300, [250, 200, 150, 100]),
        (1000, [800, 700, 500, 300]),
    ],
)
def test_sizes_are_round_and_smaller_than_the_model(iterations: int, expected: list[int]) -> None:
    assert cut_sizes(iterations) == expected


@pytest.mark.parametrize("engine", ["xgboost", "catboost"])
def test_models_of_other_libraries_are_truncated_to_their_first_trees(engine: str, context: TransformContext) -> None:
    kind, content = load_engine(engine), ubj(rounds=30) if engine == "xgboost" else cbm(trees=30)
    variants = plugin(imported(engine, content, context), context)
    assert [variant.steps[-1].settings["trees"] for variant in variants] == [25, 20, 15, 10]
    for variant in variants:
        expected = kind(kind.truncate(content, variant.steps[-1].settings["trees"]), {}).predict(table())
        assert np.array_equal(opened(variant, context).predict(table()), expected)
    assert variants == plugin(imported(engine, content, context), context)


def test_a_scikit_learn_forest_is_truncated_to_its_first_trees(context: TransformContext) -> None:
    content = fitted(RandomForestClassifier(30, random_state=0), complete_rows(), "binary")
    variants = plugin(imported("sklearn", content, context), context)
    assert [variant.steps[-1].settings["trees"] for variant in variants] == [25, 20, 15, 10]
    first = Sklearn(Sklearn.truncate(content, 10), {}).predict(complete_rows())
    assert np.array_equal(opened(variants[-1], context).predict(complete_rows()), first)


def test_a_model_is_truncated_once(context: TransformContext) -> None:
    model = replace(baseline_of(text(), context), steps=(Step(transform="truncate", settings={"trees": 5}),))
    with pytest.raises(NotApplicable, match="truncated before"):
        plugin(model, context)


def test_a_random_forest_is_not_truncated(context: TransformContext) -> None:
    forest = text("regression", boosting="rf", bagging_freq=1, bagging_fraction=0.5)
    with pytest.raises(NotApplicable, match="mean of its trees"):
        plugin(baseline_of(forest, context), context)


def test_a_single_tree_is_not_truncated(context: TransformContext) -> None:
    with pytest.raises(NotApplicable, match="1 trees, too few"):
        plugin(baseline_of(text(trees=1), context), context)
