"""Encode a table for models: float64 rows, targets, weights, group codes and slice codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl
from msgspec.structs import replace

from headway.core.arrays import Bools, Floats, Ints
from headway.core.categories import unseen_code
from headway.core.contracts import SliceColumn
from headway.core.dataset import Dataset
from headway.core.errors import DataError
from headway.core.texts import text_codes
from headway.core.variant import MULTILABEL, Field, Signature
from headway.data.label_sets import indicator_matrix
from headway.data.languages import slice_values

STRING_DTYPES = (pl.String, pl.Categorical, pl.Enum)


def is_number_or_string(dtype: pl.DataType) -> bool:
    """Return True for numbers, booleans and strings."""
    return dtype.is_numeric() or dtype == pl.Boolean or dtype in STRING_DTYPES


def dataset_signature(dataset: Dataset) -> Signature:
    """Return the inputs of a model trained on this dataset: its features, in column order.

    The categories of a string column are its sorted values; a string unseen here is encoded as missing. Columns that
    the roles declare as texts are texts.

    Raises
    ------
    DataError
        If no feature is left, or one is neither a number nor a string.
    """
    if not dataset.features:
        raise DataError("no column is left to train on", where=dataset.name, hint="[data] known")
    return Signature(
        inputs=tuple(
            Field(name=name, datatype="BYTES", is_text=True)
            if name in dataset.roles.text
            else _field(dataset.table[name])
            for name in dataset.features
        ),
        classes=dataset.roles.classes,
    )


def matrix(table: pl.DataFrame, signature: Signature, *, keep_texts: bool = True) -> Floats:
    """Encode a table in the order of a signature.

    Parameters
    ----------
    table : DataFrame
        Rows with the columns of the signature.
    signature : Signature
        What a model reads.
    keep_texts : bool
        Whether the rows may be used for as long as the process runs; without it texts may be forgotten later.

    Returns
    -------
    ndarray of shape (n, d), float64, C order
        Null is NaN; a string is its index in the categories of its field, or its number in `core.texts.text_codes`.
        Unseen strings are encoded as the field says.

    Raises
    ------
    DataError
        If a column is missing or has another type, or an unseen string must be refused.
    """
    if not signature.inputs:
        return np.empty((len(table), 0))
    return _numbers(table, signature, keep_texts=keep_texts).to_numpy(order="c", writable=True)


def encode_columns(table: pl.DataFrame, signature: Signature) -> list[list[Floats]]:
    """Encode a table as `matrix` does without `keep_texts`: float64 arrays per column, one after the other.

    An array may share its memory with the table, and is then read-only.
    """
    numbers = _numbers(table, signature, keep_texts=False).get_columns()
    return [[chunk.to_numpy() for chunk in column.get_chunks()] for column in numbers]


def _numbers(table: pl.DataFrame, signature: Signature, *, keep_texts: bool) -> pl.DataFrame:
    """Return the columns of a signature as float64 without nulls."""
    known = set(table.columns)
    missing = [name for name in signature.names if name not in known]
    if missing:
        raise DataError(f"the table lacks {', '.join(missing)}", where=f"columns: {', '.join(table.columns)}")
    strings = {
        field.name: _text_numbers(table[field.name], keep=keep_texts)
        if field.is_text
        else _ranks(table[field.name], field)
        for field in signature.inputs
        if field.datatype == "BYTES"
    }
    names = [name for name in signature.names if name not in strings]
    numbers = _as_numbers(table[names]) if names else pl.DataFrame()  # an empty list would select rows
    columns = pl.DataFrame(numbers.to_dict() | strings)[list(signature.names)] if strings else numbers
    has_nulls = any(column.null_count() for column in columns.get_columns())
    return columns.fill_null(float("nan")) if has_nulls else columns


def _as_numbers(table: pl.DataFrame) -> pl.DataFrame:
    """Return columns as float64; raises DataError that names a column with another value."""
    try:
        return table.cast(pl.Float64)
    except pl.exceptions.PolarsError as error:
        for column in table.select(pl.col(pl.String)).get_columns():
            other = column.filter(column.is_not_null() & column.cast(pl.Float64, strict=False).is_null())
            if len(other):
                raise DataError(f"column '{column.name}' holds {other[0]!r}, expected a number") from error
        names = ", ".join(f"{name} ({dtype})" for name, dtype in table.schema.items() if not dtype.is_numeric())
        raise DataError("a column holds no numbers", where=names) from error


def training_frame(table: pl.DataFrame, signature: Signature) -> pl.DataFrame:
    """Return the rows that a training function gets: columns of float64, with categories as ranks.

    If a column is a text, all columns of strings hold the strings themselves.
    """
    if not signature.texts:
        return pl.DataFrame(matrix(table, signature), schema=list(signature.names))
    numbers = [field for field in signature.inputs if field.datatype != "BYTES"]
    frame = pl.DataFrame(matrix(table, replace(signature, inputs=tuple(numbers))), schema=[f.name for f in numbers])
    strings = [table[field.name].cast(pl.String) for field in signature.inputs if field.datatype == "BYTES"]
    return frame.hstack(strings).select(signature.names) if numbers else pl.DataFrame(strings).select(signature.names)


def unseen_rows(table: pl.DataFrame, signature: Signature) -> Bools:
    """Return a mask, shape (n,), of the rows with a string that is not among the categories of its field."""
    found = np.zeros(len(table), dtype=np.bool_)
    for field in signature.inputs:
        if field.datatype == "BYTES" and not field.is_text:
            texts = table[field.name].cast(pl.String)
            found |= (texts.is_not_null() & ~texts.is_in(field.categories)).to_numpy()
    return found


def target_values(dataset: Dataset) -> Floats:
    """Return the target, float64 of shape (n,); of several labels a row, the indicator matrix (n, k).

    Raises
    ------
    DataError
        If a row has no target, or a binary target is not 0 and 1.
    """
    target = dataset.table[dataset.roles.target]
    if target.null_count():
        raise DataError(
            f"{target.null_count()} rows have no '{target.name}'", where=dataset.name, hint="labeled rows only"
        )
    if dataset.roles.task == MULTILABEL:
        return indicator_matrix(target, dataset.roles.classes)
    values = target.cast(pl.Float64).to_numpy()
    if dataset.roles.task == "binary":
        _expect_two_classes(values, target.name)
    return values


def sample_weights(dataset: Dataset) -> Floats | None:
    """Return the sample weights, float64 of shape (n,), or None if none are declared.

    Raises
    ------
    DataError
        If a weight is missing, infinite or not positive.
    """
    if not dataset.roles.sample_weight:
        return None
    values = dataset.table[dataset.roles.sample_weight].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    wrong = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
    if len(wrong):
        raise DataError(
            f"{len(wrong):,} weights are not above 0: row {wrong[0]} has {values[wrong[0]]}",
            where=f"{dataset.name}, column '{dataset.roles.sample_weight}'",
            hint="remove rows that do not count",
        )
    return values


def group_codes(dataset: Dataset) -> Ints:
    """Return group codes from 0 in order of value, int64 of shape (n,); without groups each row is its own."""
    if not dataset.roles.groups:
        return np.arange(len(dataset.table), dtype=np.int64)
    return dataset.table[dataset.roles.groups].rank("dense").cast(pl.Int64).to_numpy() - 1


def query_codes(dataset: Dataset) -> Ints | None:
    """Return the code of each row's query, int64 of shape (n,), or None for tasks without queries."""
    if not dataset.roles.query_id:
        return None
    return dataset.table[dataset.roles.query_id].rank("dense").cast(pl.Int64).to_numpy() - 1


