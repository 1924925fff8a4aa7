"""Read FlatBuffers with every offset checked; fields are known by their index in the schema."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike, NDArray


def root_table(content: bytes) -> FlatTable:
    """Return the root table of a FlatBuffer; this and every field access raise ValueError outside the bytes."""
    return FlatTable(content, _offset(content, 0))


@dataclass(frozen=True, slots=True)
class FlatTable:
    """A table at a position of a FlatBuffer, whose fields are known by their index in the schema.

    Numbers are little-endian. A table starts with the distance back to its vtable, which holds the offset of each
    field; 0 means that the field is absent, and the method returns the default of the schema.
    """

    content: bytes
    position: int

    def number(self, field: int, form: str, absent: float) -> float:
        """Return a numeric field in a `struct` format (`<d`)."""
        at = self._find(field)
        return absent if at is None else float(_unpack(self.content, form, at))

    def integer(self, field: int, form: str, absent: int) -> int:
        """Return an integer field in a `struct` format (`<i`)."""
        at = self._find(field)
        return absent if at is None else int(_unpack(self.content, form, at))

    def table(self, field: int) -> FlatTable | None:
        """Return a field that is a table."""
        at = self._find(field)
        return None if at is None else FlatTable(self.content, _offset(self.content, at))

    def string(self, field: int) -> str:
        """Return a string field."""
        return self.array(field, np.uint8).tobytes().decode("utf-8")

    def strings(self, field: int) -> list[str]:
        """Return a field that is a vector of strings."""
        return [entry._text() for entry in self.tables(field)]

    def array(self, field: int, dtype: DTypeLike, per_item: int = 1) -> NDArray[np.generic]:
        """Return a field that is a vector of numbers, or of structs of `per_item` numbers, flattened."""
        at = self._find(field)
        little = np.dtype(dtype).newbyteorder("<")
        if at is None:
            return np.zeros(0, little)
        start, count = self._vector(at)
        count *= per_item
        if count * little.itemsize > len(self.content) - start:
            raise ValueError(f"byte {start}: truncated, {count} numbers expected")
        return np.frombuffer(self.content, little, count, start)

    def tables(self, field: int) -> list[FlatTable]:
        """Return a field that is a vector of tables."""
        at = self._find(field)
        if at is None:
            return []
        start, count = self._vector(at)
        if count * 4 > len(self.content) - start:
            raise ValueError(f"byte {start}: truncated, {count} tables expected")
        return [FlatTable(self.content, _offset(self.content, start + 4 * number)) for number in range(count)]

    def _text(self) -> str:
        size = int(_unpack(self.content, "<I", self.position))
        if size > len(self.content) - self.position - 4:
            raise ValueError(f"byte {self.position}: truncated, a string of {size} bytes expected")
        return self.content[self.position + 4 : self.position + 4 + size].decode("utf-8")

    def _vector(self, at: int) -> tuple[int, int]:
        start = _offset(self.content, at)
        return start + 4, int(_unpack(self.content, "<I", start))

    def _find(self, field: int) -> int | None:
        vtable = self.position - int(_unpack(self.content, "<i", self.position))
        size, slot = int(_unpack(self.content, "<H", vtable)), 4 + 2 * field
        inside = int(_unpack(self.content, "<H", vtable + slot)) if slot + 2 <= size else 0
        return self.position + inside if inside else None


def _offset(content: bytes, at: int) -> int:
    return at + int(_unpack(content, "<I", at))


def _unpack(content: bytes, form: str, at: int) -> float:
    if not 0 <= at <= len(content) - struct.calcsize(form):
        raise ValueError(f"byte {at}: outside the {len(content)} bytes")
    number: float = struct.unpack_from(form, content, at)[0]
    return number
