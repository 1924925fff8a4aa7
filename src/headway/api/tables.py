"""Conversion of tables and columns: polars, pandas, pyarrow and other Arrow producers, NumPy, SciPy sparse."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from math import nan
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from headway.core.arrays import Floats, sparse_to_dense
from headway.core.categories import unseen_code
from headway.core.errors import DataError
from headway.core.texts import text_codes
from headway.core.variant import Field, Signature
from headway.data.matrix import STRING_DTYPES

MAX_DENSE_BYTES = 4 << 30
MAX_ROWS = 64
TEXT_COLUMN = "text"
"""Name of the column of a sequence of texts."""
_TABLE_HINT = "pass a polars, pandas or Arrow table, or a numpy array [n, d]"


def to_polars(rows: Any, names: Sequence[str] = (), *, absent: float = 0.0) -> pl.DataFrame:
    """Convert rows to a polars table; raises DataError for what is not a table.

    Parameters
    ----------
    rows : array-like of shape (n, d)
    names : sequence of str
        Column names of a matrix that has none; x0, x1, ... if their number differs.
    absent : float
        Value of the cells that a sparse matrix does not store: 0.0 or NaN.
    """
    if isinstance(rows, pl.LazyFrame):
        return rows.collect()
    if isinstance(rows, pl.DataFrame):
        return rows
    if _are_texts(rows):
        return pl.DataFrame([to_series(rows, names[0] if len(names) == 1 else TEXT_COLUMN)])
    _expect_table(rows)
    if hasattr(rows, "tocsr"):
        return _of_matrix(to_dense(rows, absent), names)
    if _is_pandas(rows):
        return pl.DataFrame([to_series(rows[name], str(name)) for name in rows.columns])
    if hasattr(rows, "__arrow_c_stream__") or isinstance(rows, dict):
        return pl.DataFrame(rows)
    return _of_matrix(rows, names)


def with_named_categories(table: pl.DataFrame, rows: Any, n_categorical: int) -> pl.DataFrame:
    """Return the table of pandas rows with categories that are numbers as strings, if a model names its categories.

    `n_categorical` is the number of columns whose categories the model names.
    """
    is_string = [dtype in STRING_DTYPES for dtype in table.dtypes]
    if not _is_pandas(rows) or sum(is_string) >= n_categorical:
        return table
    categorical = {str(name) for name in rows.columns if hasattr(rows[name].dtype, "categories")}
    numbers = [name for name in table.columns if name in categorical and table.schema[name].is_numeric()]
    return table.with_columns(pl.col(numbers).cast(pl.String))


def _are_texts(rows: Any) -> bool:
    """Return True for a sequence of texts: a list, an array or a Series of strings."""
    if isinstance(rows, pl.Series):
        return rows.dtype == pl.String
    if _is_pandas(rows):
        return not hasattr(rows, "columns") and any(isinstance(value, str) for value in rows[:MAX_ROWS])
    if isinstance(rows, np.ndarray):
        return rows.ndim == 1 and (rows.dtype.kind == "U" or any(isinstance(value, str) for value in rows[:MAX_ROWS]))
    return isinstance(rows, list | tuple) and any(isinstance(value, str) for value in rows[:MAX_ROWS])


def _are_whole(labels: Any) -> bool:
    """Return True for whole numbers, which several labels a row may be; features are seldom all whole."""
    try:
        found = np.asarray(labels.toarray() if hasattr(labels, "tocsr") else labels, dtype=np.float64)
    except (TypeError, ValueError):
        return False
    return bool((found == np.trunc(found)).all())


def _expect_table(rows: Any) -> None:
    """Raise DataError for a single row or column as a Series."""
    if isinstance(rows, pl.Series) or (_is_pandas(rows) and not hasattr(rows, "columns")):
        raise DataError(
            f"a Series of {len(rows)} values is one row or one column, not a table",
            hint="keep the row a table: X[0:1] (polars)"
            if isinstance(rows, pl.Series)
            else "keep the row a table: X.iloc[[0]], or row.to_frame().T for one already taken out",
        )


def expect_rows_and_labels(rows: Any, labels: Any) -> None:
    """Raise DataError where labels were passed as rows and rows as labels."""
    shapes = [tuple(getattr(values, "shape", ())) for values in (rows, labels)]
    if (
        len(shapes[0]) == 1
        and len(shapes[1]) == 2
        and shapes[1][1] > 1
        and not (_are_texts(rows) and _are_whole(labels))
    ):
        raise DataError(
            f"X has shape {shapes[0]} and y has shape {shapes[1]}: they are swapped",
            hint="the order is headway.optimize(model, X, y): rows first, then their labels",
        )


def expect_width(rows: Any, names: Sequence[str], width: int) -> None:
    """Raise DataError where a matrix has another number of columns than the model reads; a table names its columns."""
    shape = () if hasattr(rows, "columns") else tuple(getattr(rows, "shape", ()))
    if len(shape) == 2 and width and shape[1] != width:
        raise DataError(
            f"rows have shape {shape}, the model reads [n, {width}]",
            where=f"columns: {', '.join(names)}" if names else "",
            hint="pass the columns that the model was trained on, in their order",
        )


def to_csr(rows: Any, names: Sequence[str], width: int) -> Any:
    """Convert a SciPy sparse matrix to CSR form; raise DataError for other shapes and types than the model reads."""
    if len(rows.shape) != 2:
        raise DataError(
            f"sparse rows have shape {rows.shape}, the model reads [n, {width}]",
            hint="X.reshape(1, -1) for a single row",
        )
    expect_width(rows, names, width)
    if rows.dtype.kind not in "fiub":
        raise DataError(f"a sparse matrix of {rows.dtype} holds no real numbers", hint="X = X.astype(float)")
    return rows.tocsr()


def library_of(rows: Any) -> str:
    """Return the library in which tables are returned to the caller: `pandas` if the rows came so, else `polars`."""
    return "pandas" if _is_pandas(rows) else "polars"


def make_frame(rows: Sequence[dict[str, object]], *, library: str) -> Any:
    """Return rows as a DataFrame of a library, without empty columns, in the order in which they first occur."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {
        name: [row.get(name) for row in rows] for name in names if any(row.get(name) is not None for row in rows)
    }
    if library == "pandas":
        return importlib.import_module("pandas").DataFrame(columns)
    return pl.DataFrame(columns, strict=False)


