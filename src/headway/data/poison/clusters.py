"""Cells of two columns whose labels stand against what each column says on its own, as if they had been turned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from headway.data.labels.said import Floats, Said
from headway.data.poison.cells import Cells, Coded, cells

Bools = NDArray[np.bool_]

FEWEST_ROWS, FEWEST_GROUPS = 30, 20
TURNED = 0.3
ALPHA = 0.01
_SCALE = 1.4826


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Rows that share `name`, and which share of their labels looks turned: the estimate and its lower bound."""

    name: str
    rows: int
    turned: float
    low: float


def clusters(said: Said, columns: Sequence[Coded], *, most: int = 5) -> list[Cluster]:
    """The cells of which at least TURNED of the labels look turned, by a bound for all cells at once; none twice.

    `said` is by a model without interactions, so that it does not learn a cell that somebody turned. With p of a row's
    classes, a right label is missed by the sum of p (1 - p), a turned one by much more; where between the two the
    labels of a cell lie is the share that is turned. Errors are widened to what cells show among each other.
    """
    missed, right, turned, variance = _expected(said)
    values = {"missed": missed, "right": right, "turned": turned, "variance": variance}
    tables = list(cells(columns, values))
    spread, count = _spread(tables)
    z = NormalDist().inv_cdf(1 - ALPHA / max(count, 1))
    found = [each for table in tables for each in _turned(table, spread * z, said)]
    return _apart(sorted(found, key=lambda each: -each[0].low), len(said.labels))[:most]


def _expected(said: Said) -> tuple[Floats, Floats, Floats, Floats]:
    """Of each row 1 - p of its label, what that is on average for a right and for a turned label, and its variance."""
    p = said.probabilities
    right = (p * (1 - p)).sum(axis=1)
    turned = 1 - right / (p.shape[1] - 1)
    variance = (p * np.square(1 - p)).sum(axis=1) - np.square(right)
    return 1 - said.of_label, right, turned, np.maximum(variance, 1e-9)


def _spread(tables: Sequence[Cells]) -> tuple[float, int]:
    """How much wider than by chance cells lie about what is expected, at least 1, and how many are judged."""
    scores = [
        ((each.sums["missed"] - each.sums["right"]) / np.sqrt(each.sums["variance"] + 1e-12))[_judged(each)]
        for each in tables
    ]
    values = np.concatenate(scores) if scores else np.zeros(0)
    if not len(values):
        return 1.0, 0
    return max(1.0, _SCALE * float(np.median(np.abs(values - np.median(values))))), len(values)


def _judged(table: Cells) -> Bools:
    found: Bools = table.sums["rows"] >= FEWEST_ROWS
    return found


def _turned(table: Cells, width: float, said: Said) -> list[tuple[Cluster, Bools]]:
    """Cells of too few groups are left out: rows of a stormy day stand against what other days say, all alike."""
    room = np.maximum(table.sums["turned"] - table.sums["right"], 1e-9)
    share = (table.sums["missed"] - table.sums["right"]) / room
    low = share - width * np.sqrt(table.sums["variance"]) / room
    found = []
    for cell in np.flatnonzero((table.sums["rows"] >= FEWEST_ROWS) & (low >= TURNED)).tolist():
        inside = table.codes == cell
        if len(np.unique(said.groups[inside])) < FEWEST_GROUPS:
            continue
        one = Cluster(name=table.name(cell), rows=int(inside.sum()), turned=min(1.0, share[cell]), low=float(low[cell]))
        found.append((one, inside))
    return found


def _apart(found: Sequence[tuple[Cluster, Bools]], rows: int) -> list[Cluster]:
    """Each cluster whose rows are not for the most part in one before it."""
    told, seen = [], np.zeros(rows, dtype=np.bool_)
    for cluster, inside in found:
        if (inside & seen).sum() <= cluster.rows / 2:
            told.append(cluster)
            seen |= inside
    return told
