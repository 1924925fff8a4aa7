"""A table of a FlatBuffer, read within bounds; its fields are known by their places in the schema.

Numbers are little-endian. A table begins with the way back to its vtable, which says where each field lies, 0: nowhere.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike, NDArray


def root(content: bytes) -> Table:
    """The table that a buffer holds; this and every question raise ValueError where the bytes do not reach."""
    return Table(content, _offset(content, 0))


@dataclass(frozen=True, slots=True)
class Table:
    """A table at a place of a buffer; an absent field answers what the schema says of it, or nothing."""

    content: bytes
    place: int

    def number(self, field: int, form: str, absent: float) -> float:
        """A field that is a number, of a `struct` form (`<i`)."""
        at = self._at(field)
        return absent if at is None else float(_unpacked(self.content, form, at))

    def whole(self, field: int, form: str, absent: int) -> int:
        """A field that is a whole number, of a `struct` form (`<i`)."""
        at = self._at(field)
        return absent if at is None else int(_unpacked(self.content, form, at))

    def table(self, field: int) -> Table | None:
        """A field that is a table."""
        at = self._at(field)
        return None if at is None else Table(self.content, _offset(self.content, at))

    def text(self, field: int) -> str:
        """A field that is a text."""
        return self.array(field, np.uint8).tobytes().decode("utf-8")

    def array(self, field: int, kind: DTypeLike, each: int = 1) -> NDArray[np.generic]:
        """A field that is a vector of numbers, or of structures of so many numbers: those, one after the other."""
        at = self._at(field)
        dtype = np.dtype(kind).newbyteorder("<")
        if at is None:
            return np.zeros(0, dtype)
        start, count = self._vector(at)
        count *= each
        if count * dtype.itemsize > len(self.content) - start:
            raise ValueError(f"byte {start}: cut short, {count} numbers are said to follow")
        return np.frombuffer(self.content, dtype, count, start)

    def tables(self, field: int) -> list[Table]:
        """A field that is a vector of tables."""
        at = self._at(field)
        if at is None:
            return []
        start, count = self._vector(at)
        if count * 4 > len(self.content) - start:
            raise ValueError(f"byte {start}: cut short, {count} tables are said to follow")
        return [Table(self.content, _offset(self.content, start + 4 * number)) for number in range(count)]

    def _vector(self, at: int) -> tuple[int, int]:
        start = _offset(self.content, at)
        return start + 4, int(_unpacked(self.content, "<I", start))

    def _at(self, field: int) -> int | None:
        """Where a field lies, or None where the table leaves it out."""
        vtable = self.place - int(_unpacked(self.content, "<i", self.place))
        size, slot = int(_unpacked(self.content, "<H", vtable)), 4 + 2 * field
        inside = int(_unpacked(self.content, "<H", vtable + slot)) if slot + 2 <= size else 0
        return self.place + inside if inside else None


def _offset(content: bytes, at: int) -> int:
    return at + int(_unpacked(content, "<I", at))


def _unpacked(content: bytes, form: str, at: int) -> float:
    if not 0 <= at <= len(content) - struct.calcsize(form):
        raise ValueError(f"byte {at}: outside the {len(content)} bytes that there are")
    number: float = struct.unpack_from(form, content, at)[0]
    return number
