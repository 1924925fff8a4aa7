"""Segments of a log: Arrow IPC files that are written atomically and named in the order of time."""

from __future__ import annotations

import io
import itertools
import os
import struct
import tempfile
import time
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import nanoarrow
import numpy as np
from nanoarrow.ipc import InputStream, StreamWriter

from headway.core.errors import DataError, StoreError
from headway.storage import atomic
from headway.storage.arrow_messages import MalformedMessage, check_messages

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Column = NDArray[np.float64] | NDArray[np.int64] | NDArray[np.int8] | Sequence[str | None]
    _Buffer = bytes | array[int] | NDArray[Any]

SUFFIX = ".arrow"
MIN_MERGED = 8
_SMALL_BYTES, _MERGED_BYTES = 1 << 20, 8 << 20
_TYPES = {
    "float64": nanoarrow.c_schema(nanoarrow.float64()),
    "int64": nanoarrow.c_schema(nanoarrow.int64()),
    "int8": nanoarrow.c_schema(nanoarrow.int8()),
    "string": nanoarrow.c_schema(nanoarrow.string()),
}
_KINDS = {
    nanoarrow.Type.DOUBLE: "f",
    nanoarrow.Type.INT64: "i",
    nanoarrow.Type.INT8: "i",
    nanoarrow.Type.STRING: "O",
}
_TYPE_NAMES = {code: np.dtype(code).name for code in "dlqb"}  # numpy takes several us to make the name of a dtype
_ALIGNED = 8
_HEAD = struct.Struct("<II I6H iIqhBx 5H2x iIqII")
_COUNT = struct.Struct("<4xI")
_VERSION, _RECORD_BATCH = 4, 3
_END = b"\xff\xff\xff\xff\0\0\0\0"
_SEARCHED_BYTES = 1 << 18
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


def load(path: Path, *names: str) -> dict[str, Column]:
    """Return the columns of a segment, or those of some names that it has, with null as None.

    Raises StoreError if it is not one, or was removed.
    """
    try:
        with path.open("rb") as file:
            check_messages(file)
        with InputStream.from_path(path) as stream:
            table = nanoarrow.Array(stream)
        found = [field.name for field in table.schema.fields]
        return {name: _values(table.child(index)) for index, name in enumerate(found) if not names or name in names}
    except (OSError, ValueError, RuntimeError, NotImplementedError, MalformedMessage) as error:
        raise StoreError(f"a segment cannot be read: {error}", where=str(path)) from error


def decode(
    content: bytes | bytearray, *, kind_of: Callable[[str], str | None], max_rows: int, max_columns: int
) -> dict[str, Column]:
    """Return the columns of a segment that another machine sent.

    Parameters
    ----------
    content : bytes
        One batch of at most `max_rows` rows and `max_columns` columns, not compressed, all of the types of a segment:
        other types can claim more rows than they have bytes. All of that is checked before a value is decoded.
    kind_of : callable
        Returns "f", "i" or "O" (strings) for the name of a column, or None for one that is left out.

    Raises
    ------
    DataError
        If it is anything else.
    """
    try:
        with tempfile.TemporaryFile() as file:
            file.write(content)
            file.seek(0)
            check_messages(file, max_rows=max_rows)
            file.seek(0)
            with InputStream.from_readable(file) as stream:
                return _parsed(nanoarrow.ArrayStream(stream), kind_of, max_rows=max_rows, max_columns=max_columns)
    except (OSError, ValueError, RuntimeError, NotImplementedError, MalformedMessage) as error:
        raise DataError(f"a segment cannot be read: {error}") from error


