"""From a table to what a model reads: float64 rows, labels, group numbers and slice codes."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from headway.core.contracts import SliceColumn
from headway.core.dataset import Dataset
from headway.core.errors import DataError
from headway.core.variant import Field, Signature


def dataset_signature(dataset: Dataset) -> Signature:
    """The inputs of a model trained on this dataset: every column with no other role that was known in time.

    A text column's categories are its values here, sorted; a value unseen here is read as missing.
    """
    if not dataset.features:
        raise DataError("no column is left to train on", where=dataset.name, hint="[data] known")
    return Signature(
        inputs=tuple(_field(dataset.table[name]) for name in dataset.features), classes=dataset.roles.classes
    )


def matrix(table: pl.DataFrame, signature: Signature) -> NDArray[np.float64]:
    """Rows float64 [n, d], C order, in the order of the signature: null as NaN, text as its rank among the categories.

    A text that is unseen is read as its field says. Raises DataError where a column is absent or of another type, and
    where an unseen text is to be refused.
    """
    missing = [name for name in signature.names if name not in table.columns]
    if missing:
        raise DataError(f"the table lacks {', '.join(missing)}", where=f"columns: {', '.join(table.columns)}")
    columns = [_numbers(table[field.name], field) for field in signature.inputs]
    return np.ascontiguousarray(np.column_stack(columns), dtype=np.float64)


def unseen_rows(table: pl.DataFrame, signature: Signature) -> NDArray[np.bool_]:
    """Which rows hold a text that is none of the categories of its field, bool [n]."""
    found = np.zeros(len(table), dtype=np.bool_)
    for field in signature.inputs:
        if field.datatype == "BYTES":
            texts = table[field.name].cast(pl.String)
            found |= (texts.is_not_null() & ~texts.is_in(field.categories)).to_numpy()
    return found


def target_values(dataset: Dataset) -> NDArray[np.float64]:
    """The target, float64 [n]; raises DataError where a row has none, or a binary target is not 0 and 1."""
    target = dataset.table[dataset.roles.target]
    if target.null_count():
        raise DataError(
            f"{target.null_count()} rows have no '{target.name}'", where=dataset.name, hint="labelled rows only"
        )
    values = target.cast(pl.Float64).to_numpy()
    if dataset.roles.task == "binary":
        _expect_two_classes(values, target.name)
    return values


def sample_weights(dataset: Dataset) -> NDArray[np.float64] | None:
    """How much each row counts, float64 [n] > 0; None where no weight is declared.

    Raises DataError for a weight that is missing, endless or not above 0.
    """
    if not dataset.roles.sample_weight:
        return None
    values = dataset.table[dataset.roles.sample_weight].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    wrong = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
    if len(wrong):
        raise DataError(
            f"{len(wrong):,} weights are not above 0: row {wrong[0]} has {values[wrong[0]]}",
            where=f"{dataset.name}, column '{dataset.roles.sample_weight}'",
            hint="leave out rows that do not count",
        )
    return values


def group_codes(dataset: Dataset) -> NDArray[np.int64]:
    """The number of each row's group, int64 [n] in 0..G-1 in order of value; without `group_codes` each row is its own."""
    if not dataset.roles.groups:
        return np.arange(len(dataset.table), dtype=np.int64)
    return dataset.table[dataset.roles.groups].rank("dense").cast(pl.Int64).to_numpy() - 1


def query_codes(dataset: Dataset) -> NDArray[np.int64] | None:
    """The number of each row's list, int64 [n]; None where no lists are declared."""
    if not dataset.roles.query_id:
        return None
    return dataset.table[dataset.roles.query_id].rank("dense").cast(pl.Int64).to_numpy() - 1


def slice_columns(dataset: Dataset) -> dict[str, SliceColumn]:
    """Each declared slice column as codes into its values."""
    return {name: _slice(dataset.table[name]) for name in dataset.roles.slices}


def sensitive_columns(dataset: Dataset) -> dict[str, SliceColumn]:
    """Each declared column of people as codes into its values."""
    return {name: _slice(dataset.table[name]) for name in dataset.roles.sensitive_features}


def month_column(dataset: Dataset) -> SliceColumn | None:
    """The calendar month of each row, as codes in order of time; None where rows have no time."""
    if not dataset.roles.time:
        return None
    named = dataset.table[dataset.roles.time].cast(pl.Datetime).dt.strftime("%Y-%m")
    return _slice(named)


def _field(column: pl.Series) -> Field:
    if column.dtype.is_numeric() or column.dtype == pl.Boolean:
        return Field(name=column.name)
    if column.dtype in (pl.String, pl.Categorical, pl.Enum):
        return Field(
            name=column.name, datatype="BYTES", categories=tuple(column.drop_nulls().cast(pl.String).unique().sort())
        )
    raise DataError(
        f"column '{column.name}' is {column.dtype}: neither number nor text",
        hint="turn it into a number, or list it under [data] ignore",
    )


def _numbers(column: pl.Series, field: Field) -> NDArray[np.float64]:
    if field.datatype != "BYTES":
        return column.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    texts = column.cast(pl.String)
    ranks = texts.cast(pl.Enum(field.categories), strict=False).to_physical().cast(pl.Float64)
    strange = ranks.is_null() & texts.is_not_null()
    if field.unseen == "refused" and strange.any():
        raise DataError(
            f"column '{field.name}' holds {texts.filter(strange)[0]!r}, a text that the model does not know",
            hint=f"one of its {len(field.categories)} texts, or null where it is missing",
        )
    if field.unseen == "other":
        ranks = ranks.set(strange, float(len(field.categories)))
    return ranks.fill_null(float("nan")).to_numpy()


def _slice(column: pl.Series) -> SliceColumn:
    texts = column.cast(pl.String).fill_null("missing")
    values = tuple(texts.unique().sort())
    codes = texts.cast(pl.Enum(values)).to_physical().cast(pl.Int64).to_numpy()
    return SliceColumn(codes=codes, values=values)


def _expect_two_classes(values: NDArray[np.float64], name: str) -> None:
    found = np.unique(values)
    if not set(found.tolist()) <= {0.0, 1.0}:
        raise DataError(f"target '{name}' has values {found[:5].tolist()}, expected 0 and 1", hint="positive = 1")
    if len(found) < 2:
        raise DataError(f"target '{name}' has one class only: {found.tolist()}", hint="take a longer period")