def to_pandas_column(column: pl.Series) -> Any:
    """Convert a column to one of pandas, without pyarrow: NaN, NaT, None or NA stand for a missing value."""
    pandas = importlib.import_module("pandas")
    dtype, values = column.dtype, column.to_list()
    if dtype.is_float():
        return column.to_numpy()
    if dtype == pl.Datetime:
        local = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        return pandas.DatetimeIndex(local.to_numpy()).tz_localize("UTC")
    if column.null_count() and (dtype.is_integer() or dtype == pl.Boolean):
        return pandas.array(values, dtype="boolean" if dtype == pl.Boolean else "Int64")
    return values


def to_series(values: Any, name: str) -> pl.Series:
    """Convert a series, an array or a list to one column [n]; raises DataError for any other shape."""
    if isinstance(values, pl.Series):
        return values.alias(name)
    if hasattr(values, "columns") and hasattr(values, "shape"):
        if len(values.columns) != 1:
            raise DataError(
                f"'{name}' is a table of {len(values.columns)} columns, expected one value for each row",
                hint=f"pass one column, such as table[{values.columns[0]!r}]",
            )
        return to_series(values[values.columns[0]], name)
    if hasattr(values, "__arrow_c_stream__") and not _is_pandas(values):
        return pl.Series(name, values)
    found = _of_pandas(values) if _is_pandas(values) else np.asarray(values)
    if found.ndim == 2 and found.shape[1] == 1:
        found = found[:, 0]
    if found.ndim != 1:
        raise DataError(
            f"'{name}' has shape {found.shape}, expected one value for each row",
            hint="pass an array of shape (n,); a model of several labels a row is fitted on an indicator matrix: "
            "OneVsRestClassifier(...).fit(X, Y)",
        )
    return pl.Series(name, found.tolist()) if found.dtype == object else (pl.Series(name, found))


def to_dense(rows: Any, absent: float) -> Floats:
    """Convert a SciPy sparse matrix to float64 [n, d] with `absent` in cells not stored; a stored zero stays a zero.

    Raises DataError for more than 4 GiB.
    """
    if 8 * rows.shape[0] * rows.shape[1] > MAX_DENSE_BYTES:
        raise DataError(
            f"a sparse matrix of {rows.shape[0]:,} x {rows.shape[1]:,} would take "
            f"{8 * rows.shape[0] * rows.shape[1] / 2**30:.1f} GiB as a table",
            hint="pass some thousand of its rows",
        )
    return sparse_to_dense(rows, absent)


