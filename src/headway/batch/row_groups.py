"""Join parquet files of one schema by their row groups: pages are copied as they are, only the footer is new.

The footer is a struct of Thrift's compact protocol. It is read into numbered fields and written again, so that fields
of later versions of parquet are copied as well.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_MAGIC = b"PAR1"
_TAIL = struct.Struct("<I4s")
_TRUE, _FALSE, _I16, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = 1, 2, 4, 6, 7, 8, 9, 10, 11, 12
_MAX_ORDINAL = 1 << 15

_SCHEMA, _NUM_ROWS, _GROUPS, _KEY_VALUES = 2, 3, 4, 5  # fields of FileMetaData
_COLUMNS, _FILE_OFFSET, _ORDINAL = 1, 5, 7  # of RowGroup
_CHUNK_OFFSET, _META_DATA, _PAGE_INDEX = 2, 3, (4, 5, 6, 7)  # of ColumnChunk
_PAGE_OFFSETS = (9, 10, 11, 14)  # of ColumnMetaData

Struct = dict[int, tuple[int, Any]]
"""Type and value of each field by its number; a list is its type with its values."""


def join_row_groups(parts: Sequence[Path], out: Path, metadata: Mapping[str, str], *, min_rows: int) -> bool:
    """Write the row groups of one or more files, in order, into one file.

    Parameters
    ----------
    parts
        Parquet files; each is read completely.
    out
        File to write.
    metadata
        Key-value metadata to add to that of the first file.
    min_rows
        Rows that a file but the last has on the average.

    Returns
    -------
    bool
        False if the files have fewer rows, or differ in their schema; nothing is written then.
    """
    contents = [_footer(part) for part in parts]
    merged, rows = contents[0].fields, sum(content.fields[_NUM_ROWS][1] for content in contents)
    if rows < min_rows * (len(parts) - 1) or any(other.fields[_SCHEMA] != merged[_SCHEMA] for other in contents):
        return False
    groups, shift = list[Struct](), 0
    with out.open("wb") as file:
        file.write(_MAGIC)
        for part, content in zip(parts, contents, strict=True):
            file.write(memoryview(part.read_bytes())[len(_MAGIC) : content.start])
            for group in content.fields[_GROUPS][1][1]:
                groups.append(_moved(group, shift, len(groups)))
            shift += content.start - len(_MAGIC)
        merged[_GROUPS] = (_LIST, (_STRUCT, groups))
        merged[_NUM_ROWS] = (_I64, rows)
        pairs = merged[_KEY_VALUES][1][1] if _KEY_VALUES in merged else []
        added = [{1: (_BINARY, key.encode()), 2: (_BINARY, value.encode())} for key, value in metadata.items()]
        merged[_KEY_VALUES] = (_LIST, (_STRUCT, [*pairs, *added]))
        footer = bytearray()
        _write_struct(footer, merged)
        file.write(footer + _TAIL.pack(len(footer), _MAGIC))
    return True


@dataclass(frozen=True, slots=True)
class _Footer:
    """The footer of a file, and where it starts."""

    fields: Struct
    start: int


def _footer(path: Path) -> _Footer:
    with path.open("rb") as file:
        end = file.seek(-_TAIL.size, 2)
        size, _ = _TAIL.unpack(file.read())
        file.seek(end - size)
        return _Footer(_FooterReader(file.read(size)).struct(), end - size)


def _moved(group: Struct, shift: int, ordinal: int) -> Struct:
    """Return a row group whose pages lie further on; the index of its pages, which holds positions too, is left out."""
    found = _shifted(group, (_FILE_OFFSET,), shift)
    if _ORDINAL in found:
        found[_ORDINAL] = (_I16, ordinal)
        if ordinal >= _MAX_ORDINAL:
            del found[_ORDINAL]
    chunks = []
    for old in group[_COLUMNS][1][1]:
        chunk = {number: field for number, field in old.items() if number not in _PAGE_INDEX}
        chunk[_META_DATA] = (_STRUCT, _shifted(old[_META_DATA][1], _PAGE_OFFSETS, shift))
        chunks.append(_shifted(chunk, (_CHUNK_OFFSET,), shift))
    found[_COLUMNS] = (_LIST, (_STRUCT, chunks))
    return found


def _shifted(fields: Struct, numbers: Sequence[int], shift: int) -> Struct:
    """Return fields with positions in the file moved on; 0 stands for none."""
    return {
        number: (kind, value + shift if number in numbers and value else value)
        for number, (kind, value) in fields.items()
    }


class _FooterReader:
    """Values of Thrift's compact protocol, one after the other."""

    def __init__(self, content: bytes) -> None:
        self._content, self._at = content, 0

    def struct(self) -> Struct:
        """Read the fields of a struct up to its end."""
        found: Struct = {}
        number = 0
        while head := self._byte():
            step, kind = head >> 4, head & 15
            number = number + step if step else self._signed()
            found[number] = (kind, kind == _TRUE if kind in (_TRUE, _FALSE) else self._value(kind))
        return found

    def _byte(self) -> int:
        self._at += 1
        return self._content[self._at - 1]

    def _bytes(self, size: int) -> bytes:
        self._at += size
        return self._content[self._at - size : self._at]

    def _unsigned(self) -> int:
        found = shift = 0
        while True:
            byte = self._byte()
            found |= (byte & 127) << shift
            if byte < 128:
                return found
            shift += 7

    def _signed(self) -> int:
        number = self._unsigned()
        return number >> 1 ^ -(number & 1)

    def _value(self, kind: int) -> Any:
        if kind == _STRUCT:
            return self.struct()
        if kind in (_LIST, _SET):
            head = self._byte()
            size = head >> 4 if head >> 4 < 15 else self._unsigned()
            return head & 15, [self._value(head & 15) for _ in range(size)]
        if kind == _MAP:
            size = self._unsigned()
            kinds = self._byte() if size else 0
            return kinds, [(self._value(kinds >> 4), self._value(kinds & 15)) for _ in range(size)]
        if kind == _BINARY:
            return self._bytes(self._unsigned())
        if kind == _DOUBLE:
            return self._bytes(8)
        return self._byte() if kind < _I16 else self._signed()


