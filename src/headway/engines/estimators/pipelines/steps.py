"""The steps before a model: from the features that a fitted transformer reads, those that it makes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_selection import SelectorMixin
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)

from headway.core.errors import NotApplicable
from headway.engines.estimators.pipelines import curves, encoders
from headway.engines.estimators.pipelines.features import (
    Computed,
    Feature,
    Lookup,
    Number,
    constant,
    moved,
    moved_number,
    same_column,
)
from headway.engines.estimators.pipelines.sums import Sums
from headway.engines.estimators.texts import kept

Features = list[Feature]
Read = Callable[[Any, Features, Sums], Features]


def transformed(step: Any, features: Features, sums: Sums) -> Features:
    """The features that a step makes; raises NotApplicable, with its name, for a step that is not known here."""
    if step is None or (isinstance(step, str) and step == "passthrough"):
        return features
    if type(step).__name__ == "FrozenEstimator":
        return transformed(step.estimator, features, sums)
    read = _READERS.get(type(step))
    if read is not None and not (same_column(features) and type(step) in _BY_FEATURE):
        return read(step, features, sums)
    if isinstance(step, SelectorMixin):
        return [features[place] for place in step.get_support(indices=True)]
    if features and same_column(features):
        return encoders.table_of(step, features)
    raise NotApplicable(f"{_named(step)} is not written as a graph")


def _named(step: Any) -> str:
    """A step in a refusal."""
    if isinstance(step, FunctionTransformer):
        return f"FunctionTransformer with {getattr(step.func, '__name__', step.func)!r}"
    return type(step).__name__


def _pipeline(step: Any, features: Features, sums: Sums) -> Features:
    for _, each in step.steps:
        features = transformed(each, features, sums)
    return features


def _union(step: Any, features: Features, sums: Sums) -> Features:
    weights, found = step.transformer_weights or {}, []
    for name, each in step.transformer_list:
        if isinstance(each, str) and each == "drop":
            continue
        weight = float(weights.get(name, 1.0))
        made = transformed(each, features, sums)
        found += made if weight == 1 else [moved(one, weight, 0.0, _times(weight)) for one in made]
    return found


def _columns(step: Any, features: Features, sums: Sums) -> Features:
    inputs, weights, found = step._transformer_to_input_indices, step.transformer_weights or {}, []
    for name, each, _ in step.transformers_:
        places = inputs.get(name, ())
        if len(places) == 0 or (isinstance(each, str) and each == "drop"):
            continue
        weight = float(weights.get(name, 1.0))
        made = transformed(each, [features[int(place)] for place in places], sums)
        found += made if weight == 1 else [moved(one, weight, 0.0, _times(weight)) for one in made]
    return found


def _times(weight: float) -> Callable[[Any], Any]:
    return lambda x: x * weight


def _scaled(step: Any, features: Features, _: Sums) -> Features:
    """StandardScaler and its like: (x - centre) / scale, as each library computes it."""
    centre, scale = _centre_and_scale(step)
    many = len(features)
    centres, scales = (np.zeros(many) if centre is None else centre), (np.ones(many) if scale is None else scale)
    return [
        moved(each, 1 / float(size), -float(middle) / float(size), _scaling(middle, size))
        for each, middle, size in zip(features, centres, scales, strict=True)
    ]


def _centre_and_scale(step: Any) -> tuple[Any, Any]:
    if isinstance(step, StandardScaler):
        return (step.mean_ if step.with_mean else None), step.scale_
    if isinstance(step, RobustScaler):
        return (step.center_ if step.with_centering else None), (step.scale_ if step.with_scaling else None)
    return None, step.scale_


def _scaling(middle: float, size: float) -> Callable[[Any], Any]:
    return lambda x: (x - middle) / size


def _min_max(step: Any, features: Features, _: Sums) -> Features:
    found = [
        moved(each, float(slope), float(shift), _line(slope, shift))
        for each, slope, shift in zip(features, step.scale_, step.min_, strict=True)
    ]
    if not step.clip:
        return found
    low, high = map(float, step.feature_range)
    return [curves.curved(each, "clip", (low, high), lambda x: np.clip(x, low, high), step) for each in found]


def _line(slope: float, shift: float) -> Callable[[Any], Any]:
    return lambda x: x * slope + shift


def _imputed(step: Any, features: Features, sums: Sums) -> Features:
    found = [_filled(step, features[place], step.statistics_[place]) for place in kept(step)]
    return found + (_indicated(step.indicator_, features, sums) if step.add_indicator else [])


def _filled(step: Any, feature: Feature, value: Any) -> Feature:
    """A feature whose missing values are another; a column that held none is 0 throughout."""
    gap = step.missing_values
    if isinstance(feature, Lookup):
        values = feature.values.copy()
        values[[_is_gap(each, gap) for each in feature.values.tolist()]] = value
        return replace(feature, values=values)
    if isinstance(value, float) and np.isnan(value):
        return constant(0.0)
    if _is_gap(np.nan, gap):
        return _with_stand_in(feature, float(value))
    return curves.exchanged(feature, float(gap), float(value), step)


def _is_gap(value: Any, gap: Any) -> bool:
    return bool(value != value) if isinstance(gap, float) and np.isnan(gap) else bool(value == gap)


def _with_stand_in(feature: Feature, value: float) -> Feature:
    if not isinstance(feature, Number):
        return feature  # no array that operations make has gaps
    if not np.isnan(feature.missing):
        return moved_number(feature, 1.0, 0.0, _same)
    line = feature.line
    stand_in = (value - line[1]) / line[0] if line and line[0] else np.nan
    return replace(moved_number(feature, 1.0, 0.0, lambda x: np.where(np.isnan(x), value, x)), stand_in=stand_in)


def _same(x: Any) -> Any:
    return x


def _indicated(step: Any, features: Features, _: Sums) -> Features:
    return [_indicator(features[int(place)], step.missing_values) for place in step.features_]


def _indicator(feature: Feature, gap: Any) -> Feature:
    if isinstance(feature, Lookup):
        return replace(feature, values=np.array([float(_is_gap(each, gap)) for each in feature.values.tolist()]))
    if not isinstance(feature, Number):
        return constant(0.0)
    if not _is_gap(np.nan, gap):
        return curves.jumped(feature, float(gap))
    if not np.isnan(feature.missing):
        return constant(0.0)
    image = lambda x: np.isnan(feature.image(x)).astype(np.float64)  # noqa: E731
    return replace(feature, terms=(), offset=0.0, missing=1.0, image=image, checked=True)


def _projected(step: Any, features: Features, sums: Sums) -> Features:
    """Principal components, and their like: products with the rows of a matrix."""
    mean = getattr(step, "mean_", None)
    weights = step.components_.T
    if getattr(step, "whiten", False):
        weights = weights / np.sqrt(step.explained_variance_)
    bias = np.zeros(weights.shape[1]) if mean is None else -mean @ weights
    made = sums.linear(features, weights, bias)
    return [Computed(array=made.name, place=place, width=made.width) for place in range(made.width)]


def _multiplied(step: Any, features: Features, sums: Sums) -> Features:
    """Products of powers of features, as factors that are picked side by side."""
    tape, powers = sums.tape, step.powers_
    dense = sums.linear(features, np.eye(len(features), len(features) + 1), np.eye(len(features) + 1)[-1])
    factors = [np.repeat(np.arange(len(row)), row).tolist() for row in powers]
    most = max(map(len, factors))
    picked = [[(row[number] if number < len(row) else len(features)) for row in factors] for number in range(most)]
    product = tape.pick(dense.name, picked[0])
    for places in picked[1:]:
        product = tape.do("Mul", product, tape.pick(dense.name, places))
    return [Computed(array=product, place=place, width=len(powers)) for place in range(len(powers))]


def _function(step: Any, features: Features, _: Sums) -> Features:
    if step.func is None:
        return features
    kind = curves.FUNCTIONS.get(getattr(step.func, "__name__", ""))
    if kind is None or not isinstance(step.func, np.ufunc) or step.kw_args:
        if features and same_column(features):
            return encoders.table_of(step, features)
        raise NotApplicable(f"{_named(step)} is not written as a graph")
    return [curves.curved(each, kind, (), step.func, step) for each in features]


_READERS: dict[type, Read] = {
    Binarizer: lambda step, features, _: [curves.jumped(each, step.threshold, ">") for each in features],
    ColumnTransformer: _columns,
    FeatureUnion: _union,
    FunctionTransformer: _function,
    KBinsDiscretizer: lambda step, features, _: encoders.binned(step, features),
    MaxAbsScaler: _scaled,
    MinMaxScaler: _min_max,
    MissingIndicator: _indicated,
    OneHotEncoder: lambda step, features, _: encoders.encoded(step, features),
    OrdinalEncoder: lambda step, features, _: encoders.encoded(step, features),
    PCA: _projected,
    Pipeline: _pipeline,
    PolynomialFeatures: _multiplied,
    PowerTransformer: lambda step, features, _: curves.powered(step, features),
    RobustScaler: _scaled,
    SimpleImputer: _imputed,
    StandardScaler: _scaled,
    TargetEncoder: lambda step, features, _: encoders.encoded(step, features),
    TruncatedSVD: _projected,
}
# Of the tables of one column, these make one array that all outputs need: a table made by the library itself is better.
_BY_FEATURE = (PCA, PolynomialFeatures, TruncatedSVD)
