"""A few rows of a pandas table as a model reads them, cell by cell: a column costs more than a row has time."""

from __future__ import annotations

from math import nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.core.variant import Field, Signature

Floats = NDArray[np.float64]

MOST_ROWS = 64


class FewRows:
    """Reads up to 64 rows; what is no plain number or known kind of text is left to whoever reads tables."""

    def __init__(self, signature: Signature) -> None:
        self._names = list(signature.names)
        self._ranks = [_ranks(field) for field in signature.inputs]
        self._other = [_other(field) for field in signature.inputs]
        self._columns: Any = None
        self._places: list[int] = []

    def read(self, rows: Any) -> Floats | None:
        """Rows float64 [n, d] of a pandas table; None where this is not the place to say what is wrong with it."""
        if len(rows) > MOST_ROWS or not self._finds(rows.columns):
            return None
        cells = rows.to_numpy(dtype=object).tolist()
        try:
            found = [[self._number(row[at], place) for place, at in enumerate(self._places)] for row in cells]
        except (KeyError, TypeError, ValueError):
            return None
        return np.array(found, dtype=np.float64).reshape(len(rows), len(self._names))

    def _finds(self, columns: Any) -> bool:
        """Whether every column is there, once; the same header is looked through once alone."""
        if columns is not self._columns:
            if not columns.is_unique:
                return False
            self._columns, self._places = columns, columns.get_indexer(self._names).tolist()
        return -1 not in self._places

    def _number(self, cell: Any, place: int) -> float:
        """A cell as a number; raises KeyError, TypeError or ValueError for one that takes more than a look."""
        ranks = self._ranks[place]
        if ranks is None:
            if isinstance(cell, str):
                raise TypeError(cell)
            return float(cell)
        if isinstance(cell, str):
            rank = ranks.get(cell)
            return self._unseen(place) if rank is None else rank
        if cell is None or cell != cell:
            return nan
        raise TypeError(cell)

    def _unseen(self, place: int) -> float:
        other = self._other[place]
        if other is None:
            raise KeyError(place)
        return other


def _ranks(field: Field) -> dict[str, float] | None:
    """The rank of each text of a column; None of a column of numbers."""
    if field.datatype != "BYTES":
        return None
    return {text: float(rank) for rank, text in enumerate(field.categories)}


def _other(field: Field) -> float | None:
    """What an unseen text is read as; None where it is refused."""
    return {"missing": nan, "other": float(len(field.categories)), "refused": None}[field.unseen]
