"""Find flipped labels: cells of two columns whose labels contradict what each column predicts on its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from statistics import NormalDist

import numpy as np
import polars as pl
from numpy.typing import NDArray

from headway.data.labels.out_of_fold import Floats, Ints, OutOfFold

N_RANGES = 8
MAX_VALUES = 24


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CodedColumn:
    """A column as a few codes, int64 of shape (n,), with the name of each code."""

    name: str
    codes: Ints
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CellSums:
    """The cells of two columns: the cell code of each row, and sums per cell."""

    columns: tuple[CodedColumn, CodedColumn]
    codes: Ints
    sums: dict[str, Floats]

    def name(self, cell: int) -> str:
        """Return what the rows of a cell share: `carrier=9E & visib 0.25 to 2`."""
        first, second = self.columns
        return f"{first.names[cell // len(second.names)]} & {second.names[cell % len(second.names)]}"


def code_columns(table: pl.DataFrame, names: Sequence[str]) -> list[CodedColumn]:
    """Encode columns with few values by value, and other numbers by quantile; rare values share a code."""
    found = [_code_column(table[name]) for name in names if is_supported(table.schema[name])]
    return [column for column in found if len(column.names) > 1]


def cell_sums(columns: Sequence[CodedColumn], values: dict[str, Floats]) -> Iterator[CellSums]:
    """Yield the sums of values, shape (n,), per cell of every two columns."""
    for first, second in combinations(columns, 2):
        codes = first.codes * len(second.names) + second.codes
        count = len(first.names) * len(second.names)
        sums = {name: np.bincount(codes, column, count).astype(np.float64) for name, column in values.items()}
        sums["rows"] = np.bincount(codes, minlength=count).astype(np.float64)
        yield CellSums(columns=(first, second), codes=codes, sums=sums)


def is_supported(dtype: pl.DataType) -> bool:
    """Return True for numbers, booleans and strings."""
    return dtype.is_numeric() or dtype in (pl.Boolean, pl.String, pl.Categorical, pl.Enum)


def _code_column(column: pl.Series) -> CodedColumn:
    name = column.name
    few = column.n_unique() <= MAX_VALUES
    if column.dtype.is_numeric() and not few:
        return _code_ranges(column.cast(pl.Float64))
    texts = column.cast(pl.String).fill_null("missing")
    frequent = texts.value_counts(sort=True)[name].head(MAX_VALUES)
    values = [*sorted(frequent.to_list()), *([] if few else ["another"])]
    codes_of = {value: code for code, value in enumerate(values)}
    codes = texts.replace_strict(codes_of, default=len(values) - 1, return_dtype=pl.Int64).to_numpy()
    return CodedColumn(name=name, codes=codes, names=tuple(f"{name}={value}" for value in values))


def _code_ranges(column: pl.Series) -> CodedColumn:
    values = column.fill_null(float("nan")).to_numpy()
    edges = np.unique(np.nanquantile(values, np.linspace(0, 1, N_RANGES + 1)))
    codes = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    codes = np.where(np.isnan(values), len(edges) - 1, codes).astype(np.int64)
    spans = [f"{column.name} {low:g} to {high:g}" for low, high in pairwise(edges)]
    return CodedColumn(name=column.name, codes=codes, names=(*spans, f"{column.name} missing"))


Bools = NDArray[np.bool_]

MIN_CELL_ROWS, MIN_CELL_GROUPS = 30, 20
MIN_FLIPPED = 0.3
ALPHA = 0.01
_MAD_SCALE = 1.4826


@dataclass(frozen=True, slots=True, kw_only=True)
class FlippedCell:
    """A cell with the estimated share of flipped labels and its lower bound."""

    name: str
    rows: int
    turned: float
    low: float


def flipped_cells(oof: OutOfFold, columns: Sequence[CodedColumn], *, max_cells: int = 5) -> list[FlippedCell]:
    """Find the cells where at least MIN_FLIPPED of the labels look flipped, by a bound for all cells together.

    The probabilities come from an additive model, which cannot learn a flipped cell. With class probabilities p,
    a correct label is missed with probability sum of p (1 - p), a flipped one far more often. The position
    between the two gives the share of flipped labels. Errors are widened to the dispersion between cells.

    Parameters
    ----------
    oof : OutOfFold
        Predictions of an additive model.
    columns : sequence of CodedColumn
        The features.
    max_cells : int
        The most cells to return.
    """
    missed, right, turned, variance = _expected_errors(oof)
    values = {"missed": missed, "right": right, "turned": turned, "variance": variance}
    tables = list(cell_sums(columns, values))
    spread, count = _overdispersion(tables)
    z = NormalDist().inv_cdf(1 - ALPHA / max(count, 1))
    found = [item for table in tables for item in _flipped(table, spread * z, oof)]
    return _without_overlap(sorted(found, key=lambda item: -item[0].low), len(oof.labels))[:max_cells]


def _expected_errors(oof: OutOfFold) -> tuple[Floats, Floats, Floats, Floats]:
    """Return 1 - p of each label, its expectation for a correct and for a flipped label, and its variance."""
    p = oof.probabilities
    right = (p * (1 - p)).sum(axis=1)
    turned = 1 - right / (p.shape[1] - 1)
    variance = (p * np.square(1 - p)).sum(axis=1) - np.square(right)
    return 1 - oof.label_probability, right, turned, np.maximum(variance, 1e-9)


def _overdispersion(tables: Sequence[CellSums]) -> tuple[float, int]:
    """Return the dispersion of cells relative to chance, at least 1, and the number of tested cells."""
    scores = [
        ((table.sums["missed"] - table.sums["right"]) / np.sqrt(table.sums["variance"] + 1e-12))[
            _has_enough_rows(table)
        ]
        for table in tables
    ]
    values = np.concatenate(scores) if scores else np.zeros(0)
    if not len(values):
        return 1.0, 0
    return max(1.0, _MAD_SCALE * float(np.median(np.abs(values - np.median(values))))), len(values)


def _has_enough_rows(table: CellSums) -> Bools:
    found: Bools = table.sums["rows"] >= MIN_CELL_ROWS
    return found


def _flipped(table: CellSums, width: float, oof: OutOfFold) -> list[tuple[FlippedCell, Bools]]:
    """Return the flipped cells of two columns; cells in few groups are left out, since a stormy day looks the same."""
    range_ = np.maximum(table.sums["turned"] - table.sums["right"], 1e-9)
    share = (table.sums["missed"] - table.sums["right"]) / range_
    low = share - width * np.sqrt(table.sums["variance"]) / range_
    found = []
    for cell in np.flatnonzero((table.sums["rows"] >= MIN_CELL_ROWS) & (low >= MIN_FLIPPED)).tolist():
        inside = table.codes == cell
        if len(np.unique(oof.groups[inside])) < MIN_CELL_GROUPS:
            continue
        one = FlippedCell(
            name=table.name(cell), rows=int(inside.sum()), turned=min(1.0, share[cell]), low=float(low[cell])
        )
        found.append((one, inside))
    return found


def _without_overlap(found: Sequence[tuple[FlippedCell, Bools]], rows: int) -> list[FlippedCell]:
    """Keep each cell whose rows are not mostly those of an earlier one."""
    distinct, seen = [], np.zeros(rows, dtype=np.bool_)
    for cluster, inside in found:
        if (inside & seen).sum() <= cluster.rows / 2:
            distinct.append(cluster)
            seen |= inside
    return distinct
