"""Memory shared by the processes of a server: counters by row and name, and a ring buffer of records.

The memory is created before the fork, and exists as long as any process lives. Each process writes its own row of
counters, and a reader sums over all rows: the counts of a process outlive it, and the process that replaces it
continues in the same row. In a ring buffer one process writes and another reads; neither waits, and either may die.
"""

from __future__ import annotations

import mmap
import os
import struct
import threading
import zlib
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from headway.core.contracts import Ints

_CELL_BYTES = 8
_NAME_CELLS = 25  # 200 bytes: NAME@sha256:DIGEST has at most 136
_HEAD, _TAIL, _PIECE_TABLE = 0, 1, 2
_DOCUMENT_HEAD = struct.Struct("<QQd")  # length, checksum, time
_PAGE = mmap.PAGESIZE
_PIECES = 64
_RESIDENT_BYTES, _DUE_BYTES = 4 << 20, 1 << 20


class SharedTable:
    """A table int64 [rows, width] of zeros; create it before forking.

    >>> shared = SharedTable(2, 3)
    >>> shared.row(1)[2] += 5
    >>> shared.total().tolist()
    [0, 0, 5]
    """

    def __init__(self, rows: int, width: int) -> None:
        memory = mmap.mmap(-1, rows * width * _CELL_BYTES)
        self.table: Ints = np.frombuffer(memory, dtype=np.int64).reshape(rows, width)

    def row(self, number: int) -> Ints:
        """Return a row int64 [width], for the one process that writes it."""
        row: Ints = self.table[number]
        return row

    def total(self) -> Ints:
        """Return the sum over all rows, int64 [width]."""
        total: Ints = self.table.sum(axis=0)
        return total


class SharedDocument:
    """The last document that a process wrote, with a time; create it before forking.

    Two that are written at once may leave none.

    >>> shared = SharedDocument(10)
    >>> shared.write(b"keys", 1.5)
    >>> shared.read()
    (b'keys', 1.5)
    """

    def __init__(self, size_bytes: int) -> None:
        self._size_bytes = size_bytes
        self._memory = mmap.mmap(-1, _DOCUMENT_HEAD.size + size_bytes)

    def write(self, content: bytes, at_s: float) -> None:
        """Replace the document; one that is too large is not written."""
        start = _DOCUMENT_HEAD.size
        if len(content) <= self._size_bytes:
            self._memory[start : start + len(content)] = content
            _DOCUMENT_HEAD.pack_into(self._memory, 0, len(content), zlib.crc32(content), at_s)

    def read(self) -> tuple[bytes, float]:
        """Return the document and its time; b"" for none."""
        length, checksum, at_s = _DOCUMENT_HEAD.unpack_from(self._memory)
        content = self._memory[_DOCUMENT_HEAD.size : _DOCUMENT_HEAD.size + length]
        return (content, at_s) if zlib.crc32(content) == checksum else (b"", 0.0)


class NamedCounters:
    """Counters int64 [width] by name; each process adds the names that it needs to its own row."""

    def __init__(self, rows: int, width: int, *, max_names: int = 64) -> None:
        table = SharedTable(rows, max_names * (_NAME_CELLS + width)).table
        self._records = table.reshape(rows, max_names, _NAME_CELLS + width)
        self._known: dict[tuple[int, str], Ints] = {}

    def of(self, row: int, name: str) -> Ints:
        """Return the counters of a name in a row, zeros for a new name; raises IndexError if the table is full."""
        counters = self._known.get((row, name))
        if counters is None:
            counters = self._known[row, name] = self._add(row, name)
        return counters

    def by_name(self) -> dict[str, Ints]:
        """Return the counters of each name in all rows that have it, int64 [n, width]."""
        rows: dict[str, list[Ints]] = {}
        for _, name, counters in self.entries():
            rows.setdefault(name, []).append(counters)
        return {name: np.stack(counters) for name, counters in rows.items()}

    def entries(self) -> Iterator[tuple[int, str, Ints]]:
        """Yield row, name and counters of every entry."""
        for row, records in enumerate(self._records):
            for record in records[records[:, 0] != 0]:
                yield row, record[:_NAME_CELLS].tobytes().rstrip(b"\0").decode(), record[_NAME_CELLS:]

    def _add(self, row: int, name: str) -> Ints:
        cells = np.frombuffer(name.encode().ljust(_NAME_CELLS * _CELL_BYTES, b"\0"), dtype=np.int64)
        records = self._records[row]
        fits = np.flatnonzero((records[:, 0] == 0) | (records[:, :_NAME_CELLS] == cells).all(axis=1))
        if not len(fits):
            raise IndexError(f"no space for '{name}' among {len(records)} names")
        record = records[fits[0]]
        if not record[0]:
            record[1:_NAME_CELLS] = cells[1:]
            record[0] = cells[0]  # last: from now on the name is visible, and complete
        counters: Ints = record[_NAME_CELLS:]
        return counters


