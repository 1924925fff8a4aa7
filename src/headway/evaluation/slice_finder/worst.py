"""The combinations of levels on which a value is largest, none of which is mostly another again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headway.evaluation.slice_finder.counting import Cells
from headway.evaluation.slice_finder.levels import Levelled
from headway.evaluation.statistics.tables import Floats

Bools = NDArray[np.bool_]

WEIGHT_OF_SIZE = 0.05
MOST_TRIED = 500
SAME = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of the rows: those that have these levels, by the name of their column, one to three of them."""

    levels: dict[str, int]

    def said(self, columns: Mapping[str, Levelled]) -> str:
        """It in words: `carrier=EV & hour 18-20`."""
        return " & ".join(columns[name].said(level) for name, level in self.levels.items())

    def rows(self, columns: Mapping[str, Levelled]) -> Bools:
        """Which rows of the columns are in it, bool [n]."""
        inside: Bools = np.logical_and.reduce([columns[name].codes == level for name, level in self.levels.items()])
        return inside


def scores(rows: Floats, sums: Floats, *, total: tuple[float, float], scale: float) -> Floats:
    """How bad each part is, from its rows and the sum of its values, both [cells]: as SliceLine has it, w = 0.05.

    (1 - w) (mean - mean of all) / scale - w (all rows / rows - 1), Sagadeeva and Boehm 2021; `total` are all rows and
    their sum, `scale` the mean size of a value, which is the mean of all for errors. -inf for a part without rows.
    """
    n, whole = total
    with np.errstate(divide="ignore", invalid="ignore"):
        excess = (sums / rows - whole / n) / scale if scale else np.zeros_like(rows)
        found: Floats = (1 - WEIGHT_OF_SIZE) * excess - WEIGHT_OF_SIZE * (n / rows - 1)
    return np.where(rows > 0, found, -np.inf)


def worst(cells: Cells, order: Floats, columns: Sequence[Levelled], most: int) -> list[Part]:
    """Up to `most` parts of the highest `order` [cells], each with less than half its rows in common with those before.

    In common is measured as rows of both over rows of either (Jaccard). Where `order` is -inf there is no part; those
    with none above 0 are no worse than all rows, and the first of them alone stands for them.
    """
    likely = np.argsort(-order, kind="stable")[:MOST_TRIED]
    likely = likely[(order[likely] > 0) | (likely == likely[0])]
    named = {each.name: each for each in columns}
    found: list[Part] = []
    taken: list[Bools] = []
    for cell in likely[np.isfinite(order[likely])]:
        part = Part(levels={columns[place].name: level for place, level in sorted(cells.levels(int(cell)).items())})
        rows = part.rows(named)
        if all((rows & other).sum() < SAME * (rows | other).sum() for other in taken):
            found.append(part)
            taken.append(rows)
        if len(found) == most:
            break
    return found
