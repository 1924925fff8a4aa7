"""A file of rows, read in chunks: what the formats of batch scoring take and give."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from headway.core.variant import Signature

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    Floats = NDArray[numpy.float64]
    Flags = NDArray[numpy.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Column:
    """Values of one column, [n]: `type` is their Arrow type, as nanoarrow has it.

    `values` are in an array of that type's storage, where a time is a count; texts are in a list. `missing` [n] tells
    the nulls among them; None where there are none. Texts that are null are None as well.
    """

    type: Any
    values: NDArray[Any] | list[str | None]
    missing: Flags | None = None

    def __len__(self) -> int:
        """How many rows."""
        return len(self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a row gets no answer: the row, counted from 0 in its file, and the column and value at fault."""

    row: int
    column: str
    value: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chunk:
    """Rows that follow each other in a file, from row `start` on, as a model reads them: float64 [n, d] in C order.

    A row of `refusals` holds NaN where it could not be read. `kept` are the columns that are copied through. The next
    chunk begins at `position`, as the format counts; `share` of the file, in [0, 1], has been read by then.
    """

    start: int
    rows: Floats
    kept: Mapping[str, Column]
    position: int
    share: float
    refusals: Sequence[Refusal] = ()

    @property
    def end(self) -> int:
        """The row after the last one."""
        return self.start + len(self.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringOptions:
    """What is read of a file: the columns of a signature, and those to `keep`; a text of `missing` counts as null.

    `views` names the feature view of each column that a server would look up: a file must hold it.
    """

    signature: Signature
    keep: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    views: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns, each once."""
        return tuple(dict.fromkeys((*self.signature.names, *self.keep)))


class Scan(Protocol):
    """A file, opened: `kept` are the columns that are copied through, without rows."""

    @property
    def kept(self) -> Mapping[str, Column]:
        """The columns to keep, in their order and of the type of each chunk's, [0]."""
        ...

    def chunks(self, start: int, position: int) -> Iterator[Chunk]:
        """The rows from row `start` on, which lies at `position` (0 and 0 for all), in the order of the file.

        Every row comes once, whole or refused; where a chunk ends depends on the file alone. Raises DataError where the
        file is not what its name says.
        """
        ...


class Format(Protocol):
    """A kind of file of rows, named as its suffix: read in chunks, written in parts that are joined at the end."""

    def scan(self, path: Path, wanted: ScoringOptions) -> Scan:
        """Open a file; raises DataError that names a column which is missing, or of another type than is wanted."""
        ...

    def encode(self, columns: Mapping[str, Column]) -> bytes:
        """A part of an answer, [n]; equal columns give equal bytes. Raises DataError for a type that it cannot hold."""
        ...

    def join(self, parts: Sequence[Path], out: Path, empty: Mapping[str, Column], about: Mapping[str, str]) -> None:
        """Write the file of these parts in their order; `empty` are their columns without rows.

        What it is `about` goes into its metadata, where the format has any. Equal parts give equal bytes.
        """
        ...
