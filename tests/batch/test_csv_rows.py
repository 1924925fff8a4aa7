"""Whatever stands in a csv file, each row is answered or refused, and polars reads what the plain reader does."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.batch.scoring import CARRIER

from headway.batch import polars_reader
from headway.batch.formats.csv import CsvScan
from headway.core.batch import Chunk, ScoringOptions
from headway.core.errors import DataError
from headway.core.variant import Field, Signature

pytestmark = pytest.mark.slow

SIGNATURE = Signature(inputs=(Field(name="size"), replace(CARRIER, unseen="refused")))
WANTED = ScoringOptions(signature=SIGNATURE, keep=("key",), missing=("NA",))
SLOWLY, QUICKLY = None, polars_reader
NUMBERS = st.one_of(
    st.floats().map(repr),
    st.integers().map(str),
    st.sampled_from(
        ["", "NA", " 1", "1 ", "+1", "1.", ".5", "1e5", "1E-400", "1e400", "1_0", "0x1", "inf", "-Infinity"]
    ),
    st.sampled_from(
        ["nan", "NaN", "true", "False", "1d", "1f", "one", "-", ".", "e5", "١", "１.5", "1,5", "\t7", "--1"]
    ),
    st.text(max_size=3),
)
TEXTS = st.one_of(
    st.sampled_from(["AA", "UA", "", "NA", "ZZ", " AA", "a,b", 'a "b"', "a\nb", "a\r\nb"]), st.text(max_size=4)
)


def read(content: bytes, folder: Path, monkeypatch: pytest.MonkeyPatch, reader: object) -> Chunk:
    """All rows of a file that are one chunk."""
    file = folder / "rows.csv"
    file.write_bytes(content)
    with monkeypatch.context() as patch:
        patch.setattr("headway.batch.formats.csv.polars_reader", reader)
        chunks = list(CsvScan(file, WANTED).chunks(0, 0))
    (chunk,) = chunks
    assert chunk.position == len(content)
    return chunk


def seen(chunk: Chunk) -> tuple[list[list[float | None]], list[str | None], set[tuple[int, str]]]:
    """What a chunk says: rows with None for missing, keys, and which cells are refused."""
    rows = [[None if np.isnan(value) else value for value in row] for row in chunk.rows().tolist()]
    return rows, list(chunk.passthrough["key"].values), {(refusal.row, refusal.column) for refusal in chunk.refusals}


def written(rows: Sequence[Sequence[str]], ending: str = "\n") -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=ending).writerows([("key", "size", "carrier"), *rows])
    return text.getvalue().encode()


@pytest.mark.parametrize("reader", [SLOWLY, QUICKLY], ids=["plain", "polars"])
@pytest.mark.parametrize(
    ("content", "rows", "keys", "wrong"),
    [
        (b"key,size,carrier\nk,1.5,UA\n", [[1.5, 1]], ["k"], set()),
        (b"\xef\xbb\xbfkey,size,carrier\r\nk,1.5,UA\r\n,true,\r\n", [[1.5, 1], [1, None]], ["k", None], set()),
        (b"key,size,carrier\nk,1.5,UA", [[1.5, 1]], ["k"], set()),
        (b'carrier,other,size,key\n"UA","a ""b"", c\nd",2,"k\n1"\n', [[2, 1]], ["k\n1"], set()),
        (b"key,size,carrier\nNA,NA,NA\n\n,,\n", [[None, None], [None, None]], ["NA", None], set()),
        (
            b"key,size,carrier\nk,n/a,UA\nl,1_0,ZZ\n",
            [[None, 1], [None, None]],
            ["k", "l"],
            {(0, "size"), (1, "size"), (1, "carrier")},
        ),
        (
            b"key,size,carrier\nk,1\nl,1,UA,\nm,1,UA\n",
            [[None] * 2, [None] * 2, [1, 1]],
            [None, None, "m"],
            {(0, ""), (1, "")},
        ),
        (b"key,size,carrier\n\xff,1,UA\nl,1,\xe9A\n", [[1, 1], [1, None]], ["?", "l"], {(0, "key"), (1, "carrier")}),
        (b'key,size,carrier\nk,1,"' + b"x" * 140_000 + b'"\nl,1,UA\n', [[None] * 2, [1, 1]], [None, "l"], {(0, "")}),
    ],
    ids=["plain", "mark and CRLF", "no last end", "quotes", "empty", "no number", "cells", "not UTF-8", "a huge cell"],
)
def test_each_row_is_read_or_refused(content, rows, keys, wrong, reader, tmp_path, monkeypatch):
    found, copied, refused = seen(read(content, tmp_path, monkeypatch, reader))
    keys = [text and text.encode("utf-8", "replace").decode() for text in copied]
    assert (found, keys, refused) == (rows, keys, wrong)


@settings(max_examples=3 * settings().max_examples, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(st.text(max_size=3), NUMBERS, TEXTS), min_size=1, max_size=8),
    ending=st.sampled_from(["\n", "\r\n"]),
)
def test_polars_reads_like_the_csv_module(rows, ending, tmp_path, monkeypatch):
    content = written(rows, ending)
    slowly, quickly = (seen(read(content, tmp_path, monkeypatch, reader)) for reader in (SLOWLY, QUICKLY))
    assert repr(slowly) == repr(quickly)


@settings(max_examples=3 * settings().max_examples, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.text(alphabet=st.sampled_from(list('ab1.,"\r\n -')), max_size=60))
def test_polars_reads_a_broken_file_like_the_csv_module(body, tmp_path, monkeypatch):
    content = b"key,size,carrier\nk,1,UA\n" + body.encode()
    slowly, quickly = (seen(read(content, tmp_path, monkeypatch, reader)) for reader in (SLOWLY, QUICKLY))
    assert repr(slowly) == repr(quickly)


@pytest.mark.parametrize("reader", [SLOWLY, QUICKLY], ids=["plain", "polars"])
def test_a_chunk_ends_at_a_row_boundary_and_reading_continues_there(reader, tmp_path, monkeypatch):
    monkeypatch.setattr("headway.batch.formats.csv.polars_reader", reader)
    monkeypatch.setattr("headway.batch.formats.csv._BLOCK_BYTES", 40)
    file = tmp_path / "rows.csv"
    file.write_bytes(written([(f"k{row}" if row % 3 else f"k\n{row}", str(row), "AA") for row in range(50)]))
    chunks = list(CsvScan(file, WANTED).chunks(0, 0))
    assert len(chunks) > 5 and [piece.start for piece in chunks[1:]] == [piece.end for piece in chunks[:-1]]
    assert np.concatenate([piece.rows() for piece in chunks])[:, 0].tolist() == list(range(50))
    for chunk in chunks:
        later = list(CsvScan(file, WANTED).chunks(chunk.end, chunk.position))
        assert [row for piece in later for row in piece.rows()[:, 0].tolist()] == list(range(chunk.end, 50))


def test_both_readers_end_a_chunk_at_the_same_row(tmp_path, monkeypatch):
    file, ends = tmp_path / "rows.csv", []
    file.write_bytes(written([(f"k{row}", str(row), "AA") for row in range(50)]))
    for reader in (SLOWLY, QUICKLY):
        monkeypatch.setattr("headway.batch.formats.csv.polars_reader", reader)
        for size in range(7, 60):
            monkeypatch.setattr("headway.batch.formats.csv._BLOCK_BYTES", size)
            ends.append([piece.end for piece in CsvScan(file, WANTED).chunks(0, 0)])
    assert ends[: len(ends) // 2] == ends[len(ends) // 2 :]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no header"),
        (b"\n1,2\n", "no header"),
        (b"key;size;carrier\n1;2;3\n", "column 'size' is missing from the file"),
        (b"key,size,carrier,size\n1,2,3,4\n", "column 'size' occurs 2 times"),
    ],
)
def test_an_invalid_header_is_rejected(content, message, tmp_path):
    (tmp_path / "rows.csv").write_bytes(content)
    with pytest.raises(DataError, match=message):
        CsvScan(tmp_path / "rows.csv", WANTED)


def test_a_file_of_one_endless_line_is_rejected_early(tmp_path, monkeypatch):
    monkeypatch.setattr("headway.batch.formats.csv._MAX_LINE_BYTES", 1000)
    (tmp_path / "rows.csv").write_bytes(b"key,size,carrier\n" + b"1,2,AA\r" * 1000)
    with pytest.raises(DataError, match="a line of more than"):
        list(CsvScan(tmp_path / "rows.csv", WANTED).chunks(0, 0))
