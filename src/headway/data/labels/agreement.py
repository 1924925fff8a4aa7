"""Inter-annotator agreement beyond chance: Cohen's and Fleiss' kappa, and Krippendorff's alpha.

Each statistic is a function of a sum over items, so a jackknife over items or groups only needs subtractions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from headway.core.arrays import Floats, Ints

Level = Literal["nominal", "ordinal", "interval"]
MISSING_LABEL = -1
"""Code of a label that an annotator did not give."""


def pair_tables(first: Ints, second: Ints, n_classes: int) -> Floats:
    """Return a one-hot table per item of the classes that two annotators chose, shape (items, k, k).

    An item that one of them left out is all zero.
    """
    both = (first != MISSING_LABEL) & (second != MISSING_LABEL)
    found = np.zeros((len(first), n_classes, n_classes))
    found[np.flatnonzero(both), first[both], second[both]] = 1.0
    return found


def cohen_kappa(tables: Floats) -> Floats:
    """Compute Cohen's kappa (1960) of count tables of shape (..., k, k).

    >>> round(float(cohen_kappa(np.array([[20.0, 5.0], [10.0, 15.0]]))), 3)
    0.4
    """
    rows = tables.sum(axis=(-2, -1))
    observed = np.trace(tables, axis1=-2, axis2=-1) / rows
    expected_by_chance = (tables.sum(axis=-1) * tables.sum(axis=-2)).sum(axis=-1) / np.square(rows)
    return _chance_corrected(observed, expected_by_chance)


def label_counts(labels: Ints, n_classes: int) -> Floats:
    """Count the annotators that gave each class to each item: (items, annotators) to (items, k)."""
    classes = np.arange(n_classes)
    found: Floats = (labels[:, :, None] == classes).sum(axis=1).astype(np.float64)
    return found


def fleiss_tables(counts: Floats) -> Floats:
    """Return the share of agreeing pairs, 1, and the class shares of each item, shape (items, 2 + k).

    Items have equal weight, however many annotators they had; items with fewer than two are all zero.
    """
    many = counts.sum(axis=1)
    paired = many >= 2
    agreeing = (counts * (counts - 1)).sum(axis=1) / np.maximum(many * (many - 1), 1)
    shares = counts / np.maximum(many, 1)[:, None]
    found: Floats = np.column_stack([agreeing, np.ones(len(counts)), shares]) * paired[:, None]
    return found


def fleiss_kappa(tables: Floats) -> Floats:
    """Compute Fleiss' kappa (1971) of sums of `fleiss_tables`, shape (..., 2 + k)."""
    items = tables[..., 1]
    observed = tables[..., 0] / items
    expected_by_chance = np.square(tables[..., 2:] / items[..., None]).sum(axis=-1)
    return _chance_corrected(observed, expected_by_chance)


def coincidences(counts: Floats) -> Floats:
    """Return Krippendorff's coincidence matrices of counts (items, k), shape (items, k, k)."""
    many = counts.sum(axis=1)
    pairs = counts[:, :, None] * counts[:, None, :] - counts[:, :, None] * np.eye(counts.shape[1])
    return np.where(many >= 2, 1 / np.maximum(many - 1, 1), 0.0)[:, None, None] * pairs


def krippendorff_alpha(tables: Floats, level: Level = "nominal", values: Floats | None = None) -> Floats:
    """Compute Krippendorff's alpha (2011) of sums of `coincidences`, shape (..., k, k).

    `values`, of shape (k,), are the numeric values of the classes for the interval level.
    """
    totals = tables.sum(axis=-1)
    distances = _DISTANCES[level](totals, np.arange(totals.shape[-1], dtype=np.float64) if values is None else values)
    rows = totals.sum(axis=-1)
    expected_by_chance = totals[..., :, None] * totals[..., None, :] / (rows - 1)[..., None, None]
    observed, expected = ((table * distances).sum(axis=(-2, -1)) for table in (tables, expected_by_chance))
    return _chance_corrected(1 - observed / rows, 1 - expected / rows)


def leave_one_group_out(tables: Floats, groups: Ints) -> Floats:
    """Sum the tables of all items except those of each group, shape (G, ...)."""
    sums = np.zeros((int(groups.max()) + 1, *tables.shape[1:]))
    np.add.at(sums, groups, tables)
    rest: Floats = tables.sum(axis=0) - sums
    return rest


def _chance_corrected(observed: Floats, expected_by_chance: Floats) -> Floats:
    """Return (observed - chance) / (1 - chance), NaN if all labels are one class."""
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = np.where(
            1 - expected_by_chance > 1e-12, (observed - expected_by_chance) / (1 - expected_by_chance), np.nan
        )
    return found


def _nominal_distance(totals: Floats, _values: Floats) -> Floats:
    return 1 - np.eye(totals.shape[-1])


def _interval_distance(_totals: Floats, values: Floats) -> Floats:
    return np.square(values[:, None] - values[None, :])


def _ordinal_distance(totals: Floats, _values: Floats) -> Floats:
    """Return the squared number of labels between two classes, counting half of each of the two."""
    middles = np.cumsum(totals, axis=-1) - totals / 2
    return np.square(middles[..., :, None] - middles[..., None, :])


_DISTANCES: dict[Level, Callable[[Floats, Floats], Floats]] = {
    "nominal": _nominal_distance,
    "ordinal": _ordinal_distance,
    "interval": _interval_distance,
}
