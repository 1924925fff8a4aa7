"""Which columns of a row a fitted estimator reads as texts, and which texts its encoders learned.

A column is followed from the row through pipelines, column transformers and imputers to whatever reads it.
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

ColumnIndices = Sequence[int | None]
_ENCODERS = (OneHotEncoder, OrdinalEncoder, TargetEncoder)
_PARTS = ("_preprocessor", "estimators_", "calibrated_classifiers_", "estimator_", "regressor_")
_HOLDERS = ("_CalibratedClassifier", "FrozenEstimator")  # these hold a fitted estimator by the name of a plain setting


@dataclass(slots=True)
class TextColumn:
    """What is known of one column: the texts that encoders learned, and what an unseen one does.

    `whole` says that something reads the text itself, so that one which is not listed cannot be stood for. `none` says
    that a missing text was None when the encoder was fitted, and not NaN.
    """

    texts: set[str] = field(default_factory=set)
    refuses: bool = False
    whole: bool = False
    none: bool = False


TextColumns = dict[int, TextColumn]


def read_text_columns(model: object, width: int) -> TextColumns:
    """Of every column that something reads, by its place in the row, what it is read as."""
    found: TextColumns = {}
    _visit(model, range(width), found)
    return found


def _visit(step: Any, places: ColumnIndices, found: TextColumns) -> None:
    """Note what an estimator, and all inside it, reads; `places` says which column of the row each of its inputs is."""
    if isinstance(step, Pipeline):
        for _, each in step.steps:
            _visit(each, places, found)
            places = _passed_through(each, places)
    elif isinstance(step, FeatureUnion):
        for _, each in step.transformer_list:
            _visit(each, places, found)
    elif isinstance(step, ColumnTransformer):
        for _, each, inputs in _blocks(step, places):
            _visit(each, inputs, found)
    elif isinstance(step, _ENCODERS):
        _note_encoder(step, places, found)
    elif isinstance(step, CountVectorizer | HashingVectorizer):
        for place in places:
            _column_at(place, found).whole = True
    else:
        _visit_parts(step, places, found)


def _visit_parts(step: Any, places: ColumnIndices, found: TextColumns) -> None:
    """An estimator around others hands them the rows as they are; any other may read its columns in its own way."""
    names = (*_PARTS, "estimator") if type(step).__name__ in _HOLDERS else _PARTS
    parts = [getattr(step, name) for name in names if name in getattr(step, "__dict__", {})]
    inner = [each for part in parts for each in (part if isinstance(part, list) else [part]) if each is not None]
    for each in inner:
        _visit(each, places, found)
    if not inner and not isinstance(step, SimpleImputer) and not _is_identity(step):
        for place in places:
            _column_at(place, found).whole = True


def _note_encoder(encoder: Any, places: ColumnIndices, found: TextColumns) -> None:
    refuses = getattr(encoder, "handle_unknown", "ignore") == "error"
    for place, categories in zip(places, getattr(encoder, "categories_", ()), strict=False):
        reading = _column_at(place, found)
        known = [each for each in categories.tolist() if each is not None and each == each]
        texts = {str(each) for each in known if isinstance(each, str)}
        if categories.dtype == object and len(texts) < len(known):
            what = "texts and numbers" if texts else "numbers in a column of objects"
            raise EngineError(
                f"{type(encoder).__name__} learned {what}: {known[0]!r}, {known[-1]!r}",
                hint="make that column all text, or of a type of numbers, before the encoder is fitted",
            )
        reading.texts |= texts
        reading.refuses |= refuses and bool(texts)
        reading.none |= any(each is None for each in categories.tolist())


def _column_at(place: int | None, found: TextColumns) -> TextColumn:
    return TextColumn() if place is None else found.setdefault(place, TextColumn())


def _blocks(transformer: Any, places: ColumnIndices) -> list[tuple[str, Any, list[int | None]]]:
    """Name, transformer and inputs of each block that is not dropped."""
    inputs = transformer._transformer_to_input_indices
    return [
        (name, each, [places[int(number)] if int(number) < len(places) else None for number in inputs[name]])
        for name, each, _ in transformer.transformers_
        if name in inputs and not (isinstance(each, str) and each == "drop")
    ]


def _passed_through(step: Any, places: ColumnIndices) -> ColumnIndices:
    """Which column of the row each output of a step is, where it passes texts on; nothing where it makes new values."""
    if isinstance(step, SimpleImputer):
        return [places[number] for number in imputed_columns(step) if number < len(places)]
    if isinstance(step, SelectorMixin):
        return [places[int(number)] for number in step.get_support(indices=True) if number < len(places)]
    if isinstance(step, Pipeline):
        for _, each in step.steps:
            places = _passed_through(each, places)
        return places
    if isinstance(step, ColumnTransformer):
        return _passed_through_blocks(step, places)
    return places if _is_identity(step) else []


def _passed_through_blocks(transformer: Any, places: ColumnIndices) -> ColumnIndices:
    """Outputs stand in the order of the blocks; one whose outputs are new values leaves its places empty."""
    found: list[int | None] = []
    for name, each, inputs in _blocks(transformer, places):
        span = transformer.output_indices_[name]
        outputs = list(_passed_through(each, inputs))[: span.stop - span.start]
        found += [*outputs, *[None] * (span.stop - span.start - len(outputs))]
    return found


def imputed_columns(imputer: Any) -> list[int]:
    """The columns that an imputer hands on: without keep_empty_features, those in which it saw a value."""
    if imputer.keep_empty_features or imputer.strategy == "constant":
        return list(range(imputer.n_features_in_))
    empty = [isinstance(each, float) and np.isnan(each) for each in imputer.statistics_.tolist()]
    return [number for number, is_empty in enumerate(empty) if not is_empty]


def _is_identity(step: Any) -> bool:
    return step is None or isinstance(step, str) or (isinstance(step, FunctionTransformer) and step.func is None)
