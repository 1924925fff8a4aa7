"""Tables and columns as users have them: polars, pandas, pyarrow, anything that speaks Arrow, numpy, scipy sparse."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from headway.core.errors import DataError
from headway.core.variant import Field, Signature

MAX_DENSE_BYTES = 4 << 30
_MEND = "give a polars, pandas or Arrow table, or a numpy array [n, d]"


def to_polars(rows: Any, names: Sequence[str] = (), *, absent: float = 0.0) -> pl.DataFrame:
    """Rows as a polars table; a matrix [n, d] has no names of its own and takes `names`, else x0, x1, ...

    `absent` is what a cell means that a sparse matrix leaves out: 0.0 or NaN. Raises DataError for what is no table.
    """
    if isinstance(rows, pl.LazyFrame):
        return rows.collect()
    if isinstance(rows, pl.DataFrame):
        return rows
    if hasattr(rows, "tocsr"):
        return _of_matrix(to_dense(rows, absent), names)
    if _is_pandas(rows):
        return pl.DataFrame([to_series(rows[name], str(name)) for name in rows.columns])
    if hasattr(rows, "__arrow_c_stream__") or isinstance(rows, dict):
        return pl.DataFrame(rows)
    return _of_matrix(rows, names)


def to_series(values: Any, name: str) -> pl.Series:
    """One column, [n], from a series, an array or a list; raises DataError where it is neither."""
    if isinstance(values, pl.Series):
        return values.alias(name)
    if hasattr(values, "__arrow_c_stream__") and not _is_pandas(values):
        return pl.Series(name, values)
    found = _of_pandas(values) if _is_pandas(values) else np.asarray(values)
    if found.ndim == 2 and found.shape[1] == 1:
        found = found[:, 0]
    if found.ndim != 1:
        raise DataError(f"'{name}' has shape {found.shape}, expected one value for each row", hint="an array [n]")
    return (
        pl.Series(name, [None if each is None else each for each in found])
        if found.dtype == object
        else (pl.Series(name, found))
    )


def to_dense(rows: Any, absent: float) -> NDArray[np.float64]:
    """A scipy sparse matrix as float64 [n, d] with `absent` where it holds nothing; a stored zero stays a zero.

    Raises DataError where that would take more than 4 GiB.
    """
    if 8 * rows.shape[0] * rows.shape[1] > MAX_DENSE_BYTES:
        raise DataError(
            f"a sparse matrix of {rows.shape[0]:,} x {rows.shape[1]:,} would take "
            f"{8 * rows.shape[0] * rows.shape[1] / 2**30:.1f} GiB as a table",
            hint="give some thousand of its rows",
        )
    entries = rows.tocoo()
    found = np.full(rows.shape, absent, dtype=np.float64)
    found[entries.row, entries.col] = entries.data
    return found


def _of_matrix(rows: Any, names: Sequence[str]) -> pl.DataFrame:
    try:
        matrix = np.asarray(rows, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"a {type(rows).__module__}.{type(rows).__name__} is no table: {error}", hint=_MEND) from error
    if matrix.ndim != 2:
        raise DataError(f"rows have shape {matrix.shape}, expected [n, d]", hint="X.reshape(1, -1) for a single row")
    known = list(names) if len(names) == matrix.shape[1] else [f"x{place}" for place in range(matrix.shape[1])]
    return pl.DataFrame(matrix, schema=known)


def is_pandas_table(rows: Any) -> bool:
    """Whether these are rows of pandas, whose library need not be installed to ask."""
    return _is_pandas(rows) and hasattr(rows, "columns")


def _is_pandas(values: Any) -> bool:
    return type(values).__module__.partition(".")[0] == "pandas"


def _of_pandas(values: Any) -> NDArray[Any]:
    """A pandas column as numpy, without pyarrow: texts and categories as objects with None, numbers with NaN."""
    dtype = values.dtype
    if isinstance(dtype, np.dtype) and dtype.kind != "O":
        return np.asarray(values)
    if getattr(dtype, "kind", "O") in "iufb" and hasattr(dtype, "na_value"):
        return np.asarray(values.to_numpy(dtype="float64", na_value=np.nan))
    objects = np.array(values.astype(object))
    objects[np.asarray(values.isna())] = None
    return objects


Floats = NDArray[np.float64]

MAX_ROWS = 64


class SmallTableReader:
    """Reads up to 64 rows; what is no plain number or known kind of text is left to whoever reads tables."""

    def __init__(self, signature: Signature) -> None:
        self._names = list(signature.names)
        self._ranks = [_ranks(field) for field in signature.inputs]
        self._other = [_other(field) for field in signature.inputs]
        self._columns: Any = None
        self._places: list[int] = []

    def read(self, rows: Any) -> Floats | None:
        """Rows float64 [n, d] of a pandas table; None where this is not the place to say what is wrong with it."""
        if len(rows) > MAX_ROWS or not self._finds(rows.columns):
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
