"""A ring of records in shared memory: one process puts, another takes, neither waits, and a dead one harms nothing."""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise

_HEAD, _TAIL, _PLACES = 0, 1, 2
_CELL = 8
_PAGE = mmap.PAGESIZE
_PIECES = 64
_KEPT_BYTES, _DUE_BYTES = 4 << 20, 1 << 20


class RingBuffer:
    """Records of bytes between a process that puts and one that takes; make it before the fork.

    `head` and `tail` are the bytes put and taken since the beginning. What is put lies before the head only once it is
    whole, and what is taken stays until `advance`: whoever takes the place of a killed process goes on from there.

    Bytes lie in pieces of the memory, and the next ones in the first piece that is free. So who takes in time has both
    write to the same few pieces again and again; memory beyond these, `kept_bytes`, is the system's once it is taken.
    """

    def __init__(self, size_bytes: int, *, kept_bytes: int = _KEPT_BYTES) -> None:
        self._piece = max(1, size_bytes // _PIECES // _PAGE) * _PAGE
        self._pieces = max(2, -(-size_bytes // self._piece))
        self.size = self._pieces * self._piece
        self._kept = kept_bytes // self._piece
        self._due = min(_DUE_BYTES, self.size // 2)
        marks = -(-(_PLACES + self._pieces) * _CELL // _PAGE) * _PAGE
        self._memory, self._first = mmap.mmap(-1, marks + self.size), marks
        view = memoryview(self._memory)
        self._marks = view[:marks].cast("q")
        self._bytes = view[marks:]
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
    def due(self) -> bool:
        """Whether it is time to take: a MB is waiting, or half of a small ring."""
        return self._marks[_HEAD] - self._marks[_TAIL] >= self._due

    def put(self, *parts: bytes | memoryview) -> bool:
        """Put a record, of parts, behind the others, or answer False where it has no room."""
        head, length = self._marks[_HEAD], sum(map(len, parts))
        after = head + _after(length)
        if after - self._marks[_TAIL] > self.size - self._piece:  # of so many pieces that wait one is free
            return False
        self._place(head, after)
        self._cells[self._at(head) // _CELL] = length
        place = head + _CELL
        for part in parts:
            done = 0
            while done < len(part):
                at = self._at(place)
                many = min(len(part) - done, self._piece - at % self._piece)
                self._bytes[at : at + many] = part[done : done + many]
                done, place = done + many, place + many
        with self._order:  # so that no processor shows the new head before the record
            pass
        self._marks[_HEAD] = after
        return True

    def records(self, upto: int) -> Iterator[bytes | memoryview]:
        """The records from the tail to a head that was seen; one in one piece as it lies, until `advance`."""
        place = self._marks[_TAIL]
        while place < upto:
            length = self._cells[self._at(place) // _CELL]
            yield self._record(place + _CELL, length)
            place += _after(length)

    def reach(self, most_bytes: int) -> int:
        """The end of the records of at most so many bytes from the tail, or of the first one."""
        place, head = self._marks[_TAIL], self.head
        ends = place + most_bytes
        while place < head:
            after = place + _after(self._cells[self._at(place) // _CELL])
            if after > ends and place > self._marks[_TAIL]:
                break
            place = after
        return place

    def advance(self, upto: int) -> None:
        """Be done with what was taken: its room is free, and its memory, beyond what is kept, the system's."""
        for number in range(self._marks[_TAIL] // self._piece, upto // self._piece):
            piece = self._marks[_PLACES + number % self._pieces]
            if piece >= self._kept and hasattr(mmap, "MADV_REMOVE"):
                with suppress(OSError):  # where it is not to be had, memory stays taken, and no more
                    self._memory.madvise(mmap.MADV_REMOVE, self._first + piece * self._piece, self._piece)
        self._marks[_TAIL] = upto

    def _at(self, place: int) -> int:
        """Where in the memory the byte lies that is put as this one."""
        number, within = divmod(place, self._piece)
        return self._marks[_PLACES + number % self._pieces] * self._piece + within

    def _place(self, head: int, after: int) -> None:
        """Find a free piece for each that begins between two places; who was killed meanwhile has shown none of it."""
        first, last = -(-head // self._piece), (after - 1) // self._piece
        for number in range(first, last + 1):
            lying = range(self._marks[_TAIL] // self._piece, number)
            used = {self._marks[_PLACES + each % self._pieces] for each in lying}
            free = next(piece for piece in range(self._pieces) if piece not in used)
            self._marks[_PLACES + number % self._pieces] = free

    def _record(self, place: int, length: int) -> bytes | memoryview:
        at = self._at(place)
        if at % self._piece + length <= self._piece:
            return self._bytes[at : at + length]
        ends = [place, *range((place // self._piece + 1) * self._piece, place + length, self._piece), place + length]
        return b"".join(self._bytes[self._at(a) : self._at(a) + b - a] for a, b in pairwise(ends))


class WakeupPipe:
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

    def keep_reader(self) -> None:
        """Be the one who takes."""
        os.close(self._mouth)

    def keep_writer(self) -> None:
        """Be one of those who put."""
        os.close(self.ears)


def _after(length: int) -> int:
    """Bytes that a record takes: its length, itself, and up to the next cell."""
    return _CELL + -(-length // _CELL) * _CELL
