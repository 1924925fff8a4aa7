"""A version of data: what is kept of a table so that a later one can be compared with it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from msgspec.structs import replace
from numpy.typing import NDArray

from headway.core.provenance import ColumnPrint
from headway.data.provenance.canonical import CanonicalColumn, Words, canonical_columns
from headway.data.provenance.digest import columns_digest
from headway.data.provenance.fingerprint import fingerprint_columns, fingerprint_table

SAMPLE = 20_000
"""Rows by which values are compared: those of the least fingerprints, so that equal rows are sampled alike."""
LEVELS, BUCKETS = 101, 64
_SPREAD = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DataVersion:
    """A table by its content; `rows` uint64 [n] are the fingerprints of its rows. What was kept has no `table`."""

    name: str
    digest: str
    columns: dict[str, ColumnPrint]
    rows: Words
    table: pl.DataFrame | None = None


def make_version(table: pl.DataFrame, *, name: str) -> DataVersion:
    """The version that a table is."""
    columns = canonical_columns(table)
    found = fingerprint_columns(columns, len(table))
    least = np.argpartition(found.rows, SAMPLE)[:SAMPLE] if len(table) > SAMPLE else np.arange(len(table))
    prints = {column.name: _column_print(column, found.columns[column.name], least) for column in columns}
    whole = columns_digest(columns, len(table))
    return DataVersion(name=name, digest=whole, columns=prints, rows=found.rows, table=table)


def row_fingerprints(version: DataVersion, names: list[str]) -> Words | None:
    """The fingerprints of rows over some columns; None where the table is gone and those are others than it had."""
    if set(names) == set(version.columns):
        return version.rows
    return None if version.table is None else fingerprint_table(version.table.select(names)).rows


def _column_print(column: CanonicalColumn, cells: str, sample: NDArray[np.intp]) -> ColumnPrint:
    words, missing = column.cells()
    kind = "missing" if missing is not None and missing.all() else column.kind
    held = sample if missing is None else sample[~missing[sample]]
    told = ColumnPrint(kind=kind, cells=cells, missing=0 if missing is None else int(missing.sum()), sampled=len(held))
    if not len(held):
        return told
    if kind == "text":
        mixed = sum((each[held] * _SPREAD for each in words), np.zeros(len(held), np.uint64))
        counts = np.bincount((mixed >> np.uint64(58)).astype(np.int64), minlength=BUCKETS)
        return replace(told, shares=tuple((counts / len(held)).tolist()))
    values = words[0][held].view(np.float64 if kind == "number" else np.int64).astype(np.float64)
    knots = np.quantile(values, np.linspace(0, 1, LEVELS), method="inverted_cdf")
    finite = np.nan_to_num(knots, posinf=np.finfo(float).max, neginf=np.finfo(float).min)
    return replace(told, knots=tuple(finite.tolist()))
