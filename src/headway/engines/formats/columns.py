"""A model behind a choice of columns: its inputs are some columns of a row, or constants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from headway.core.arrays import Floats
from headway.core.contracts import Engine, ImportedModel
from headway.core.errors import NotApplicable

CONSTANT = -1
"""Stands for the column of an input that has a constant value."""


class ColumnSelection:
    """Let a model answer rows of other columns than its own.

    Parameters
    ----------
    model : Engine
        The model.
    columns : sequence of int
        Column of a row for each input of the model, or `CONSTANT`.
    constants : sequence of float, optional
        Value of each input, which counts for those that are `CONSTANT`.
    """

    formats: ClassVar[tuple[str, ...]] = ()
    files: ClassVar[tuple[str, ...]] = ()

    def __init__(self, model: Engine, columns: Sequence[int], constants: Sequence[float] = ()) -> None:
        self.model = model
        self._columns = np.array(columns, dtype=np.int64)
        self._inputs = np.flatnonzero(self._columns != CONSTANT)
        self._constants = np.array(constants) if len(self._inputs) < len(self._columns) else None

    @classmethod
    def import_model(cls, model: object) -> ImportedModel:
        """Raise NotApplicable: it is built around a model that another engine imported."""
        raise NotApplicable(f"a {type(model).__name__} is not a model behind a choice of columns")

    def select(self, rows: Floats) -> Floats:
        """Return the rows of the model, float64 [n, inputs], for rows float64 [n, d]."""
        if self._constants is None:
            return rows.take(self._columns, axis=1)
        found = np.empty((len(rows), len(self._columns)))
        found[:] = self._constants
        found[:, self._inputs] = rows[:, self._columns[self._inputs]]
        return found

    def predict(self, rows: Floats) -> Floats:
        """Compute scores float64 [n, k] for rows float64 [n, d]; raise EngineError as the model does."""
        return self.model.predict(self.select(rows))


def column_indices(names: Sequence[str], among: Sequence[str]) -> list[int]:
    """Return the index of each name among others, or `CONSTANT` for one that is not there.

    >>> column_indices(["b", "x"], ["a", "b"])
    [1, -1]
    """
    index = {name: number for number, name in enumerate(among)}
    return [index.get(name, CONSTANT) for name in names]
