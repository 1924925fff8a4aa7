"""Values of a feature as a few bins, the same for both windows: what drift is seen in, and losses are spread over."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headway.core.contracts import Windows
from headway.core.variant import Field
from headway.evaluation.statistics.tables import Floats, Ints, quantile_edges

BINS = 40
_SAMPLE = 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class Bins:
    """Bins of one feature: a bin between two edges or of one category, and a last one for what is missing."""

    field: Field
    edges: Floats

    @property
    def size(self) -> int:
        """Number of bins, the missing one too."""
        return len(self.field.categories or (*self.edges, None)) + 1

    def codes(self, values: Floats) -> Ints:
        """The bin of each value [n] -> int64 [n]; an unknown category is missing."""
        known: NDArray[np.bool_] = np.isfinite(values) if self.field.categories else ~np.isnan(values)
        found = self._categories(values, known) if self.field.categories else self._intervals(values)
        found[~known] = self.size - 1
        return found

    def label(self, bin: int) -> str:
        """The bin in words: `21.5 to 33`, `UA`, `missing`."""
        if bin == self.size - 1:
            return "missing"
        if self.field.categories:
            return self.field.categories[bin]
        ends = [f"{edge:.6g}" for edge in self.edges]
        if not ends:
            return "any"
        if bin == 0:
            return f"below {ends[0]}"
        return f"{ends[-1]} or more" if bin == len(ends) else f"{ends[bin - 1]} to {ends[bin]}"

    def _categories(self, values: Floats, known: NDArray[np.bool_]) -> Ints:
        last = self.size - 1
        ranks = np.where(known, values, last)
        return np.where((ranks >= 0) & (ranks < last), ranks, last).astype(np.int64)

    def _intervals(self, values: Floats) -> Ints:
        """A comparison an edge: for 40 edges that is faster than to search, and no value branches."""
        count, above = np.zeros(len(values), np.uint8), np.empty(len(values), np.bool_)
        for edge in self.edges:
            np.greater_equal(values, edge, out=above)
            count += above
        return count.astype(np.int64)


def column(windows: Windows, number: int) -> Floats:
    """The values of one feature, those of the window before first -> float64 [n_before + n_after]."""
    return np.concatenate([windows.before.rows[:, number], windows.after.rows[:, number]])


def bins_of(field: Field, values: Floats, *, most: int = BINS) -> Bins:
    """At most so many bins of equal mass over values [n] of both windows; of categories, each is a bin."""
    if field.categories:
        return Bins(field=field, edges=np.empty(0))
    some = values[:: max(1, len(values) // _SAMPLE)]
    present = some[~np.isnan(some)]
    return Bins(field=field, edges=quantile_edges(present, most) if len(present) else np.empty(0))
