"""Test every installed file format: written columns are read back in order, and equal columns give equal bytes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import nanoarrow
import numpy as np
import pytest

from headway.batch import columns
from headway.core import plugins
from headway.core.batch import ArrowColumn, ScoringOptions
from headway.core.errors import DataError
from headway.core.variant import Field, Signature

pytestmark = pytest.mark.slow

FORMATS = plugins.names("format")
WANTED = ScoringOptions(signature=Signature(inputs=(Field(name="x"), Field(name="n"))), keep=("text", "n", "x"))


def table(start: int, rows: int) -> dict[str, ArrowColumn]:
    """Return numbers with and without nulls, and strings that need quotes."""
    numbers = np.arange(start, start + rows)
    return {
        "x": ArrowColumn(type=nanoarrow.float64(), values=numbers / 3),
        "n": ArrowColumn(type=nanoarrow.int64(), values=numbers, missing=numbers % 5 == 0),
        "text": columns.string_column([f'{n}, "a"\n' if n % 3 else None for n in numbers.tolist()]),
    }


def joined(name: str, folder: Path, tables: list[Mapping[str, ArrowColumn]], out: str = "out") -> Path:
    """Write a file of these parts."""
    format, parts = plugins.load_format(name), []
    for number, item in enumerate(tables):
        parts.append(folder / f"{out}-{number:03}.{name}")
        parts[-1].write_bytes(format.encode(item))
    path = folder / f"{out}.{name}"
    format.join(parts, path, table(0, 0), {"headway.registry": "sha256:0"})
    return path


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("sizes", [[], [0], [1], [7, 1, 30], [100_003, 70_001, 5]])
def test_parts_are_joined_in_their_order(name, sizes, tmp_path):
    starts = [sum(sizes[:index]) for index in range(len(sizes))]
    file = joined(name, tmp_path, [table(*item) for item in zip(starts, sizes, strict=True)])
    chunks = list(plugins.load_format(name).scan(file, WANTED).chunks(0, 0))
    numbers = np.arange(sum(sizes))
    rows = np.concatenate([np.empty((0, 2)), *(part.rows() for part in chunks)])
    assert np.array_equal(rows[:, 0], numbers / 3)
    assert np.array_equal(rows[:, 1], np.where(numbers % 5 == 0, np.nan, numbers), equal_nan=True)
    for name in WANTED.keep:
        values = [text for item in chunks for text in columns.format_values(item.passthrough[name])]
        assert values == columns.format_values(table(0, sum(sizes))[name])


@pytest.mark.parametrize("name", FORMATS)
def test_reading_goes_on_where_a_chunk_ended(name, tmp_path):
    scan = plugins.load_format(name).scan(joined(name, tmp_path, [table(0, 300_000)]), WANTED)
    chunks = list(scan.chunks(0, 0))
    assert len(chunks) > 1 and chunks[-1].share == pytest.approx(1, abs=1e-3)
    later = list(scan.chunks(chunks[0].end, chunks[0].position))
    assert [item.start for item in later] == [item.start for item in chunks[1:]]
    assert all(np.array_equal(a.rows(), b.rows(), equal_nan=True) for a, b in zip(later, chunks[1:], strict=True))


@pytest.mark.parametrize("name", FORMATS)
def test_equal_columns_give_equal_bytes(name, tmp_path):
    tables = [table(0, 200_000), table(200_000, 10)]
    one, other = (joined(name, tmp_path, tables, out) for out in ("one", "other"))
    assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("name", FORMATS)
def test_a_missing_column_is_named(name, tmp_path):
    file = joined(name, tmp_path, [table(0, 3)])
    with pytest.raises(DataError, match="column 'y' is missing from the file"):
        plugins.load_format(name).scan(file, ScoringOptions(signature=Signature(inputs=(Field(name="y"),))))


@pytest.mark.parametrize("name", FORMATS)
def test_an_empty_file_is_reported(name, tmp_path):
    file = tmp_path / f"rows.{name}"
    file.write_bytes(b"")
    with pytest.raises(DataError) as error:
        plugins.load_format(name).scan(file, WANTED)
    assert str(file) in error.value.where
