"""Version of a table that is larger than memory, equal to that of the same table in memory.

The digest takes rows in the order of their fingerprints. Rows are therefore spread over files by the first bits of
these: file after file, each sorted in memory, is the table in that order. Its columns are then hashed one after the
other from files of their cells. The files take about twice the size of the table, and hold its rows while it is read.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import numpy as np
import polars as pl
from msgspec.structs import replace

from headway.core.provenance import ColumnPrint
from headway.data.provenance.fingerprint import (
    CanonicalColumn,
    Words,
    canonical_columns,
    canonical_order,
    cells_in_order,
    column_head,
    digest_head,
    fingerprint_columns,
    missing_cells,
)
from headway.data.provenance.versions import SAMPLE, DataVersion, column_print

PART_ROWS = 1 << 18
_MAX_BITS = 9  # more files have fewer rows of a batch each, and small writes take long
_PRINT = "headway.print"
_SIZE_BYTES = 8
_HASHED_BYTES = 1 << 20


class StreamedVersion:
    """Builds the version of a table from its batches.

    Parameters
    ----------
    folder
        An empty folder for temporary files.
    n_rows
        About how many rows will be added.
    part_rows
        Rows that are sorted in memory together; many equal rows may be more.
    """

    def __init__(self, folder: Path, *, n_rows: int, part_rows: int = PART_ROWS) -> None:
        self._folder, self._n_rows = folder, 0
        self._bits = min(_MAX_BITS, (max(n_rows - 1, 0) // part_rows).bit_length())
        self._parts = [folder / f"part-{number}" for number in range(1 << self._bits)]
        self._columns: dict[str, _ColumnSums] = {}
        self._sample = pl.DataFrame()

    def add(self, batch: pl.DataFrame) -> None:
        """Add rows; every batch has the same columns and types."""
        texts = [pl.col(name).cast(pl.String) for name, kind in batch.schema.items() if _is_categorical(kind)]
        batch = batch.with_columns(texts)
        self._n_rows += len(batch)
        columns = canonical_columns(batch)
        found = fingerprint_columns(columns, len(batch))
        for column in columns:
            self._columns.setdefault(column.name, _ColumnSums()).add(column, found.columns[column.name])
        batch = batch.with_columns(pl.Series(_PRINT, found.rows))
        self._keep_smallest(batch)
        self._spread(batch, found.rows)

    def digest(self) -> str:
        """Return the digest of all rows that were added; nothing can be added after that."""
        return self._digest(lambda _: None)

    def version(self, *, name: str) -> DataVersion:
        """Return the version of all rows that were added; its row fingerprints take 8 bytes a row."""
        rows: list[Words] = []
        digest = self._digest(rows.append)
        sampled = {column.name: column for column in canonical_columns(self._sample.drop(_PRINT, strict=False))}
        prints = {name: self._print(name, sampled[name]) for name in sorted(self._columns)}
        return DataVersion(
            name=name, digest=digest, columns=prints, rows=np.concatenate(rows or [np.zeros(0, np.uint64)])
        )

    def _spread(self, batch: pl.DataFrame, rows: Words) -> None:
        """Append each row to the file of its fingerprint."""
        numbers = rows >> np.uint64(64 - self._bits) if self._bits else np.zeros(len(rows), np.uint64)
        batch = batch[np.argsort(numbers, kind="stable")]
        ends = np.cumsum(np.bincount(numbers.astype(np.int64), minlength=len(self._parts)))
        for path, (start, end) in zip(self._parts, pairwise([0, *ends.tolist()]), strict=True):
            if start < end:
                content = io.BytesIO()
                batch[start:end].write_ipc_stream(content, compat_level=pl.CompatLevel.oldest())
                with path.open("ab") as file:
                    file.write(content.getbuffer().nbytes.to_bytes(_SIZE_BYTES, "little"))
                    file.write(content.getbuffer())

    def _keep_smallest(self, batch: pl.DataFrame) -> None:
        """Keep the rows with the smallest fingerprints, whose values are summarized."""
        if len(self._sample) == SAMPLE:
            batch = batch.filter(pl.col(_PRINT) < self._sample[_PRINT].max())
        if len(batch):
            both = pl.concat([self._sample, batch]) if len(self._sample) else batch
            self._sample = both.bottom_k(SAMPLE, by=_PRINT)

    def _print(self, name: str, sampled: CanonicalColumn) -> ColumnPrint:
        """Summarize a column: its values in the sample, its sums over all rows."""
        sums = self._columns[name]
        found = column_print(sampled, sums.cells, np.arange(len(self._sample)))
        return replace(found, kind=sums.kind(self._n_rows), missing=sums.missing)

    def _digest(self, take: Callable[[Words], object]) -> str:
        """Return the digest, and hand over the fingerprints of the rows, sorted."""
        files = {name: _CellFiles(self._folder / f"column-{index}") for index, name in enumerate(sorted(self._columns))}
        for table in self._sorted_parts():
            found = table[_PRINT].to_numpy()
            columns = canonical_columns(table.drop(_PRINT))
            order = canonical_order(columns, found)
            take(found[order])
            for column in columns:
                files[column.name].add(*cells_in_order(column, order))
        content = hashlib.sha256(digest_head(self._n_rows, len(files)))
        for name, file in files.items():
            words = list(file.words())
            content.update(column_head(name, self._columns[name].kind(self._n_rows), len(words)))
            for path in [*words, *file.strings()]:
                for part in _contents(path):
                    content.update(part)
                path.unlink()
        return f"sha256:{content.hexdigest()}"

    def _sorted_parts(self) -> Iterator[pl.DataFrame]:
        """Yield the rows of each file, in the order of the files, and delete it."""
        for path in self._parts:
            if path.exists():
                with path.open("rb") as file:
                    pieces = list(_pieces(file))
                path.unlink()
                yield pl.concat(pieces)


@dataclass(slots=True)
class _ColumnSums:
    """Sums over the cells of a column."""

    total: int = 0
    missing: int = 0
    found: set[str] = field(default_factory=set)

    def add(self, column: CanonicalColumn, cells: str) -> None:
        self.total = (self.total + int(cells, 16)) % 2**64
        self.missing += missing_cells(column)
        self.found.add(column.kind)

    @property
    def cells(self) -> str:
        return f"{self.total:016x}"

    def kind(self, n_rows: int) -> str:
        """Return the kind of the column: that of its values, `missing` if it has none."""
        return "missing" if self.missing == n_rows else next(iter(self.found - {"missing"}))


class _CellFiles:
    """The cells of a column in order: a file for each of their words, and one for the strings of a text column."""

    def __init__(self, path: Path) -> None:
        self._path, self._n_rows = path, 0

    def add(self, words: list[Words], strings: bytes) -> None:
        for number, word in enumerate(words):
            if number and not word.any():
                continue  # rows without a further word are zeros: a hole in the file
            with self._word(number).open("r+b" if self._word(number).exists() else "w+b") as file:
                file.seek(8 * self._n_rows)
                file.write(word.data)
        self._n_rows += len(words[0])
        if strings:
            with self._strings().open("ab") as file:
                file.write(strings)

    def words(self) -> Iterator[Path]:
        """Yield the files of words, of which the first is always there, as long as the column."""
        for path in (self._word(number) for number in range(2)):
            if path.exists():
                with path.open("r+b") as file:
                    file.truncate(8 * self._n_rows)
                yield path

    def strings(self) -> list[Path]:
        """Return the file of strings, if there are any."""
        return [self._strings()] if self._strings().exists() else []

    def _word(self, number: int) -> Path:
        return self._path.with_suffix(f".{number}")

    def _strings(self) -> Path:
        return self._path.with_suffix(".strings")


def _is_categorical(kind: pl.DataType) -> bool:
    return isinstance(kind, pl.Categorical | pl.Enum)


def _pieces(file: BinaryIO) -> Iterator[pl.DataFrame]:
    while size := file.read(_SIZE_BYTES):
        yield pl.read_ipc_stream(io.BytesIO(file.read(int.from_bytes(size, "little"))))


def _contents(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while part := file.read(_HASHED_BYTES):
            yield part
