"""Validate the rows of a batch against the contract of a release: ranges, missing values, unseen categories."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from headway.core.release import Bounds, Contract
from headway.core.variant import Field, Signature
from headway.serving.protocol.tensors import BYTES, UNSEEN_CATEGORY

within: Callable[[Floats, Floats, Floats], bool] | None = None
with suppress(ImportError):  # the extension was not built
    from headway.serving.protocol._numbers import within  # type: ignore[import-not-found, no-redef, unused-ignore]

if TYPE_CHECKING:
    from headway.core.contracts import Floats, Ints

_UNSEEN_BITS = np.float64(UNSEEN_CATEGORY).view(np.int64)
_KINDS = ("low", "high", "missing", "unseen")
_LOW, _HIGH, _MISSING, _UNSEEN = range(len(_KINDS))
_NONE: Ints = np.empty((0, 2), dtype=np.int64)


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
    """Validates a batch in C or with a few vectorized operations; it inspects single values only if one is invalid."""

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

    def find(self, rows: Floats) -> Ints:
        """Return row and column of each value of `rows` float64 [n, d] that violates the contract, int64 [m, 2]."""
        if within and not self._unseen and within(rows, self._lows, self._highs):
            return _NONE
        inside = (rows >= self._lows) & (rows <= self._highs)  # False for NaN
        if inside.all() and not self._unseen:
            return _NONE
        outside = ~inside & ~np.isnan(rows)
        if self._required.any():
            outside |= np.isnan(rows) & self._required
        if self._categorical:
            outside[:, self._categorical] |= rows[:, self._categorical].view(np.int64) == _UNSEEN_BITS
        for column, codes in self._unseen:
            outside[:, column] |= np.isin(rows[:, column], codes)
        return np.argwhere(outside)

    def describe(self, rows: Floats, cells: Ints) -> list[Violation]:
        """Return the violations at these cells, as `find` returns them."""
        found = zip(cells.tolist(), self._kinds(rows, cells).tolist(), strict=True)
        return [self._violation(rows, row, column, _KINDS[kind]) for (row, column), kind in found]

    def count(self, rows: Floats, cells: Ints, groups: Ints) -> Iterator[tuple[int, str, str, int]]:
        """Yield group, column, kind and number of the violations at these cells; `groups` are int64 [m]."""
        width, kinds = len(self._names), len(_KINDS)
        keys = (groups * width + cells[:, 1]) * kinds + self._kinds(rows, cells)
        for key, n in zip(*(array.tolist() for array in np.unique(keys, return_counts=True)), strict=True):
            cell, kind = divmod(key, kinds)
            group, column = divmod(cell, width)
            yield group, self._names[column], _KINDS[kind], n

    def _kinds(self, rows: Floats, cells: Ints) -> Ints:
        columns = cells[:, 1]
        values = rows[cells[:, 0], columns]
        missing = np.isnan(values) & (values.view(np.int64) != _UNSEEN_BITS)
        numbers = np.where(values < self._lows[columns], _LOW, _HIGH)
        return np.where(missing, _MISSING, np.where(np.isin(columns, self._categorical), _UNSEEN, numbers))

    def _violation(self, rows: Floats, row: int, column: int, kind: str) -> Violation:
        name = self._names[column]
        if kind not in ("low", "high"):
            return Violation(row, name, kind, None, None, None)
        return Violation(
            row, name, kind, float(rows[row, column]), float(self._lows[column]), float(self._highs[column])
        )


def _codes_outside_contract(field: Field, bounds: Bounds) -> Floats:
    """Return the codes of the categories that the model knows and the contract does not."""
    unseen = [code for code, category in enumerate(field.categories) if category not in bounds.categories]
    return np.array(unseen, dtype=np.float64)


def _allowed_range(field: Field, bounds: Bounds | None, margin: float) -> tuple[float, float]:
    """Return the range seen in training, widened by the margin; for categories, the range of their codes."""
    if bounds is None or field.is_text:
        return -np.inf, np.inf
    if field.datatype == BYTES:
        return 0.0, float(len(field.categories) - 1)
    lowest = -np.inf if bounds.lowest is None else bounds.lowest
    highest = np.inf if bounds.highest is None else bounds.highest
    beyond = margin * (highest - lowest) if margin else 0.0
    return lowest - beyond, highest + beyond
