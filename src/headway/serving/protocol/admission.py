"""Limits of what a request contains, checked on its bytes before any of it is decoded.

One pass counts what a decoder would create, and no decoder sees a body over a limit. `scan.h` is the same pass in C,
without the interpreter's lock.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from headway.core.errors import DataError
from headway.core.record import Record
from headway.serving.settings.serve import ServeSection

scan_json: Callable[[bytes | bytearray | memoryview, tuple[bytes, ...], int], tuple[int, ...]] | None = None
with suppress(ImportError):  # the extension was not built: there was no C compiler
    from headway.serving.protocol._numbers import scan_json  # type: ignore[import-not-found, no-redef, unused-ignore]

MAX_DIMENSIONS, MAX_OUTPUTS, MAX_PARAMETERS = 16, 16, 64
MAX_DEPTH, MAX_MEMBERS, MAX_VALUES = 32, 128, 500_000
"""Nested lists and objects, members of an object, and values of a body that are decoded at once (65 ms of a core)."""
_SPARE_INPUTS = 64
"""Inputs beyond those of the model that are decoded, so that the error names the one that it does not read."""
LARGE_BODY_BYTES = 65_536
"""A larger body is decoded on a thread. A request without rows has no larger one."""
MAX_ANSWER_BYTES = 524_288
"""Of a request for an answer: a text of 65,536 characters in JSON, and a row next to it."""
MAX_REPORT_BYTES = 16_384
"""Of the report of a device."""
_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*+\\?+"?+|[\[\]{},:]|[^ \n\r\t"\[\]{},:]+', re.DOTALL)
_ESCAPED = re.compile(rb"\\u00([0-7][0-9a-fA-F])")
_BLOCK = 2  # the wire type of a field with a length
_WIDTHS = {1: 8, 3: 0, 4: 0, 5: 4}  # bytes behind the tag of the wire types of fixed size; 3 and 4 are around a group
_TENSORS, _SHAPE, _CONTENTS = (5, 6), 3, 5  # numbers of fields
_PACKED_BYTES = {
    **dict.fromkeys((1, 2, 3, 4, 5), 0),
    6: 4,
    7: 8,
}  # of a value by the number of its field; 0: as varints
_NOT_LAST = bytes(range(0x80, 0x100))  # bytes of a varint after which it goes on
_HINT = "send several requests, or numbers as raw values"


class _CountedNames:
    """Names whose lists and objects are counted, and the messages about too many elements."""

    def __init__(self, messages: Sequence[tuple[str, str]]) -> None:
        self.keys = tuple(name.encode() for name, _ in messages)
        self.messages = tuple(message for _, message in messages)


_PARAMETERS = "the request has {count} parameters, at most {limit} are allowed"
_INFERENCE = _CountedNames(
    (
        ("inputs", "the request has {count:,} inputs, the model reads {read:,}"),
        ("outputs", "the request names {count} outputs, at most {limit} are allowed"),
        ("parameters", _PARAMETERS),
        ("shape", "an input has {count} dimensions, at most {limit} are allowed"),
    )
)
_FRAMES = _CountedNames(
    (("columns", "the request has {count:,} columns, the model reads {read:,}"), ("params", _PARAMETERS))
)
_LABELS = _CountedNames(
    (("labels", "the request has {count:,} labels, more than {limit:,} (max_request_rows in [serve])"),)
)


class JsonCounts(Record, frozen=True, kw_only=True):
    """What a body in JSON contains.

    `texts` counts strings, lists and objects, `scalars` all other values, `members` those of the largest object, and
    `items` those of the outermost list. `named` has the elements of the largest list or object under each name.
    """

    depth: int
    texts: int
    scalars: int
    members: int
    items: int
    named: tuple[int, ...] = ()

    def require_values(self) -> None:
        """Raise DataError if more values would be decoded at once than may be."""
        count = self.texts + self.scalars
        if count > MAX_VALUES:
            raise DataError(f"the body has {count:,} values, at most {MAX_VALUES:,} are decoded at once", hint=_HINT)


class RequestLimits(Record, frozen=True, kw_only=True):
    """Limits inside a request: bytes of a key, an id or a name, and rows."""

    max_name_bytes: int = 256
    max_request_rows: int = 65_536

    @classmethod
    def of(cls, settings: ServeSection) -> RequestLimits:
        """Return the limits of the section `[serve]`."""
        return cls(**{name: getattr(settings, name) for name in cls.__struct_fields__})

    def require_name(self, what: str, text: str) -> None:
        """Raise DataError if a key, an id or a name is too long."""
        limit = self.max_name_bytes
        if len(text) > limit or (not text.isascii() and len(text.encode("utf-8", "surrogatepass")) > limit):
            hint = "shorten it, or raise max_name_bytes in [serve]"
            raise DataError(f"{what} has more than {limit} bytes", hint=hint)

    def require_rows(self, n: int) -> None:
        """Raise DataError if a request has too many rows."""
        if n > self.max_request_rows:
            hint = "send several requests, or raise max_request_rows in [serve]"
            raise DataError(f"the request has {n} rows, more than {self.max_request_rows}", hint=hint)


def admit_inference(content: bytes | bytearray | memoryview, *, max_inputs: int) -> JsonCounts:
    """Check the JSON of an infer request, and return what it contains; raises DataError."""
    limits = (max_inputs + _SPARE_INPUTS, MAX_OUTPUTS, MAX_PARAMETERS, MAX_DIMENSIONS)
    return _admit(content, _INFERENCE, limits, max_members=MAX_MEMBERS)


def admit_frames(content: bytes | bytearray, *, max_columns: int) -> None:
    """Check a request in MLflow's form; raises DataError."""
    limits = (max_columns + _SPARE_INPUTS, MAX_PARAMETERS)
    _admit(content, _FRAMES, limits, max_members=max_columns + MAX_MEMBERS).require_values()