def _write_struct(out: bytearray, fields: Struct) -> None:
    before = 0
    for number, (kind, value) in sorted(fields.items()):
        kind = kind if kind not in (_TRUE, _FALSE) else _TRUE if value else _FALSE
        if 0 < number - before < 16:
            out.append((number - before) << 4 | kind)
        else:
            out.append(kind)
            _write_signed(out, number)
        before = number
        if kind not in (_TRUE, _FALSE):
            _write_value(out, kind, value)
    out.append(0)


def _write_unsigned(out: bytearray, value: int) -> None:
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)


def _write_signed(out: bytearray, value: int) -> None:
    _write_unsigned(out, value << 1 if value >= 0 else ~value << 1 | 1)


def _write_value(out: bytearray, kind: int, value: Any) -> None:
    if kind == _STRUCT:
        _write_struct(out, value)
    elif kind in (_LIST, _SET):
        item, values = value
        out.append(min(len(values), 15) << 4 | item)
        if len(values) >= 15:
            _write_unsigned(out, len(values))
        for one in values:
            _write_value(out, item, one)
    elif kind == _MAP:
        kinds, pairs = value
        _write_unsigned(out, len(pairs))
        if pairs:
            out.append(kinds)
        for key, one in pairs:
            _write_value(out, kinds >> 4, key)
            _write_value(out, kinds & 15, one)
    elif kind == _BINARY:
        _write_unsigned(out, len(value))
        out += value
    elif kind == _DOUBLE:
        out += value
    elif kind < _I16:
        out.append(value)
    else:
        _write_signed(out, value)
