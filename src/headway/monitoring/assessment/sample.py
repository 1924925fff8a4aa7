"""A sample of the values of each column by group, with which later data are compared once the assessed data are gone.

No row can be recovered from it: each column is sorted independently within its group. The shares by group are those of
the drawn rows, but which values occurred together is lost. Rare categories are masked.
"""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import datetime

import polars as pl

from headway.core.dataset import Dataset
from headway.data.matrix import group_codes as group_numbers
from headway.monitoring.scored_rows import time_expression

MAX_ROWS = 16_384
MAX_CATEGORIES = 50
MIN_CATEGORY_ROWS = 10
"""Rows that a text needs to be kept as it is."""

GROUP = "__group"
RARE = "(rare)"


def draw_sample(dataset: Dataset, *, like: pl.DataFrame | None = None) -> pl.DataFrame:
    """Draw the features and the target of some rows of every group, with the column GROUP.

    Numbers become float64, categories stay strings. `like` is an earlier sample: its categories are kept and all others are
    masked, so that a category is not rare in only one of two samples because that one is smaller.
    """
    names = dict.fromkeys([*dataset.features, dataset.roles.target])
    texts = {} if like is None else {column.name: column for column in like if column.dtype == pl.String}
    columns = [column for name in names if (column := _column(dataset.table[name], texts.get(name))) is not None]
    table = pl.DataFrame([*columns, sample_groups(dataset)])
    rows_per_group = max(1, MAX_ROWS // max(1, table[GROUP].n_unique()))
    drawn = table.filter(pl.int_range(pl.len()).shuffle(seed=0).over(GROUP) < rows_per_group)
    if len(drawn) > MAX_ROWS:
        drawn = drawn.sample(MAX_ROWS, seed=0)
    return drawn.sort(GROUP).with_columns(pl.col(column.name).sort().over(GROUP) for column in columns)


def sample_groups(dataset: Dataset) -> pl.Series:
    """Return the group of each row as a number: the day if rows have a time, else that of the declared group."""
    if dataset.roles.time:
        days = time_expression(dataset).dt.date().cast(pl.Int32).cast(pl.Int64)
        return dataset.table.select(days.alias(GROUP)).to_series()
    return pl.Series(GROUP, group_numbers(dataset))


def encode_sample(sample: pl.DataFrame) -> bytes:
    """Encode a sample for the blob store: Arrow IPC, numbers as float32."""
    content = io.BytesIO()
    numbers = [pl.col(name).cast(pl.Float32) for name, kind in sample.schema.items() if kind == pl.Float64]
    sample.with_columns(numbers).write_ipc(content, compression="zstd")
    return content.getvalue()


def decode_sample(content: bytes) -> pl.DataFrame:
    """Decode a sample from the blob store."""
    found = pl.read_ipc(io.BytesIO(content))
    return found.with_columns(pl.col(name).cast(pl.Float64) for name, kind in found.schema.items() if kind.is_float())


def _column(column: pl.Series, known: pl.Series | None) -> pl.Series | None:
    """Prepare a column for the sample, None if it has too many categories; `known` holds the categories that are not rare."""
    if column.dtype.is_numeric() or column.dtype == pl.Boolean:
        return column.cast(pl.Float32).cast(pl.Float64).fill_nan(None)
    if column.dtype not in (pl.String, pl.Categorical, pl.Enum):
        return None
    if known is not None:
        texts = column.cast(pl.String)
        return texts.set(~texts.is_in(known.drop_nulls().implode()), RARE)
    if column.n_unique() > MAX_CATEGORIES:
        return None
    counts = column.cast(pl.String).value_counts()
    rare = counts.filter(pl.col("count") < MIN_CATEGORY_ROWS)[column.name]
    texts = column.cast(pl.String)
    return texts.set(texts.is_in(rare.drop_nulls().implode()), RARE) if rare.drop_nulls().len() else texts


def later_rows(dataset: Dataset, until: str) -> Dataset | None:
    """Return the rows after a time in ISO 8601; None if there are none, rows have no time, or no time is given."""
    if not until or not dataset.roles.time:
        return None
    rows = dataset.table.filter(time_expression(dataset) > datetime.fromisoformat(until))
    return None if rows.is_empty() else replace(dataset, table=rows)


def last_time(dataset: Dataset) -> str:
    """Return the time of the last row in ISO 8601, empty if rows have no time."""
    if not dataset.roles.time:
        return ""
    last = dataset.table.select(time_expression(dataset)).to_series().max()
    return last.isoformat() if isinstance(last, datetime) else ""
