"""X"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.core.errors import NotApplicable
from headway.core.variant import Field
from headway.engines.estimators.skops_file import ModelColumns

Floats = NDArray[np.float64]
Values = NDArray[Any]
Function = Callable[[Floats], Floats]

NO_COLUMN = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """`weight` times a function of the column: itself (`x`), or one of `tape.TERMS` of slope * x + shift.

    `constants` begin with slope and shift; a term `in` is 0 for the numbers that follow, and refuses any other.
    """

    kind: str
    weight: float = 1.0
    constants: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NumericFeature:
    """Of a column of numbers: offset + the terms, and `missing` for NaN, infinite where a step refuses it.

    `image` is the same function as the library computes it, to the last bit: float64 [m] -> float64 [m]. `stand_in` is
    the number of the column that answers as a missing one does, where it is known. `checked` says that some step
    refuses infinite numbers, and `stages` are the rising lines on the way, which must not make one.
    """

    column: int
    image: Function
    terms: tuple[Term, ...] = (Term(kind="x"),)
    offset: float = 0.0
    missing: float = math.nan
    stand_in: float = math.nan
    checked: bool = False
    stages: tuple[Function, ...] = ()

    @property
    def line(self) -> tuple[float, float] | None:
        """Slope and shift, of a feature that is a straight line."""
        if any(term.kind != "x" for term in self.terms):
            return None
        return sum(term.weight for term in self.terms), self.offset


@dataclass(frozen=True, slots=True, kw_only=True)
class TableFeature:
    """Of a column of texts: a value for each rank, then for another text, then for a missing one [ranks + 2].

    The values are texts (of type object) until a step makes numbers of them; an infinite one says that a step refuses
    the row, as most models refuse what is left missing (NaN).
    """

    column: int
    values: Values


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayFeature:
    """One of the columns of an array that operations make: slope * array[:, place] + shift."""

    array: str
    place: int
    width: int
    slope: float = 1.0
    shift: float = 0.0


Feature = NumericFeature | TableFeature | ArrayFeature


def slope_and_shift(number: NumericFeature) -> tuple[float, float]:
    """Slope and shift of a feature that is known to be a straight line."""
    line = number.line
    if line is None:
        raise ValueError("a curve has no slope")
    return line


def input_features(width: int, columns: ModelColumns | None) -> list[Feature]:
    """The columns of a row as the model is given them."""
    if columns is None:
        return [numeric_input(column) for column in range(width)]
    return [
        TableFeature(column=place, values=category_values(field, None if place in columns.none else math.nan))
        if field.datatype == "BYTES"
        else numeric_input(place)
        for place, field in enumerate(columns.inputs)
    ]


def numeric_input(column: int) -> NumericFeature:
    """A column of numbers as it came."""
    return NumericFeature(column=column, image=_identity)


def category_values(field: Field, missing: float | None) -> Values:
    """The texts of a column by rank, then one that is none of them, then what is missing."""
    other = "other"
    while other in field.categories:
        other += "_"
    values = np.empty(len(field.categories) + 2, dtype=object)
    values[:] = [*field.categories, other, missing]
    return values


def constant_feature(value: float) -> NumericFeature:
    """The same of every row."""
    return NumericFeature(
        column=NO_COLUMN, image=lambda x: np.full_like(x, value), terms=(), offset=value, missing=value
    )


def affine_feature(feature: Feature, slope: float, shift: float, exact: Function) -> Feature:
    """slope * feature + shift; `exact` computes it as the library does."""
    if isinstance(feature, TableFeature):
        return apply_to_table(feature, exact)
    if isinstance(feature, ArrayFeature):
        return replace(feature, slope=feature.slope * slope, shift=feature.shift * slope + shift)
    return affine_number(feature, slope, shift, exact)


def affine_number(number: NumericFeature, slope: float, shift: float, exact: Function) -> NumericFeature:
    """slope * number + shift."""
    image = compose(number.image, exact)
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
    return isinstance(feature, TableFeature) or (isinstance(feature, NumericFeature) and not feature.terms)


def apply_to_table(feature: Feature, exact: Function) -> Feature:
    """A function of every value of a feature that `is_table`; what was refused stays so."""
    if isinstance(feature, NumericFeature):
        offset, missing = (float(each) for each in exact(np.array([feature.offset, feature.missing])))
        return replace(feature, offset=offset, missing=missing, image=compose(feature.image, exact), checked=True)
    if not isinstance(feature, TableFeature):
        raise TypeError(f"a {type(feature).__name__} is no table")
    values = numeric_values(feature)
    with np.errstate(all="ignore"):
        return replace(feature, values=np.where(np.isinf(values), np.inf, exact(values)))


def compose(first: Function, then: Function) -> Function:
    """One function after the other."""
    return lambda x: then(first(x))


def numeric_values(feature: TableFeature) -> Floats:
    """The values of a table as numbers, a text as NaN: whatever reads numbers refuses it."""
    if feature.values.dtype != object:
        return feature.values
    return np.array([math.nan if isinstance(each, str) or each is None else float(each) for each in feature.values])


def same_column(features: Sequence[Feature]) -> bool:
    """Whether all are tables of one column of texts: whatever is made of them is a table again."""
    return all(isinstance(each, TableFeature) and each.column == features[0].column for each in features)  # type: ignore[union-attr]


def _identity(x: Floats) -> Floats:
    return x


Ints = NDArray[np.int64]

_LARGEST = float(np.finfo(np.float64).max)
_SIGN = np.int64(np.iinfo(np.int64).min)


def first_at_least(image: Function, values: Floats) -> Floats:
    """For each value, the smallest float64 whose image is at least it; infinite if none is.

    `image` never falls as its number rises: float64 [m] -> float64 [m].
    """
    return _bisect(image, values, above=False)


def first_above(image: Function, values: Floats) -> Floats:
    """For each value, the smallest float64 whose image is above it; infinite if none is."""
    return _bisect(image, values, above=True)


def _bisect(image: Function, values: Floats, *, above: bool) -> Floats:
    """By halves of all float64, in the order of their bits: 64 looks, all values at once."""
    low, high = (np.full(len(values), _float_order(np.array([end]))[0]) for end in (-_LARGEST, _LARGEST))

    def passed(places: Ints) -> NDArray[np.bool_]:
        found = image(_float_at(places))
        return found > values if above else found >= values

    with np.errstate(all="ignore"):
        never = ~passed(high)
        for _ in range(64):
            middle = (low >> 1) + (high >> 1) + (low & high & 1)
            there = passed(middle)
            low, high = np.where(there, low, np.minimum(middle + 1, high)), np.where(there, middle, high)
    return np.where(never, np.inf, _float_at(high))


def _float_order(numbers: Floats) -> Ints:
    """Where numbers stand among all float64: whole numbers in the same order."""
    bits = numbers.view(np.int64)
    return np.where(bits < 0, _SIGN - bits, bits)


def _float_at(places: Ints) -> Floats:
    bits = np.where(places < 0, _SIGN - places, places)
    return bits.view(np.float64)


# Functions of numpy that a FunctionTransformer may hold, and the terms that they are.
UFUNC_TERMS = {
    "absolute": "abs",
    "exp": "exp",
    "expm1": "expm1",
    "log": "log",
    "log1p": "log1p",
    "sqrt": "sqrt",
    "square": "square",
}
_NO_POWER = 1e-12


def apply_function(feature: Feature, kind: str, constants: tuple[float, ...], exact: Function, step: Any) -> Feature:
    """The function of that kind of a feature; raises NotApplicable for one that is no straight line of its column."""
    if is_table(feature):
        return apply_to_table(feature, exact)
    number = _require_line(feature, step)
    missing = float(exact(np.array([number.missing]))[0])
    terms = (Term(kind=kind, constants=(*slope_and_shift(number), *constants)),)
    return replace(number, terms=terms, offset=0.0, missing=missing, image=compose(number.image, exact), checked=True)


def compare_feature(feature: Feature, at: float, kind: str = "=") -> Feature:
    """1 where a feature equals a number, or is above it, else 0; a missing one stays missing."""

    def exact(x: Floats) -> Floats:
        found = x > at if kind == ">" else x == at
        return np.where(np.isnan(x), np.nan, found.astype(np.float64))

    if is_table(feature):
        return apply_to_table(feature, exact)
    number = _require_line(feature, "a comparison")
    missing = float(exact(np.array([number.missing]))[0])
    terms = _step_terms(number, at, kind, 1.0)
    return replace(number, terms=terms, offset=0.0, missing=missing, image=compose(number.image, exact), checked=True)


def replace_value(feature: Feature, gap: float, value: float, step: Any) -> Feature:
    """A feature in which one number stands for a missing value, and is filled with another."""

    def exact(x: Floats) -> Floats:
        return np.where(x == gap, value, x)

    if is_table(feature):
        return apply_to_table(feature, exact)
    number = _require_line(feature, step)
    missing = float(exact(np.array([number.missing]))[0])
    terms = (*number.terms, *_step_terms(number, gap, "=", value - gap))
    return replace(number, terms=terms, missing=missing, image=compose(number.image, exact), checked=True)


def _step_terms(number: NumericFeature, at: float, kind: str, height: float) -> tuple[Term, ...]:
    """Terms that are `height` where a straight line equals `at`, or is above it: compared as the library rounds it."""
    if kind == ">":
        above = float(first_above(number.image, np.array([at]))[0])
        return (Term(kind=">=", weight=height, constants=(1.0, 0.0, above)),)
    if number.line == (1.0, 0.0):
        return (Term(kind="=", weight=height, constants=(1.0, 0.0, at)),)
    edges = float(first_at_least(number.image, np.array([at]))[0]), float(first_above(number.image, np.array([at]))[0])
    return tuple(
        Term(kind=">=", weight=weight, constants=(1.0, 0.0, edge))
        for weight, edge in zip((height, -height), edges, strict=True)
    )


def power_transform(step: Any, features: Sequence[Feature]) -> list[Feature]:
    """Features made more normal by a power of each, and then standard."""
    return [_power_feature(step, feature, place) for place, feature in enumerate(features)]


def _power_feature(step: Any, feature: Feature, place: int) -> Feature:
    exact = _column_function(step, place, len(step.lambdas_))
    if is_table(feature):
        return apply_to_table(feature, exact)
    number = _require_line(feature, step)
    line, power = slope_and_shift(number), float(step.lambdas_[place])
    terms, offset = _box_cox(power, line) if step.method == "box-cox" else _yeo_johnson(power, line)
    bent = replace(number, terms=terms, offset=offset)
    if step.standardize:
        mean, scale = float(step._scaler.mean_[place]), float(step._scaler.scale_[place])
        bent = affine_number(bent, 1 / scale, -mean / scale, lambda x: x)
    missing = math.nan if np.isnan(number.missing) else float(exact(np.array([number.missing]))[0])
    return replace(bent, missing=missing, image=compose(number.image, exact), checked=True)


def _box_cox(power: float, line: tuple[float, float]) -> tuple[tuple[Term, ...], float]:
    if abs(power) < _NO_POWER:
        return (Term(kind="log", constants=line),), 0.0
    return (Term(kind="pow", weight=1 / power, constants=(*line, power)),), -1 / power


def _yeo_johnson(power: float, line: tuple[float, float]) -> tuple[tuple[Term, ...], float]:
    """The two halves of the curve, each of which is still where the other bends."""
    found, offset = [], 0.0
    for sign, side, exponent in ((1.0, "up", power), (-1.0, "down", 2 - power)):
        if abs(exponent) < _NO_POWER:
            found.append(Term(kind=f"log {side}", weight=sign, constants=line))
        else:
            found.append(Term(kind=f"pow {side}", weight=sign / exponent, constants=(*line, exponent)))
            offset -= sign / exponent
    return tuple(found), offset


def _column_function(step: Any, place: int, width: int) -> Function:
    """What a transformer that takes columns one by one makes of one of them; the others are 1."""

    def exact(x: Floats) -> Floats:
        table = np.ones((len(x), width))
        table[:, place] = x
        return np.asarray(step.transform(table), np.float64)[:, place]

    return exact


def _require_line(feature: Feature, step: Any) -> NumericFeature:
    """The feature, which is a rising straight line of a column of numbers."""
    if isinstance(feature, NumericFeature) and feature.line and feature.line[0] > 0:
        return feature
    name = step if isinstance(step, str) else type(step).__name__
    raise NotApplicable(f"{name} behind a step that is no rising straight line is not written as a graph")
