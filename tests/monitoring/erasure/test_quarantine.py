"""Rows in quarantine are forgotten as those of the log are, though no byte of a key shows in a packed file."""

from __future__ import annotations

import os

import polars as pl
import pytest
from tests.monitoring.erasure.test_erase import SECRET, World

from headway.core.errors import StoreError
from headway.monitoring.erasure import files

pytestmark = pytest.mark.slow

ROWS = pl.DataFrame(
    {"who": [SECRET, "ben", None, "eve"], "number": [1, 77, 3, 4], "seen_by": [["ann"], ["ann"], [SECRET], []]}
)


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    yield made
    made.close()


@pytest.fixture
def file(world):
    path = world.state / "quarantine" / "flights" / "20260101-1-1.table.parquet"
    path.parent.mkdir(parents=True)
    ROWS.write_parquet(path)
    return path


def test_rows_with_the_key_in_any_column_are_erased_and_counted(world, file):
    found = world.erase_rows_of(key=SECRET)
    assert {part.location: part.rows for part in found.erased}["quarantine/flights"] == 2
    assert pl.read_parquet(file).equals(ROWS[[1, 3]]) and found.is_complete


def test_a_numeric_key_is_found_by_its_text(world, file):
    world.erase_rows_of(key="77")
    assert pl.read_parquet(file).equals(ROWS[[0, 2, 3]])


def test_a_file_written_before_the_time_is_deleted_and_a_later_one_stays(world, file):
    later = file.with_name("20260102-1-1.table.parquet")
    ROWS.write_parquet(later)
    os.utime(file, ns=(0, 0))
    found = world.erase_rows_of(older="1d")
    assert {part.location: part.rows for part in found.erased} == {"quarantine/flights": 4}
    assert not file.exists() and pl.read_parquet(later).equals(ROWS)


def test_rows_quarantined_again_are_reported_as_residuals(world, file, monkeypatch):
    monkeypatch.setattr(files, "erase_quarantined", lambda path, keys: None)
    found = world.erase_rows_of(key=SECRET)
    assert [(residual.location, residual.times) for residual in found.residuals] == [
        ("quarantine/flights", 2)
    ] and not found.is_complete


def test_an_unreadable_file_stops_the_erasure_and_is_named(world, file):
    file.write_bytes(b"no parquet")
    with pytest.raises(StoreError, match=r"quarantine cannot be read.*\n  at: .*table\.parquet"):
        world.erase_rows_of(key=SECRET)


def test_a_file_that_disappeared_has_no_rows_and_needs_no_erasing(tmp_path):
    gone = tmp_path / "gone.parquet"
    files.erase_quarantined(gone, ["a"])
    assert files.count_quarantined(gone, ["a"]) == 0 and files.count_if_expired(gone, 1) is None
