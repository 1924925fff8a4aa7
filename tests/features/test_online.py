"""The online table: the newest row of each key, NaN for unknown keys, and errors with a hint."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.core.errors import DataError, StoreError
from headway.features.online import NEVER_US, OnlineTable


@pytest.fixture
def table(tmp_path):
    opened = OnlineTable(tmp_path, "schedule")
    yield opened
    opened.close()


def put(table, **rows):
    """Store one row per key: values, and the time since when they are known."""
    keys = list(rows)
    table.put(keys, np.array([rows[key][0] for key in keys], dtype=float), np.array([rows[key][1] for key in keys]))


def test_lookups_come_in_the_requested_order_and_unknown_keys_are_missing(table):
    put(table, anna=([1.5, np.nan], 10), bob=([2.0, 3.0], 20))
    values, times = table.get(["bob", "eve", "anna", "bob"])
    np.testing.assert_array_equal(values, [[2, 3], [np.nan, np.nan], [1.5, np.nan], [2, 3]])
    assert times.tolist() == [20, NEVER_US, 10, 20]


def test_an_older_row_does_not_replace_a_newer_one_and_an_equally_new_one_does(table):
    put(table, anna=([1.0], 10))
    put(table, anna=([2.0], 9))
    assert table.get(["anna"])[0].tolist() == [[1.0]]
    put(table, anna=([3.0], 10))
    assert table.get(["anna"])[0].tolist() == [[3.0]]


def test_a_second_process_reads_what_the_first_stored(table, tmp_path):
    put(table, anna=([1.0], 10))
    other = OnlineTable(tmp_path, "schedule")
    put(table, anna=([2.0], 11))
    assert other.get(["anna"])[0].tolist() == [[2.0]]
    other.close()


def test_an_absent_table_is_an_error_and_not_missing_values(table):
    with pytest.raises(StoreError, match="online table does not exist"):
        table.get(["anna"])


def test_a_file_that_is_not_a_table_is_an_error(tmp_path):
    (tmp_path / "schedule.sqlite").write_bytes(b"not a database, but long enough to be read as one" * 30)
    with pytest.raises(StoreError, match="cannot be read"):
        OnlineTable(tmp_path, "schedule").get(["anna"])


def test_another_number_of_columns_is_refused_and_nothing_is_stored(table):
    put(table, anna=([1.0], 10))
    with pytest.raises(DataError, match="has 1 columns, got 2"):
        put(table, bob=([1.0, 2.0], 11))
    assert np.isnan(table.get(["bob"])[0]).all()


def test_unequal_lengths_are_refused(table):
    with pytest.raises(DataError, match="1 keys, 2 rows and 1 times"):
        table.put(["anna"], np.zeros((2, 1)), np.zeros(1, dtype=np.int64))


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden"])
def test_a_name_that_leaves_the_folder_is_refused(tmp_path, name):
    with pytest.raises(DataError, match="invalid table name"):
        OnlineTable(tmp_path, name)


def test_it_can_be_closed_twice_and_used_again(table):
    put(table, anna=([1.0], 10))
    table.close()
    table.close()
    assert table.get(["anna"])[1].tolist() == [10]


@pytest.mark.slow
@settings(max_examples=20)
@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), st.floats(), max_size=1200))
def test_any_strings_and_numbers_are_returned_unchanged(tmp_path_factory, rows):
    table = OnlineTable(tmp_path_factory.mktemp("online"), "t")
    keys = list(rows)
    table.put(keys, np.array(list(rows.values())).reshape(-1, 1), np.ones(len(keys), dtype=np.int64))
    np.testing.assert_array_equal(table.get(keys)[0][:, 0], list(rows.values()))
    table.close()


def test_threads_may_read_while_another_writes(table):
    put(table, anna=([0.0], 0))
    seen = []
    reader = threading.Thread(target=lambda: seen.extend(table.get(["anna"])[0][0, 0] for _ in range(300)))
    reader.start()
    for at in range(1, 100):
        put(table, anna=([float(at)], at))
    reader.join()
    assert seen == sorted(seen)