def admit_labels(content: bytes | bytearray, *, max_rows: int) -> None:
    """Check a request with labels; raises DataError."""
    _admit(content, _LABELS, (max_rows,), max_members=MAX_MEMBERS).require_values()


def admit_rows(content: bytes, *, max_rows: int) -> None:
    """Check an array of pushed rows; raises DataError."""
    counts = _admit(content, _CountedNames(()), (), max_members=None)
    _require_pushed(counts.items, max_rows, "rows")
    counts.require_values()


def admit_lines(content: bytes, *, max_rows: int) -> list[bytes]:
    """Return the lines of pushed rows, empty ones as well, each of which is decoded by itself; raises DataError."""
    _require_pushed(content.count(b"\n"), max(MAX_VALUES, max_rows), "lines")
    lines = content.split(b"\n")
    _require_pushed(sum(1 for line in lines if line.strip()), max_rows, "rows")
    n_values = 0
    for line in lines:
        counts = _admit(line, _CountedNames(()), (), max_members=None)
        n_values += counts.texts + counts.scalars
        _require_pushed(n_values, MAX_VALUES, "values")
    return lines


def _require_pushed(count: int, limit: int, unit: str) -> None:
    if count > limit:
        raise DataError(f"a push has at most {limit:,} {unit}, not {count:,}", hint="send several")


def admit_object(content: bytes | bytearray) -> None:
    """Check any other JSON of a caller; raises DataError."""
    _admit(content, _CountedNames(()), (), max_members=None).require_values()


def admit_message(content: bytes, *, max_inputs: int) -> None:
    """Check the bytes of a ModelInferRequest; raises DataError. What breaks protobuf's format is left to its parser."""
    limits = {
        4: (MAX_PARAMETERS, "parameters"),
        5: (max_inputs + _SPARE_INPUTS, "inputs"),
        6: (MAX_OUTPUTS, "outputs"),
        7: (max_inputs + _SPARE_INPUTS, "raw inputs"),
    }
    counts = dict.fromkeys(limits, 0)
    other = n_values = 0
    for field in _fields(content, 0, len(content)):
        if field.number not in limits:
            other += 1
            if other > MAX_MEMBERS:
                raise DataError(f"the request has more than {MAX_MEMBERS} fields of its own", hint="send each once")
            continue
        counts[field.number] += 1
        limit, field_name = limits[field.number]
        if counts[field.number] > limit:
            raise DataError(f"the request has more than {limit} {field_name}", hint="send fewer")
        if field.number in _TENSORS and field.kind == _BLOCK:
            n_values = _admit_tensor(content, field, n_values)


def _admit_tensor(content: bytes, tensor: _Field, n_values: int) -> int:
    """Check an input or a requested output; return `n_values` and its own values."""
    for count, field in enumerate(_fields(content, tensor.start, tensor.end), 1):
        if count > MAX_MEMBERS:
            raise DataError(f"an input or output has more than {MAX_MEMBERS} fields", hint="send fewer")
        if field.number == _SHAPE and field.end - field.start > 10 * MAX_DIMENSIONS:
            raise DataError(f"an input has more than {MAX_DIMENSIONS} dimensions", hint="send fewer")
        if field.number == _CONTENTS and field.kind == _BLOCK and len(content) > MAX_VALUES:  # a value takes a byte
            n_values = _count_contents(content, field, n_values)
    return n_values


def _count_contents(content: bytes, contents: _Field, n_values: int) -> int:
    """Return `n_values` and the values of the contents of an input; raises DataError once they are too many."""
    for field in _fields(content, contents.start, contents.end):
        if field.kind != _BLOCK or field.number not in _PACKED_BYTES:
            n_values += 1
        elif width := _PACKED_BYTES[field.number]:
            n_values += (field.end - field.start) // width
        else:
            n_values += len(content[field.start : field.end].translate(None, _NOT_LAST))
        if n_values > MAX_VALUES:
            raise DataError(f"the contents have more than {MAX_VALUES:,} values, which are decoded at once", hint=_HINT)
    return n_values


def count_json(content: bytes | bytearray | memoryview, names: tuple[bytes, ...]) -> JsonCounts:
    """Count what JSON contains, up to a depth of `MAX_DEPTH`; of malformed JSON at least what its decoder creates."""
    counted = scan_json or scan_in_python
    depth, texts, scalars, members, items, *named = counted(content, names, MAX_DEPTH)
    return JsonCounts(depth=depth, texts=texts, scalars=scalars, members=members, items=items, named=tuple(named))


