"""Tables as hypothesis draws them, and the same content in another file, order or type."""

from __future__ import annotations

import io
from datetime import date, datetime
from typing import Any

import numpy as np
import polars as pl
from hypothesis import strategies as st

from headway.data.parsing import parse_dates

WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\r\x00"), min_size=1, max_size=20)
CELLS: dict[str, tuple[st.SearchStrategy[Any], Any]] = {
    "integer": (st.integers(-(2**63), 2**63 - 1), pl.Int64),
    "small": (st.integers(-128, 127), pl.Int8),
    "real": (st.floats(allow_nan=False, allow_infinity=False), pl.Float64),
    "half": (st.floats(width=32, allow_nan=False, allow_infinity=False), pl.Float32),
    "flag": (st.booleans(), pl.Boolean),
    "day": (st.dates(date(1900, 1, 1), date(2200, 1, 1)), pl.Date),
    "at": (st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)), pl.Datetime("us")),
    "word": (WORDS, pl.String),
}


@st.composite
def tables(draw: st.DrawFn) -> pl.DataFrame:
    """One to twelve rows of every kind of column, with missing cells."""
    n_rows = draw(st.integers(1, 12))
    columns = {
        name: pl.Series(draw(st.lists(st.none() | cells, min_size=n_rows, max_size=n_rows)), dtype=dtype)
        for name, (cells, dtype) in CELLS.items()
    }
    return pl.DataFrame(columns)


def shuffled(table: pl.DataFrame, seed: int) -> pl.DataFrame:
    """The same rows and columns in another order."""
    names = np.random.default_rng(seed).permutation(table.columns).tolist()
    return table.sample(fraction=1, shuffle=True, seed=seed).select(names)


def by_parquet(table: pl.DataFrame) -> pl.DataFrame:
    """The table as a parquet file holds it."""
    file = io.BytesIO()
    table.write_parquet(file)
    file.seek(0)
    return pl.read_parquet(file)


def by_csv(table: pl.DataFrame) -> pl.DataFrame:
    """The table as headway reads it from a csv file."""
    return parse_dates(pl.read_csv(table.write_csv().encode(), infer_schema_length=None))
