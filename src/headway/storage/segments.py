"""Segments of a log: Arrow IPC files that are written atomically and named in the order of time."""

from __future__ import annotations

import itertools
import os
import time
from array import array
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import nanoarrow
from nanoarrow.ipc import StreamWriter

from headway.storage import atomic

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    Column = NDArray[numpy.float64] | NDArray[numpy.int64] | NDArray[numpy.int8] | list[str]

SUFFIX = ".arrow"
_TYPES = {"float64": nanoarrow.float64(), "int64": nanoarrow.int64(), "int8": nanoarrow.int8()}
_numbers = itertools.count()


def fresh() -> str:
    """Return the name of a new segment, after all existing ones in the order of time."""
    return f"{time.time_ns():020}-{os.getpid()}-{next(_numbers)}{SUFFIX}"


def save(folder: Path, columns: Mapping[str, Column], *, name: str = "") -> Path:
    """Write one segment of columns of equal length, on disk on return; a segment of that name is replaced.

    Arrays are written as they are, in C order. Raises StoreError if that fails.
    """
    path = folder / (name or fresh())
    atomic.fill(path, lambda file: _write(columns, file), temporary=folder.parent)
    _let_go(path)
    return path


def segments(folder: Path, *, after: str = "") -> Iterator[Path]:
    """Return the segments of a folder in the order in which they were written, only those named after `after`."""
    if folder.is_dir():
        yield from sorted(path for path in folder.glob(f"*{SUFFIX}") if path.name > after)


def written_ns(path: Path) -> int:
    """Return when a segment was written, in ns since 1970, by its name; none of its rows is later."""
    written = path.name.partition("-")[0]
    return int(written) if written.isdigit() else time.time_ns()


def _let_go(path: Path) -> None:
    """Release the page cache of a segment: a log is read much later."""
    with suppress(AttributeError, OSError):  # only advice, and not available on every system
        file = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(file)


def _write(columns: Mapping[str, Column], file: BinaryIO) -> None:
    children = {name: _array(values) for name, values in columns.items()}
    schema = nanoarrow.struct({name: nanoarrow.Schema(child.schema) for name, child in children.items()})
    length = len(next(iter(columns.values())))
    batch = nanoarrow.c_array_from_buffers(schema, length, [None], children=list(children.values()))
    with StreamWriter.from_writable(file) as writer:
        writer.write_stream(nanoarrow.c_array_stream(batch))


def _array(values: Column) -> nanoarrow.c_array.CArray:
    if isinstance(values, list):
        return _texts(values)
    return nanoarrow.c_array_from_buffers(_TYPES[values.dtype.name], len(values), [None, values])


def _texts(values: list[str]) -> nanoarrow.c_array.CArray:
    """Build a string array from its buffers: appending one string at a time would hold the interpreter for too long."""
    joined = "".join(values)
    if not joined:
        return nanoarrow.c_array_from_buffers(nanoarrow.string(), len(values), [None, bytes(4 * len(values) + 4), b""])
    content = joined.encode("utf-8", "replace")
    sizes = map(len, values if joined.isascii() else [value.encode("utf-8", "replace") for value in values])
    offsets = array("i", itertools.accumulate(sizes, initial=0))
    return nanoarrow.c_array_from_buffers(nanoarrow.string(), len(values), [None, offsets, content])
