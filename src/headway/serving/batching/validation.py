"""Validate the rows of a batch against the contract of a release: ranges, missing values, unseen categories."""

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
    """A value that violates the contract: its row and column, and its kind: `low`, `high`, `missing` or `unseen`."""

    row: int
    column: str
    kind: str
    value: float | None
    lowest: float | None
    highest: float | None

    def __str__(self) -> str:
        if self.kind == "missing":
            return f"row {self.row}: column '{self.column}' is missing; it never was in training"
        if self.kind == "unseen":
            return f"row {self.row}: column '{self.column}' holds a category that training never saw"
        return f"row {self.row}: column '{self.column}' is {self.value:g}, outside {self.lowest:g} to {self.highest:g}"


class InputValidator:
    """Validates a batch with a few vectorized operations; it inspects single values only if one is invalid."""

    def __init__(self, contract: Contract, signature: Signature) -> None:
        known = {bounds.name: bounds for bounds in contract.columns}
        ranges = [_allowed_range(field, known.get(field.name), contract.margin) for field in signature.inputs]
        self._names = signature.names
        self._lows = np.array([low for low, _ in ranges])
        self._highs = np.array([high for _, high in ranges])
        self._required = np.array([name in known and not known[name].may_miss for name in self._names])
        categorical = [
            (index, field)
            for index, field in enumerate(signature.inputs)
            if field.datatype == BYTES and field.name in known
        ]
        self._categorical = [index for index, _ in categorical]
        unseen = [(index, _codes_outside_contract(field, known[field.name])) for index, field in categorical]
        self._unseen = [(index, codes) for index, codes in unseen if len(codes)]

    def __call__(self, rows: Floats) -> Sequence[Violation]:
        """Return the violations in `rows` float64 [n, d], row by row."""
        inside = (rows >= self._lows) & (rows <= self._highs)  # False for NaN
        if inside.all() and not self._unseen:
            return ()
        outside = ~inside & ~np.isnan(rows)
        if self._required.any():
            outside |= np.isnan(rows) & self._required
        if self._categorical:
            outside[:, self._categorical] |= rows[:, self._categorical].view(np.int64) == _UNSEEN_BITS
        for column, codes in self._unseen:
            outside[:, column] |= np.isin(rows[:, column], codes)
        if not outside.any():
            return ()
        return [self._violation(rows, row, column) for row, column in np.argwhere(outside).tolist()]

    def _violation(self, rows: Floats, row: int, column: int) -> Violation:
        value, low, high = float(rows[row, column]), float(self._lows[column]), float(self._highs[column])
        missing = np.isnan(value) and rows[row, column].view(np.int64) != _UNSEEN_BITS
        if missing or column in self._categorical:
            return Violation(row, self._names[column], "missing" if missing else "unseen", None, None, None)
        return Violation(row, self._names[column], "low" if value < low else "high", value, low, high)


def _codes_outside_contract(field: Field, bounds: Bounds) -> Floats:
    """Return the codes of the categories that the model knows and the contract does not."""
    unseen = [code for code, category in enumerate(field.categories) if category not in bounds.categories]
    return np.array(unseen, dtype=np.float64)


def _allowed_range(field: Field, bounds: Bounds | None, margin: float) -> tuple[float, float]:
    """Return the range seen in training, widened by the margin; for categories, the range of their codes."""
    if bounds is None:
        return -np.inf, np.inf
    if field.datatype == BYTES:
        return 0.0, float(len(field.categories) - 1)
    lowest = -np.inf if bounds.lowest is None else bounds.lowest
    highest = np.inf if bounds.highest is None else bounds.highest
    beyond = margin * (highest - lowest) if margin else 0.0
    return lowest - beyond, highest + beyond