def _admit(
    content: bytes | bytearray | memoryview, names: _CountedNames, limits: tuple[int, ...], *, max_members: int | None
) -> JsonCounts:
    counts = count_json(content, names.keys)
    if counts.depth > MAX_DEPTH:
        raise DataError(f"the body is nested more than {MAX_DEPTH} deep", hint="send lists and objects less nested")
    for count, limit, message in zip(counts.named, limits, names.messages, strict=True):
        if count > limit:
            raise DataError(message.format(count=count, limit=limit, read=limit - _SPARE_INPUTS), hint="send fewer")
    if max_members is not None and counts.members > max_members:
        raise DataError(f"an object of the body has {counts.members:,} members, at most {max_members:,} are allowed")
    if max_members is not None and counts.texts > MAX_VALUES:
        message = (
            f"the body has {counts.texts:,} strings, lists and objects, at most {MAX_VALUES:,} are decoded at once"
        )
        raise DataError(message, hint=_HINT)
    return counts


def scan_in_python(
    content: bytes | bytearray | memoryview, names: tuple[bytes, ...], max_depth: int
) -> tuple[int, ...]:
    """Count as `scan_json` does, which it replaces without the extension."""
    counter = _TokenCounter(names, max_depth)
    for match in _TOKENS.finditer(content):
        if not counter.take(match[0]):
            break
    while counter.stack:
        counter.close()
    return (counter.depth, counter.texts, counter.scalars, counter.members, counter.items, *counter.named)


class _OpenContainer:
    """A list or object of a body, and the index of the name under which it is, -1 for none."""

    __slots__ = ("commas", "is_filled", "is_object", "name")

    def __init__(self, name: int) -> None:
        self.name = name
        self.commas = 0
        self.is_filled = self.is_object = False


class _TokenCounter:
    """Counts of the tokens so far, and the containers that are open."""

    def __init__(self, names: tuple[bytes, ...], max_depth: int) -> None:
        self._names = names
        self._max_depth = max_depth
        self._key, self._name = b"", -1
        self._outside = _OpenContainer(-1)  # commas and values next to the outermost value of malformed JSON
        self.stack = list[_OpenContainer]()
        self.named = [0] * len(names)
        self.depth = self.texts = self.scalars = self.members = self.items = 0

    def take(self, token: bytes) -> bool:
        """Count a token; return False if it begins a container beyond the depth."""
        current, first = self.stack[-1] if self.stack else self._outside, token[:1]
        if first in b"]}":
            if self.stack:
                self.close()
        elif first == b",":
            self._name = -1
            current.commas += 1
        elif first == b":":
            self._name = _index_of(self._key, self._names)
            current.is_object = True
        else:
            current.is_filled = True
            return self._take_value(token, first)
        return True

    def _take_value(self, token: bytes, first: bytes) -> bool:
        if first in b"[{":
            self.texts, self.depth = self.texts + 1, max(self.depth, len(self.stack) + 1)
            if self.depth > self._max_depth:
                return False
            self.stack.append(_OpenContainer(self._name))
            self._name = -1
        elif first == b'"':
            self.texts += 1
            self._key = token[1:].removesuffix(b'"')
        else:
            self.scalars += 1
        return True

    def close(self) -> None:
        """End the innermost container."""
        closed = self.stack.pop()
        count = closed.commas + closed.is_filled
        self.members = max(self.members, count if closed.is_object else 0)
        self.items = self.items if self.stack else count
        if closed.name >= 0:
            self.named[closed.name] = max(self.named[closed.name], count)


def _index_of(key: bytes, names: tuple[bytes, ...]) -> int:
    plain = _ESCAPED.sub(lambda escape: bytes([int(escape[1], 16)]), key) if b"\\" in key else key
    return names.index(plain) if plain in names else -1


class _Field(NamedTuple):
    """A field of a message: its number and wire type, and where its content is; that of a group is counted as well."""

    number: int
    kind: int
    start: int
    end: int


def _fields(content: bytes, start: int, end: int) -> Iterator[_Field]:
    """Yield the fields of a message in `content[start:end]`, up to one that is malformed."""
    while start < end:
        tag, start = _varint(content, start)
        kind, field_end = tag & 7, -1
        if start >= 0 and kind == _BLOCK:
            size, start = _varint(content, start)
            field_end = start + size
        elif start >= 0:
            field_end = _varint(content, start)[1] if kind == 0 else start + _WIDTHS.get(kind, -1 - start)
        if start < 0 or field_end < 0:
            return
        yield _Field(tag >> 3, kind, start, field_end)
        start = field_end


def _varint(content: bytes, start: int) -> tuple[int, int]:
    """Return a number of seven bits a byte, the lowest first, and the position behind it, -1 if there is none."""
    value = 0
    for index, byte in enumerate(content[start : start + 10]):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, start + index + 1
    return 0, -1
