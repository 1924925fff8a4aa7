"""Features of a pipeline as functions of one column of the row, which is categorical or numeric.

A categorical column has one value per category, so any step over it is a table. A numeric feature is a sum of terms:
straight lines, powers, logarithms, bounds and steps. Steps are placed at the number from which the library's own
function passes a value, to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.core.arrays import Bools, Floats, Ints
from headway.core.errors import NotApplicable
from headway.core.variant import Field
from headway.engines.estimators.skops_file import ModelColumns

Values = NDArray[Any]
Function = Callable[[Floats], Floats]

NO_COLUMN = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """`weight` times a function of the column: the column itself (`x`), or one of `TERMS` of slope * x + shift.

    `constants` start with slope and shift. A term `in` is 0 for the numbers that follow, and rejects any other.
    """

    kind: str
    weight: float = 1.0
    constants: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NumericFeature:
    """A function of a numeric column: offset + the terms, and `missing` for NaN, infinite if a step rejects it.

    Attributes
    ----------
    function : callable
        The same function as the library computes it, to the last bit, float64 [m] -> float64 [m].
    fill_value : float
        Number of the column that gives the same answer as a missing value, if known.
    requires_finite : bool
        Some step rejects infinite numbers.
    stages : tuple of callable
        Increasing lines on the way, none of which may overflow.
    """

    column: int
    function: Function
    terms: tuple[Term, ...] = (Term(kind="x"),)
    offset: float = 0.0
    missing: float = math.nan
    fill_value: float = math.nan
    requires_finite: bool = False
    stages: tuple[Function, ...] = ()

    @property
    def line(self) -> tuple[float, float] | None:
        """Slope and shift, if the feature is a straight line."""
        if any(term.kind != "x" for term in self.terms):
            return None
        return sum(term.weight for term in self.terms), self.offset


@dataclass(frozen=True, slots=True, kw_only=True)
class TableFeature:
    """A function of a categorical column: a value for each rank, an unseen category and a missing one [ranks + 2].

    Values are strings (dtype object) until a step makes numbers of them. An infinite value means that a step rejects
    the row; most models reject a value that is left missing (NaN).
    """

    column: int
    values: Values


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayFeature:
    """One column of an array that operations make: slope * array[:, index] + shift."""

    array: str
    index: int
    width: int
    slope: float = 1.0
    shift: float = 0.0


Feature = NumericFeature | TableFeature | ArrayFeature


def slope_and_shift(number: NumericFeature) -> tuple[float, float]:
    """Return slope and shift of a feature that is a straight line."""
    line = number.line
    if line is None:
        raise ValueError("a curve has no slope")
    return line


def input_features(width: int, columns: ModelColumns | None) -> list[Feature]:
    """Return the columns of a row as the model receives them."""
    if columns is None:
        return [numeric_input(column) for column in range(width)]
    return [
        TableFeature(column=index, values=category_values(field, None if index in columns.none_columns else math.nan))
        if field.datatype == "BYTES"
        else numeric_input(index)
        for index, field in enumerate(columns.inputs)
    ]


def numeric_input(column: int) -> NumericFeature:
    """Return an unchanged numeric column."""
    return NumericFeature(column=column, function=_identity)


def category_values(field: Field, missing: float | None) -> Values:
    """Return the categories of a column by rank, then an unseen one, then the missing value."""
    other = "other"
    while other in field.categories:
        other += "_"
    values = np.empty(len(field.categories) + 2, dtype=object)
    values[:] = [*field.categories, other, missing]
    return values


def constant_feature(value: float) -> NumericFeature:
    """Return a feature with the same value in every row."""
    return NumericFeature(
        column=NO_COLUMN, function=lambda x: np.full_like(x, value), terms=(), offset=value, missing=value
    )


def affine_feature(feature: Feature, slope: float, shift: float, exact: Function) -> Feature:
    """Return slope * feature + shift; `exact` computes it as the library does."""
    if isinstance(feature, TableFeature):
        return apply_to_table(feature, exact)
    if isinstance(feature, ArrayFeature):
        return replace(feature, slope=feature.slope * slope, shift=feature.shift * slope + shift)
    return affine_number(feature, slope, shift, exact)


def affine_number(number: NumericFeature, slope: float, shift: float, exact: Function) -> NumericFeature:
    """Return slope * number + shift."""
    function = compose(number.function, exact)
    return replace(
        number,
        terms=tuple(replace(term, weight=term.weight * slope) for term in number.terms),
        offset=number.offset * slope + shift,
        missing=float(exact(np.array([number.missing]))[0]),
        function=function,
        requires_finite=True,
        stages=(*number.stages, function) if slope > 0 and number.line else number.stages,
    )


def is_table(feature: Feature) -> bool:
    """Return whether a feature has few values (categorical or constant), so that any function of it is a table."""
    return isinstance(feature, TableFeature) or (isinstance(feature, NumericFeature) and not feature.terms)


def apply_to_table(feature: Feature, exact: Function) -> Feature:
    """Apply a function to every value of a feature that `is_table`; rejected values stay rejected."""
    if isinstance(feature, NumericFeature):
        offset, missing = (float(number) for number in exact(np.array([feature.offset, feature.missing])))
        return replace(
            feature, offset=offset, missing=missing, function=compose(feature.function, exact), requires_finite=True
        )
    if not isinstance(feature, TableFeature):
        raise TypeError(f"a {type(feature).__name__} is not a table")
    values = numeric_values(feature)
    with np.errstate(all="ignore"):
        return replace(feature, values=np.where(np.isinf(values), np.inf, exact(values)))


def compose(first: Function, then: Function) -> Function:
    """Return x -> then(first(x))."""
    return lambda x: then(first(x))


def numeric_values(feature: TableFeature) -> Floats:
    """Return the values of a table as numbers; strings become NaN, which models of numbers reject."""
    if feature.values.dtype != object:
        return feature.values
    return np.array([math.nan if isinstance(value, str) or value is None else float(value) for value in feature.values])


def same_column(features: Sequence[Feature]) -> bool:
    """Return whether all features are tables of one column, so that any step over them is a table again."""
    return all(isinstance(feature, TableFeature) and feature.column == features[0].column for feature in features)  # type: ignore[union-attr]


def _identity(x: Floats) -> Floats:
    return x


_LARGEST = float(np.finfo(np.float64).max)
_SIGN = np.int64(np.iinfo(np.int64).min)


def first_at_least(function: Function, values: Floats) -> Floats:
    """Return, for each value, the smallest float64 whose image is at least that value; infinity if there is none.

    `function` must not decrease: float64 [m] -> float64 [m].
    """
    return _bisect(function, values, above=False)


def first_above(function: Function, values: Floats) -> Floats:
    """Return, for each value, the smallest float64 whose image is above that value; infinity if there is none."""
    return _bisect(function, values, above=True)


def _bisect(function: Function, values: Floats, *, above: bool) -> Floats:
    """Bisect all float64 in the order of their bits: 64 evaluations for all values at once."""
    low, high = (np.full(len(values), _float_order(np.array([end]))[0]) for end in (-_LARGEST, _LARGEST))

    def passed(indices: Ints) -> Bools:
        found = function(_float_at(indices))
        return found > values if above else found >= values

    with np.errstate(all="ignore"):
        never = ~passed(high)
        for _ in range(64):
            middle = (low >> 1) + (high >> 1) + (low & high & 1)
            there = passed(middle)
            low, high = np.where(there, low, np.minimum(middle + 1, high)), np.where(there, middle, high)
    return np.where(never, np.inf, _float_at(high))


def _float_order(numbers: Floats) -> Ints:
    """Map float64 to integers in the same order."""
    bits = numbers.view(np.int64)
    return np.where(bits < 0, _SIGN - bits, bits)


def _float_at(indices: Ints) -> Floats:
    bits = np.where(indices < 0, _SIGN - indices, indices)
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
    """Apply a function of that kind to a feature; raise NotApplicable unless it is a straight line of its column."""
    if is_table(feature):
        return apply_to_table(feature, exact)
    number = _require_line(feature, step)
    terms = (Term(kind=kind, constants=(*slope_and_shift(number), *constants)),)
    return replace(_with_function(number, exact), terms=terms, offset=0.0)


def _with_function(number: NumericFeature, exact: Function) -> NumericFeature:
    """Return a feature after a function of its value; the caller replaces its terms."""
    missing = float(exact(np.array([number.missing]))[0])
    return replace(number, missing=missing, function=compose(number.function, exact), requires_finite=True)


def compare_feature(feature: Feature, at: float, kind: str = "=") -> Feature:
    """Return 1 if a feature equals a number (kind "=") or exceeds it (kind ">"), else 0.

    A missing value stays missing.
    """

    def exact(x: Floats) -> Floats:
        found = x > at if kind == ">" else x == at
        return np.where(np.isnan(x), np.nan, found.astype(np.float64))

    if is_table(feature):
        return apply_to_table(feature, exact)
    number = _require_line(feature, "a comparison")
    return replace(_with_function(number, exact), terms=_step_terms(number, at, kind, 1.0), offset=0.0)


def replace_value(feature: Feature, gap: float, value: float, step: Any) -> Feature:
    """Replace the number that encodes missing values by a fill value."""

    def exact(x: Floats) -> Floats:
        return np.where(x == gap, value, x)

    if is_table(feature):
        return apply_to_table(feature, exact)
    number = _require_line(feature, step)
    terms = (*number.terms, *_step_terms(number, gap, "=", value - gap))
    return replace(_with_function(number, exact), terms=terms)


def _step_terms(number: NumericFeature, at: float, kind: str, height: float) -> tuple[Term, ...]:
    """Return terms of that height where a straight line equals `at` or exceeds it, compared as the library rounds."""
    if kind == ">":
        above = float(first_above(number.function, np.array([at]))[0])
        return (Term(kind=">=", weight=height, constants=(1.0, 0.0, above)),)
    if number.line == (1.0, 0.0):
        return (Term(kind="=", weight=height, constants=(1.0, 0.0, at)),)
    edges = (
        float(first_at_least(number.function, np.array([at]))[0]),
        float(first_above(number.function, np.array([at]))[0]),
    )
    return tuple(
        Term(kind=">=", weight=weight, constants=(1.0, 0.0, edge))
        for weight, edge in zip((height, -height), edges, strict=True)
    )


def power_transform(step: Any, features: Sequence[Feature]) -> list[Feature]:
    """Apply a PowerTransformer to each feature."""
    return [_power_feature(step, feature, index) for index, feature in enumerate(features)]


def _power_feature(step: Any, feature: Feature, index: int) -> Feature:
    exact = _column_function(step, index, len(step.lambdas_))
    if is_table(feature):
        return apply_to_table(feature, exact)
    number = _require_line(feature, step)
    line, power = slope_and_shift(number), float(step.lambdas_[index])
    terms, offset = _box_cox(power, line) if step.method == "box-cox" else _yeo_johnson(power, line)
    bent = replace(number, terms=terms, offset=offset)
    if step.standardize:
        mean, scale = float(step._scaler.mean_[index]), float(step._scaler.scale_[index])
        bent = affine_number(bent, 1 / scale, -mean / scale, lambda x: x)
    missing = math.nan if np.isnan(number.missing) else float(exact(np.array([number.missing]))[0])
    return replace(bent, missing=missing, function=compose(number.function, exact), requires_finite=True)


def _box_cox(power: float, line: tuple[float, float]) -> tuple[tuple[Term, ...], float]:
    if abs(power) < _NO_POWER:
        return (Term(kind="log", constants=line),), 0.0
    return (Term(kind="pow", weight=1 / power, constants=(*line, power)),), -1 / power


def _yeo_johnson(power: float, line: tuple[float, float]) -> tuple[tuple[Term, ...], float]:
    """Return the two halves of the curve, each of which is constant on the other side of 0."""
    found, offset = [], 0.0
    for sign, direction, exponent in ((1.0, "up", power), (-1.0, "down", 2 - power)):
        if abs(exponent) < _NO_POWER:
            found.append(Term(kind=f"log {direction}", weight=sign, constants=line))
        else:
            found.append(Term(kind=f"pow {direction}", weight=sign / exponent, constants=(*line, exponent)))
            offset -= sign / exponent
    return tuple(found), offset


def _column_function(step: Any, index: int, width: int) -> Function:
    """Return what a column-wise transformer makes of one column; the other columns are set to 1."""

    def exact(x: Floats) -> Floats:
        table = np.ones((len(x), width))
        table[:, index] = x
        return np.asarray(step.transform(table), np.float64)[:, index]

    return exact


def _require_line(feature: Feature, step: Any) -> NumericFeature:
    """Return the feature if it is an increasing straight line of a numeric column, else raise NotApplicable."""
    if isinstance(feature, NumericFeature) and feature.line and feature.line[0] > 0:
        return feature
    name = step if isinstance(step, str) else type(step).__name__
    raise NotApplicable(f"{name} after a step that is not an increasing line cannot be compiled")