class CounterMap(MutableMapping[str, int]):
    """One number by name in a row; a name with 0 can be read, and is not listed."""

    def __init__(self, counters: NamedCounters, row: int) -> None:
        self._counters = counters
        self._row = row

    def __getitem__(self, name: str) -> int:
        return int(self._counters.of(self._row, name)[0])

    def __setitem__(self, name: str, number: int) -> None:
        self._counters.of(self._row, name)[0] = number

    def __delitem__(self, name: str) -> None:
        self[name] = 0

    def __iter__(self) -> Iterator[str]:
        return (name for row, name, counters in self._counters.entries() if row == self._row and counters[0])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def total(self) -> dict[str, int]:
        """Return the sums by name over all rows."""
        return {name: int(counters.sum()) for name, counters in self._counters.by_name().items() if counters.any()}


class FlagMap(MutableMapping[str, bool]):
    """One flag by name in a row, stored like the numbers of `CounterMap`: 1 for False and 2 for True."""

    def __init__(self, counters: NamedCounters, row: int) -> None:
        self._counters = counters
        self._own = CounterMap(counters, row)

    def __getitem__(self, name: str) -> bool:
        if not self._own[name]:
            raise KeyError(name)
        return self._own[name] == 2

    def __setitem__(self, name: str, value: bool) -> None:
        self._own[name] = 1 + value

    def __delitem__(self, name: str) -> None:
        del self._own[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._own)

    def __len__(self) -> int:
        return len(self._own)

    def any_row(self) -> dict[str, bool]:
        """Return for each name whether the flag is set in any row."""
        return {
            name: bool((counters == 2).any()) for name, counters in self._counters.by_name().items() if counters.any()
        }


