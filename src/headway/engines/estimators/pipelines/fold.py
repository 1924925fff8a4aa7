"""Fold a pipeline that ends in trees into trees over the raw columns, so that its preprocessing costs nothing.

A split of a transformed number becomes a split of the number itself, at the first float64 that passes it. A split of an
encoded category becomes a set of ranks. The imputed value decides where missing values go.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import KBinsDiscretizer, OneHotEncoder, PolynomialFeatures

from headway.core.arrays import Bools, Floats, Ints
from headway.core.errors import NotApplicable
from headway.engines.estimators import trees
from headway.engines.estimators.inner import InnerModel
from headway.engines.estimators.objects import walk_objects
from headway.engines.estimators.pipelines.features import (
    NO_COLUMN,
    ArrayFeature,
    Feature,
    Function,
    NumericFeature,
    TableFeature,
    first_above,
    first_at_least,
    input_features,
    numeric_values,
)
from headway.engines.estimators.pipelines.graph_builder import GraphBuilder
from headway.engines.estimators.pipelines.steps import transform_features
from headway.engines.estimators.skops_file import ModelColumns
from headway.engines.estimators.trees import flat_steps, model_forest
from headway.engines.formats.trees import OVERFLOW, Forest, Precision, Tree

_MIXING = (PCA, PolynomialFeatures, TruncatedSVD)
_FLOATS = {"float32": np.float32, "float64": np.float64}
_MONOTONE = ("x", ">=", "clip")
_NONMONOTONE = {
    **dict.fromkeys(("pow", "pow up", "pow down", "log up", "log down"), "PowerTransformer"),
    **dict.fromkeys(("log", "log1p", "exp", "expm1", "sqrt", "abs", "square"), "FunctionTransformer"),
    ">=": "the one-hot form of KBinsDiscretizer",
}


class Splits(NamedTuple):
    """The inner nodes of all trees in a row; of a categorical node, `threshold` is an index into `sets`."""

    feature: Ints
    threshold: Floats
    categorical: Bools
    missing_left: Bools
    swapped: Bools
    sets: list[Ints]


class MemberValues(NamedTuple):
    """What the steps make of the members of a column: its ranks, or the numbers that an encoder knows, float64 [m].

    `default` [1] is their output for any other value, and `missing` [1] for a missing value.
    """

    members: Ints
    values: Floats
    default: Floats
    missing: Floats


def fold_pipeline(model: Pipeline, width: int, columns: ModelColumns | None) -> Forest:
    """Convert a fitted pipeline that ends in trees to trees over rows of `width` columns.

    Raises NotApplicable, which names the step, if the final step has no trees, or if a split depends on several
    columns.
    """
    steps = flat_steps(model)
    if len(steps) == 1 and not isinstance(steps[0], InnerModel):
        return trees.estimator_forest(steps[0], columns)
    inner = model_forest(steps[-1])
    features: list[Feature] = input_features(width, columns)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # steps are called with single values, without column names
        seen = list(features)
        for step in steps[:-1]:
            features = transform_features(step, features, GraphBuilder(width))
            seen += features
        if isinstance(steps[-1], InnerModel) and np.isnan(steps[-1].absent) and is_sparse(steps[:-1]):
            features = [_without_zeros(feature) for feature in features]
        mixed = [type(part).__name__ for _, part in walk_objects(steps[:-1]) if isinstance(part, _MIXING)]
        if any(isinstance(feature, ArrayFeature) for feature in features):
            raise NotApplicable(f"{mixed[0] if mixed else 'a step'} before its trees mixes columns")
        return _fold_checked(inner, features, seen, width)


def fold_features(model: Any, features: Sequence[Feature], width: int) -> Forest:
    """Convert a fitted tree model that reads these features to trees over rows of `width` columns.

    Raises NotApplicable if a feature depends on several columns, or if the model has no trees.
    """
    if isinstance(model, InnerModel) and np.isnan(model.absent):
        raise NotApplicable(f"a model of {model.engine} inside an ensemble may receive sparse rows")
    if any(isinstance(feature, ArrayFeature) for feature in features):
        raise NotApplicable(f"{type(model).__name__} after a step or model that mixes columns")
    return _fold_checked(model_forest(model), features, features, width)


def _fold_checked(inner: Forest, features: Sequence[Feature], seen: Sequence[Feature], width: int) -> Forest:
    if len(features) != inner.width or not np.isnan(inner.missing) or inner.zero_as_missing:
        raise NotApplicable("its trees treat another value than NaN as missing, and steps precede them")
    folded = _fold_splits(inner, features, width)
    finite, present = _rejecting_columns(inner, features, seen)
    reach = _max_magnitude(inner, features, seen) if folded.input_dtype == "float64" else np.inf
    return replace(folded, finite_columns=finite, required_columns=present, max_magnitude=reach)


def is_sparse(steps: Sequence[Any]) -> bool:
    """Return whether the steps make a sparse matrix, which leaves out zeros."""
    for step in reversed(steps):
        if isinstance(step, ColumnTransformer):
            return bool(step.sparse_output_)
        if isinstance(step, OneHotEncoder):
            return bool(step.sparse_output)
        if isinstance(step, KBinsDiscretizer):
            return bool(step.encode == "onehot")
        if isinstance(step, FeatureUnion):
            return any(is_sparse([inner]) for _, inner in step.transformer_list)
        if isinstance(step, Pipeline):
            return is_sparse([inner for _, inner in step.steps])
        if isinstance(step, CountVectorizer | HashingVectorizer | PCA | TruncatedSVD):
            return isinstance(step, CountVectorizer | HashingVectorizer)
    return False


def _without_zeros(feature: Feature) -> Feature:
    """Return a feature of a sparse row, in which 0 is missing."""
    if isinstance(feature, TableFeature):
        values = numeric_values(feature)
        return replace(feature, values=np.where(values == 0, np.nan, values))
    if not isinstance(feature, NumericFeature) or any(term.kind == "x" for term in feature.terms):
        raise NotApplicable("a number that is 0 is missing in the sparse rows that its trees read")
    first, missing = feature.function, np.nan if feature.missing == 0 else feature.missing

    def function(x: Floats) -> Floats:
        found = first(x)
        return np.where(found == 0, np.nan, found)

    return replace(feature, function=function, missing=missing)


def _fold_splits(inner: Forest, features: Sequence[Feature], width: int) -> Forest:
    splits, starts = _all_splits(inner)
    plain = [feature for feature in features if isinstance(feature, NumericFeature) and not _is_encoded(feature)]
    precision: Precision = inner.input_dtype if all(map(_is_identity, features)) else "float64"
    exact, feature_index = False, splits.feature.copy()
    for index, feature in enumerate(features):
        at = np.flatnonzero(feature_index == index)
        splits.feature[at] = _column(feature)
        if isinstance(feature, TableFeature):
            exact = True
            _fold_texts(splits, at, inner, numeric_values(feature))
        elif isinstance(feature, NumericFeature) and _is_encoded(feature):
            exact = True
            _fold_encoded(splits, at, inner, feature)
        elif isinstance(feature, NumericFeature):
            _fold_number(splits, at, inner, feature)
    _check_column_kinds(splits, {feature.column for feature in features if isinstance(feature, NumericFeature)})
    mixed = {_column(features[index]) for index in inner.categorical} & {feature.column for feature in plain}
    if exact and mixed and inner.category_cast != "exact":
        raise NotApplicable("its trees read both raw and encoded categories")
    return replace(
        inner,
        width=width,
        trees=tuple(
            _folded_tree(tree, splits, slice(start, end))
            for tree, start, end in zip(inner.trees, starts[:-1], starts[1:], strict=True)
        ),
        input_dtype=precision,
        category_cast="exact" if exact else inner.category_cast,
    )


def _all_splits(inner: Forest) -> tuple[Splits, list[int]]:
    """Concatenate the inner nodes of all trees; return them with the start of each tree and the end of the last."""
    sizes = [len(tree.feature) for tree in inner.trees]
    starts = [0, *np.cumsum(sizes).tolist()]
    sets: list[Ints] = []
    splits = Splits(
        feature=np.concatenate([np.zeros(0, np.int64), *(tree.feature for tree in inner.trees)]),
        threshold=np.concatenate([np.zeros(0), *(tree.threshold for tree in inner.trees)]),
        categorical=np.concatenate([np.zeros(0, bool), *(tree.categorical for tree in inner.trees)]),
        missing_left=np.concatenate([np.zeros(0, bool), *(tree.missing_left for tree in inner.trees)]),
        swapped=np.zeros(starts[-1], bool),
        sets=sets,
    )
    for tree, start in zip(inner.trees, starts[:-1], strict=True):
        splits.threshold[start + np.flatnonzero(tree.categorical)] += len(sets)
        sets += tree.sets
    return splits, starts


def _column(feature: Feature) -> int:
    if not isinstance(feature, NumericFeature | TableFeature):
        raise NotApplicable("a step before its trees mixes columns")
    return max(feature.column, 0)  # a constant goes the same way whatever is in the column


def _is_identity(feature: Feature) -> bool:
    """Return whether the trees receive the number of a column unchanged, apart from missing values."""
    return isinstance(feature, TableFeature) or (isinstance(feature, NumericFeature) and feature.line == (1.0, 0.0))


def _is_encoded(feature: NumericFeature) -> bool:
    """Return whether only the numbers that an encoder knows matter."""
    return any(term.kind in ("=", "in") for term in feature.terms)


def _fold_number(splits: Splits, at: Ints, inner: Forest, feature: NumericFeature) -> None:
    """Move splits of a transformed number to the numbers of the column at which it passes their thresholds."""
    plain = feature.line == (1.0, 0.0)
    if splits.categorical[at].any() and (not plain or np.isfinite(feature.missing)):
        raise NotApplicable("a step changes what its trees read as a category")
    cast, nodes = _FLOATS[inner.input_dtype], at[~splits.categorical[at]]
    if np.isfinite(feature.missing):
        splits.missing_left[nodes] = np.array(feature.missing).astype(cast) <= splits.threshold[nodes]
    if plain and inner.input_dtype == "float64":
        return
    for term in feature.terms:
        if term.weight < 0 or term.kind not in _MONOTONE:
            name = _NONMONOTONE.get(term.kind, "a step")
            raise NotApplicable(
                f"{name} before its trees is not monotone, so a split of its output is not a split of the column"
            )

    def function(x: Floats) -> Floats:
        with np.errstate(over="ignore"):
            return feature.function(x).astype(cast).astype(np.float64)

    values, back = np.unique(splits.threshold[nodes], return_inverse=True)
    last = np.nextafter(first_above(function, values), -np.inf)
    splits.threshold[nodes] = np.where(function(np.array([np.inf])) <= values, np.inf, last)[back]


def _fold_encoded(splits: Splits, at: Ints, inner: Forest, feature: NumericFeature) -> None:
    """Turn splits of an encoded number into sets of numbers that go another way than an unknown number."""
    known = np.unique([at for term in feature.terms for at in term.constants[2:]])
    if any(term.kind not in ("=", "in") for term in feature.terms) or (known != np.trunc(known)).any():
        raise NotApplicable("an encoder before its trees reads numbers that are not integers")
    encoded = feature.function(np.append(known, np.abs(known).max() + 1.5))
    if np.isinf(encoded[-1]):
        raise NotApplicable("an encoder before its trees rejects unknown numbers")
    _fold_sets(
        splits, at, inner, MemberValues(known.astype(np.int64), encoded[:-1], encoded[-1:], np.array([feature.missing]))
    )


def _fold_texts(splits: Splits, at: Ints, inner: Forest, values: Floats) -> None:
    """Turn splits of an encoded category into sets of ranks that go another way than a missing value.

    A missing value then never goes left, which ONNX Runtime gets wrong when one set follows another.
    """
    missing = values[-1:]
    known = np.where(np.isinf(values[:-1]), missing, values[:-1])  # a rejected category goes where it needs no entry
    _fold_sets(splits, at, inner, MemberValues(np.arange(len(known)), known, missing, missing))


def _fold_sets(splits: Splits, at: Ints, inner: Forest, encoded: MemberValues) -> None:
    if inner.required_columns and np.isnan(encoded.values).any():
        raise NotApplicable("its trees reject the output of an encoder for an unseen category")
    for nodes in _equal_nodes(splits, at):
        values, default, missing = (_goes_left(values, splits, nodes[0], inner) for values in encoded[1:])
        splits.categorical[nodes] = True
        splits.threshold[nodes] = len(splits.sets)
        splits.sets.append(encoded.members[values != default])
        splits.swapped[nodes] = default[0]
        splits.missing_left[nodes] = missing[0] != default[0]


def _equal_nodes(splits: Splits, at: Ints) -> list[Ints]:
    """Group nodes with the same threshold and the same side for missing values."""
    found = [np.array([node]) for node in at[splits.categorical[at]]]
    for missing_left in (False, True):
        nodes = at[~splits.categorical[at] & (splits.missing_left[at] == missing_left)]
        order = nodes[np.argsort(splits.threshold[nodes], kind="stable")]
        if len(order):
            found += np.split(order, np.flatnonzero(np.diff(splits.threshold[order])) + 1)
    return found


def _goes_left(values: Floats, splits: Splits, node: int, inner: Forest) -> Bools:
    """Return where the trees send transformed values at one node."""
    if splits.categorical[node]:
        integers = np.floor(values) if inner.category_cast == "floored" else np.trunc(values)
        goes_left = np.isin(
            values if inner.category_cast == "exact" else integers, splits.sets[int(splits.threshold[node])]
        )
    else:
        goes_left = values.astype(_FLOATS[inner.input_dtype]) <= splits.threshold[node]
    return np.where(np.isnan(values), splits.missing_left[node], goes_left)


def _check_column_kinds(splits: Splits, numbers: set[int]) -> None:
    """Raise NotApplicable if a numeric column is split both at thresholds and by sets."""
    both = set(splits.feature[splits.categorical].tolist()) & set(splits.feature[~splits.categorical].tolist())
    if both & numbers:
        raise NotApplicable(f"column {min(both & numbers)} is read as a number and, by an encoder, as a category")


def _rejecting_columns(
    inner: Forest, features: Sequence[Feature], seen: Sequence[Feature]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the columns in which the trees, or a step before, reject infinite values, and those for missing values."""
    finite = {feature.column for feature in seen if isinstance(feature, NumericFeature) and feature.requires_finite}
    finite |= {
        _column(features[index]) for index in inner.finite_columns if isinstance(features[index], NumericFeature)
    }
    present = {
        _column(feature)
        for feature in seen
        if not isinstance(feature, ArrayFeature) and np.isinf(_missing_value(feature))
    }
    present |= {
        _column(features[index]) for index in inner.required_columns if np.isnan(_missing_value(features[index]))
    }
    return tuple(sorted(finite - {NO_COLUMN})), tuple(sorted(present))


