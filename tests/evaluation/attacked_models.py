"""A table to attack: two numbers, one of them whole, one with a decimal, a flag, a text, and models of it by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from msgspec.structs import replace as changed
from tests.evaluation.conftest import subject_from

from headway.core.variant import Field, Signature
from headway.evaluation.context import Comparison

NAMES = ("wind", "seats", "fare", "night", "carrier")
TEXTS = ("AA", "EV", "MQ", "UA")


class Stump:
    """Says yes where one column is above a value; of a missing value it says no."""

    def __init__(self, at=0, above=0.5):
        self.at, self.above = at, above

    def predict(self, rows):
        return (rows[:, [self.at]] > self.above).astype(float)


class Constant:
    def predict(self, rows):
        return np.full((len(rows), 1), 0.9)


class Both:
    """Says yes where wind and fare are both high: where both are low, two columns must move."""

    def predict(self, rows):
        return ((rows[:, [0]] > 0.5) & (rows[:, [2]] > 50.0)).astype(float)


def table(count: int, *, seed: int = 0) -> np.ndarray:
    """Rows float64 [count, 5]: wind in [0, 1], seats whole, fare with one decimal, a flag, a text; some are missing."""
    rng = np.random.default_rng(seed)
    rows = np.column_stack(
        [
            rng.random(count),
            rng.integers(20, 300, count),
            np.round(rng.uniform(0, 100, count), 1),
            rng.integers(0, 2, count),
            rng.integers(0, 4, count),
        ]
    ).astype(float)
    rows[::17, 1] = np.nan
    return rows


def attacked_by(variant: object, reference: object | None = None, *, count: int = 600) -> Comparison:
    """A subject over such rows of 30 groups, of two models by hand; with one of them, it stands beside itself."""
    rows = table(count)
    before = reference or variant
    scores, were = variant.predict(rows), before.predict(rows)
    groups = np.arange(count) * 30 // count
    made = subject_from(were[:, 0], scores[:, 0], were[:, 0], groups)
    fields = tuple(Field(name=name) for name in NAMES[:4])
    signature = Signature(inputs=(*fields, Field(name="carrier", datatype="BYTES", categories=TEXTS)))
    named = changed(made.variant, signature=signature)
    return replace(made, variant=named, model=variant, reference=before, rows=rows, threshold=0.5)
