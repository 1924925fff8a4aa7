"""Segments are Arrow streams, whose head is written by hand: every reader gets the columns that were saved."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.core.errors import StoreError
from headway.storage import segments


def read_both(folder: Path, columns: dict[str, segments.Column]) -> tuple[dict[str, segments.Column], pl.DataFrame]:
    """Save columns, and read them with nanoarrow and with polars."""
    path = segments.save(folder, columns)
    return segments.load(path), pl.read_ipc_stream(path)


def expect(folder: Path, columns: dict[str, segments.Column]) -> None:
    found, table = read_both(folder, columns)
    assert [*found] == table.columns == [*columns]
    for name, values in columns.items():
        if isinstance(values, np.ndarray):
            assert table[name].to_numpy().dtype == np.asarray(found[name]).dtype == values.dtype
            np.testing.assert_array_equal(np.asarray(found[name]), values)
            np.testing.assert_array_equal(table[name].to_numpy(), values)
        else:
            assert found[name] == table[name].to_list() == list(values)


@pytest.mark.parametrize(
    "columns",
    [
        {"key": [], "at_us": np.zeros(0, np.int64), "status": np.zeros(0, np.int8), "rate": np.zeros(0)},
        {"key": [None, "a", None, "", "é"], "rate": np.array([np.nan, 0.0, np.inf, 1.0, -1.0])},
        {"key": [None] * 9, "status": np.arange(9, dtype=np.int8)},
        {"key": [""] * 3, "text": ["x" * 5_000_000, None, "é" * 1_000]},
        {"rate": np.arange(10.0)[::2]},
        {f"out.{number}": np.arange(3.0) + number for number in range(500)},
    ],
    ids=["no rows", "some nulls", "only nulls", "long strings", "every second value", "many columns"],
)
def test_nanoarrow_and_polars_read_what_was_saved(tmp_path, columns):
    expect(tmp_path, columns)


@pytest.mark.parametrize("added", [b"", b"\0", b"\xff\xff\xff\x7f", b"\x80"])
def test_a_damaged_segment_is_read_or_refused_and_ends_no_process(tmp_path, added):
    path = segments.save(tmp_path, {"key": ["a", None], "score": np.array([0.5, 1.0])})
    content = path.read_bytes()
    for at in range(0, len(content), 3):
        path.write_bytes(content[:at] + added + content[at + 4 :])
        with suppress(StoreError):
            segments.load(path)


def test_a_segment_with_bytes_that_are_no_text_is_refused(tmp_path):
    path = segments.save(tmp_path, {"key": ["abcdefgh"]})
    path.write_bytes(path.read_bytes().replace(b"abcdefgh", b"abcdefg\xff"))
    with pytest.raises(StoreError, match="a segment cannot be read"):
        segments.load(path)


def test_some_columns_are_read_alone(tmp_path):
    path = segments.save(tmp_path, {"key": ["a", None], "rate": np.ones(2), "at_us": np.arange(2)})
    assert segments.load(path, "key", "absent") == {"key": ["a", None]}


@given(
    st.lists(
        st.tuples(st.none() | st.text(st.characters(codec="utf-8")), st.integers(-(2**63), 2**63 - 1), st.floats()),
        max_size=70,
    )
)
def test_any_rows_are_read_as_they_were_saved(tmp_path_factory, rows):
    texts, numbers, values = ([row[at] for row in rows] for at in range(3))
    expect(
        tmp_path_factory.mktemp("segments"),
        {"key": texts, "request": np.array(numbers, np.int64), "rate": np.array(values, np.float64)},
    )
