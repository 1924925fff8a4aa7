"""D040: The labels of rows that share two values contradict what either value predicts on its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist

import numpy as np

from headway.core.arrays import Bools, Floats, Ints
from headway.core.evidence import Finding
from headway.data.context import CheckContext
from headway.data.labels.out_of_fold import ADDITIVE, SCREENING_ROWS, OutOfFold, out_of_fold
from headway.data.matrix import CodedColumn, code_columns

CODES = ("D040",)
MIN_CELL_ROWS, MIN_CELL_GROUPS = 30, 20
MIN_FLIPPED = 0.3
ALPHA = 0.01
_MAD_SCALE = 1.4826


def plugin(context: CheckContext) -> list[Finding]:
    """Return a finding per cell of two columns, with a lower bound on the share of flipped labels.

    The bound holds for all cells together, and standard errors are widened to the dispersion between cells. Not
    found are labels flipped for all rows of a value, labels near 50 %, and cells with rows in fewer than 20
    groups.
    """
    dataset = context.dataset
    oof = out_of_fold(dataset, rows=SCREENING_ROWS, shape=ADDITIVE)
    columns = code_columns(dataset.table[oof.rows], dataset.tabular_features)
    return [
        Finding(
            code="D040",
            severity="warn",
            message=f"at least {cell.low:.0%} (about {cell.flipped:.0%}) of the labels of the {cell.rows:,} rows with"
            f" {cell.name} contradict what either value predicts on its own",
            where=cell.name,
            measured=cell.low,
            limit=MIN_FLIPPED,
            hint="find out where these rows came from, and remove them until their labels are verified",
        )
        for cell in flipped_cells(oof, columns)
    ]


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


def cell_sums(columns: Sequence[CodedColumn], values: dict[str, Floats]) -> Iterator[CellSums]:
    """Yield the sums of values, shape (n,), per cell of every two columns."""
    for first, second in combinations(columns, 2):
        codes = first.codes * len(second.names) + second.codes
        count = len(first.names) * len(second.names)
        sums = {name: np.bincount(codes, column, count).astype(np.float64) for name, column in values.items()}
        sums["rows"] = np.bincount(codes, minlength=count).astype(np.float64)
        yield CellSums(columns=(first, second), codes=codes, sums=sums)


@dataclass(frozen=True, slots=True, kw_only=True)
class FlippedCell:
    """A cell with the estimated share of flipped labels and its lower bound."""

    name: str
    rows: int
    flipped: float
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
    missed, correct, flipped, variance = _expected_errors(oof)
    values = {"missed": missed, "correct": correct, "flipped": flipped, "variance": variance}
    tables = list(cell_sums(columns, values))
    spread, count = _overdispersion(tables)
    z = NormalDist().inv_cdf(1 - ALPHA / max(count, 1))
    found = [item for table in tables for item in _flipped(table, spread * z, oof)]
    return _without_overlap(sorted(found, key=lambda item: -item[0].low), len(oof.labels))[:max_cells]


def _expected_errors(oof: OutOfFold) -> tuple[Floats, Floats, Floats, Floats]:
    """Return 1 - p of each label, its expectation for a correct and for a flipped label, and its variance."""
    p = oof.probabilities
    correct = (p * (1 - p)).sum(axis=1)
    flipped = 1 - correct / (p.shape[1] - 1)
    variance = (p * np.square(1 - p)).sum(axis=1) - np.square(correct)
    return 1 - oof.label_probability, correct, flipped, np.maximum(variance, 1e-9)


def _overdispersion(tables: Sequence[CellSums]) -> tuple[float, int]:
    """Return the dispersion of cells relative to chance, at least 1, and the number of tested cells."""
    scores = [
        ((table.sums["missed"] - table.sums["correct"]) / np.sqrt(table.sums["variance"] + 1e-12))[
            _has_enough_rows(table)
        ]
        for table in tables
    ]
    values = np.concatenate(scores) if scores else np.zeros(0)
    if not len(values):
        return 1.0, 0
    return max(1.0, _MAD_SCALE * float(np.median(np.abs(values - np.median(values))))), len(values)


def _has_enough_rows(table: CellSums) -> Bools:
    return table.sums["rows"] >= MIN_CELL_ROWS


def _flipped(table: CellSums, width: float, oof: OutOfFold) -> list[tuple[FlippedCell, Bools]]:
    """Return the flipped cells of two columns; cells in few groups are left out, since a stormy day looks the same."""
    gap = np.maximum(table.sums["flipped"] - table.sums["correct"], 1e-9)
    share = (table.sums["missed"] - table.sums["correct"]) / gap
    low = share - width * np.sqrt(table.sums["variance"]) / gap
    found = []
    for cell in np.flatnonzero((table.sums["rows"] >= MIN_CELL_ROWS) & (low >= MIN_FLIPPED)).tolist():
        inside = table.codes == cell
        if len(np.unique(oof.groups[inside])) < MIN_CELL_GROUPS:
            continue
        one = FlippedCell(
            name=table.name(cell), rows=int(inside.sum()), flipped=min(1.0, share[cell]), low=float(low[cell])
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