def _of_matrix(rows: Any, names: Sequence[str]) -> pl.DataFrame:
    try:
        matrix = np.asarray(rows, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"a {type(rows).__module__}.{type(rows).__name__} is not a table: {error}", hint=_TABLE_HINT
        ) from error
    if matrix.ndim != 2:
        raise DataError(f"rows have shape {matrix.shape}, expected [n, d]", hint="X.reshape(1, -1) for a single row")
    known = list(names) if len(names) == matrix.shape[1] else [f"x{index}" for index in range(matrix.shape[1])]
    return pl.DataFrame(matrix, schema=known)


def is_pandas_table(rows: Any) -> bool:
    """Return whether rows are a pandas table, without importing pandas."""
    return _is_pandas(rows) and hasattr(rows, "columns")


def _is_pandas(values: Any) -> bool:
    return type(values).__module__.partition(".")[0] == "pandas"


def _of_pandas(values: Any) -> NDArray[Any]:
    """Convert a pandas column without pyarrow: strings and categories as objects with None, numbers with NaN."""
    dtype = values.dtype
    if isinstance(dtype, np.dtype) and dtype.kind != "O":
        return np.asarray(values)
    if getattr(dtype, "kind", "O") in "iufb" and hasattr(dtype, "na_value"):
        return np.asarray(values.to_numpy(dtype="float64", na_value=np.nan))
    objects = np.array(values.astype(object))
    objects[np.asarray(values.isna())] = None
    return objects


class SmallTableReader:
    """Fast reader of up to 64 rows of a pandas table, cell by cell.

    A conversion by column takes longer than the prediction of a few rows. Any cell that is not a plain number, or a
    string in a categorical column, is left to the general conversion.
    """

    def __init__(self, signature: Signature) -> None:
        self._names = list(signature.names)
        self._ranks = [_ranks(field) for field in signature.inputs]
        self._fields = signature.inputs
        self._columns: Any = None
        self._header: list[object] | None = None
        self._positions: list[int] = []
        self._is_ordered = False

    def cells(self, rows: Any) -> NDArray[Any] | None:
        """Return rows as objects [n, d]; None if the general conversion must read them, or say what is wrong."""
        if len(rows) > MAX_ROWS or not self._finds(rows.columns):
            return None
        cells: NDArray[Any] = rows.to_numpy(dtype=object)
        return cells if self._is_ordered else cells[:, self._positions]

    def read(self, rows: Any) -> Floats | None:
        """Return rows as float64 [n, d]; None as `cells`."""
        cells = self.cells(rows)
        if cells is None:
            return None
        try:
            found = [[self._number(cell, index) for index, cell in enumerate(row)] for row in cells.tolist()]
        except (KeyError, TypeError, ValueError):
            return None
        return np.array(found, dtype=np.float64).reshape(len(rows), len(self._names))

    def _finds(self, columns: Any) -> bool:
        """Return whether each column is there exactly once; the positions are cached for equal headers."""
        if columns is not self._columns:
            header = columns.tolist()
            if header != self._header:
                if not columns.is_unique:
                    return False
                self._header, self._positions = header, columns.get_indexer(self._names).tolist()
                self._is_ordered = self._positions == list(range(len(header)))
            self._columns = columns
        return -1 not in self._positions

    def _number(self, cell: Any, index: int) -> float:
        """Convert a cell; raises KeyError, TypeError or ValueError if the general conversion must read it."""
        ranks = self._ranks[index]
        if ranks is None:
            if isinstance(cell, str):
                raise TypeError(cell)
            return float(cell)
        if isinstance(cell, str):
            rank = ranks.get(cell) if ranks is not text_codes else text_codes[cell]
            return self._unseen(self._fields[index], cell) if rank is None else rank
        if cell is None or cell != cell:
            return nan
        raise TypeError(cell)

    @staticmethod
    def _unseen(field: Field, category: str) -> float:
        if field.unseen == "refused":
            raise KeyError(category)
        return unseen_code(field, category)


def _ranks(field: Field) -> Mapping[object, float] | None:
    """Rank of each category of a column, or number of each text; None for a numeric column."""
    if field.datatype != "BYTES":
        return None
    if field.is_text:
        return text_codes
    return {category: float(rank) for rank, category in enumerate(field.categories)}
