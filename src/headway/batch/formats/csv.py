"""Comma-separated values in UTF-8 with a header; an empty cell is missing, a quote in a string is doubled."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from headway.batch import columns
from headway.batch.columns import MISSING, check_columns, new_refusal, parse_number, rank_categories
from headway.core.batch import ArrowColumn, Chunk, Refusal, ScoringOptions
from headway.core.errors import DataError
from headway.core.variant import Field
from headway.serving.protocol.tensors import string_codes

try:
    from headway.batch import polars_reader
except ModuleNotFoundError:  # without polars all lines are read by the csv module
    polars_reader = None  # type: ignore[assignment]

_BLOCK_BYTES = 1 << 23
_MAX_LINE_BYTES = 1 << 26
_BOM = b"\xef\xbb\xbf"


class CsvScan:
    """Opened csv file; the position of a row is that of its first byte."""

    def __init__(self, path: Path, options: ScoringOptions) -> None:
        self._path, self._options = path, options
        self._size = path.stat().st_size
        with path.open("rb") as file:
            self._names, self._begin = _header(file, str(path))
        check_columns(self._names, options, str(path))
        self._ranks = [(field, string_codes(field)) for field in options.signature.inputs]
        self.passthrough: Mapping[str, ArrowColumn] = {name: columns.string_column([]) for name in options.keep}

    def chunks(self, start: int, position: int) -> Iterator[Chunk]:
        """Yield chunks of about 8 MiB, cut at the end of a row."""
        position = position or self._begin
        with self._path.open("rb") as file:
            while position < self._size:
                chunk = self._plain(file, start, position) or self._read(file, start, position)
                yield replace(chunk, share=chunk.position / self._size)
                start, position = chunk.end, chunk.position

    def _plain(self, file: BinaryIO, start: int, position: int) -> Chunk | None:
        """Read the next block with polars; None if polars is absent or the lines are not plain."""
        if polars_reader is None:
            return None
        file.seek(position)
        block = file.read(_BLOCK_BYTES)
        if not block.endswith(b"\n"):
            block += file.readline(_MAX_LINE_BYTES)
        position += len(block)
        ended = block if block.endswith(b"\n") else block + b"\n"
        chunk = polars_reader.read_plain_csv(ended, self._names, self._options, start)
        return chunk and replace(chunk, position=position)

    def _read(self, file: BinaryIO, start: int, position: int) -> Chunk:
        """Read the next block with the csv module, which handles quotes and malformed lines."""
        file.seek(position)
        lines, refusals = _Lines(file, str(self._path)), list[Refusal]()
        records = list(self._records(lines, start, refusals))
        cells = dict(zip(self._names, zip(*records, strict=True), strict=True)) if records else {}
        if lines.invalid:
            for name in self._options.names:
                refusals += columns.refuse_invalid_utf8(name, cells.get(name, ()), start)
        numbers = []
        for field, ranks in self._ranks:
            strings: Sequence[str] = cells.get(field.name, ())
            if self._options.missing:
                strings = ["" if text in self._options.missing else text for text in strings]
            if ranks is None:
                numbers.append(_numbers(field, strings, start, refusals, plain=not lines.underscored))
            else:
                numbers.append(rank_categories(field, ranks, [text or None for text in strings], start, refusals))
        held = {
            name: columns.string_column([text or None for text in cells.get(name, ())]) for name in self._options.keep
        }
        return Chunk(
            start=start,
            end=start + len(records),
            columns=[[np.array(column, dtype=np.float64)] for column in numbers],
            passthrough=held,
            position=position + lines.size,
            share=0.0,
            refusals=refusals,
        )

    def _records(self, lines: _Lines, row: int, refusals: list[Refusal]) -> Iterator[list[str]]:
        """Yield the rows of a block, one cell per column; a malformed row is refused, and left empty."""
        reader, width = csv.reader(lines), len(self._names)
        while lines.size < _BLOCK_BYTES:
            try:
                record = next(reader, None)
            except csv.Error as error:
                refusals.append(new_refusal(row, "", lines.last.rstrip("\r\n"), f"malformed csv: {error}"))
                record = [""] * width
            if record is None:
                return
            if len(record) != width:
                if not record and width > 1:
                    continue  # an empty line is not a row
                record = self._complete(record, row, refusals)
            yield record
            row += 1

    def _complete(self, record: list[str], row: int, refusals: list[Refusal]) -> list[str]:
        """Return a row with too many or too few cells as an empty one.

        With one column, an empty line is an empty cell.
        """
        if record:
            reason = f"{len(record)} cells, the header has {len(self._names)}"
            refusals.append(new_refusal(row, "", ",".join(record).rstrip("\r\n"), reason))
        return [""] * len(self._names)


class _Lines:
    """Lines of a file from its current position, with the number of bytes read and the last line.

    `invalid` is set by a line that is not UTF-8, `underscored` by one with an underscore.
    """

    def __init__(self, file: BinaryIO, where: str) -> None:
        self._file, self._where = file, where
        self.size, self.last, self.invalid, self.underscored = 0, "", False, False

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._file.readline(_MAX_LINE_BYTES)
        if not line:
            raise StopIteration
        if len(line) == _MAX_LINE_BYTES:
            raise DataError("a line of more than 64 MiB", where=self._where, hint="end lines with \\n")
        self.size += len(line)
        self.underscored |= b"_" in line
        try:
            self.last = line.decode()
        except UnicodeDecodeError:
            self.invalid, self.last = True, line.decode(errors="surrogateescape")
        return self.last


class Csv:
    """Reads and writes csv."""

    def scan(self, path: Path, options: ScoringOptions) -> CsvScan:
        """Open a csv file."""
        return CsvScan(path, options)

    def encode(self, columns_: Mapping[str, ArrowColumn]) -> bytes:
        """Encode the lines of a part, without the header."""
        text = io.StringIO(newline="")
        cells = [columns.format_values(column) for column in columns_.values()]
        csv.writer(text, lineterminator="\n").writerows(zip(*cells, strict=True))
        return text.getvalue().encode("utf-8", "replace")

    def join(
        self, parts: Sequence[Path], out: Path, empty: Mapping[str, ArrowColumn], about: Mapping[str, str]
    ) -> None:
        """Write the header and the parts."""
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerow(empty)
        with out.open("wb") as file:
            file.write(text.getvalue().encode("utf-8", "replace"))
            for part in parts:
                with part.open("rb") as lines:
                    shutil.copyfileobj(lines, file)


def _header(file: BinaryIO, where: str) -> tuple[list[str], int]:
    """Return the names of the columns, and the position of the first row."""
    begin = len(_BOM) if file.read(len(_BOM)) == _BOM else 0
    file.seek(begin)
    lines = _Lines(file, where)
    names = next(csv.reader(lines), [])
    if not names:
        raise DataError("the file has no header", where=where, hint="name the columns in its first line")
    return names, begin + lines.size


def _numbers(field: Field, strings: Sequence[str], start: int, refusals: list[Refusal], *, plain: bool) -> list[float]:
    """Parse strings as numbers; one by one if a string has an underscore, which Python accepts and we do not."""
    with suppress(ValueError):
        if plain or not any("_" in text for text in strings):
            return [float(text) if text else MISSING for text in strings]
    found = [parse_number(text) if text else MISSING for text in strings]
    for index, (text, value) in enumerate(zip(strings, found, strict=True)):
        if value is None:
            refusals.append(new_refusal(start + index, field.name, text, "not a number"))
    return [MISSING if value is None else value for value in found]


plugin = Csv()