def _parsed(
    batches: nanoarrow.ArrayStream, kind_of: Callable[[str], str | None], *, max_rows: int, max_columns: int
) -> dict[str, Column]:
    fields = batches.schema.fields
    wrong = [field.name for field in fields if field.type not in _KINDS]
    if wrong or not 0 < len({field.name for field in fields}) == len(fields) <= max_columns:
        raise DataError(f"the columns are not those of a segment: {wrong[:1] or len(fields)}")
    kinds = {field.name: kind for field in fields if (kind := kind_of(field.name))}
    if other := [field.name for field in fields if kinds.get(field.name, _KINDS[field.type]) != _KINDS[field.type]]:
        raise DataError(f"the column {other[0][:80]!r} has another type than in a log")
    found = list(itertools.islice(batches.iter_chunks(), 3))  # nanoarrow yields an empty one in front
    full = [batch for batch in found if len(batch)] or found[-1:]
    if len(found) == 3 or len(full) != 1 or len(full[0]) > max_rows:
        raise DataError(f"a segment has one batch of at most {max_rows:,} rows")
    return {field.name: _values(full[0].child(index)) for index, field in enumerate(fields) if field.name in kinds}


def contains(path: Path, text: str) -> bool:
    """Return whether the bytes of a segment hold a text, without decoding it; raises OSError.

    It is read in parts, because a search keeps other threads waiting, and the pages of a log are seldom in memory.
    """
    wanted, before = text.encode("utf-8", "replace"), b""
    with path.open("rb") as file:
        while part := file.read(_SEARCHED_BYTES):
            part = before + part
            if wanted in part:
                return True
            before = part[-len(wanted) :]
    return False


def merge(folder: Path, *, before_ns: int, span_ns: int, part: str) -> int:
    """Merge neighboring small segments that were written before a time; return how many files are replaced.

    The column `part` of a merged segment is the time in the name of the segment that a row was written to. A merged
    segment has the name of its last part with a suffix, and holds what was written in one span of time. Parts are
    removed once it is on disk; if that is interrupted, both have the same rows. Segments that cannot be read stay.
    """
    old = [path for path in segments(folder) if written_ns(path) < before_ns]
    found = groups([(path, path.stat().st_size) for path in old], span_ns)
    return sum(_merge_files(folder, paths, part) for paths in found if len(paths) >= MIN_MERGED)


def groups(files: Sequence[tuple[Path, int]], span_ns: int) -> Iterator[list[Path]]:
    """Yield neighboring small files of one span of time, in groups of at most `_MERGED_BYTES`."""
    group, total, span = list[Path](), 0, -1
    for path, size in files:
        own = written_ns(path) // span_ns
        if own != span or size >= _SMALL_BYTES or total + size > _MERGED_BYTES:
            yield group
            group, total, span = [], 0, own
        if size < _SMALL_BYTES:
            group.append(path)
            total += size
    yield group


def _merge_files(folder: Path, paths: Sequence[Path], part: str) -> int:
    """Merge the files that have the columns of the last; return how many are replaced."""
    loaded: dict[Path, dict[str, Column]] = {}
    for path in paths:
        with suppress(StoreError):
            loaded[path] = load(path)
    kinds = {path: _kind(table, part) for path, table in loaded.items()}
    tables = {path: table for path, table in loaded.items() if kinds[path] == kinds[[*loaded][-1]]}
    if len(tables) < MIN_MERGED:
        return 0
    known = {int(number) for table in tables.values() for number in np.unique(np.asarray(table.get(part, [])))}
    parts = [
        {part: np.full(len(next(iter(table.values()))), written_ns(path), np.int64), **table}
        for path, table in tables.items()
        if part in table or written_ns(path) not in known  # otherwise it was merged, and not removed
    ]
    columns = {name: _joined([table[name] for table in parts]) for name in parts[-1]}
    save(folder, columns, name=f"{[*tables][-1].stem}m{SUFFIX}")
    for path in tables:
        path.unlink(missing_ok=True)
    atomic.sync(folder)
    return len(tables)


def _kind(table: Mapping[str, Column], part: str) -> list[tuple[str, str]]:
    """Return names and types of the columns other than `part`."""
    return [(name, str(getattr(values, "dtype", str))) for name, values in table.items() if name != part]


def _joined(columns: Sequence[Column]) -> Column:
    if isinstance(columns[0], np.ndarray):
        joined: Column = np.concatenate([np.asarray(values) for values in columns])
        return joined
    return cast("list[str | None]", list(itertools.chain.from_iterable(columns)))


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


def _values(column: nanoarrow.Array) -> Column:
    if column.schema.type == nanoarrow.Type.STRING:
        texts: list[str | None] = column.to_pylist()
        return texts
    return np.asarray(column.to_pysequence())


