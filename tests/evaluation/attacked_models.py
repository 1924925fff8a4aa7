"""A table to attack (a number, a count, a price with one decimal, a flag, a category), and hand-made models of it."""

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
    """Predicts yes if one column is above a value, and no if it is missing."""

    def __init__(self, at=0, above=0.5):
        self.at, self.above = at, above

    def predict(self, rows):
        return (rows[:, [self.at]] > self.above).astype(float)


class Constant:
    def predict(self, rows):
        return np.full((len(rows), 1), 0.9)


class Both:
    """Predicts yes if wind and fare are both high: if both are low, two columns must change."""

    def predict(self, rows):
        return ((rows[:, [0]] > 0.5) & (rows[:, [2]] > 50.0)).astype(float)


def table(count: int, *, seed: int = 0) -> np.ndarray:
    """Return rows float64 of shape (count, 5): wind in [0, 1], seats, fare with one decimal, a flag, a category.

    Some missing.
    """
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
    """Return a comparison over such rows in 30 groups, of two hand-made models.

    One model alone is its own reference.
    """
    rows = table(count)
    before = reference or variant
    scores, were = variant.predict(rows), before.predict(rows)
    groups = np.arange(count) * 30 // count
    made = subject_from(were[:, 0], scores[:, 0], were[:, 0], groups)
    fields = tuple(Field(name=name) for name in NAMES[:4])
    signature = Signature(inputs=(*fields, Field(name="carrier", datatype="BYTES", categories=TEXTS)))
    named = changed(made.variant, signature=signature)
    return replace(made, variant=named, model=variant, reference=before, rows=rows, threshold=0.5)
