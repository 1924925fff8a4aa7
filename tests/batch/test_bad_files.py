"""Bad text, infinities, formulas and damaged files: a row is refused or the file is, and nothing else ends a run."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nanoarrow
import numpy as np
import polars as pl
import pytest
from msgspec.structs import replace
from nanoarrow.ipc import StreamWriter
from tests.batch.scoring import (
    CARRIER,
    LIVE,
    MIXED,
    NUMBERS,
    read_table,
    refused_rows,
    score_file,
    scoring_project,
    write_table,
)

from headway.batch.columns import INFINITE
from headway.batch.journal import OutputFiles, load_receipt
from headway.batch.predict import predict
from headway.core.batch import ScoringOptions
from headway.core.errors import DataError, StoreError
from headway.core.plugins import load_format
from headway.storage.arrow_messages import MalformedMessage, _root, check_messages

SUFFIXES = [".parquet", ".csv", ".arrow", ".feather"]
OTHER = replace(MIXED, inputs=(MIXED.inputs[0], replace(CARRIER, unseen="other")))


def strings(content: Sequence[bytes | None], kind: Any) -> Any:
    """An Arrow array of strings from any bytes."""
    dtype = np.int32 if kind.type == nanoarrow.Type.STRING else np.int64
    offsets = np.cumsum([0, *(len(value or b"") for value in content)]).astype(dtype)
    missing = np.array([value is None for value in content])
    buffers = [np.packbits(~missing, bitorder="little"), offsets, b"".join(value or b"" for value in content)]
    return nanoarrow.c_array_from_buffers(kind, len(content), buffers, null_count=int(missing.sum()))


def write_stream(path: Path, columns: dict[str, Any], *, batches: int = 1) -> Path:
    """Write Arrow arrays of equal length as a stream, several times."""
    kinds = {name: nanoarrow.Schema(array.schema) for name, array in columns.items()}
    schema = nanoarrow.Schema(nanoarrow.struct(kinds), nullable=False)
    length = len(next(iter(columns.values())))
    table = nanoarrow.c_array_from_buffers(schema, length, [None], children=list(columns.values()))
    content = io.BytesIO()
    with StreamWriter.from_writable(content) as writer:
        for number in range(batches):
            writer.write_stream(nanoarrow.c_array_stream(table), write_schema=not number)
        writer.close()
        path.write_bytes(content.getvalue())
    return path


def sizes(count: int) -> Any:
    return nanoarrow.c_array_from_buffers(nanoarrow.float64(), count, [None, np.zeros(count)])


@pytest.mark.parametrize("kind", [nanoarrow.string(), nanoarrow.large_string()], ids=["string", "large string"])
def test_a_row_of_an_arrow_stream_that_is_not_utf8_is_refused(kind: Any, tmp_path: Path) -> None:
    carriers, keys = strings([b"AA", b"U\xffA", None, b"WN"], kind), strings([b"a", b"b", b"\xe9", None], kind)
    source = write_stream(tmp_path / "rows.arrow", {"size": sizes(4), "carrier": carriers, "key": keys})
    receipt = score_file(
        scoring_project(tmp_path, signature=OTHER, task="regression"), source, tmp_path / "scores.csv", "key"
    )
    assert refused_rows(tmp_path / "scores.csv") == [
        (1, "carrier", "U\\udcffA", "not UTF-8"),
        (2, "key", "\\udce9", "not UTF-8"),
    ]
    found = read_table(tmp_path / "scores.csv")
    assert found["prediction"].to_list() == [0.0, None, None, 1.0] and found["key"].to_list() == ["a", "b", "?", None]
    assert (receipt.rows, receipt.refused) == (4, 2)


def test_a_dictionary_with_an_entry_that_is_not_utf8_refuses_its_rows(tmp_path: Path) -> None:
    carriers = pl.Series(["AA", "ZZZ", None, "AA", "ZZZ"], dtype=pl.Categorical)
    source = write_table(pl.DataFrame({"size": [0.0] * 5, "carrier": carriers}), tmp_path / "rows.arrow")
    source.write_bytes(source.read_bytes().replace(b"ZZZ", b"Z\xffZ"))
    score_file(scoring_project(tmp_path, signature=OTHER, task="regression"), source, tmp_path / "scores.csv")
    found = [refusal for refusal in refused_rows(tmp_path / "scores.csv") if refusal[1]]
    assert found == [(row, "carrier", "Z\\udcffZ", "not UTF-8") for row in (1, 4)]
    assert read_table(tmp_path / "scores.csv")["prediction"].to_list() == [0.0, None, None, 0.0, None]


def test_a_column_whose_name_is_not_utf8_is_an_error_of_the_file(tmp_path: Path) -> None:
    source = write_stream(tmp_path / "rows.arrow", {"size": sizes(1), "name": sizes(1)})
    source.write_bytes(source.read_bytes().replace(b"name", b"n\xffme"))
    with pytest.raises(DataError, match="the name of a column is not UTF-8") as error:
        score_file(scoring_project(tmp_path, signature=MIXED), source, tmp_path / "scores.csv")
    assert error.value.where == str(source)


def test_a_damaged_batch_names_the_file_and_its_first_row(tmp_path: Path) -> None:
    source = write_stream(tmp_path / "rows.arrow", {name: sizes(10) for name in "abc"}, batches=2)
    source.write_bytes(source.read_bytes()[:-200])
    with pytest.raises(DataError, match="the file cannot be read") as error:
        score_file(scoring_project(tmp_path), source, tmp_path / "scores.csv")
    assert error.value.where == f"{source}, from row 10 on"


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("value", [float("inf"), float("-inf")])
def test_a_row_with_an_infinity_is_refused_as_the_server_refuses_it(suffix: str, value: float, tmp_path: Path) -> None:
    table = pl.DataFrame({"a": [1.0, value, 1.0], "b": [1.0, 1.0, 1.0], "c": [1.0, value, None]})
    source = write_table(table, tmp_path / f"rows{suffix}")
    receipt = score_file(scoring_project(tmp_path), source, tmp_path / "scores.csv")
    assert read_table(tmp_path / "scores.csv")["probability"].to_list() == [1.0, None, None]
    assert refused_rows(tmp_path / "scores.csv") == [
        (1, "a", f"{value:g}", INFINITE),
        (1, "c", f"{value:g}", INFINITE),
        (2, "", "", "the answer is [nan]"),
    ]
    assert receipt.columns == {"a": 1, "c": 1, "(row)": 1}


def test_a_number_beyond_float64_is_an_infinity(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b,c\n1,1e400,1\n")
    score_file(scoring_project(tmp_path), tmp_path / "rows.csv", tmp_path / "scores.csv")
    assert refused_rows(tmp_path / "scores.csv") == [(0, "b", "inf", INFINITE)]


CELLS = ["=1+1", "@SUM(A1)", "+cmd|' /C calc'!A0", "-5", "+3e2", "-a", "\t=1", " =1", "a;=1", "a-b", "\uff1d1", None]
SAFE = [
    "'=1+1", "'@SUM(A1)", "'+cmd|' /C calc'!A0", "-5", "+3e2", "'-a", "'\t'=1", "' =1", "a;'=1", "a-b", "'\uff1d1", None
]  # fmt: skip


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
@pytest.mark.parametrize(("safe", "expected"), [(False, CELLS), (True, SAFE)])
def test_kept_text_is_safe_in_a_spreadsheet_if_that_is_asked_for(
    suffix: str, safe: bool, expected: list[str | None], tmp_path: Path
) -> None:
    numbers = {name: [0.0] * len(CELLS) for name in "abc"}
    table = pl.DataFrame({**numbers, "key": CELLS, "day": [-1] * len(CELLS)})
    source, settings = write_table(table, tmp_path / "rows.parquet"), scoring_project(tmp_path)
    out = tmp_path / f"scores{suffix}"
    predict(settings, LIVE, source, out, keep=("key", "day"), spreadsheet_safe=safe)
    assert read_table(out)["key"].to_list() == expected and set(read_table(out)["day"]) == {-1}


def test_the_value_of_a_refused_row_is_safe_as_well_and_the_option_is_part_of_the_run(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b,c\n=1+1,1,1\n-x,1,1\n")
    settings, out = scoring_project(tmp_path, signature=NUMBERS), tmp_path / "scores.csv"
    receipt = predict(settings, LIVE, tmp_path / "rows.csv", out, spreadsheet_safe=True)
    assert [value for _, _, value, _ in refused_rows(out)] == ["'=1+1", "'-x"]
    assert load_receipt(OutputFiles.of(out), receipt.terms) == receipt and receipt.terms.spreadsheet_safe
    with pytest.raises(StoreError, match="spreadsheet_safe is False, was True"):
        predict(settings, LIVE, tmp_path / "rows.csv", out)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".feather"])
def test_a_file_with_any_byte_changed_is_read_or_named_in_an_error(suffix: str, tmp_path: Path) -> None:
    table = pl.DataFrame({"size": [1.0, 2.0, None], "carrier": ["AA", "UA", None], "key": ["k", "l", "m"]})
    content = np.frombuffer(write_table(table, tmp_path / f"rows{suffix}").read_bytes(), np.uint8)
    reader, options = (
        load_format(suffix[1:].replace("feather", "arrow")),
        ScoringOptions(signature=MIXED, keep=("key",)),
    )
    random, source, wrong = np.random.default_rng(0), tmp_path / f"bad{suffix}", 0
    for number in range(100):
        changed = content.copy()
        changed[random.integers(0, len(changed), random.integers(1, 4))] = random.choice([0, 1, 127, 128, 255])
        source.write_bytes(changed[: random.integers(1, len(changed))] if number % 5 == 0 else changed)
        try:
            for chunk in reader.scan(source, options).chunks(0, 0):
                assert len(chunk.rows()) <= len(table)
        except DataError as error:
            assert source.name in error.where
            wrong += 1
    assert wrong > 10


def field_absent(content: bytes, kind: int, path: Sequence[int]) -> bytes:
    """Return a stream whose first message of a kind lacks the field at a path of field numbers."""
    position = 0
    while content[position : position + 4] == b"\xff\xff\xff\xff":
        size = int.from_bytes(content[position + 4 : position + 8], "little")
        metadata = bytearray(content[position + 8 : position + 8 + size])
        message = _root(bytes(metadata))
        if message.number(1, "<B") == kind:
            table = message
            for number in path[:-1]:
                table = table.tables(-number)[0] if number < 0 else table.table(number, "a part")
            vtable = table.start - int.from_bytes(metadata[table.start : table.start + 4], "little", signed=True)
            metadata[vtable + 4 + 2 * path[-1] : vtable + 6 + 2 * path[-1]] = b"\0\0"
            return content[: position + 8] + bytes(metadata) + content[position + 8 + size :]
        position += 8 + size + message.number(3, "<q")
    raise AssertionError(f"no message of kind {kind}")


@pytest.mark.parametrize(
    ("kind", "path", "message"),
    [
        (1, [2], "the content of a message is missing"),
        (3, [2], "the content of a message is missing"),
        (1, [2, -1, 3], "the type of a column is missing"),
        (3, [2, 1], "the list of columns of a batch is missing"),
        (3, [2, 2], "the list of buffers of a batch is missing"),
        (2, [2, 1], "the values of a dictionary is missing"),
    ],
)
def test_a_message_that_would_end_the_process_is_an_error(
    kind: int, path: list[int], message: str, tmp_path: Path
) -> None:
    """Nanoarrow reads a null pointer in each of these."""
    carriers = pl.Series(["AA", None], dtype=pl.Categorical)
    source = write_table(pl.DataFrame({"size": [0.0, 1.0], "carrier": carriers}), tmp_path / "rows.arrow")
    source.write_bytes(field_absent(source.read_bytes(), kind, path))
    with pytest.raises(DataError, match=message) as error:
        score_file(scoring_project(tmp_path, signature=MIXED), source, tmp_path / "scores.csv")
    assert error.value.where == str(source)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xf0\0\0\0" + bytes(12), "an offset leads out of its message"),
        (b"\x04\0\0\0\xff\0\0\0" + bytes(8), "an offset leads out of its message"),
    ],
)
def test_an_offset_that_leads_nowhere_is_an_error(content: bytes, message: str, tmp_path: Path) -> None:
    file = tmp_path / "rows.arrow"
    file.write_bytes(b"\xff\xff\xff\xff" + len(content).to_bytes(4, "little") + content)
    with file.open("rb") as opened, pytest.raises(MalformedMessage, match=message):
        check_messages(opened)


def test_columns_of_different_length_are_an_error(tmp_path: Path) -> None:
    source = write_stream(tmp_path / "rows.arrow", {name: sizes(3) for name in "abc"})
    content = source.read_bytes()
    at = content.index((3).to_bytes(8, "little"), content.index(b"\xff\xff\xff\xff", 8))
    source.write_bytes(content[:at] + (1).to_bytes(8, "little") + content[at + 8 :])
    with pytest.raises(DataError, match=r"differ in length|cannot be read") as error:
        score_file(scoring_project(tmp_path), source, tmp_path / "scores.csv")
    assert f"{source}, from row 0 on" in error.value.where


def test_a_length_below_zero_is_an_error(tmp_path: Path) -> None:
    source = write_stream(tmp_path / "rows.arrow", {name: sizes(3) for name in "abc"})
    content = bytearray(source.read_bytes())
    start = content.index(b"\xff\xff\xff\xff", 8) + 8
    message = _root(bytes(content[start:]))
    content[start + message.field(3) + 7] = 0xFF
    source.write_bytes(content)
    with pytest.raises(DataError, match="the length of a message is negative"):
        score_file(scoring_project(tmp_path), source, tmp_path / "scores.csv")
