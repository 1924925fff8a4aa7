"""A graph predicts as LightGBM, to the last digits: at thresholds, next to categories, missing, infinite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engines.boosters import OBJECTIVES, in_range, table, text
from tests.optimization.contexts import NUMBERS, TEXTS, baseline_of, context_in, opened

from headway.core.errors import EngineError, NotApplicable
from headway.core.plugins import load_engine
from headway.engines.lightgbm import Lightgbm
from headway.optimization.context import TransformContext
from headway.optimization.forest_onnx import forest_to_onnx
from headway.optimization.transforms.onnx import plugin

pytestmark = pytest.mark.slow

QUICK = {"verbose": -1, "num_threads": 1, "min_data_in_leaf": 3, "min_data_per_group": 2, "cat_smooth": 1}
ODD = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 5e-324, -1e-36, 2.0**24 + 1, 2.0**53 + 2, 1e300, -1e300])


@pytest.fixture
def context(tmp_path: Path) -> TransformContext:
    return context_in(tmp_path)


def splits(node: dict[str, Any]) -> Iterator[tuple[int, list[float]]]:
    """Column and edges of every split of a tree, as LightGBM itself dumps it."""
    if "split_feature" not in node:
        return
    threshold = node["threshold"]
    sets = [float(category) for category in threshold.split("||")] if isinstance(threshold, str) else []
    at = [] if sets else [threshold, np.nextafter(threshold, -np.inf), np.nextafter(threshold, np.inf)]
    yield (
        node["split_feature"],
        at + [near for category in sets for near in (category, category + 0.999, category + 1, category - 0.5)],
    )
    yield from splits(node["left_child"])
    yield from splits(node["right_child"])


def hard_rows(model: lightgbm.Booster, rows: np.ndarray, seed: int = 0) -> np.ndarray:
    """Rows with one value, and rows with several, set to an edge of a split of their column or to an edge case."""
    edges = {column: list(ODD) for column in range(rows.shape[1])}
    for tree in model.dump_model()["tree_info"]:
        for column, values in splits(tree["tree_structure"]):
            edges[column] += values
    singles = [(column, value) for column, values in edges.items() for value in values]
    random = np.random.default_rng(seed)
    one = rows[random.integers(len(rows), size=len(singles))]
    one[np.arange(len(singles)), [column for column, _ in singles]] = [value for _, value in singles]
    many = np.column_stack([random.choice(edges[column], size=600) for column in range(rows.shape[1])])
    sampled = rows[random.integers(len(rows), size=600)]
    return np.concatenate([one, many, np.where(random.random(many.shape) < 0.6, sampled, many)])


def furthest(expected: np.ndarray, found: np.ndarray) -> float:
    """The largest change, relative where answers exceed 1."""
    with np.errstate(invalid="ignore"):
        change = np.where(expected == found, 0, np.abs(expected - found) / np.maximum(1, np.abs(expected)))
    return float(change.max())


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_is_exact_at_the_edges(objective: str, context: TransformContext) -> None:
    task = "binary" if objective in ("binary", "cross_entropy") else "regression"
    model_text = text(objective, trees=30)
    model = baseline_of(model_text, context, task=task)
    [variant] = plugin(model, context)
    rows = hard_rows(lightgbm.Booster(model_str=model_text), table())
    assert (variant.engine, variant.artifact.format, variant.name) == ("onnxruntime", "onnx", "onnxruntime")
    assert furthest(opened(model, context).predict(rows), opened(variant, context).predict(rows)) < 1e-12


@pytest.mark.parametrize(
    "parameters",
    [
        {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5},
        {"boosting": "dart"},
        {"sigmoid": 2.5},
        {"use_missing": False},
        {"zero_as_missing": True},
        {"max_bin": 2000, "num_leaves": 40},
        {"max_cat_to_onehot": 64},
        {"min_data_in_leaf": 300},
    ],
    ids=str,
)
def test_every_kind_of_tree_is_exact_at_the_edges(parameters: dict[str, Any], context: TransformContext) -> None:
    model_text = text("binary", trees=10, **parameters)
    model = baseline_of(model_text, context)
    [variant] = plugin(model, context)
    rows = hard_rows(lightgbm.Booster(model_str=model_text), table())
    assert furthest(opened(model, context).predict(rows), opened(variant, context).predict(rows)) < 1e-14


def test_a_missing_category_goes_right_where_none_was_missing_before(context: TransformContext) -> None:
    rows = table()
    rows[:, 0] %= 4
    given_to = {"objective": "binary", "num_leaves": 8, "max_cat_to_onehot": 1, **QUICK}
    data = lightgbm.Dataset(rows, (rows[:, 0] % 2) + 0.0, categorical_feature=[0], params=given_to)
    model_text = lightgbm.train(given_to, data, 3).model_to_string()
    assert "decision_type=1" in model_text
    model = baseline_of(model_text, context)
    [variant] = plugin(model, context)
    rows[:, 0] = np.nan
    assert furthest(opened(model, context).predict(rows), opened(variant, context).predict(rows)) < 1e-14


def test_a_regression_of_roots_is_squared_again(context: TransformContext) -> None:
    model = baseline_of(text("regression", reg_sqrt=True), context, task="regression")
    [variant] = plugin(model, context)
    assert furthest(opened(model, context).predict(table()), opened(variant, context).predict(table())) < 1e-14


def test_a_model_without_an_objective_predicts_raw_scores(context: TransformContext) -> None:
    model = baseline_of(text().replace("objective=binary sigmoid:1\n", ""), context)
    [variant] = plugin(model, context)
    assert furthest(opened(model, context).predict(table()), opened(variant, context).predict(table())) < 1e-14


def test_fractions_of_categories_are_truncated_only_where_a_request_can_hold_them(
    context: TransformContext,
) -> None:
    [numbers], [texts] = (
        plugin(baseline_of(text(), context, signature=signature), context) for signature in (NUMBERS, TEXTS)
    )
    rows = table()
    rows[:, 0] += 0.75
    assert np.allclose(
        opened(numbers, context).predict(rows), opened(numbers, context).predict(table()), rtol=0, atol=0
    )
    kinds = [
        [node.op_type for node in onnx.load_from_string(context.read(variant)).graph.node]
        for variant in (numbers, texts)
    ]
    assert kinds == [["Mod", "Sub", "Where", "TreeEnsemble", "Sigmoid"], ["TreeEnsemble", "Sigmoid"]]


def test_the_graph_is_valid_and_the_same_bytes_each_time() -> None:
    model = Lightgbm.forest(text("multiclass").encode())
    onnx.checker.check_model(onnx.load_from_string(forest_to_onnx(model, truncated=[0])), full_check=True)
    assert forest_to_onnx(model) == forest_to_onnx(model)


def test_settings_of_the_old_engine_are_dropped(context: TransformContext) -> None:
    model = baseline_of(text(), context)
    [variant] = plugin(
        type(model)(**{**{f: getattr(model, f) for f in model.__struct_fields__}, "settings": {"threads": 2}}), context
    )
    assert variant.settings == {}


def test_a_model_that_a_graph_cannot_express_does_not_apply(context: TransformContext) -> None:
    with pytest.raises(NotApplicable, match="linear models"):
        plugin(baseline_of(text("regression", linear_tree=True), context), context)


def test_a_graph_that_moves_an_answer_is_refused(context: TransformContext) -> None:
    """The library ignores `sqrt` after `poisson`; the graph applies it, so that the two differ."""
    model_text = text("poisson").replace("objective=poisson", "objective=poisson sqrt")
    with pytest.raises(EngineError, match=r"answers \S+ instead of \S+") as refusal:
        plugin(baseline_of(model_text, context, task="regression"), context)
    assert "rows" in refusal.value.where and "category=" in refusal.value.where and "transforms" in refusal.value.hint


def test_a_signature_of_other_columns_is_refused(context: TransformContext) -> None:
    short = type(NUMBERS)(inputs=NUMBERS.inputs[:3])
    with pytest.raises(EngineError, match="reads 4 columns, its signature names 3"):
        plugin(baseline_of(text(), context, signature=short), context)


COLUMN = st.sampled_from(["normal", "gaps", "integers", "seconds", "halves", "category", "few", "constant", "tiny"])


def column(kind: str, random: np.random.Generator, count: int) -> np.ndarray:
    """Return a column: `few` is categories without rare or missing ones, `tiny` is near LightGBM's zero threshold."""
    made = {
        "normal": lambda: random.normal(size=count),
        "gaps": lambda: np.where(random.random(count) < 0.3, np.nan, random.normal(size=count)),
        "integers": lambda: random.integers(-5, 6, count),
        "seconds": lambda: random.integers(1_600_000_000, 1_600_100_000, count),
        "halves": lambda: random.integers(-3, 4, count) / 2,
        "category": lambda: np.where(random.random(count) < 0.05, np.nan, random.integers(0, 70, count)),
        "few": lambda: random.integers(0, 6, count),
        "constant": lambda: np.ones(count),
        "tiny": lambda: random.choice([-1e-30, -1e-35, 0, 1e-36, 1e-35, 1e-30, np.nan], count),
    }
    return np.asarray(made[kind](), dtype=np.float64)


