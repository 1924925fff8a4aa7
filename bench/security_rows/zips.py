"""Zip files written field by field, so that their headers can contradict each other."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

STORED, DEFLATED = 0, 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A member: what its two headers say, and its bytes. None stands for the true value."""

    name: bytes
    content: bytes = b""
    method: int = STORED
    flags: int = 0
    comment: bytes = b""
    extra: bytes = b""
    local_name: bytes | None = None
    local_extra: bytes = b""
    local_size: int | None = None
    crc: int | None = None
    size: int | None = None
    packed_size: int | None = None
    offset: int | None = None

    @property
    def packed(self) -> bytes:
        """Return the bytes as they are stored."""
        if self.method != DEFLATED:
            return self.content
        stream = zlib.compressobj(6, zlib.DEFLATED, -15)
        return stream.compress(self.content) + stream.flush()

    def local(self) -> bytes:
        """Return the local header and the bytes."""
        name = self.name if self.local_name is None else self.local_name
        packed = self.packed
        sizes = (len(packed), len(self.content)) if self.local_size is None else (self.local_size, self.local_size)
        fields = (20, self.flags, self.method, 0, 0, self._crc(), *sizes, len(name), len(self.local_extra))
        return b"PK\3\4" + struct.pack("<5H3I2H", *fields) + name + self.local_extra + packed

    def central(self, offset: int) -> bytes:
        """Return the header in the directory; `offset` is where the local one is."""
        packed = len(self.packed) if self.packed_size is None else self.packed_size
        size = len(self.content) if self.size is None else self.size
        head = (20, 20, self.flags, self.method, 0, 0, self._crc(), packed, size)
        lengths = (len(self.name), len(self.extra), len(self.comment), 0, 0, 0)
        place = (offset if self.offset is None else self.offset) & 0xFFFFFFFF
        return b"PK\1\2" + struct.pack("<6H3I5H2I", *head, *lengths, place) + self.name + self.extra + self.comment

    def _crc(self) -> int:
        return zlib.crc32(self.content) if self.crc is None else self.crc


def end(count: int, size: int, offset: int, comment: bytes = b"") -> bytes:
    """Return the record that ends a zip file."""
    count = min(count, 0xFFFF)
    fields = (0, 0, count, count, size & 0xFFFFFFFF, offset & 0xFFFFFFFF, len(comment))
    return b"PK\5\6" + struct.pack("<4H2IH", *fields) + comment


def end_64(count: int, size: int, offset: int) -> bytes:
    """Return the record of 64 bits, without its locator."""
    return b"PK\6\6" + struct.pack("<Q2H2I4Q", 44, 45, 45, 0, 0, count, count, size, offset)


def locator_64(offset: int) -> bytes:
    """Return the record that says where the one of 64 bits is."""
    return b"PK\6\7" + struct.pack("<IQI", 0, offset, 1)


def laid_out(entries: Sequence[Entry], start: int = 0) -> tuple[bytes, list[int]]:
    """Return the local parts one after another, and the offset of each."""
    body, offsets = b"", []
    for entry in entries:
        offsets.append(start + len(body))
        body += entry.local()
    return body, offsets


def directory(entries: Sequence[Entry], offsets: Sequence[int], shift: int = 0) -> bytes:
    """Return the directory of members; `shift` is added to every offset."""
    return b"".join(entry.central(offset + shift) for entry, offset in zip(entries, offsets, strict=True))


def archive(entries: Sequence[Entry], *, prefix: bytes = b"", comment: bytes = b"", shift: int = 0) -> bytes:
    """Return a zip file; `shift` is added to every offset that it names."""
    body, offsets = laid_out(entries, len(prefix))
    listed = directory(entries, offsets, shift)
    start = len(prefix) + len(body)
    return prefix + body + listed + end(len(entries), len(listed), start + shift, comment)


def two_directories(shown: Sequence[Entry], hidden: Sequence[Entry], *, where: str = "entry comment") -> bytes:
    """Return a zip file whose directory is `shown` for readers that go back from the end, and `hidden` for others.

    Python's zipfile takes the directory that ends at the end record; miniz takes the offset that the record names.
    """
    if where == "before":  # the hidden directory lies between the members and the shown directory
        body, offsets = laid_out([*hidden, *shown])
        second = directory(hidden, offsets[: len(hidden)])
        first = directory(shown, offsets[len(hidden) :], -len(second))
        return body + second + first + end(len(hidden), len(first), len(body))
    body, offsets = laid_out([*shown, *hidden])
    second = directory(hidden, offsets[len(shown) :])
    start, size = len(body), len(directory(shown, offsets[: len(shown)]))
    if where == "archive comment":
        shift = size + 22
        first = directory(shown, offsets[: len(shown)], shift)
        return body + first + end(len(hidden), size, start + shift, second + bytes(shift))
    first = directory(shown, offsets[: len(shown)], size)
    last = len(directory(shown[:-1], offsets[: len(shown) - 1]))
    first = first[: last + 32] + struct.pack("<H", len(second)) + first[last + 34 :] + second
    return body + first + end(len(hidden), len(first), start + size, bytes(size))


def two_records_64(shown: Sequence[Entry], hidden: Sequence[Entry]) -> bytes:
    """Return a zip file whose locator names another 64-bit record than the one before it."""
    body, offsets = laid_out([*shown, *hidden])
    first, second = directory(shown, offsets[: len(shown)]), directory(hidden, offsets[len(shown) :])
    start, place = len(body), len(body) + len(second) + 56
    named = end_64(len(hidden), len(second), start)
    nearest = end_64(len(shown), len(first), place)
    tail = locator_64(start + len(second)) + end(0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF)
    return body + second + named + first + nearest + tail
