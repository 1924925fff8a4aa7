"""Find the columns of a row that a fitted estimator reads as strings, and the categories that its encoders learned.

Each column is followed from the row through pipelines, column transformers and imputers to the step that reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer
from sklearn.feature_selection import SelectorMixin
from sklearn.impute import SimpleImputer
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, TargetEncoder

from headway.core.errors import EngineError
from headway.engines.estimators.encoders import SentenceEncoder

ColumnIndices = Sequence[int | None]
_VECTORIZERS = (CountVectorizer, HashingVectorizer, SentenceEncoder)
_ENCODERS = (OneHotEncoder, OrdinalEncoder, TargetEncoder)
_PARTS = ("_preprocessor", "estimators_", "calibrated_classifiers_", "estimator_", "regressor_")
_HOLDERS = ("_CalibratedClassifier", "FrozenEstimator")  # these store a fitted estimator under the name of a parameter


@dataclass(slots=True)
class TextColumn:
    """What is known about one column.

    Attributes
    ----------
    categories : set of str
        Categories that encoders learned.
    rejects_unseen : bool
        Some encoder raises for an unseen category.
    reads_text : bool
        Some step reads the string itself, so an unlisted string cannot be replaced by a placeholder.
    is_vectorized : bool
        A vectorizer reads the string as a text.
    missing_is_none : bool
        A missing string was None, and not NaN, when the encoder was fitted.
    """

    categories: set[str] = field(default_factory=set)
    rejects_unseen: bool = False
    reads_text: bool = False
    is_vectorized: bool = False
    missing_is_none: bool = False


TextColumns = dict[int, TextColumn]


def read_text_columns(model: object, width: int) -> TextColumns:
    """Return, by index in the row, how each column is read."""
    found: TextColumns = {}
    _visit(model, range(width), found)
    return found


def reads_sequence(model: object) -> bool:
    """Return whether a model reads a sequence of texts: one for each row, and no table."""
    if isinstance(model, Pipeline):
        return reads_sequence(model.steps[0][1])
    if isinstance(model, FeatureUnion):
        return any(reads_sequence(part) for _, part in model.transformer_list)
    parts = [getattr(model, name, None) for name in _PARTS]
    inner = [part[0] if isinstance(part, list) and part else part for part in parts]
    return isinstance(model, _VECTORIZERS) or any(part is not None and reads_sequence(part) for part in inner)


def _visit(step: Any, indices: ColumnIndices, found: TextColumns) -> None:
    """Record what an estimator and its parts read; `indices` maps its inputs to the columns of the row."""
    if isinstance(step, Pipeline):
        for _, part in step.steps:
            _visit(part, indices, found)
            indices = _passed_through(part, indices)
    elif isinstance(step, FeatureUnion):
        for _, part in step.transformer_list:
            _visit(part, indices, found)
    elif isinstance(step, ColumnTransformer):
        for _, transformer, inputs in _blocks(step, indices):
            _visit(transformer, inputs, found)
    elif isinstance(step, _ENCODERS):
        _record_encoder(step, indices, found)
    elif isinstance(step, _VECTORIZERS):
        _require_content(step)
        for index in indices:
            _column_at(index, found).is_vectorized = True
    else:
        _visit_parts(step, indices, found)


def _require_content(step: object) -> None:
    """Raise EngineError for a vectorizer that opens files: a request would name them."""
    read = getattr(step, "input", "content")  # an encoder has none
    if read != "content":
        raise EngineError(
            f"a {type(step).__name__}(input={read!r}) opens the files that its rows name",
            hint='fit it on the texts themselves: input="content"',
        )


def _visit_parts(step: Any, indices: ColumnIndices, found: TextColumns) -> None:
    """Visit the estimators inside; an estimator without parts may read the strings of its columns."""
    names = (*_PARTS, "estimator") if type(step).__name__ in _HOLDERS else _PARTS
    parts = [getattr(step, name) for name in names if name in getattr(step, "__dict__", {})]
    inner = [
        estimator
        for part in parts
        for estimator in (part if isinstance(part, list) else [part])
        if estimator is not None
    ]
    for estimator in inner:
        _visit(estimator, indices, found)
    if not inner and not isinstance(step, SimpleImputer) and not _is_identity(step):
        for index in indices:
            _column_at(index, found).reads_text = True


def _record_encoder(encoder: Any, indices: ColumnIndices, found: TextColumns) -> None:
    rejects_unseen = getattr(encoder, "handle_unknown", "ignore") == "error"
    for index, categories in zip(indices, getattr(encoder, "categories_", ()), strict=False):
        reading = _column_at(index, found)
        known = [category for category in categories.tolist() if category is not None and category == category]
        texts = {str(category) for category in known if isinstance(category, str)}
        if categories.dtype == object and len(texts) < len(known):
            what = "strings and numbers" if texts else "numbers in a column of objects"
            raise EngineError(
                f"{type(encoder).__name__} learned {what}: {known[0]!r}, {known[-1]!r}",
                hint="convert the column to strings or to a numeric dtype before fitting the encoder",
            )
        reading.categories |= texts
        reading.rejects_unseen |= rejects_unseen and bool(texts)
        reading.missing_is_none |= any(category is None for category in categories.tolist())


def _column_at(index: int | None, found: TextColumns) -> TextColumn:
    return TextColumn() if index is None else found.setdefault(index, TextColumn())


def _blocks(transformer: Any, indices: ColumnIndices) -> list[tuple[str, Any, list[int | None]]]:
    """Return name, transformer and inputs of each block that is not dropped."""
    inputs = transformer._transformer_to_input_indices
    return [
        (name, block, [indices[int(number)] if int(number) < len(indices) else None for number in inputs[name]])
        for name, block, _ in transformer.transformers_
        if name in inputs and not (isinstance(block, str) and block == "drop")
    ]


def _passed_through(step: Any, indices: ColumnIndices) -> ColumnIndices:
    """Return the column of the row that each output of a step passes through.

    Empty for a step that makes new values.
    """
    if isinstance(step, SimpleImputer):
        return [indices[number] for number in imputed_columns(step) if number < len(indices)]
    if isinstance(step, SelectorMixin):
        return [indices[int(number)] for number in step.get_support(indices=True) if number < len(indices)]
    if isinstance(step, Pipeline):
        for _, part in step.steps:
            indices = _passed_through(part, indices)
        return indices
    if isinstance(step, ColumnTransformer):
        return _passed_through_blocks(step, indices)
    return indices if _is_identity(step) else []


def _passed_through_blocks(transformer: Any, indices: ColumnIndices) -> ColumnIndices:
    """Return the columns that the blocks pass through, in order; None where a block makes new values."""
    found: list[int | None] = []
    for name, block, inputs in _blocks(transformer, indices):
        span = transformer.output_indices_[name]
        outputs = list(_passed_through(block, inputs))[: span.stop - span.start]
        found += [*outputs, *[None] * (span.stop - span.start - len(outputs))]
    return found


def imputed_columns(imputer: Any) -> list[int]:
    """Return the columns that an imputer keeps: without keep_empty_features, those in which it saw a value."""
    if imputer.keep_empty_features or imputer.strategy == "constant":
        return list(range(imputer.n_features_in_))
    empty = [isinstance(fill, float) and np.isnan(fill) for fill in imputer.statistics_.tolist()]
    return [number for number, is_empty in enumerate(empty) if not is_empty]


def _is_identity(step: Any) -> bool:
    return step is None or isinstance(step, str) or (isinstance(step, FunctionTransformer) and step.func is None)
