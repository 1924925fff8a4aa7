"""Files of rows that are read in chunks: what the formats of batch scoring take and return."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol
from urllib.parse import unquote

from headway.core.arrays import copy_rows
from headway.core.variant import Signature

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headway.core.arrays import Bools, Floats


ROW = "row"
"""Column of an output with the number of each row of the file, from 0."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ArrowColumn:
    """Values of one column of n rows; `type` is their Arrow type, as nanoarrow has it.

    `values` is an array of that type's storage, where a time is a count, or a list of strings. `missing` [n] marks the
    nulls; None if there are none. A null string is also None.
    """

    type: Any
    values: NDArray[Any] | list[str | None]
    missing: Bools | None = None

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A row that gets no answer: its index from 0 in the file, with the column and value at fault."""

    row: int
    column: str
    value: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chunk:
    """Consecutive rows [start, end) of a file, as a model reads them: float64 arrays per column, one after the other.

    A row in `refusals` holds NaN where it could not be read. `passthrough` are the columns that are copied unchanged.
    The next chunk begins at `position`, in the format's own count; `share` in [0, 1] of the file has been read by then.
    """

    start: int
    end: int
    columns: Sequence[Sequence[Floats]]
    passthrough: Mapping[str, ArrowColumn]
    position: int
    share: float
    refusals: Sequence[Refusal] = ()

    def rows(self, start: int | None = None, stop: int | None = None, *, order: Literal["C", "F"] = "C") -> Floats:
        """Copy rows [start, stop) of the file, by default all of the chunk, to an array (n, d) in a memory order."""
        first, last = (self.start if start is None else start), (self.end if stop is None else stop)
        return copy_rows(self.columns, first - self.start, last - self.start, order=order)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringOptions:
    """Columns to read from a file: those of a signature, and those to `keep`; a string in `missing` counts as null.

    With `spreadsheet_safe`, formulas in the strings that are kept are escaped. `views` maps each column that a server
    would look up to its feature view: a file must hold it. `partitions` are the columns whose one value is in the path
    of the file, as Hive writes it (None for null). `withdrawn` are the classes that the release answers no more.
    """

    signature: Signature
    keep: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    spreadsheet_safe: bool = False
    views: Mapping[str, str] = field(default_factory=dict)
    partitions: Mapping[str, str | None] = field(default_factory=dict)
    withdrawn: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns, each once."""
        return tuple(dict.fromkeys((*self.signature.names, *self.keep)))


_HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"


def parse_partitions(folders: Sequence[str]) -> dict[str, str | None]:
    """Return the values of Hive partitions by column.

    >>> parse_partitions(["year=2024", "carrier=A%2FB", "note=__HIVE_DEFAULT_PARTITION__", "other"])
    {'year': '2024', 'carrier': 'A/B', 'note': None}
    """
    pairs = (folder.split("=", 1) for folder in folders if "=" in folder)
    return {unquote(name): None if value == _HIVE_NULL else unquote(value) for name, value in pairs}


def is_data_file(name: str, suffix: str) -> bool:
    """Return whether a path in a folder names data: no part of it begins with `.` or `_`, as other tools have it.

    >>> is_data_file("year=2024/a.parquet", ".parquet"), is_data_file("_temporary/a.parquet", ".parquet")
    (True, False)
    """
    return name.endswith(suffix) and not any(part.startswith((".", "_")) for part in name.split("/"))


class Scan(Protocol):
    """An opened file."""

    @property
    def passthrough(self) -> Mapping[str, ArrowColumn]:
        """Columns to copy unchanged, in their order and with the type of each chunk's, of length 0."""
        ...

    def chunks(self, start: int, position: int) -> Iterator[Chunk]:
        """Yield the rows from row `start` on, which lies at `position` (0 and 0 for all), in the order of the file.

        Every row comes once, complete or refused; chunk boundaries depend only on the file. Raises DataError if the
        file is not of the format that its name says.
        """
        ...


class Format(Protocol):
    """A file format, named by its suffix: read in chunks, written in parts that are joined at the end."""

    def scan(self, path: Path, options: ScoringOptions) -> Scan:
        """Open a file; raises DataError, which names a column that is missing or has the wrong type."""
        ...

    def encode(self, columns: Mapping[str, ArrowColumn]) -> bytes:
        """Encode one part of the output; equal columns give equal bytes. Raises DataError for a type it cannot hold.

        The column ROW, if there is one, counts from 0 over all parts.
        """
        ...

    def join(
        self, parts: Sequence[Path], out: Path, empty: Mapping[str, ArrowColumn], about: Mapping[str, str]
    ) -> None:
        """Write the file of these parts in their order; `empty` are their columns without rows.

        `about` becomes its metadata if the format has any. Equal parts give equal bytes.
        """
        ...
