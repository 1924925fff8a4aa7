"""Encoders, asked value by value: what each text of a column becomes, the library itself says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer
from sklearn.preprocessing import OneHotEncoder, TargetEncoder

from headway.core.errors import NotApplicable
from headway.engines.estimators.pipelines.features import (
    Feature,
    Lookup,
    Number,
    Term,
    after,
    is_table,
    numbers_of,
    tabled,
)
from headway.engines.estimators.pipelines.thresholds import first_at_least

Floats = NDArray[np.float64]
Values = NDArray[Any]
_MOST_VALUES = 20_000_000
_REFUSALS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


def encoded(step: Any, features: Sequence[Feature]) -> list[Feature]:
    """The outputs of an encoder that takes its columns one by one."""
    counts = _outputs(step, len(features))
    found: list[Feature] = []
    for place, feature in enumerate(features):
        span = slice(sum(counts[:place]), sum(counts[: place + 1]))

        def answer(values: Values, place: int = place, span: slice = span) -> Floats:
            return answers(lambda some: _dense(step.transform(_table(step, place, some)))[:, span], values)

        found += _encoded(answer, step.categories_[place], feature, span.stop - span.start)
    return found


def table_of(step: Any, features: Sequence[Feature]) -> list[Feature]:
    """The outputs of any transformer of which all inputs are tables of one column: tables again."""
    texts = isinstance(step, CountVectorizer | HashingVectorizer)
    first = features[0]
    assert isinstance(first, Lookup)
    table = first.values if texts else np.column_stack([numbers_of(each) for each in features])  # type: ignore[arg-type]
    made = answers(lambda some: _dense(step.transform(some)), table)
    if texts:
        made[~np.array([isinstance(each, str) for each in first.values])] = np.inf
        made[-2] = np.inf  # what another text says is in no table, and such a row is refused before it comes here
    return [Lookup(column=first.column, values=column) for column in made.T]


def binned(step: Any, features: Sequence[Feature]) -> list[Feature]:
    """The bins of numbers: how many edges are at most the number, or a one-hot of that."""
    found: list[Feature] = []
    for feature, edges in zip(features, step.bin_edges_, strict=True):
        inner = np.asarray(edges[1:-1], np.float64)
        if step.encode == "ordinal":
            found.append(_stepped(feature, inner, np.arange(len(inner) + 1.0)))
        else:
            found += [_stepped(feature, inner, row) for row in np.eye(len(inner) + 1)]
    return found


def answers(function: Callable[[Values], Floats], values: Values) -> Floats:
    """What a function says of values [m, ...]: float64 [m, k], infinite for each value that it refuses."""
    parts = _answered(function, values)
    width = next((part.shape[1] for part in parts if part is not None), 1)
    return np.concatenate([np.full((1, width), np.inf) if part is None else part for part in parts])


def _answered(function: Callable[[Values], Floats], values: Values) -> list[Floats | None]:
    """Halves, until what is refused stands alone."""
    try:
        return [np.asarray(function(values), np.float64)]
    except _REFUSALS:
        if len(values) == 1:
            return [None]
    half = len(values) // 2
    return [*_answered(function, values[:half]), *_answered(function, values[half:])]


def _outputs(step: Any, inputs: int) -> list[int]:
    """How many outputs each column has."""
    if isinstance(step, OneHotEncoder):
        return [int(count) for count in step._n_features_outs]
    many = isinstance(step, TargetEncoder) and step.target_type_ == "multiclass"
    return [len(step.classes_) if many else 1] * inputs


def _table(step: Any, place: int, values: Values) -> Values:
    """Rows [m, inputs] in which one column takes values, the others one that the encoder knows."""
    kind = object if any(each.dtype.kind not in "biuf" for each in step.categories_) else np.float64
    table = np.empty((len(values), len(step.categories_)), kind)
    for column, categories in enumerate(step.categories_):
        table[:, column] = categories[0]
    table[:, place] = values
    return table


def _wide(found: Floats, outputs: int) -> Floats:
    """The same for every output, where each value was refused."""
    return np.broadcast_to(found, (len(found), outputs))


def _dense(found: Any) -> Floats:
    if np.prod(found.shape) > _MOST_VALUES:
        raise NotApplicable(f"the texts of a column become {found.shape[1]:,} numbers each, which is no small table")
    return np.asarray(found.toarray() if hasattr(found, "toarray") else found, np.float64)


def _encoded(answer: Callable[[Values], Floats], categories: Values, feature: Feature, outputs: int) -> list[Feature]:
    if isinstance(feature, Lookup):
        made = answer(feature.values)
        return [Lookup(column=feature.column, values=column) for column in _wide(made, outputs).T]
    if is_table(feature):
        return [tabled(feature, lambda x, place=place: answer(x)[:, place]) for place in range(outputs)]  # type: ignore[misc]
    if not isinstance(feature, Number) or feature.line != (1.0, 0.0):
        raise NotApplicable("an encoder of numbers behind a step that changes them is not written as a graph")
    return _of_number(answer, categories, feature, outputs)


def _of_number(answer: Callable[[Values], Floats], categories: Values, feature: Number, outputs: int) -> list[Feature]:
    """Jumps at the numbers that an encoder knows, from what it says of any other number."""
    known = np.array([each for each in categories.tolist() if each is not None and each == each], np.float64)
    unseen = float(np.max(known, initial=0.0)) + 1.5
    said = _wide(answer(np.array([*known, unseen, feature.missing])), outputs)
    refuses = not np.isfinite(said[-2]).all()
    base = np.zeros(outputs) if refuses else said[-2]
    guard = (Term(kind="in", constants=(1.0, 0.0, *known)),) if refuses else ()

    def one(place: int) -> Number:
        jumps = [
            Term(kind="=", weight=float(height), constants=(1.0, 0.0, float(at)))
            for at, height in zip(known, said[:-2, place] - base[place], strict=True)
            if height
        ]
        return replace(
            feature,
            terms=(*jumps, *guard),
            offset=float(base[place]),
            missing=float(said[-1, place]),
            image=lambda x: answer(feature.image(x))[:, place],
            checked=True,
        )

    return [one(place) for place in range(outputs)]


def _stepped(feature: Feature, edges: Floats, heights: Floats) -> Feature:
    """A feature that takes `heights` one after the other, the next from each edge on."""

    def exact(x: Floats) -> Floats:
        return np.where(np.isnan(x), np.nan, heights[np.searchsorted(edges, x, side="right")])

    if is_table(feature):
        return tabled(feature, exact)
    if not isinstance(feature, Number) or not feature.line or feature.line[0] <= 0:
        raise NotApplicable("KBinsDiscretizer behind a step that is no rising straight line is not written as a graph")
    raw = first_at_least(feature.image, edges)
    terms = tuple(
        Term(kind=">=", weight=float(jump), constants=(1.0, 0.0, float(at)))
        for at, jump in zip(raw, np.diff(heights), strict=True)
        if jump
    )
    missing = float(exact(np.array([feature.missing]))[0])
    return replace(
        feature, terms=terms, offset=float(heights[0]), missing=missing, image=after(feature.image, exact), checked=True
    )
