"""The parts of the rows that are worst on one half of the groups, to be measured on the other half."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headway.evaluation.slice_finder.counting import count
from headway.evaluation.slice_finder.levels import Levelled, most_telling
from headway.evaluation.slice_finder.worst import Part, scores, worst
from headway.evaluation.statistics.tables import Blocks, Floats

Bools = NDArray[np.bool_]

RUNS = 8
LEAST_SHARE = 0.01
LEAST_ROWS = 30
MOST_COLUMNS = 24
MOST_PARTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The worst parts by each value that was searched, and how many parts were large enough to be compared."""

    parts: list[list[Part]]
    compared: int


def halves(blocks: Blocks) -> Bools:
    """True for rows of the half to find on, bool [n]: every other of eight runs of neighbouring groups.

    Neighbours lean on each other; few of them are torn apart so, and both halves are of the whole period.
    """
    runs = min(RUNS, blocks.n_blocks)
    found: Bools = blocks.blocks * runs // blocks.n_blocks % 2 == 0
    return found


def least_rows(finding: Bools) -> int:
    """The rows that a part has at least on the half to find on."""
    return max(int(LEAST_SHARE * finding.sum()), LEAST_ROWS)


def search(columns: Sequence[Levelled], values: Sequence[Floats], finding: Bools, weights: Floats | None) -> Found:
    """The worst parts by each of `values` (each [n]), searched on the rows to find on alone.

    Of more than 24 columns those are combined whose levels say most of the values. With weights, a part's share of the
    rows is that of their weight.
    """
    there = [each[finding] for each in values]
    weights = None if weights is None else weights[finding]
    some = most_telling([each.of(finding) for each in columns], there, MOST_COLUMNS)
    cells = count(some, there, weights)
    total = float(len(there[0]) if weights is None else weights.sum())
    large = cells.rows >= total * least_rows(finding) / len(there[0])
    parts = []
    for sums, each in zip(cells.sums, there, strict=True):
        scale = float(np.average(np.abs(each), weights=weights))
        whole = float(np.average(each, weights=weights)) * total
        order = scores(cells.rows, sums, total=(total, whole), scale=scale)
        parts.append(worst(cells, np.where(large, order, -np.inf), some, MOST_PARTS))
    return Found(parts=parts, compared=int(large.sum()))
