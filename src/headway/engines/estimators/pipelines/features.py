"""What a pipeline makes of a row, feature by feature: each a function of one column, a text or a number.

A text column has a value for each text, so any step is a table; a number is a sum of terms. Models read features.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.core.variant import Field
from headway.engines.estimators.skops_file import Columns

Floats = NDArray[np.float64]
Values = NDArray[Any]
Image = Callable[[Floats], Floats]

NOWHERE = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """`weight` times a function of the column: itself (`x`), or one of `tape.TERMS` of slope * x + shift.

    `constants` begin with slope and shift; a term `in` is 0 for the numbers that follow, and refuses any other.
    """

    kind: str
    weight: float = 1.0
    constants: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """Of a column of numbers: offset + the terms, and `missing` for NaN, infinite where a step refuses it.

    `image` is the same function as the library computes it, to the last bit: float64 [m] -> float64 [m]. `stand_in` is
    the number of the column that answers as a missing one does, where it is known. `checked` says that some step
    refuses infinite numbers, and `stages` are the rising lines on the way, which must not make one.
    """

    column: int
    image: Image
    terms: tuple[Term, ...] = (Term(kind="x"),)
    offset: float = 0.0
    missing: float = math.nan
    stand_in: float = math.nan
    checked: bool = False
    stages: tuple[Image, ...] = ()

    @property
    def line(self) -> tuple[float, float] | None:
        """Slope and shift, of a feature that is a straight line."""
        if any(term.kind != "x" for term in self.terms):
            return None
        return sum(term.weight for term in self.terms), self.offset


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """Of a column of texts: a value for each rank, then for another text, then for a missing one [ranks + 2].

    The values are texts (of type object) until a step makes numbers of them; an infinite one says that a step refuses
    the row, as most models refuse what is left missing (NaN).
    """

    column: int
    values: Values


@dataclass(frozen=True, slots=True, kw_only=True)
class Computed:
    """One of the columns of an array that operations make: slope * array[:, place] + shift."""

    array: str
    place: int
    width: int
    slope: float = 1.0
    shift: float = 0.0


Feature = Number | Lookup | Computed


def line_of(number: Number) -> tuple[float, float]:
    """Slope and shift of a feature that is known to be a straight line."""
    line = number.line
    if line is None:
        raise ValueError("a curve has no slope")
    return line


def raw_features(width: int, columns: Columns | None) -> list[Feature]:
    """The columns of a row as the model is given them."""
    if columns is None:
        return [raw_number(column) for column in range(width)]
    return [
        Lookup(column=place, values=texts_of(field, None if place in columns.none else math.nan))
        if field.datatype == "BYTES"
        else raw_number(place)
        for place, field in enumerate(columns.inputs)
    ]


def raw_number(column: int) -> Number:
    """A column of numbers as it came."""
    return Number(column=column, image=_same)


def texts_of(field: Field, missing: float | None) -> Values:
    """The texts of a column by rank, then one that is none of them, then what is missing."""
    other = "other"
    while other in field.categories:
        other += "_"
    values = np.empty(len(field.categories) + 2, dtype=object)
    values[:] = [*field.categories, other, missing]
    return values


def constant(value: float) -> Number:
    """The same of every row."""
    return Number(column=NOWHERE, image=lambda x: np.full_like(x, value), terms=(), offset=value, missing=value)


def moved(feature: Feature, slope: float, shift: float, exact: Image) -> Feature:
    """slope * feature + shift; `exact` computes it as the library does."""
    if isinstance(feature, Lookup):
        return tabled(feature, exact)
    if isinstance(feature, Computed):
        return replace(feature, slope=feature.slope * slope, shift=feature.shift * slope + shift)
    return moved_number(feature, slope, shift, exact)


def moved_number(number: Number, slope: float, shift: float, exact: Image) -> Number:
    """slope * number + shift."""
    image = after(number.image, exact)
    return replace(
        number,
        terms=tuple(replace(term, weight=term.weight * slope) for term in number.terms),
        offset=number.offset * slope + shift,
        missing=float(exact(np.array([number.missing]))[0]),
        image=image,
        checked=True,
        stages=(*number.stages, image) if slope > 0 and number.line else number.stages,
    )


def is_table(feature: Feature) -> bool:
    """Whether a feature has few values, so that any function of it is as simple: of a text, or of a gap alone."""
    return isinstance(feature, Lookup) or (isinstance(feature, Number) and not feature.terms)


def tabled(feature: Feature, exact: Image) -> Feature:
    """A function of every value of a feature that `is_table`; what was refused stays so."""
    if isinstance(feature, Number):
        offset, missing = (float(each) for each in exact(np.array([feature.offset, feature.missing])))
        return replace(feature, offset=offset, missing=missing, image=after(feature.image, exact), checked=True)
    if not isinstance(feature, Lookup):
        raise TypeError(f"a {type(feature).__name__} is no table")
    values = numbers_of(feature)
    with np.errstate(all="ignore"):
        return replace(feature, values=np.where(np.isinf(values), np.inf, exact(values)))


def after(first: Image, then: Image) -> Image:
    """One function after the other."""
    return lambda x: then(first(x))


def numbers_of(feature: Lookup) -> Floats:
    """The values of a table as numbers, a text as NaN: whatever reads numbers refuses it."""
    if feature.values.dtype != object:
        return feature.values
    return np.array([math.nan if isinstance(each, str) or each is None else float(each) for each in feature.values])


def same_column(features: Sequence[Feature]) -> bool:
    """Whether all are tables of one column of texts: whatever is made of them is a table again."""
    return all(isinstance(each, Lookup) and each.column == features[0].column for each in features)  # type: ignore[union-attr]


def _same(x: Floats) -> Floats:
    return x