def _missing_value(feature: Feature) -> float:
    """Return what the steps make of a missing value; infinite if one rejects it."""
    if isinstance(feature, TableFeature):
        return float(numeric_values(feature)[-1])
    return feature.missing if isinstance(feature, NumericFeature) else 0.0


def _max_magnitude(inner: Forest, features: Sequence[Feature], seen: Sequence[Feature]) -> float:
    """Return the magnitude from which some step overflows for the next one, or for the trees."""
    found = [np.inf]
    for feature in seen:
        for function in feature.stages if isinstance(feature, NumericFeature) else ():
            found.append(_magnitude_limit(function, np.inf))
    for feature in features:
        if isinstance(feature, NumericFeature) and feature.stages and feature.line:
            found.append(_magnitude_limit(feature.function, OVERFLOW[inner.input_dtype]))
    return min(found)


def _magnitude_limit(function: Function, limit: float) -> float:
    """Return the smaller of the magnitudes, above and below 0, from which a function exceeds a limit."""
    above, below = first_at_least(function, np.array([limit])), first_above(function, np.array([-limit]))
    return float(min(above[0], -below[0]))


def _folded_tree(tree: Tree, splits: Splits, own: slice) -> Tree:
    """Return a tree with its folded splits."""
    categorical, threshold, swapped = splits.categorical[own], splits.threshold[own].copy(), splits.swapped[own]
    numbers, back = np.unique(threshold[categorical].astype(np.int64), return_inverse=True)
    threshold[categorical] = back
    return replace(
        tree,
        feature=splits.feature[own],
        threshold=threshold,
        categorical=categorical,
        missing_left=splits.missing_left[own],
        left=np.where(swapped, tree.right, tree.left),
        right=np.where(swapped, tree.left, tree.right),
        sets=tuple(splits.sets[number] for number in numbers),
    )
