"""A release's contract held against the rows of a batch: which values are outside of what it was made for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from headway.core.release import Bounds, Contract
from headway.core.variant import Field, Signature
from headway.serving.protocol.tensors import BYTES, UNSEEN_CATEGORY

if TYPE_CHECKING:
    from headway.core.contracts import Floats

_UNSEEN_BITS = np.float64(UNSEEN_CATEGORY).view(np.int64)


class Violation(NamedTuple):
    """A value that is outside: its row and column, and whether it is `low`, `high`, `missing` or `unseen` (a text)."""

    row: int
    column: str
    kind: str
    value: float | None
    lowest: float | None
    highest: float | None

    def __str__(self) -> str:
        if self.kind == "missing":
            return f"row {self.row}: column '{self.column}' is missing, which it never was"
        if self.kind == "unseen":
            return f"row {self.row}: column '{self.column}' holds a text that was never seen"
        return f"row {self.row}: column '{self.column}' is {self.value:g}, outside {self.lowest:g} to {self.highest:g}"


class InputValidator:
    """Looks at a batch with a few operations on the whole of it, and closer only where a value is outside."""

    def __init__(self, contract: Contract, signature: Signature) -> None:
        known = {each.name: each for each in contract.columns}
        edges = [_edges(field, known.get(field.name), contract.margin) for field in signature.inputs]
        self._names = signature.names
        self._lows = np.array([low for low, _ in edges])
        self._highs = np.array([high for _, high in edges])
        self._whole = np.array([name in known and not known[name].may_miss for name in self._names])
        texts = [
            (at, field) for at, field in enumerate(signature.inputs) if field.datatype == BYTES and field.name in known
        ]
        self._texts = [at for at, _ in texts]
        strange = [(at, _ranks_not_in(field, known[field.name])) for at, field in texts]
        self._strange = [(at, ranks) for at, ranks in strange if len(ranks)]

    def __call__(self, rows: Floats) -> Sequence[Violation]:
        """The values of `rows` float64 [n, d] that are outside, row by row; `row` is that of the batch."""
        inside = (rows >= self._lows) & (rows <= self._highs)  # no NaN is
        if inside.all() and not self._strange:
            return ()
        outside = ~inside & ~np.isnan(rows)
        if self._whole.any():
            outside |= np.isnan(rows) & self._whole
        if self._texts:
            outside[:, self._texts] |= rows[:, self._texts].view(np.int64) == _UNSEEN_BITS
        for column, ranks in self._strange:
            outside[:, column] |= np.isin(rows[:, column], ranks)
        return [self._breach(rows, *place) for place in np.argwhere(outside).tolist()] if outside.any() else ()

    def _breach(self, rows: Floats, row: int, column: int) -> Violation:
        value, low, high = float(rows[row, column]), float(self._lows[column]), float(self._highs[column])
        missing = np.isnan(value) and rows[row, column].view(np.int64) != _UNSEEN_BITS
        if missing or column in self._texts:
            return Violation(row, self._names[column], "missing" if missing else "unseen", None, None, None)
        return Violation(row, self._names[column], "low" if value < low else "high", value, low, high)


def _ranks_not_in(field: Field, bounds: Bounds) -> Floats:
    """The ranks of the texts that the model knows and the contract does not."""
    strange = [rank for rank, text in enumerate(field.categories) if text not in bounds.categories]
    return np.array(strange, dtype=np.float64)


def _edges(field: Field, bounds: Bounds | None, margin: float) -> tuple[float, float]:
    """What is inside: the range that was seen and a margin; of texts, their ranks."""
    if bounds is None:
        return -np.inf, np.inf
    if field.datatype == BYTES:
        return 0.0, float(len(field.categories) - 1)
    lowest = -np.inf if bounds.lowest is None else bounds.lowest
    highest = np.inf if bounds.highest is None else bounds.highest
    beyond = margin * (highest - lowest) if margin else 0.0
    return lowest - beyond, highest + beyond
