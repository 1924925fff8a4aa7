"""A table that is read in batches has the version of the same table in memory."""

from __future__ import annotations

import tempfile
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.data.provenance.drawn import tables

from headway.data.provenance.streamed import StreamedVersion
from headway.data.provenance.versions import SAMPLE, DataVersion, compare_versions, make_version

pytestmark = pytest.mark.slow


def streamed(table: pl.DataFrame, *, batch_rows: int, part_rows: int) -> DataVersion:
    with tempfile.TemporaryDirectory() as folder:
        built = StreamedVersion(Path(folder), n_rows=len(table), part_rows=part_rows)
        for start in range(0, len(table), batch_rows):
            built.add(table[start : start + batch_rows])
        found = built.version(name="a")
        assert list(Path(folder).iterdir()) == []
    return found


def assert_same(found: DataVersion, table: pl.DataFrame) -> None:
    whole = make_version(table, name="a")
    assert (found.digest, found.columns) == (whole.digest, whole.columns)
    assert np.array_equal(found.rows, np.sort(whole.rows))


@given(tables(), st.integers(1, 12), st.integers(1, 12))
def test_any_table_has_the_version_of_the_table_in_memory(table: pl.DataFrame, batch_rows: int, part_rows: int):
    assert_same(streamed(table, batch_rows=batch_rows, part_rows=part_rows), table)


@given(tables(), st.integers(1, 3))
def test_repeated_rows_have_the_version_of_the_table_in_memory(table: pl.DataFrame, part_rows: int):
    table = pl.concat([table, table, table.head(1)])
    assert_same(streamed(table, batch_rows=2, part_rows=part_rows), table)


def many() -> pl.DataFrame:
    draw, rows = np.random.default_rng(0), 2 * SAMPLE
    at = datetime(2024, 1, 1)
    return pl.DataFrame(
        {
            "number": draw.normal(size=rows),
            "none": pl.Series([None] * rows, dtype=pl.String),
            "late": [None if row < rows // 2 else float(row) for row in range(rows)],
            "gap": [None if row % 3 else float("nan") for row in range(rows)],
            "large": draw.integers(-(2**62), 2**62, rows),
            "kind": pl.Series(draw.choice(["a", "b"], rows)).cast(pl.Categorical),
            "level": pl.Series(draw.choice(["low", "high"], rows)).cast(pl.Enum(["low", "high"])),
            "word": [f"a string of more than twelve bytes, {row % 7}" for row in range(rows)],
            "price": [Decimal(row) / 4 for row in range(rows)],
            "list": [[row % 3, None] for row in range(rows)],
            "at": pl.Series([at + timedelta(seconds=row) for row in range(rows)], dtype=pl.Datetime("ns")),
        }
    )


def test_columns_of_every_kind_have_the_version_of_the_table_in_memory():
    table = many()
    found = streamed(table, batch_rows=7_000, part_rows=3_000)
    assert_same(found, table)
    assert compare_versions(found, make_version(table.head(-3), name="b")).rows_removed == 3