def _write(columns: Mapping[str, Column], file: BinaryIO) -> None:
    """Write a stream of one record batch."""
    kinds = tuple(map(_type_name, columns.values()))
    length = len(next(iter(columns.values())))
    nulls: list[int] = []
    parts: list[_Buffer] = []
    for values in columns.values():
        validity, *data = _buffers(values)
        nulls.append(0 if validity is None else sum(value is None for value in values))
        parts += (validity or b"", *data)
    sizes = np.array([memoryview(part).nbytes for part in parts], np.int64)
    padded = -(-sizes // _ALIGNED) * _ALIGNED
    file.write(_schema(tuple(columns), kinds))
    file.write(_batch_head(length, nulls, sizes, padded))
    for part, gap in zip(parts, (padded - sizes).tolist(), strict=True):
        file.write(part)
        if gap:
            file.write(bytes(gap))
    file.write(_END)


def _type_name(values: Column) -> str:
    return _TYPE_NAMES[values.dtype.char] if isinstance(values, np.ndarray) else "string"


@lru_cache(maxsize=64)
def _schema(names: tuple[str, ...], kinds: tuple[str, ...]) -> bytes:
    """Return the message with the schema of columns; all segments of a release have the same."""
    types = {name: nanoarrow.Schema(_TYPES[kind]) for name, kind in zip(names, kinds, strict=True)}
    file = io.BytesIO()
    with StreamWriter.from_writable(file) as writer:
        writer.write_stream(nanoarrow.c_array_stream([], schema=nanoarrow.struct(types)))
    return file.getvalue().removesuffix(_END)


def _batch_head(length: int, nulls: Sequence[int], sizes: NDArray[np.int64], padded: NDArray[np.int64]) -> bytes:
    """Return the head of a record batch: a Message with a RecordBatch, as flatbuffers of a fixed layout.

    nanoarrow takes 30 us for each column, which was most of the time of a log writer with many outputs.
    """
    nodes = np.array([(length, count) for count in nulls], np.int64).tobytes()
    starts = np.cumsum(padded) - padded
    buffers = np.stack([starts, sizes], axis=1).tobytes()
    size = _HEAD.size + len(nodes) + _COUNT.size + len(buffers)
    body = int(padded.sum())
    nodes_end = _HEAD.size - 8 + len(nodes)  # in the flatbuffer, which begins behind the mark and its size
    head = _HEAD.pack(
        *(0xFFFFFFFF, size - 8),
        *(16, 12, 20, 16, 18, 4, 8),  # the table of the message, and where its fields are
        *(12, 28, body, _VERSION, _RECORD_BATCH),
        *(10, 20, 8, 4, 16),  # where the fields of the record batch are
        *(12, 16, length, nodes_end + 4 - 64, len(nulls)),
    )
    return b"".join((head, nodes, _COUNT.pack(len(sizes)), buffers))


def _buffers(values: Column) -> tuple[bytes | None, *tuple[_Buffer, ...]]:
    """Return the validity of a column, None if nothing is null, and its values, behind the offsets of strings."""
    return (None, np.ascontiguousarray(values)) if isinstance(values, np.ndarray) else _texts(values)


def _texts(values: Sequence[str | None]) -> tuple[bytes | None, _Buffer, _Buffer]:
    """Return the buffers of strings: appending one string at a time would hold the interpreter for too long."""
    texts, validity = _without_nulls(values)
    joined = "".join(texts)
    if not joined:
        return validity, bytes(4 * len(texts) + 4), b""
    content = joined.encode("utf-8", "replace")
    sizes = map(len, texts if joined.isascii() else [text.encode("utf-8", "replace") for text in texts])
    return validity, array("i", itertools.accumulate(sizes, initial=0)), content


def _without_nulls(values: Sequence[str | None]) -> tuple[Sequence[str], bytes | None]:
    """Return the strings, "" for null, and the bitmap of those that are not null; None if none is null."""
    if None not in values:
        return cast("Sequence[str]", values), None
    known = np.array([value is not None for value in values])
    return [value or "" for value in values], np.packbits(known, bitorder="little").tobytes()