def slice_columns(dataset: Dataset) -> dict[str, SliceColumn]:
    """Encode each declared slice column."""
    return {name: encode_slice(slice_values(dataset.table, dataset.roles, name)) for name in dataset.roles.slices}


def sensitive_columns(dataset: Dataset) -> dict[str, SliceColumn]:
    """Encode each declared sensitive feature."""
    return {name: encode_slice(dataset.table[name]) for name in dataset.roles.sensitive_features}


def month_column(dataset: Dataset) -> SliceColumn | None:
    """Return the calendar month of each row, with codes in time order; None if rows have no time."""
    if not dataset.roles.time:
        return None
    named = dataset.table[dataset.roles.time].cast(pl.Datetime).dt.strftime("%Y-%m")
    return encode_slice(named)


def encode_slice(column: pl.Series) -> SliceColumn:
    """Encode the values of a column as texts; a null is `missing`."""
    texts = column.cast(pl.String).fill_null("missing")
    values = tuple(texts.unique().sort())
    codes = texts.cast(pl.Enum(values)).to_physical().cast(pl.Int64).to_numpy()
    return SliceColumn(codes=codes, values=values)


def _field(column: pl.Series) -> Field:
    if column.dtype.is_numeric() or column.dtype == pl.Boolean:
        return Field(name=column.name)
    if column.dtype in STRING_DTYPES:
        return Field(
            name=column.name, datatype="BYTES", categories=tuple(column.drop_nulls().cast(pl.String).unique().sort())
        )
    raise DataError(
        f"column '{column.name}' is {column.dtype}: neither number nor text",
        hint="turn it into a number, or list it under [data] ignore",
    )