@pytest.mark.slow
@settings(max_examples=2 * settings().max_examples)
@given(
    kinds=st.lists(COLUMN, min_size=1, max_size=6),
    objective=st.sampled_from(["binary", "multiclass", "regression", "poisson"]),
    leaves=st.integers(2, 40),
    trees=st.integers(1, 25),
    seed=st.integers(0, 2**31),
    options=st.fixed_dictionaries(
        {},
        optional={
            "use_missing": st.just(False),
            "zero_as_missing": st.just(True),
            "max_bin": st.sampled_from([3, 1000]),
            "boosting": st.just("dart"),
        },
    ),
)
def test_models_of_any_shape_are_exact_at_the_edges(
    kinds: list[str], objective: str, leaves: int, trees: int, seed: int, options: dict[str, Any]
) -> None:
    random = np.random.default_rng(seed)
    rows = np.column_stack([column(kind, random, 300) for kind in kinds])
    categorical = [index for index, kind in enumerate(kinds) if kind in ("category", "few")]
    score = random.normal(size=300) + sum(rank / 150 - 1 for rank in np.argsort(np.argsort(rows, axis=0), axis=0).T)
    params = {"objective": objective, "num_leaves": leaves, "seed": seed % 1000, **QUICK, **options}
    params |= {"num_class": 3} if objective == "multiclass" else {}
    data = lightgbm.Dataset(rows, in_range(score, objective), categorical_feature=categorical, params=params)
    model = lightgbm.train(params, data, trees)
    content, hard = model.model_to_string().encode(), hard_rows(model, rows, seed)
    found = load_engine("onnxruntime")(forest_to_onnx(Lightgbm.forest(content), truncated=categorical), {}).predict(
        hard
    )
    assert furthest(load_engine("lightgbm")(content, {"threads": 1}).predict(hard), found) < 1e-12
