"""Cells of a table: the rows that share a value, or a range of values, in each of two columns, with sums over each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
import polars as pl

from headway.data.labels.said import Floats, Ints

N_RANGES = 8
MAX_VALUES = 24


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CodedColumn:
    """A column in few codes: int64 [n] into `names`."""

    name: str
    codes: Ints
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CellSums:
    """The cells of two columns: `codes` int64 [n] of the rows' cells, and the sums [cells] that were asked."""

    columns: tuple[CodedColumn, CodedColumn]
    codes: Ints
    sums: dict[str, Floats]

    def name(self, cell: int) -> str:
        """What the rows of a cell share: `carrier=9E & visib 0.25 to 2`."""
        first, second = self.columns
        return f"{first.names[cell // len(second.names)]} & {second.names[cell % len(second.names)]}"


def code_columns(table: pl.DataFrame, names: Sequence[str]) -> list[CodedColumn]:
    """Columns by value where they have few, numbers else in ranges of as many rows; rare values share a code."""
    found = [_code_column(table[name]) for name in names if is_supported(table.schema[name])]
    return [each for each in found if len(each.names) > 1]


def cell_sums(columns: Sequence[CodedColumn], values: dict[str, Floats]) -> Iterator[CellSums]:
    """The sums of values [n] by every cell of every two columns."""
    for first, second in combinations(columns, 2):
        codes = first.codes * len(second.names) + second.codes
        count = len(first.names) * len(second.names)
        sums = {name: np.bincount(codes, each, count).astype(np.float64) for name, each in values.items()}
        sums["rows"] = np.bincount(codes, minlength=count).astype(np.float64)
        yield CellSums(columns=(first, second), codes=codes, sums=sums)


def is_supported(dtype: pl.DataType) -> bool:
    """Whether values of this type are numbers or texts."""
    return dtype.is_numeric() or dtype in (pl.Boolean, pl.String, pl.Categorical, pl.Enum)


def _code_column(column: pl.Series) -> CodedColumn:
    name = column.name
    few = column.n_unique() <= MAX_VALUES
    if column.dtype.is_numeric() and not few:
        return _code_ranges(column.cast(pl.Float64))
    texts = column.cast(pl.String).fill_null("missing")
    kept = texts.value_counts(sort=True)[name].head(MAX_VALUES)
    values = [*sorted(kept.to_list()), *([] if few else ["another"])]
    places = {value: place for place, value in enumerate(values)}
    codes = texts.replace_strict(places, default=len(values) - 1, return_dtype=pl.Int64).to_numpy()
    return CodedColumn(name=name, codes=codes, names=tuple(f"{name}={value}" for value in values))


def _code_ranges(column: pl.Series) -> CodedColumn:
    values = column.fill_null(float("nan")).to_numpy()
    edges = np.unique(np.nanquantile(values, np.linspace(0, 1, N_RANGES + 1)))
    codes = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    codes = np.where(np.isnan(values), len(edges) - 1, codes).astype(np.int64)
    spans = [f"{column.name} {low:g} to {high:g}" for low, high in pairwise(edges)]
    return CodedColumn(name=column.name, codes=codes, names=(*spans, f"{column.name} missing"))
