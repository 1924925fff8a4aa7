"""A ring of records in shared memory: one process puts, another takes, neither waits, and a dead one harms nothing."""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Iterator
from contextlib import suppress

_HEAD, _TAIL = 0, 1
_CELL = 8
_PAGE = mmap.PAGESIZE


class Ring:
    """Records of bytes between a process that puts and one that takes; make it before the fork.

    `head` and `tail` are the bytes put and taken since the beginning. What is put lies before the head only once it is
    whole, and what is taken stays until `advance`: whoever takes the place of a killed process goes on from there.
    """

    def __init__(self, size_bytes: int) -> None:
        self.size = max(2, -(-size_bytes // _PAGE)) * _PAGE
        self._memory = mmap.mmap(-1, _PAGE + self.size)
        view = memoryview(self._memory)
        self._marks = view[: 2 * _CELL].cast("q")
        self._bytes = view[_PAGE:]
        self._cells = self._bytes.cast("q")
        self._order = threading.Lock()

    @property
    def head(self) -> int:
        """The end of what was put."""
        head = self._marks[_HEAD]
        with self._order:  # as in `put`: no processor reads a record before its head
            return head

    @property
    def tail(self) -> int:
        """The beginning of what was not taken."""
        return self._marks[_TAIL]

    @property
    def half_full(self) -> bool:
        """Whether it is time to take."""
        return 2 * (self._marks[_HEAD] - self._marks[_TAIL]) > self.size

    def put(self, *parts: bytes | memoryview) -> bool:
        """Put a record, of parts, behind the others, or answer False where it has no room."""
        head, length = self._marks[_HEAD], sum(map(len, parts))
        after = head + _after(length)
        if after - self._marks[_TAIL] > self.size - _PAGE:  # a page is kept free for `_let_go`
            return False
        self._cells[head % self.size // _CELL] = length
        at = (head + _CELL) % self.size
        for part in parts:
            first = min(len(part), self.size - at)
            self._bytes[at : at + first] = part[:first]
            self._bytes[: len(part) - first] = part[first:]
            at = (at + len(part)) % self.size
        with self._order:  # so that no processor shows the new head before the record
            pass
        self._marks[_HEAD] = after
        return True

    def records(self, upto: int) -> Iterator[bytes | memoryview]:
        """The records from the tail to a head that was seen; one in one piece as it lies, until `advance`."""
        place = self._marks[_TAIL]
        while place < upto:
            length = self._cells[place % self.size // _CELL]
            at = (place + _CELL) % self.size
            record = self._bytes[at : at + length]
            yield record if len(record) == length else b"".join((record, self._bytes[: length - len(record)]))
            place += _after(length)

    def reach(self, most_bytes: int) -> int:
        """The end of the records of at most so many bytes from the tail, or of the first one."""
        place, head = self._marks[_TAIL], self.head
        ends = place + most_bytes
        while place < head:
            after = place + _after(self._cells[place % self.size // _CELL])
            if after > ends and place > self._marks[_TAIL]:
                break
            place = after
        return place

    def advance(self, upto: int) -> None:
        """Be done with what was taken: its room is free, and its memory the system's."""
        self._let_go(self._marks[_TAIL] // _PAGE, upto // _PAGE)
        self._marks[_TAIL] = upto

    def _let_go(self, first: int, end: int) -> None:
        """Give back these pages; the one that still holds the tail stays, and nobody writes to them meanwhile."""
        pages = self.size // _PAGE
        start, count = first % pages, end - first
        for begin, many in ((start, min(count, pages - start)), (0, count - (pages - start))):
            if many > 0 and hasattr(mmap, "MADV_REMOVE"):
                with suppress(OSError):  # where it is not to be had, memory stays taken, and no more
                    self._memory.madvise(mmap.MADV_REMOVE, _PAGE + begin * _PAGE, many * _PAGE)


class Bell:
    """A pipe that wakes who takes: he alone keeps the end that listens, and it ends once all who ring are gone."""

    def __init__(self) -> None:
        self.ears, self._mouth = os.pipe()
        os.set_blocking(self.ears, False)
        os.set_blocking(self._mouth, False)

    def ring(self) -> None:
        """Wake who takes; he may be awake."""
        with suppress(BlockingIOError):
            os.write(self._mouth, b"!")

    def heard(self) -> bool:
        """Take what was rung; False once nobody is left who could ring."""
        with suppress(BlockingIOError):
            return bool(os.read(self.ears, 65_536))
        return True

    def listen_only(self) -> None:
        """Be the one who takes."""
        os.close(self._mouth)

    def ring_only(self) -> None:
        """Be one of those who put."""
        os.close(self.ears)


def _after(length: int) -> int:
    """Bytes that a record takes: its length, itself, and up to the next cell."""
    return _CELL + -(-length // _CELL) * _CELL
