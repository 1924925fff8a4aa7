"""Compile fitted transformers: from the features that a step reads to those that it makes.

Encoders are evaluated value by value: the library encodes each category of a column.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer
from sklearn.feature_selection import SelectorMixin
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)

from headway.core.arrays import Floats
from headway.core.errors import NotApplicable
from headway.engines.estimators.pipelines.features import (
    UFUNC_TERMS,
    ArrayFeature,
    Feature,
    NumericFeature,
    TableFeature,
    Term,
    affine_feature,
    affine_number,
    apply_function,
    apply_to_table,
    compare_feature,
    compose,
    constant_feature,
    first_at_least,
    is_table,
    numeric_values,
    power_transform,
    replace_value,
    same_column,
)
from headway.engines.estimators.pipelines.graph_builder import GraphBuilder
from headway.engines.estimators.text_columns import imputed_columns

Values = NDArray[Any]
_MAX_VALUES = 20_000_000
_VALUE_ERRORS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


def encode_features(step: Any, features: Sequence[Feature]) -> list[Feature]:
    """Return the outputs of an encoder that reads its columns one by one."""
    counts = _output_counts(step, len(features))
    found: list[Feature] = []
    for index, feature in enumerate(features):
        span = slice(sum(counts[:index]), sum(counts[: index + 1]))

        def answer(values: Values, index: int = index, span: slice = span) -> Floats:
            return evaluate_values(
                lambda some: _dense(step.transform(_probe_table(step, index, some)))[:, span], values
            )

        found += _encode_feature(answer, step.categories_[index], feature, span.stop - span.start)
    return found


def tabulate_step(step: Any, features: Sequence[Feature]) -> list[Feature]:
    """Return the outputs of any transformer whose inputs are tables of one column: tables again."""
    reads_text = isinstance(step, CountVectorizer | HashingVectorizer)
    first = features[0]
    assert isinstance(first, TableFeature)
    table = first.values if reads_text else np.column_stack([numeric_values(feature) for feature in features])  # type: ignore[arg-type]
    made = evaluate_values(lambda some: _dense(step.transform(some)), table)
    if reads_text:
        made[~np.array([isinstance(value, str) for value in first.values])] = np.inf
        made[-2] = np.inf  # an unseen string has no vector in the table; such rows are rejected earlier
    return [TableFeature(column=first.column, values=column) for column in made.T]


def discretize_features(step: Any, features: Sequence[Feature]) -> list[Feature]:
    """Return the bin number of each feature, or its one-hot encoding."""
    found: list[Feature] = []
    for feature, edges in zip(features, step.bin_edges_, strict=True):
        inner = np.asarray(edges[1:-1], np.float64)
        if step.encode == "ordinal":
            found.append(_step_feature(feature, inner, np.arange(len(inner) + 1.0)))
        else:
            found += [_step_feature(feature, inner, row) for row in np.eye(len(inner) + 1)]
    return found


def evaluate_values(function: Callable[[Values], Floats], values: Values) -> Floats:
    """Evaluate a function on values [m, ...]: float64 [m, k], infinite for each value that it rejects."""
    parts = _evaluate_halves(function, values)
    width = next((part.shape[1] for part in parts if part is not None), 1)
    return np.concatenate([np.full((1, width), np.inf) if part is None else part for part in parts])


def _evaluate_halves(function: Callable[[Values], Floats], values: Values) -> list[Floats | None]:
    """Evaluate halves until each rejected value is isolated."""
    try:
        return [np.asarray(function(values), np.float64)]
    except _VALUE_ERRORS:
        if len(values) == 1:
            return [None]
    half = len(values) // 2
    return [*_evaluate_halves(function, values[:half]), *_evaluate_halves(function, values[half:])]


def _output_counts(step: Any, inputs: int) -> list[int]:
    """Return the number of outputs of each column."""
    if isinstance(step, OneHotEncoder):
        return [int(count) for count in step._n_features_outs]
    many = isinstance(step, TargetEncoder) and step.target_type_ == "multiclass"
    return [len(step.classes_) if many else 1] * inputs


def _probe_table(step: Any, index: int, values: Values) -> Values:
    """Build rows [m, inputs] in which one column takes values, and the others a category that the encoder knows."""
    kind = object if any(known.dtype.kind not in "biuf" for known in step.categories_) else np.float64
    table = np.empty((len(values), len(step.categories_)), kind)
    for column, categories in enumerate(step.categories_):
        table[:, column] = categories[0]
    table[:, index] = values
    return table


def _broadcast(found: Floats, outputs: int) -> Floats:
    """Broadcast to all outputs, in case every value was rejected."""
    return np.broadcast_to(found, (len(found), outputs))


def _dense(found: Any) -> Floats:
    if np.prod(found.shape) > _MAX_VALUES:
        raise NotApplicable(
            f"the categories of a column become {found.shape[1]:,} numbers each, which is too many for a table"
        )
    return np.asarray(found.toarray() if hasattr(found, "toarray") else found, np.float64)


def _encode_feature(
    answer: Callable[[Values], Floats], categories: Values, feature: Feature, outputs: int
) -> list[Feature]:
    if isinstance(feature, TableFeature):
        made = answer(feature.values)
        return [TableFeature(column=feature.column, values=column) for column in _broadcast(made, outputs).T]
    if is_table(feature):
        return [apply_to_table(feature, lambda x, index=index: answer(x)[:, index]) for index in range(outputs)]  # type: ignore[misc]
    if not isinstance(feature, NumericFeature) or feature.line != (1.0, 0.0):
        raise NotApplicable("an encoder of numbers after a step that changes them cannot be compiled")
    return _encode_number(answer, categories, feature, outputs)


def _encode_number(
    answer: Callable[[Values], Floats], categories: Values, feature: NumericFeature, outputs: int
) -> list[Feature]:
    """Return steps at the numbers that an encoder knows, relative to its output for any other number."""
    known = np.array(
        [category for category in categories.tolist() if category is not None and category == category], np.float64
    )
    unseen = float(np.max(known, initial=0.0)) + 1.5
    encoded = _broadcast(answer(np.array([*known, unseen, feature.missing])), outputs)
    rejects = not np.isfinite(encoded[-2]).all()
    base = np.zeros(outputs) if rejects else encoded[-2]
    guard = (Term(kind="in", constants=(1.0, 0.0, *known)),) if rejects else ()

    def one(index: int) -> NumericFeature:
        jumps = [
            Term(kind="=", weight=float(height), constants=(1.0, 0.0, float(at)))
            for at, height in zip(known, encoded[:-2, index] - base[index], strict=True)
            if height
        ]
        return replace(
            feature,
            terms=(*jumps, *guard),
            offset=float(base[index]),
            missing=float(encoded[-1, index]),
            function=lambda x: answer(feature.function(x))[:, index],
            requires_finite=True,
        )

    return [one(index) for index in range(outputs)]


def _step_feature(feature: Feature, edges: Floats, heights: Floats) -> Feature:
    """Return a feature that takes `heights` in order, the next one from each edge on."""

    def exact(x: Floats) -> Floats:
        return np.where(np.isnan(x), np.nan, heights[np.searchsorted(edges, x, side="right")])

    if is_table(feature):
        return apply_to_table(feature, exact)
    if not isinstance(feature, NumericFeature) or not feature.line or feature.line[0] <= 0:
        raise NotApplicable("KBinsDiscretizer after a step that is not an increasing line cannot be compiled")
    raw = first_at_least(feature.function, edges)
    terms = tuple(
        Term(kind=">=", weight=float(jump), constants=(1.0, 0.0, float(at)))
        for at, jump in zip(raw, np.diff(heights), strict=True)
        if jump
    )
    missing = float(exact(np.array([feature.missing]))[0])
    return replace(
        feature,
        terms=terms,
        offset=float(heights[0]),
        missing=missing,
        function=compose(feature.function, exact),
        requires_finite=True,
    )


Features = list[Feature]
TransformReader = Callable[[Any, Features, GraphBuilder], Features]


def transform_features(step: Any, features: Features, builder: GraphBuilder) -> Features:
    """Return the features that a step makes; raise NotApplicable, with its name, for an unsupported step."""
    if step is None or (isinstance(step, str) and step == "passthrough"):
        return features
    if type(step).__name__ == "FrozenEstimator":
        return transform_features(step.estimator, features, builder)
    made: Features | None = builder.read_step(step, features)
    if made is not None:
        return made
    read = _READERS.get(type(step))
    if read is not None and not (same_column(features) and type(step) in _BY_FEATURE):
        return read(step, features, builder)
    if isinstance(step, SelectorMixin):
        return builder.pick(features, step.get_support(indices=True))  # type: ignore[no-any-return]
    if features and same_column(features):
        return tabulate_step(step, features)
    raise NotApplicable(f"{_step_name(step)} cannot be compiled to a graph")


def _step_name(step: Any) -> str:
    """Return the name of a step for an error message."""
    if isinstance(step, FunctionTransformer):
        return f"FunctionTransformer with {getattr(step.func, '__name__', step.func)!r}"
    return type(step).__name__


def _pipeline(step: Any, features: Features, builder: GraphBuilder) -> Features:
    for _, inner in step.steps:
        features = transform_features(inner, features, builder)
    return features


def _union(step: Any, features: Features, builder: GraphBuilder) -> Features:
    weights, found = step.transformer_weights or {}, []
    for name, transformer in step.transformer_list:
        if isinstance(transformer, str) and transformer == "drop":
            continue
        weight = float(weights.get(name, 1.0))
        made = transform_features(transformer, features, builder)
        found += made if weight == 1 else [affine_feature(one, weight, 0.0, times(weight)) for one in made]
    return found


def _columns(step: Any, features: Features, builder: GraphBuilder) -> Features:
    inputs, weights, found = step._transformer_to_input_indices, step.transformer_weights or {}, []
    for name, transformer, _ in step.transformers_:
        indices = inputs.get(name, ())
        if len(indices) == 0 or (isinstance(transformer, str) and transformer == "drop"):
            continue
        weight = float(weights.get(name, 1.0))
        made = transform_features(transformer, [features[int(index)] for index in indices], builder)
        found += made if weight == 1 else [affine_feature(one, weight, 0.0, times(weight)) for one in made]
    return found


def times(weight: float) -> Callable[[Any], Any]:
    return lambda x: x * weight


def _scale_features(step: Any, features: Features, _: GraphBuilder) -> Features:
    """Apply (x - center) / scale, as StandardScaler, RobustScaler and MaxAbsScaler compute it."""
    centre, scale = _centre_and_scale(step)
    many = len(features)
    centres, scales = (np.zeros(many) if centre is None else centre), (np.ones(many) if scale is None else scale)
    return [
        affine_feature(feature, 1 / float(size), -float(middle) / float(size), _scaling(middle, size))
        for feature, middle, size in zip(features, centres, scales, strict=True)
    ]


def _centre_and_scale(step: Any) -> tuple[Any, Any]:
    if isinstance(step, StandardScaler):
        return (step.mean_ if step.with_mean else None), step.scale_
    if isinstance(step, RobustScaler):
        return (step.center_ if step.with_centering else None), (step.scale_ if step.with_scaling else None)
    return None, step.scale_


def _scaling(middle: float, size: float) -> Callable[[Any], Any]:
    return lambda x: (x - middle) / size


def _min_max(step: Any, features: Features, _: GraphBuilder) -> Features:
    found = [
        affine_feature(feature, float(slope), float(shift), _line(slope, shift))
        for feature, slope, shift in zip(features, step.scale_, step.min_, strict=True)
    ]
    if not step.clip:
        return found
    low, high = map(float, step.feature_range)
    return [apply_function(feature, "clip", (low, high), lambda x: np.clip(x, low, high), step) for feature in found]


def _line(slope: float, shift: float) -> Callable[[Any], Any]:
    return lambda x: x * slope + shift


def _impute(step: Any, features: Features, builder: GraphBuilder) -> Features:
    found = [_impute_feature(step, features[index], step.statistics_[index]) for index in imputed_columns(step)]
    return found + (_indicate_missing(step.indicator_, features, builder) if step.add_indicator else [])


def _impute_feature(step: Any, feature: Feature, value: Any) -> Feature:
    """Replace the missing values of a feature; a column without values becomes 0."""
    gap = step.missing_values
    if isinstance(feature, TableFeature):
        values = feature.values.copy()
        values[[_is_gap(cell, gap) for cell in feature.values.tolist()]] = value
        return replace(feature, values=values)
    if isinstance(value, float) and np.isnan(value):
        return constant_feature(0.0)
    if _is_gap(np.nan, gap):
        return _fill_missing(feature, float(value))
    return replace_value(feature, float(gap), float(value), step)


def _is_gap(value: Any, gap: Any) -> bool:
    return bool(value != value) if isinstance(gap, float) and np.isnan(gap) else bool(value == gap)


def _fill_missing(feature: Feature, value: float) -> Feature:
    if not isinstance(feature, NumericFeature):
        return feature  # computed arrays have no missing values
    if not np.isnan(feature.missing):
        return affine_number(feature, 1.0, 0.0, _unchanged)
    line = feature.line
    fill_value = (value - line[1]) / line[0] if line and line[0] else np.nan
    return replace(affine_number(feature, 1.0, 0.0, lambda x: np.where(np.isnan(x), value, x)), fill_value=fill_value)


def _unchanged(x: Any) -> Any:
    return x


def _indicate_missing(step: Any, features: Features, _: GraphBuilder) -> Features:
    return [_missing_indicator(features[int(index)], step.missing_values) for index in step.features_]


def _missing_indicator(feature: Feature, gap: Any) -> Feature:
    if isinstance(feature, TableFeature):
        return replace(feature, values=np.array([float(_is_gap(cell, gap)) for cell in feature.values.tolist()]))
    if not isinstance(feature, NumericFeature):
        return constant_feature(0.0)
    if not _is_gap(np.nan, gap):
        return compare_feature(feature, float(gap))
    if not np.isnan(feature.missing):
        return constant_feature(0.0)
    function = lambda x: np.isnan(feature.function(x)).astype(np.float64)  # noqa: E731
    return replace(feature, terms=(), offset=0.0, missing=1.0, function=function, requires_finite=True)


def project_features(step: Any, features: Features, builder: GraphBuilder) -> Features:
    """Emit a projection (PCA, TruncatedSVD): products with the rows of a matrix."""
    mean = getattr(step, "mean_", None)
    weights = step.components_.T
    if getattr(step, "whiten", False):
        weights = weights / np.sqrt(step.explained_variance_)
    bias = np.zeros(weights.shape[1]) if mean is None else -mean @ weights
    made = builder.linear(features, weights, bias)
    return [ArrayFeature(array=made.name, index=index, width=made.width) for index in range(made.width)]


def _normalize(step: Any, features: Features, builder: GraphBuilder) -> Features:
    """Emit rows divided by their norm; a row whose norm is 0 stays."""
    emitter, dense = builder.emitter, builder.dense(features)
    sizes = emitter.emit("Abs", dense.name)
    if step.norm == "max":
        norm = emitter.emit("ReduceMax", sizes, emitter.constant(np.array([1])), attributes={"keepdims": 1})
    elif step.norm == "l1":
        norm = emitter.row_sum(sizes)
    else:
        norm = emitter.emit("Sqrt", emitter.row_sum(emitter.emit("Mul", dense.name, dense.name)))
    empty = emitter.emit("Equal", norm, emitter.constant(0.0))
    made = emitter.emit("Div", dense.name, emitter.emit("Where", empty, emitter.constant(1.0), norm))
    return [ArrayFeature(array=made, index=index, width=dense.width) for index in range(dense.width)]


def _multiply(step: Any, features: Features, builder: GraphBuilder) -> Features:
    """Emit products of powers of features, by selecting the factors of all outputs together."""
    emitter, powers = builder.emitter, step.powers_
    dense = builder.linear(features, np.eye(len(features), len(features) + 1), np.eye(len(features) + 1)[-1])
    factors = [np.repeat(np.arange(len(row)), row).tolist() for row in powers]
    max_factors = max(map(len, factors))
    picked = [
        [(row[number] if number < len(row) else len(features)) for row in factors] for number in range(max_factors)
    ]
    product = emitter.select(dense.name, picked[0])
    for indices in picked[1:]:
        product = emitter.emit("Mul", product, emitter.select(dense.name, indices))
    return [ArrayFeature(array=product, index=index, width=len(powers)) for index in range(len(powers))]


def _function(step: Any, features: Features, _: GraphBuilder) -> Features:
    if step.func is None:
        return features
    kind = UFUNC_TERMS.get(getattr(step.func, "__name__", ""))
    if kind is None or not isinstance(step.func, np.ufunc) or step.kw_args:
        if features and same_column(features):
            return tabulate_step(step, features)
        raise NotApplicable(f"{_step_name(step)} cannot be compiled to a graph")
    return [apply_function(feature, kind, (), step.func, step) for feature in features]


_READERS: dict[type, TransformReader] = {
    Binarizer: lambda step, features, builder: builder.above(features, step.threshold),
    ColumnTransformer: _columns,
    FeatureUnion: _union,
    FunctionTransformer: _function,
    KBinsDiscretizer: lambda step, features, _: discretize_features(step, features),
    MaxAbsScaler: _scale_features,
    MinMaxScaler: _min_max,
    MissingIndicator: _indicate_missing,
    Normalizer: _normalize,
    OneHotEncoder: lambda step, features, _: encode_features(step, features),
    OrdinalEncoder: lambda step, features, _: encode_features(step, features),
    PCA: project_features,
    Pipeline: _pipeline,
    PolynomialFeatures: _multiply,
    PowerTransformer: lambda step, features, _: power_transform(step, features),
    RobustScaler: _scale_features,
    SimpleImputer: _impute,
    StandardScaler: _scale_features,
    TargetEncoder: lambda step, features, _: encode_features(step, features),
    TruncatedSVD: project_features,
}
# These make one array that all outputs need; for tables of one column, a table made by the library is better.
_BY_FEATURE = (Normalizer, PCA, PolynomialFeatures, TruncatedSVD)
