"""What became of data: columns that changed, values that moved, rows that came and went."""

from __future__ import annotations

import math

import numpy as np

from headway.core.provenance import ColumnChange, ColumnPrint, Difference
from headway.data.provenance.canonical import Words
from headway.data.provenance.version import BUCKETS, LEVELS, DataVersion, row_fingerprints

_KS_1_PERCENT = 1.63  # the distance of Kolmogorov and Smirnov that chance passes once in a hundred, by the root of n
_TV_1_PERCENT = 0.5 * math.sqrt(BUCKETS) + math.sqrt(math.log(100) / 2)  # mean of a total variation, and McDiarmid


def compare_versions(before: DataVersion, after: DataVersion) -> Difference:
    """How a version differs from the one before it; rows are taken to be independent where chance is told."""
    shared = [name for name in before.columns if name in after.columns]
    had, has = row_fingerprints(before, shared), row_fingerprints(after, shared)
    added, removed = (None, None) if had is None or has is None else _added_and_removed(had, has)
    return Difference(
        before=before.name,
        after=after.name,
        rows=(len(before.rows), len(after.rows)),
        same=before.digest == after.digest,
        columns=tuple(_column_changes(before, after)),
        rows_added=added,
        rows_removed=removed,
    )


def _column_changes(before: DataVersion, after: DataVersion) -> list[ColumnChange]:
    names = sorted({*before.columns, *after.columns})
    found = []
    for name in names:
        one, other = before.columns.get(name), after.columns.get(name)
        if one is None or other is None:
            held = one or other
            counts = (held.missing if one else 0, held.missing if other else 0) if held else (0, 0)
            found.append(ColumnChange(name=name, change="removed" if one else "added", missing=counts))
        elif (one.kind, one.cells, one.missing) != (other.kind, other.cells, other.missing):
            found.append(_changed_column(name, one, other))
    return found


def _changed_column(name: str, one: ColumnPrint, other: ColumnPrint) -> ColumnChange:
    moved = chance = None
    if one.sampled and other.sampled and one.kind == other.kind:
        root = math.sqrt(1 / one.sampled + 1 / other.sampled)
        if one.knots and other.knots:
            moved, chance = _ks_distance(one.knots, other.knots), min(1.0, _KS_1_PERCENT * root + 1 / (LEVELS - 1))
        elif one.shares and other.shares:
            moved = sum(abs(a - b) for a, b in zip(one.shares, other.shares, strict=True)) / 2
            chance = min(1.0, _TV_1_PERCENT * root)
    counts = one.missing, other.missing
    return ColumnChange(name=name, change="changed", missing=counts, moved=moved, chance=chance)


def _ks_distance(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """The largest distance of two distribution functions, each known in steps of a hundredth."""
    at = np.union1d(one, other)
    below = [np.searchsorted(np.asarray(knots), at, side="right") / len(knots) for knots in (one, other)]
    return float(np.abs(below[0] - below[1]).max())


def _added_and_removed(before: Words, after: Words) -> tuple[int, int]:
    """How many rows are in one more often than in the other."""
    values, place = np.unique(np.concatenate([before, after]), return_inverse=True)
    had = np.bincount(place[: len(before)], minlength=len(values))
    has = np.bincount(place[len(before) :], minlength=len(values))
    return int(np.maximum(has - had, 0).sum()), int(np.maximum(had - has, 0).sum())
