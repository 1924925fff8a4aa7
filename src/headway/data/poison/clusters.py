"""Cells of two columns whose labels stand against what each column says on its own, as if they had been turned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from headway.data.labels.said import Floats, OutOfFold
from headway.data.poison.cells import CellSums, CodedColumn, cell_sums

Bools = NDArray[np.bool_]

MIN_CELL_ROWS, MIN_CELL_GROUPS = 30, 20
MIN_FLIPPED = 0.3
ALPHA = 0.01
_MAD_SCALE = 1.4826


@dataclass(frozen=True, slots=True, kw_only=True)
class FlippedCell:
    """Rows that share `name`, and which share of their labels looks turned: the estimate and its lower bound."""

    name: str
    rows: int
    turned: float
    low: float


def flipped_cells(oof: OutOfFold, columns: Sequence[CodedColumn], *, most: int = 5) -> list[FlippedCell]:
    """The cells of which at least TURNED of the labels look turned, by a bound for all cells at once; none twice.

    `said` is by a model without interactions, so that it does not learn a cell that somebody turned. With p of a row's
    classes, a right label is missed by the sum of p (1 - p), a turned one by much more; where between the two the
    labels of a cell lie is the share that is turned. Errors are widened to what cells show among each other.
    """
    missed, right, turned, variance = _expected_errors(oof)
    values = {"missed": missed, "right": right, "turned": turned, "variance": variance}
    tables = list(cell_sums(columns, values))
    spread, count = _overdispersion(tables)
    z = NormalDist().inv_cdf(1 - ALPHA / max(count, 1))
    found = [each for table in tables for each in _flipped(table, spread * z, oof)]
    return _without_overlap(sorted(found, key=lambda each: -each[0].low), len(oof.labels))[:most]


def _expected_errors(oof: OutOfFold) -> tuple[Floats, Floats, Floats, Floats]:
    """Of each row 1 - p of its label, what that is on average for a right and for a turned label, and its variance."""
    p = oof.probabilities
    right = (p * (1 - p)).sum(axis=1)
    turned = 1 - right / (p.shape[1] - 1)
    variance = (p * np.square(1 - p)).sum(axis=1) - np.square(right)
    return 1 - oof.label_probability, right, turned, np.maximum(variance, 1e-9)


def _overdispersion(tables: Sequence[CellSums]) -> tuple[float, int]:
    """How much wider than by chance cells lie about what is expected, at least 1, and how many are judged."""
    scores = [
        ((each.sums["missed"] - each.sums["right"]) / np.sqrt(each.sums["variance"] + 1e-12))[_has_enough_rows(each)]
        for each in tables
    ]
    values = np.concatenate(scores) if scores else np.zeros(0)
    if not len(values):
        return 1.0, 0
    return max(1.0, _MAD_SCALE * float(np.median(np.abs(values - np.median(values))))), len(values)


def _has_enough_rows(table: CellSums) -> Bools:
    found: Bools = table.sums["rows"] >= MIN_CELL_ROWS
    return found


def _flipped(table: CellSums, width: float, oof: OutOfFold) -> list[tuple[FlippedCell, Bools]]:
    """Cells of too few groups are left out: rows of a stormy day stand against what other days say, all alike."""
    room = np.maximum(table.sums["turned"] - table.sums["right"], 1e-9)
    share = (table.sums["missed"] - table.sums["right"]) / room
    low = share - width * np.sqrt(table.sums["variance"]) / room
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
    """Each cluster whose rows are not for the most part in one before it."""
    told, seen = [], np.zeros(rows, dtype=np.bool_)
    for cluster, inside in found:
        if (inside & seen).sum() <= cluster.rows / 2:
            told.append(cluster)
            seen |= inside
    return told
