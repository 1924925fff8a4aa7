"""Check the messages of an Arrow stream for parts without which nanoarrow reads a null pointer and ends the process.

Only the metadata of each message is read, and its body is skipped. Everything else nanoarrow checks itself.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import BinaryIO

_CONTINUES = b"\xff\xff\xff\xff"
_MAX_METADATA_BYTES = 1 << 28
_SCHEMA, _DICTIONARY, _BATCH = 1, 2, 3
_MAX_DEPTH = 64


class MalformedMessage(Exception):
    """A message of a stream lacks a part that its format requires."""


@dataclass(frozen=True, slots=True)
class _Table:
    """A table of a flatbuffer: its bytes, and its position in them."""

    content: bytes
    start: int

    def field(self, number: int) -> int:
        """Return the position of a field; 0 if it is absent."""
        vtable = self.start - self._read("<i", self.start)
        size = self._read("<H", vtable)
        offset = self._read("<H", vtable + 4 + 2 * number) if 4 + 2 * number < size else 0
        return self.start + offset if offset else 0

    def number(self, number: int, code: str) -> int:
        """Return the value of a field of a number; 0 if it is absent."""
        position = self.field(number)
        return self._read(code, position) if position else 0

    def table(self, number: int, what: str) -> _Table:
        """Return the table in a field; raise MalformedMessage if it is absent."""
        found = self._target(number)
        if not found:
            raise MalformedMessage(f"{what} is missing")
        return _Table(self.content, found)

    def tables(self, number: int) -> list[_Table]:
        """Return the tables in a field of a vector; none if it is absent."""
        found = self._target(number)
        count = self._read("<I", found) if found else 0
        if 4 * count > len(self.content):
            raise MalformedMessage("a list is longer than its message")
        positions = range(found + 4, found + 4 + 4 * count, 4)
        return [_Table(self.content, position + self._read("<I", position)) for position in positions]

    def require(self, number: int, what: str) -> None:
        """Raise MalformedMessage if a field is absent."""
        if not self._target(number):
            raise MalformedMessage(f"{what} is missing")

    def _target(self, number: int) -> int:
        position = self.field(number)
        return position + self._read("<I", position) if position else 0

    def _read(self, code: str, position: int) -> int:
        if position < 0:
            raise MalformedMessage("an offset leads out of its message")
        try:
            value: int = struct.unpack_from(code, self.content, position)[0]
        except struct.error as error:
            raise MalformedMessage("an offset leads out of its message") from error
        return value


def check_messages(file: BinaryIO, *, max_rows: int | None = None) -> None:
    """Check the metadata of each message up to the first that is not complete, which nanoarrow refuses itself.

    Parameters
    ----------
    file : BinaryIO
        Stream from its first message on.
    max_rows : int, optional
        Limits of a stream that another machine sent: a batch has at most so many rows, and is not compressed, so it
        takes no more memory than it has bytes. Neither is limited by default.

    Raises
    ------
    MalformedMessage
        For a message that nanoarrow cannot read, or a batch beyond the limits.
    """
    size = os.fstat(file.fileno()).st_size
    while content := _metadata(file):
        message = _root(content)
        header = message.table(2, "the content of a message")
        kind = message.number(1, "<B")
        if kind == _SCHEMA:
            _check_fields(header, 1, 0)
            _check_pairs(header, 2)
        elif kind in (_BATCH, _DICTIONARY):
            batch = header.table(1, "the values of a dictionary") if kind == _DICTIONARY else header
            batch.require(1, "the list of columns of a batch")
            batch.require(2, "the list of buffers of a batch")
            if max_rows is not None:
                _check_limits(batch, max_rows)
        body = message.number(3, "<q")
        if body < 0:
            raise MalformedMessage("the length of a message is negative")
        if body > size - file.tell():
            return
        file.seek(body, os.SEEK_CUR)


def _check_limits(batch: _Table, max_rows: int) -> None:
    """Raise MalformedMessage for a batch that takes more memory than its bytes, or has too many rows."""
    if batch.field(3):
        raise MalformedMessage("a batch is compressed, and its size is not known before it is decoded")
    rows = batch.number(0, "<q")
    if not 0 <= rows <= max_rows:
        raise MalformedMessage(f"a batch of {rows:,} rows is too large: {max_rows:,}")


def _metadata(file: BinaryIO) -> bytes:
    """Return the metadata of the next message; nothing at the end, or if it is not complete."""
    prefix = file.read(8)
    if len(prefix) < 8 or prefix[:4] != _CONTINUES:
        return b""
    size = int.from_bytes(prefix[4:], "little")
    content = file.read(size) if size <= _MAX_METADATA_BYTES else b""
    return content if len(content) == size else b""


def _root(content: bytes) -> _Table:
    return _Table(content, int.from_bytes(content[:4], "little"))


def _check_fields(table: _Table, number: int, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise MalformedMessage("columns are nested too deep")
    for field in table.tables(number):
        field.require(3, "the type of a column")
        if field.field(4):
            field.table(4, "a dictionary").require(1, "the type of the indices of a dictionary")
        _check_fields(field, 5, depth + 1)
        _check_pairs(field, 6)


def _check_pairs(table: _Table, number: int) -> None:
    for pair in table.tables(number):
        pair.require(0, "the key of a metadata entry")
        pair.require(1, "the value of a metadata entry")