def _ranks(column: pl.Series, field: Field) -> pl.Series:
    texts = column.cast(pl.String)
    ranks = texts.cast(pl.Enum(field.categories), strict=False).to_physical().cast(pl.Float64)
    unknown = ranks.is_null() & texts.is_not_null()
    if field.unseen == "refused" and unknown.any():
        raise DataError(
            f"column '{field.name}' holds {texts.filter(unknown)[0]!r}, a category that the model does not know",
            hint=f"one of its {len(field.categories)} categories, or null for a missing value",
        )
    if field.ranks_unseen and unknown.any():
        codes = {text: unseen_code(field, text) for text in texts.filter(unknown).unique()}
        ranks = pl.select(
            pl.when(unknown).then(texts.replace_strict(codes, default=None, return_dtype=pl.Float64)).otherwise(ranks)
        ).to_series()
    return ranks


def _text_numbers(column: pl.Series, *, keep: bool) -> pl.Series:
    if column.dtype not in STRING_DTYPES and column.dtype != pl.Null:
        raise DataError(
            f"column '{column.name}' is {column.dtype}, and the model reads texts in it", hint="pass it as strings"
        )
    texts = column.cast(pl.String).to_list()
    try:
        found = text_codes.keep(texts) if keep else [text_codes[text] for text in texts]
    except DataError as error:
        raise DataError(error.what, where=f"column '{column.name}'", hint=error.hint) from error
    return pl.Series(np.array(found, dtype=np.float64))


def _expect_two_classes(values: Floats, name: str) -> None:
    found = np.unique(values)
    if not set(found.tolist()) <= {0.0, 1.0}:
        raise DataError(f"target '{name}' has values {found[:5].tolist()}, expected 0 and 1", hint="positive = 1")
    if len(found) < 2:
        raise DataError(
            f"target '{name}' has one class only: {found.tolist()}",
            hint="use rows of both classes: more rows, or a longer period",
        )


N_RANGES = 8
MAX_CODES = 24


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CodedColumn:
    """A column as a few codes, int64 of shape (n,), with the name of each code."""

    name: str
    codes: Ints
    names: tuple[str, ...]


def code_columns(table: pl.DataFrame, names: Sequence[str]) -> list[CodedColumn]:
    """Encode columns with few values by value, and other numbers by quantile; rare values share a code."""
    found = [_code_column(table[name]) for name in names if is_number_or_string(table.schema[name])]
    return [column for column in found if len(column.names) > 1]


def _code_column(column: pl.Series) -> CodedColumn:
    name = column.name
    few = column.n_unique() <= MAX_CODES
    if column.dtype.is_numeric() and not few:
        return _code_ranges(column.cast(pl.Float64))
    texts = column.cast(pl.String).fill_null("missing")
    frequent = texts.value_counts(sort=True)[name].head(MAX_CODES)
    values = [*sorted(frequent.to_list()), *([] if few else ["another"])]
    codes_of = {value: code for code, value in enumerate(values)}
    codes = texts.replace_strict(codes_of, default=len(values) - 1, return_dtype=pl.Int64).to_numpy()
    return CodedColumn(name=name, codes=codes, names=tuple(f"{name}={value}" for value in values))


def _code_ranges(column: pl.Series) -> CodedColumn:
    values = column.fill_null(float("nan")).to_numpy()
    edges = np.unique(np.nanquantile(values, np.linspace(0, 1, N_RANGES + 1)))
    codes = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    codes = np.where(np.isnan(values), len(edges) - 1, codes).astype(np.int64)
    spans = [f"{column.name} {low:g} to {high:g}" for low, high in pairwise(edges)]
    return CodedColumn(name=column.name, codes=codes, names=(*spans, f"{column.name} missing"))
