"""How far annotators agree beyond chance: Cohen's and Fleiss' kappa, Krippendorff's alpha, by tables that add.

A table is a sum over items, so that what is left when one item, or a group of them, is taken out is a subtraction.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from headway.data.labels.out_of_fold import Floats, Ints

Level = Literal["nominal", "ordinal", "interval"]
MISSING_LABEL = -1
"""What stands in place of the label that an annotator did not give."""


def pair_tables(first: Ints, second: Ints, n_classes: int) -> Floats:
    """For each item the cell that two annotators chose, [items, k, k]; an item that one of them left out is empty."""
    both = (first != MISSING_LABEL) & (second != MISSING_LABEL)
    found = np.zeros((len(first), n_classes, n_classes))
    found[np.flatnonzero(both), first[both], second[both]] = 1.0
    return found


def cohen_kappa(tables: Floats) -> Floats:
    """Cohen's kappa (1960) of tables [..., k, k], each a count of what two annotators chose.

    >>> round(float(cohen(np.array([[20.0, 5.0], [10.0, 15.0]]))), 3)
    0.4
    """
    rows = tables.sum(axis=(-2, -1))
    seen = np.trace(tables, axis1=-2, axis2=-1) / rows
    by_chance = (tables.sum(axis=-1) * tables.sum(axis=-2)).sum(axis=-1) / np.square(rows)
    return _chance_corrected(seen, by_chance)


def label_counts(labels: Ints, n_classes: int) -> Floats:
    """How many annotators gave each class to each item, [items, k]; labels int64 [items, annotators]."""
    classes = np.arange(n_classes)
    found: Floats = (labels[:, :, None] == classes).sum(axis=1).astype(np.float64)
    return found


def fleiss_tables(given: Floats) -> Floats:
    """Of counts [items, k]: the share of agreeing pairs, one, and the shares of the classes, [items, 2 + k].

    Items count alike, however many annotators they had; those with fewer than two have none.
    """
    many = given.sum(axis=1)
    paired = many >= 2
    agreeing = (given * (given - 1)).sum(axis=1) / np.maximum(many * (many - 1), 1)
    shares = given / np.maximum(many, 1)[:, None]
    found: Floats = np.column_stack([agreeing, np.ones(len(given)), shares]) * paired[:, None]
    return found


def fleiss_kappa(tables: Floats) -> Floats:
    """Fleiss' kappa (1971) of sums of `fleiss_tables`, [..., 2 + k]."""
    items = tables[..., 1]
    seen = tables[..., 0] / items
    by_chance = np.square(tables[..., 2:] / items[..., None]).sum(axis=-1)
    return _chance_corrected(seen, by_chance)


def coincidences(given: Floats) -> Floats:
    """Krippendorff's coincidences of counts [items, k], [items, k, k]: pairs of an item's labels, over m - 1."""
    many = given.sum(axis=1)
    pairs = given[:, :, None] * given[:, None, :] - given[:, :, None] * np.eye(given.shape[1])
    found: Floats = np.where(many >= 2, 1 / np.maximum(many - 1, 1), 0.0)[:, None, None] * pairs
    return found


def krippendorff_alpha(tables: Floats, level: Level = "nominal", values: Floats | None = None) -> Floats:
    """Krippendorff's alpha (2011) of sums of `coincidences`, [..., k, k]; `values` [k] are those of the classes."""
    totals = tables.sum(axis=-1)
    apart = _DISTANCES[level](totals, np.arange(totals.shape[-1], dtype=np.float64) if values is None else values)
    rows = totals.sum(axis=-1)
    by_chance = totals[..., :, None] * totals[..., None, :] / (rows - 1)[..., None, None]
    seen, expected = ((each * apart).sum(axis=(-2, -1)) for each in (tables, by_chance))
    return _chance_corrected(1 - seen / rows, 1 - expected / rows)


def leave_one_group_out(tables: Floats, groups: Ints) -> Floats:
    """The sum of all items but those of each group, [G, ...]; tables [items, ...], groups int64 [items]."""
    sums = np.zeros((int(groups.max()) + 1, *tables.shape[1:]))
    np.add.at(sums, groups, tables)
    left: Floats = tables.sum(axis=0) - sums
    return left


def _chance_corrected(seen: Floats, by_chance: Floats) -> Floats:
    """(seen - chance) / (1 - chance); no number where all gave one class, for then nobody could disagree."""
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = np.where(1 - by_chance > 1e-12, (seen - by_chance) / (1 - by_chance), np.nan)
    return found


def _nominal_distance(totals: Floats, _values: Floats) -> Floats:
    return 1 - np.eye(totals.shape[-1])


def _interval_distance(_totals: Floats, values: Floats) -> Floats:
    found: Floats = np.square(values[:, None] - values[None, :])
    return found


def _ordinal_distance(totals: Floats, _values: Floats) -> Floats:
    """The labels between two classes, half of their own: (sum from c to k of n - (n_c + n_k) / 2) squared."""
    middles = np.cumsum(totals, axis=-1) - totals / 2
    found: Floats = np.square(middles[..., :, None] - middles[..., None, :])
    return found


_DISTANCES: dict[Level, Callable[[Floats, Floats], Floats]] = {
    "nominal": _nominal_distance,
    "ordinal": _ordinal_distance,
    "interval": _interval_distance,
}
