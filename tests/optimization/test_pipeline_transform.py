"""A pipeline as one graph predicts as scikit-learn: every step, every model, unseen strings and missing values."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier, VotingClassifier
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    KBinsDiscretizer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PowerTransformer,
    QuantileTransformer,
    SplineTransformer,
    StandardScaler,
)
from tests.engines.boosters import text
from tests.engines.estimators import NUMBERS, TEXTS, dataset, encoded, fitted, frame, unseen_rows
from tests.engines.pipelines import (
    CLASSIFIERS,
    COUNTS,
    OF_TREES,
    REGRESSORS,
    SCALED,
    STEPS,
    WORDS,
    context_for,
    ends,
    filled,
    regressor,
    variant_of,
    with_categories,
)
from tests.monitoring.real_tables import wages
from tests.optimization.contexts import baseline_of, context_in, opened

from headway.core.dataset import Dataset, Roles
from headway.core.errors import EngineError, NotApplicable
from headway.core.variant import Field, Variant
from headway.data.matrix import matrix
from headway.engines.formats.graph import Graph
from headway.engines.sklearn import Sklearn
from headway.optimization.context import TransformContext
from headway.optimization.importers.models import import_baseline
from headway.optimization.parity import predict_or_nan
from headway.optimization.transforms.pipeline import pipeline_to_onnx, plugin

# What a fit complains of, on this small table, is a model like any other.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:::sklearn")]
TASKS = {2: "binary", 3: "multiclass"}


@pytest.fixture
def context(tmp_path: Path) -> TransformContext:
    return context_in(tmp_path)


def compiled(model: Variant, context: TransformContext) -> Variant:
    """The one variant that the transform makes; it has compared them on rows at every edge."""
    [variant] = plugin(model, context_for(context, model))
    return variant


def test_texts_are_left_to_the_text_kernel(context: TransformContext) -> None:
    model = variant_of(fitted(ends(make_column_transformer((SCALED, NUMBERS), (WORDS, "carrier")))), context)
    assert model.signature.texts == ("carrier",)
    with pytest.raises(NotApplicable, match="transform `text`"):
        compiled(model, context)


@pytest.mark.parametrize("steps", STEPS)
def test_every_step_is_within_rounding_of_the_library(steps: str, context: TransformContext) -> None:
    model = variant_of(fitted(ends(STEPS[steps]())), context)
    variant = compiled(model, context)
    assert (variant.engine, variant.steps[-1].transform) == ("onnxruntime", "pipeline")
    assert furthest(model, variant, context) < 1e-12


TIED = ("descent, huber", 3)
"""A classifier whose clipped probabilities tie, so that they do not give its decisions."""


def test_a_classifier_whose_probabilities_tie_is_refused_by_name(context: TransformContext) -> None:
    name, classes = TIED
    model = variant_of(fitted(ends(encoded(), CLASSIFIERS[name]()), classes), context, TASKS[classes], classes)
    with pytest.raises(NotApplicable, match="'modified_huber' and 3 classes cannot be compiled"):
        compiled(model, context)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "classes"), [case for case in product(CLASSIFIERS, TASKS) if case != TIED])
def test_every_classifier_is_within_rounding_of_the_library(name: str, classes: int, context: TransformContext) -> None:
    model = variant_of(fitted(ends(encoded(), CLASSIFIERS[name]()), classes), context, TASKS[classes], classes)
    assert furthest(model, compiled(model, context), context) < 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("classes", TASKS)
@pytest.mark.parametrize("name", OF_TREES)
def test_trees_in_an_ensemble_are_part_of_the_graph(name: str, classes: int, context: TransformContext) -> None:
    dense = encoded().set_params(sparse_threshold=0)
    model = variant_of(fitted(ends(dense, OF_TREES[name]()), classes), context, TASKS[classes], classes)
    assert furthest(model, compiled(model, context), context) < 1e-9


@pytest.mark.parametrize("classes", TASKS)
@pytest.mark.parametrize("name", COUNTS)
def test_naive_bayes_of_counts_is_within_rounding_of_the_library(
    name: str, classes: int, context: TransformContext
) -> None:
    counts = with_categories(filled(MinMaxScaler(clip=True)))
    model = variant_of(fitted(ends(counts, COUNTS[name]()), classes), context, TASKS[classes], classes)
    assert furthest(model, compiled(model, context), context) < 1e-12


@pytest.mark.parametrize("name", REGRESSORS)
def test_every_regressor_is_within_rounding_of_the_library(name: str, context: TransformContext) -> None:
    model = variant_of(regressor(REGRESSORS[name]()), context, "regression")
    assert furthest(model, compiled(model, context), context) < 1e-9


def furthest(model: Variant, variant: Variant, context: TransformContext) -> float:
    """The largest change on rows with missing and unseen values, relative above 1.

    NaN for rows that the library rejects.
    """
    native, graph = opened(model, context), opened(variant, context)
    rows = np.column_stack([_column(field, number) for number, field in enumerate(model.signature.inputs)])
    found = graph.predict(rows)
    expected = predict_or_nan(native, rows, found.shape[1])
    assert np.array_equal(np.isnan(found), np.isnan(expected))
    assert not np.isnan(found).all()
    return float(np.nanmax(np.abs(found - expected) / np.maximum(1, np.abs(expected))))


def _column(field: Field, seed: int) -> np.ndarray:
    """Ranks with an unseen string and missing values, or numbers of the table with missing values."""
    random = np.random.default_rng(seed)
    if field.datatype == "BYTES":
        return random.choice([*range(len(field.categories) + (field.unseen == "other")), np.nan], 30)
    numbers = np.concatenate([random.normal(size=40), random.integers(18, 90, 40), [np.nan] * 6])
    return random.choice(numbers, 30)


def _answer(engine: Any, row: np.ndarray, width: int) -> np.ndarray:
    try:
        with np.errstate(all="ignore"):
            return engine.predict(row)
    except EngineError:
        return np.full((1, width), np.nan)


def test_a_logistic_pipeline_predicts_missing_and_unseen_values_as_the_library(
    context: TransformContext,
) -> None:
    estimator = fitted(ends(encoded()))
    model = variant_of(estimator, context)
    rows = unseen_rows()
    expected = estimator.predict_proba(rows)[:, 1]
    table = matrix(dataset(rows).table, model.signature)
    assert np.isnan(table).any() and (table[:, 0] == len(model.signature.inputs[0].categories)).any()
    assert np.abs(opened(compiled(model, context), context).predict(table)[:, 0] - expected).max() < 1e-12


def test_the_usual_pipeline_is_eleven_operations_without_a_one_hot(context: TransformContext) -> None:
    variant = compiled(variant_of(fitted(ends(encoded())), context), context)
    graph = onnx.load_from_string(context.read(variant)).graph
    kinds = [node.op_type for node in graph.node]
    assert len(kinds) == 11 and kinds.count("MatMul") == 1 and "OneHot" not in kinds


def test_parts_of_an_ensemble_read_the_row_once(context: TransformContext) -> None:
    model = CLASSIFIERS["calibrated by sigmoid"]()
    variant = compiled(variant_of(fitted(ends(encoded(), model)), context), context)
    graph = onnx.load_from_string(context.read(variant)).graph
    assert [node.op_type for node in graph.node].count("IsNaN") == 1


def test_the_graph_is_valid_and_the_same_bytes_each_time(context: TransformContext) -> None:
    model = variant_of(fitted(ends(encoded())), context)
    content = context.read(model)
    graph = pipeline_to_onnx(Sklearn.graph(content), model.signature)
    onnx.checker.check_model(onnx.load_from_string(graph), full_check=True)
    assert graph == pipeline_to_onnx(Sklearn.graph(content), model.signature)


@pytest.mark.parametrize(
    "row", [[0, np.nan, 0, 1.0], [0, np.inf, 0, 1.0], [0, 30, 0, -np.inf], [0, 1e308, 0, 1e308]], ids=str
)
def test_a_row_that_the_library_rejects_is_rejected(row: list[float], context: TransformContext) -> None:
    model = variant_of(
        fitted(ends(make_column_transformer((OneHotEncoder(), ["carrier"]), ("passthrough", ["age"])))), context
    )
    graph = opened(compiled(model, context), context)
    native = _answer(opened(model, context), np.array([row]), 1)
    assert np.array_equal(graph.predict(np.array([row])), native, equal_nan=True)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (lambda: ends(with_categories(KNNImputer())), "KNNImputer"),
        (lambda: ends(with_categories(filled(QuantileTransformer(n_quantiles=20)))), "QuantileTransformer"),
        (lambda: ends(with_categories(filled(SplineTransformer()))), "SplineTransformer"),
        (lambda: ends(encoded(), KNeighborsClassifier()), "KNeighborsClassifier"),
        (lambda: ends(encoded(), RandomForestClassifier(2)), "RandomForestClassifier"),
        (
            lambda: ends(
                encoded(), VotingClassifier([("a", LogisticRegression()), ("b", KNeighborsClassifier())], voting="soft")
            ),
            "KNeighborsClassifier",
        ),
        (lambda: ends(with_categories(filled(PowerTransformer(), PowerTransformer()))), "PowerTransformer after"),
    ],
    ids=lambda value: value if isinstance(value, str) else "made",
)
def test_a_part_that_cannot_be_compiled_is_named(model: Any, name: str, context: TransformContext) -> None:
    variant = variant_of(fitted(model()), context)
    with pytest.raises(NotApplicable, match=name):
        plugin(variant, context_for(context, variant))


def test_a_model_of_another_engine_does_not_apply(context: TransformContext) -> None:
    with pytest.raises(NotApplicable, match="engine 'lightgbm' has none"):
        plugin(baseline_of(text(), context), context)


@pytest.mark.parametrize("index", [0, 1], ids=["a weight", "a text"])
def test_a_graph_that_moves_an_answer_is_refused_with_the_row(
    index: int, context: TransformContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = Sklearn.graph

    def false(content: bytes) -> Graph:
        graph = true(content)
        weights = [name for name, value in graph.constants.items() if value.dtype.kind == "f" and value.ndim == 2]
        name = weights[index]
        return replace(graph, constants=graph.constants | {name: graph.constants[name] + 1e-4})

    monkeypatch.setattr(Sklearn, "graph", staticmethod(false))
    model = variant_of(fitted(ends(encoded())), context)
    with pytest.raises(EngineError, match="instead of") as refusal:
        plugin(model, context_for(context, model))
    assert "carrier=" in refusal.value.where and "transforms" in refusal.value.hint


@pytest.mark.parametrize("target", ["wage", "logwage"])
def test_a_real_table_of_strings_and_numbers_is_within_rounding(target: str, context: TransformContext) -> None:
    table = wages()
    texts = [name for name, kind in table.schema.items() if kind == pl.String]
    rows = table.select(*texts, "age", "year", y=target)
    steps = make_column_transformer((OneHotEncoder(), texts), (StandardScaler(), ["age", "year"]))
    people = pd.DataFrame(rows.to_dict(as_series=False)).drop(columns="y")
    model = make_pipeline(steps, Ridge()).fit(people, rows["y"].to_numpy())
    data = Dataset(name="wages", table=rows, roles=Roles(target="y", task="regression"))
    variant = import_baseline(model, data, context.blobs)
    sample = matrix(rows, variant.signature)
    [graph] = plugin(variant, replace(context, sample=sample))
    expected = model.predict(people)
    assert np.abs(opened(graph, context).predict(sample)[:, 0] - expected).max() < 1e-9 * expected.max()


ENCODERS = {
    "one-hot": lambda: OneHotEncoder(handle_unknown="ignore"),
    "frequent": lambda: OneHotEncoder(max_categories=3, handle_unknown="infrequent_if_exist"),
    "ranks": lambda: OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-3),
}
SCALERS = {
    "standard": StandardScaler,
    "bounds": lambda: MinMaxScaler(clip=True),
    "bins": lambda: KBinsDiscretizer(4, quantile_method="averaged_inverted_cdf"),
    "power": PowerTransformer,
}
HEADS = {
    "logistic": lambda: LogisticRegression(max_iter=20),
    "descent": lambda: SGDClassifier(loss="modified_huber", random_state=0),
}


@pytest.mark.slow
@given(
    encoder=st.sampled_from(sorted(ENCODERS)),
    scaler=st.sampled_from(sorted(SCALERS)),
    head=st.sampled_from(sorted(HEADS)),
    fill=st.sampled_from(["mean", "median", "most_frequent", "constant"]),
    indicator=st.booleans(),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=settings().max_examples // 8)  # an example fits a pipeline: 0.7 s
def test_random_pipelines_are_exact_at_their_edges(
    encoder: str, scaler: str, head: str, fill: str, indicator: bool, seed: int, tmp_path_factory: Any
) -> None:
    """The transform itself compares on rows of the sample, at each jump and next to it, missing, infinite, unseen."""
    context = context_in(tmp_path_factory.mktemp("bench"))
    people = frame(200, seed=seed)
    people["income"] *= 10.0 ** (seed % 7 - 3)
    numbers = make_pipeline(SimpleImputer(strategy=fill, add_indicator=indicator), SCALERS[scaler]())
    steps = make_column_transformer((numbers, NUMBERS), (ENCODERS[encoder](), TEXTS))
    labels = (people["age"] + 20 * (people["carrier"] == "AA") > 50).astype(int)
    model = variant_of(ends(steps, HEADS[head]()).fit(people, labels), context)
    assert plugin(model, context_for(context, model))
