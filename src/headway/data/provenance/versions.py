"""Versions of a dataset: a summary that can be stored, and the differences between two of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl
from msgspec.structs import replace
from numpy.typing import NDArray

from headway.core.provenance import ColumnChange, ColumnPrint, Difference
from headway.data.provenance.fingerprint import (
    CanonicalColumn,
    Words,
    canonical_columns,
    columns_digest,
    fingerprint_columns,
    fingerprint_table,
)

SAMPLE = 20_000
"""Number of rows whose values are compared: those with the smallest fingerprints, so equal rows are sampled equally."""
LEVELS, BUCKETS = 101, 64
RANGE_ROWS = 1 << 18
_SPREAD = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DataVersion:
    """A table by its content; `rows`, uint64 of shape (n,), are row fingerprints. A stored version has no `table`."""

    name: str
    digest: str
    columns: dict[str, ColumnPrint]
    rows: Words
    table: pl.DataFrame | None = None


def make_version(table: pl.DataFrame, *, name: str) -> DataVersion:
    """Summarize a table as a version."""
    columns = canonical_columns(table)
    found = fingerprint_columns(columns, len(table))
    sampled = np.argpartition(found.rows, SAMPLE)[:SAMPLE] if len(table) > SAMPLE else np.arange(len(table))
    prints = {column.name: column_print(column, found.columns[column.name], sampled) for column in columns}
    digest = columns_digest(columns, len(table))
    return DataVersion(name=name, digest=digest, columns=prints, rows=found.rows, table=table)


def row_fingerprints(version: DataVersion, names: list[str]) -> Words | None:
    """Return the row fingerprints over some columns; None if the table is gone and had other columns."""
    if set(names) == set(version.columns):
        return version.rows
    return None if version.table is None else fingerprint_table(version.table.select(names)).rows


def column_print(column: CanonicalColumn, cells: str, sample: NDArray[np.intp]) -> ColumnPrint:
    words, missing = column.cells()
    kind = "missing" if missing is not None and missing.all() else column.kind
    held = sample if missing is None else sample[~missing[sample]]
    summary = ColumnPrint(
        kind=kind, cells=cells, missing=0 if missing is None else int(missing.sum()), sampled=len(held)
    )
    if not len(held):
        return summary
    if kind == "text":
        mixed = sum((word[held] * _SPREAD for word in words), np.zeros(len(held), np.uint64))
        counts = np.bincount((mixed >> np.uint64(58)).astype(np.int64), minlength=BUCKETS)
        return replace(summary, shares=tuple((counts / len(held)).tolist()))
    values = words[0][held].view(np.float64 if kind == "number" else np.int64).astype(np.float64)
    knots = np.quantile(values, np.linspace(0, 1, LEVELS), method="inverted_cdf")
    finite = np.nan_to_num(knots, posinf=np.finfo(float).max, neginf=np.finfo(float).min)
    return replace(summary, knots=tuple(finite.tolist()))


_KS_1_PERCENT = 1.63  # Kolmogorov-Smirnov distance times sqrt(n) that is exceeded with probability 1 %
_TV_1_PERCENT = 0.5 * math.sqrt(BUCKETS) + math.sqrt(math.log(100) / 2)  # mean of a total variation, and McDiarmid


def compare_versions(before: DataVersion, after: DataVersion) -> Difference:
    """Compare two versions; the chance levels assume independent rows."""
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
    distance = chance_level = None
    if one.sampled and other.sampled and one.kind == other.kind:
        root = math.sqrt(1 / one.sampled + 1 / other.sampled)
        if one.knots and other.knots:
            distance, chance_level = (
                _ks_distance(one.knots, other.knots),
                min(1.0, _KS_1_PERCENT * root + 1 / (LEVELS - 1)),
            )
        elif one.shares and other.shares:
            distance = sum(abs(a - b) for a, b in zip(one.shares, other.shares, strict=True)) / 2
            chance_level = min(1.0, _TV_1_PERCENT * root)
    counts = one.missing, other.missing
    return ColumnChange(name=name, change="changed", missing=counts, distance=distance, chance_level=chance_level)


def _ks_distance(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """Return the Kolmogorov-Smirnov distance of two distributions in steps of a hundredth."""
    at = np.union1d(one, other)
    below = [np.searchsorted(np.asarray(knots), at, side="right") / len(knots) for knots in (one, other)]
    return float(np.abs(below[0] - below[1]).max())


def _added_and_removed(before: Words, after: Words) -> tuple[int, int]:
    """Count the rows that occur more often in one version than in the other."""
    added = removed = 0
    for one, other in _ranges(_in_order(before), _in_order(after)):
        values, codes = np.unique(np.concatenate([one, other]), return_inverse=True)
        had = np.bincount(codes[: len(one)], minlength=len(values))
        has = np.bincount(codes[len(one) :], minlength=len(values))
        added += int(np.maximum(has - had, 0).sum())
        removed += int(np.maximum(had - has, 0).sum())
    return added, removed


def _in_order(rows: Words) -> Words:
    """Return fingerprints in ascending order; those of a table that was read in batches are."""
    return rows if bool((rows[1:] >= rows[:-1]).all()) else np.sort(rows)


def _ranges(one: Words, other: Words) -> Iterator[tuple[Words, Words]]:
    """Yield the parts of two ascending arrays that lie in the same ranges of values, so that few are held at a time."""
    ends = np.unique(np.concatenate([one[::RANGE_ROWS], other[::RANGE_ROWS]]))
    cuts = [[0, *np.searchsorted(rows, ends[1:]).tolist(), len(rows)] for rows in (one, other)]
    for (start, end), (since, until) in zip(pairwise(cuts[0]), pairwise(cuts[1]), strict=True):
        yield one[start:end], other[since:until]