class RingBuffer:
    """Byte records between one writer and one reader; create it before forking.

    `head` and `tail` count the bytes written and read since the beginning. A record is before the head only once it is
    complete, and stays until `advance`, so a process that replaces a killed one continues where that one stopped.

    The memory is divided into pieces, and new bytes go to the first free piece. With a reader that keeps up, both
    processes use the same few pieces; memory beyond `resident_bytes` is returned to the system once it is read.
    """

    def __init__(self, size_bytes: int, *, resident_bytes: int = _RESIDENT_BYTES) -> None:
        self._piece = max(1, size_bytes // _PIECES // _PAGE) * _PAGE
        self._pieces = max(2, -(-size_bytes // self._piece))
        self.size = self._pieces * self._piece
        self.capacity = self.size - self._piece  # one piece must stay free
        self._resident = resident_bytes // self._piece
        self._due = min(_DUE_BYTES, self.size // 2)
        header = -(-(_PIECE_TABLE + self._pieces) * _CELL_BYTES // _PAGE) * _PAGE
        self._memory, self._first = mmap.mmap(-1, header + self.size), header
        view = memoryview(self._memory)
        self._header = view[:header].cast("q")
        self._bytes = view[header:]
        self._cells = self._bytes.cast("q")
        self._fence = threading.Lock()

    @property
    def head(self) -> int:
        """End of the bytes written."""
        head = self._header[_HEAD]
        with self._fence:  # a memory barrier, as in `put`: no processor reads a record before its head
            return head

    @property
    def tail(self) -> int:
        """Begin of the bytes not read yet."""
        return self._header[_TAIL]

    @property
    def used(self) -> int:
        """Number of bytes that are not read yet."""
        return self._header[_HEAD] - self._header[_TAIL]

    @property
    def due(self) -> bool:
        """True if it is time to read: 1 MiB is waiting, or half of a small ring."""
        return self._header[_HEAD] - self._header[_TAIL] >= self._due

    def put(self, *parts: bytes | memoryview) -> bool:
        """Append a record made of parts; return False if it does not fit."""
        header = self._header
        head, length = header[_HEAD], sum(map(len, parts))
        after = head + _cells_of(length)
        if after - header[_TAIL] > self.capacity:
            return False
        within = head % self._piece
        if within and within + after - head <= self._piece:  # as a rule: in the piece that is in use
            offset = self._offset(head)
            self._cells[offset // _CELL_BYTES] = length
            offset += _CELL_BYTES
            for part in parts:
                end = offset + len(part)
                self._bytes[offset:end] = part
                offset = end
        else:
            self._put_across(head, after, length, parts)
        with self._fence:  # a memory barrier: no processor shows the new head before the record
            pass
        header[_HEAD] = after
        return True

    def _put_across(self, head: int, after: int, length: int, parts: Sequence[bytes | memoryview]) -> None:
        """Write a record that begins a piece, or lies in several."""
        self._assign_pieces(head, after)
        self._cells[self._offset(head) // _CELL_BYTES] = length
        position = head + _CELL_BYTES
        for part in parts:
            done = 0
            while done < len(part):
                offset = self._offset(position)
                count = min(len(part) - done, self._piece - offset % self._piece)
                self._bytes[offset : offset + count] = part[done : done + count]
                done, position = done + count, position + count

    def records(self, end: int) -> Iterator[bytes | memoryview]:
        """Yield the records from the tail to an earlier head; views of the memory are valid until `advance`."""
        position = self._header[_TAIL]
        while position < end:
            length = self._cells[self._offset(position) // _CELL_BYTES]
            yield self._record(position + _CELL_BYTES, length)
            position += _cells_of(length)

    def peek(self, size: int) -> bytes | None:
        """Return the first bytes of the first record, in any process; None if there is none, or it was just read."""
        tail = self._header[_TAIL]
        if tail == self.head:
            return None
        begin = bytes(self._record(tail + _CELL_BYTES, size))
        return begin if tail == self._header[_TAIL] else None

    def reach(self, max_bytes: int) -> int:
        """Return the end of the records within `max_bytes` of the tail, or of the first record if it is longer."""
        position, head = self._header[_TAIL], self.head
        limit = position + max_bytes
        while position < head:
            after = position + _cells_of(self._cells[self._offset(position) // _CELL_BYTES])
            if after > limit and position > self._header[_TAIL]:
                break
            position = after
        return position

    def advance(self, end: int) -> None:
        """Free the records before `end`, and return memory beyond the resident part to the system."""
        for number in range(self._header[_TAIL] // self._piece, end // self._piece):
            piece = self._header[_PIECE_TABLE + number % self._pieces]
            if piece >= self._resident and hasattr(mmap, "MADV_REMOVE"):
                with suppress(OSError):  # if it is not supported, the memory stays allocated
                    self._memory.madvise(mmap.MADV_REMOVE, self._first + piece * self._piece, self._piece)
        self._header[_TAIL] = end

    def _offset(self, position: int) -> int:
        """Return the offset in the memory of a position in the stream of bytes."""
        number, within = divmod(position, self._piece)
        return self._header[_PIECE_TABLE + number % self._pieces] * self._piece + within

    def _assign_pieces(self, head: int, after: int) -> None:
        """Assign a free piece to each that begins between two positions; not visible if the process dies now."""
        first, last = -(-head // self._piece), (after - 1) // self._piece
        for number in range(first, last + 1):
            unread = range(self._header[_TAIL] // self._piece, number)
            used = {self._header[_PIECE_TABLE + index % self._pieces] for index in unread}
            free = next(piece for piece in range(self._pieces) if piece not in used)
            self._header[_PIECE_TABLE + number % self._pieces] = free

    def _record(self, position: int, length: int) -> bytes | memoryview:
        offset = self._offset(position)
        if offset % self._piece + length <= self._piece:
            return self._bytes[offset : offset + length]
        boundary = (position // self._piece + 1) * self._piece
        ends = [position, *range(boundary, position + length, self._piece), position + length]
        return b"".join(self._bytes[self._offset(a) : self._offset(a) + b - a] for a, b in pairwise(ends))


class WakeupPipe:
    """A pipe that wakes the reader; only the reader keeps the reading end, and it ends once all writers are gone."""

    def __init__(self) -> None:
        self.reader, self._writer = os.pipe()
        os.set_blocking(self.reader, False)
        os.set_blocking(self._writer, False)

    def wake(self) -> None:
        """Wake the reader, which may be awake already."""
        with suppress(BlockingIOError):
            os.write(self._writer, b"!")

    def drain(self) -> bool:
        """Discard the wake-ups; return False once no writer is left."""
        with suppress(BlockingIOError):
            return bool(os.read(self.reader, 65_536))
        return True

    def keep_reader(self) -> None:
        """Close the writing end, as the reader."""
        os.close(self._writer)

    def keep_writer(self) -> None:
        """Close the reading end, as a writer."""
        os.close(self.reader)


def _cells_of(length: int) -> int:
    """Return the bytes that a record occupies: its length, its content, and padding to the next cell."""
    return _CELL_BYTES + -(-length // _CELL_BYTES) * _CELL_BYTES
