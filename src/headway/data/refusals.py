"""Values that a model refuses: found when it is imported, and checked wherever rows come in.

A library raises for a missing or infinite value that its model cannot read. A form of the model that headway makes may
return a number for it, so the refusal is part of the signature and holds for every form.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from msgspec.structs import replace

from headway.core.arrays import Bools, Floats, Ints, sparse_to_dense
from headway.core.contracts import Engine
from headway.core.errors import EngineError, RowRefused
from headway.core.variant import Refusal, Signature

_PROBES: dict[Refusal, float] = {"missing": np.nan, "infinite": np.inf, "beyond float32": 1e39}
_NUMBERS_ONLY = ("infinite", "beyond float32")
_MAX_FLOAT32 = 2.0**128 - 2.0**103
_SAFE_SUM = 1e76
"""Rows with a smaller sum of squares hold only finite values within float32."""
_CANDIDATES, _ALIKE = 64, 256
_CHUNK_CELLS = 1 << 20


def with_refusals(engine: Engine, rows: Floats, signature: Signature) -> Signature:
    """Return the signature with what each column refuses, by asking the engine about altered copies of a row.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        Rows to choose from: the first that the engine answers is altered. Without one nothing is found.
    """
    row = next((row for row in rows[:_CANDIDATES] if _answers(engine, row)), None)
    if row is None:
        return signature
    found: list[tuple[Refusal, ...]] = [()] * len(signature.inputs)
    for kind, value in _PROBES.items():
        columns = [
            index
            for index, field in enumerate(signature.inputs)
            if field.datatype != "BYTES" or kind not in _NUMBERS_ONLY
        ]
        for index in _refused_columns(engine, row, columns, value):
            found[index] = (*found[index], kind)
    inputs = zip(signature.inputs, found, strict=True)
    return replace(signature, inputs=tuple(replace(field, refuses=kinds) for field, kinds in inputs))


def _refused_columns(engine: Engine, row: Floats, columns: Sequence[int], value: float) -> list[int]:
    """Return the columns in which the engine refuses a value, by bisection; of many columns a sample speaks for all."""
    if not columns or _answers(engine, _altered(row, columns, value)):
        return []
    if len(columns) == 1:
        return list(columns)
    if len(columns) > _ALIKE:
        sample = columns[:: len(columns) // _CANDIDATES]
        if not any(_answers(engine, _altered(row, [column], value)) for column in sample):
            return list(columns)
    half = len(columns) // 2
    return [
        column for part in (columns[:half], columns[half:]) for column in _refused_columns(engine, row, part, value)
    ]


def _altered(row: Floats, columns: Sequence[int], value: float) -> Floats:
    found = row.copy()
    found[list(columns)] = value
    return found


def _answers(engine: Engine, row: Floats) -> bool:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            engine.predict(np.ascontiguousarray(row[None, :]))
        except (EngineError, ValueError):
            return False
    return True


class RefusalCheck:
    """Check of rows for values that the model's library refuses; one dot product if there are none."""

    def __init__(self, signature: Signature) -> None:
        self._names = signature.names
        self._columns: dict[Refusal, Ints] = {
            kind: np.array([index for index, field in enumerate(signature.inputs) if kind in field.refuses], np.int64)
            for kind in _PROBES
        }
        self.is_needed = any(len(columns) for columns in self._columns.values())

    def __call__(self, rows: Floats, *, first: int = 0) -> None:
        """Raise RowRefused, which names the first row and its column, if the model refuses a value of rows (n, d).

        `first` is the number of the first row.
        """
        if not self.is_needed or _are_safe(rows):
            return
        refused = self.refused_rows(rows)
        if refused.any():
            index = int(np.argmax(refused))
            raise RowRefused(
                self.reason(rows[index]), where=f"row {first + index}", hint="impute such values, or drop the row"
            )

    def check_sparse(self, rows: Any, absent: float) -> None:
        """Do the same for a SciPy matrix in CSR form; rows are made dense, some at a time, only to find the value."""
        if not self.is_needed or (not np.isnan(absent) and _are_safe(rows.data.astype(np.float64, copy=False))):
            return
        at_once = max(_CHUNK_CELLS // rows.shape[1], 1)
        for start in range(0, rows.shape[0], at_once):
            self(sparse_to_dense(rows[start : start + at_once], absent), first=start)

    def refused_rows(self, rows: Floats) -> Bools:
        """Return a mask (n,) of the rows (n, d) that the model refuses."""
        found = np.zeros(len(rows), dtype=np.bool_)
        if self.is_needed and not _are_safe(rows):
            for kind, columns in self._columns.items():
                if len(columns):
                    found |= _holds(kind, rows[:, columns]).any(axis=1)
        return found

    def reason(self, row: Floats) -> str:
        """Return which value of a refused row (d,) the model refuses."""
        for kind, columns in self._columns.items():
            wrong = columns[_holds(kind, row[columns])]
            if len(wrong):
                value = "missing (NaN)" if kind == "missing" else f"{row[wrong[0]]:g}, which is {kind}"
                return f"column '{self._names[wrong[0]]}' is {value}: the model was fitted to refuse that"
        return "the model refuses this row"


def _are_safe(rows: Floats) -> bool:
    """Return whether all values are finite and within float32; a large one may be safe and is looked at again."""
    values = rows.ravel(order="K")
    with np.errstate(over="ignore"):
        return bool(values.dot(values) < _SAFE_SUM)


def _holds(kind: Refusal, values: Floats) -> Bools:
    """Return where values (...) are of the kind that is refused."""
    if kind == "missing":
        return np.isnan(values)
    if kind == "infinite":
        return np.isinf(values)
    return np.isfinite(values) & (np.abs(values) >= _MAX_FLOAT32)
