"""Steps that bend a number or cut it: powers, logarithms, bounds, jumps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.core.errors import NotApplicable
from headway.engines.estimators.pipelines.features import (
    Feature,
    Image,
    Number,
    Term,
    after,
    is_table,
    line_of,
    moved_number,
    tabled,
)
from headway.engines.estimators.pipelines.thresholds import first_above, first_at_least

Floats = NDArray[np.float64]

# Functions of numpy that a FunctionTransformer may hold, and the terms that they are.
FUNCTIONS = {
    "absolute": "abs",
    "exp": "exp",
    "expm1": "expm1",
    "log": "log",
    "log1p": "log1p",
    "sqrt": "sqrt",
    "square": "square",
}
_NO_POWER = 1e-12


def curved(feature: Feature, kind: str, constants: tuple[float, ...], exact: Image, step: Any) -> Feature:
    """The function of that kind of a feature; raises NotApplicable for one that is no straight line of its column."""
    if is_table(feature):
        return tabled(feature, exact)
    number = _straight(feature, step)
    missing = float(exact(np.array([number.missing]))[0])
    terms = (Term(kind=kind, constants=(*line_of(number), *constants)),)
    return replace(number, terms=terms, offset=0.0, missing=missing, image=after(number.image, exact), checked=True)


def jumped(feature: Feature, at: float, kind: str = "=") -> Feature:
    """1 where a feature equals a number, or is above it, else 0; a missing one stays missing."""

    def exact(x: Floats) -> Floats:
        found = x > at if kind == ">" else x == at
        return np.where(np.isnan(x), np.nan, found.astype(np.float64))

    if is_table(feature):
        return tabled(feature, exact)
    number = _straight(feature, "a comparison")
    missing = float(exact(np.array([number.missing]))[0])
    terms = _jump(number, at, kind, 1.0)
    return replace(number, terms=terms, offset=0.0, missing=missing, image=after(number.image, exact), checked=True)


def exchanged(feature: Feature, gap: float, value: float, step: Any) -> Feature:
    """A feature in which one number stands for a missing value, and is filled with another."""

    def exact(x: Floats) -> Floats:
        return np.where(x == gap, value, x)

    if is_table(feature):
        return tabled(feature, exact)
    number = _straight(feature, step)
    missing = float(exact(np.array([number.missing]))[0])
    terms = (*number.terms, *_jump(number, gap, "=", value - gap))
    return replace(number, terms=terms, missing=missing, image=after(number.image, exact), checked=True)


def _jump(number: Number, at: float, kind: str, height: float) -> tuple[Term, ...]:
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


def powered(step: Any, features: Sequence[Feature]) -> list[Feature]:
    """Features made more normal by a power of each, and then standard."""
    return [_powered(step, feature, place) for place, feature in enumerate(features)]


def _powered(step: Any, feature: Feature, place: int) -> Feature:
    exact = _of_one_column(step, place, len(step.lambdas_))
    if is_table(feature):
        return tabled(feature, exact)
    number = _straight(feature, step)
    line, power = line_of(number), float(step.lambdas_[place])
    terms, offset = _box_cox(power, line) if step.method == "box-cox" else _yeo_johnson(power, line)
    bent = replace(number, terms=terms, offset=offset)
    if step.standardize:
        mean, scale = float(step._scaler.mean_[place]), float(step._scaler.scale_[place])
        bent = moved_number(bent, 1 / scale, -mean / scale, lambda x: x)
    missing = math.nan if np.isnan(number.missing) else float(exact(np.array([number.missing]))[0])
    return replace(bent, missing=missing, image=after(number.image, exact), checked=True)


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


def _of_one_column(step: Any, place: int, width: int) -> Image:
    """What a transformer that takes columns one by one makes of one of them; the others are 1."""

    def exact(x: Floats) -> Floats:
        table = np.ones((len(x), width))
        table[:, place] = x
        return np.asarray(step.transform(table), np.float64)[:, place]

    return exact


def _straight(feature: Feature, step: Any) -> Number:
    """The feature, which is a rising straight line of a column of numbers."""
    if isinstance(feature, Number) and feature.line and feature.line[0] > 0:
        return feature
    name = step if isinstance(step, str) else type(step).__name__
    raise NotApplicable(f"{name} behind a step that is no rising straight line is not written as a graph")
