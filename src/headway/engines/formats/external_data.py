"""Find the values that an ONNX graph keeps in other files, by reading its bytes.

onnx need not be installed, and nothing is opened. Such a graph is complete only together with files that no digest of
the graph covers, so it is embedded when it is imported, and is neither run, signed nor verified otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator

from headway.core.errors import EngineError

_KEY = b"location"
_TENSOR, _GRAPH, _NODE, _ATTRIBUTE, _SPARSE, _ENTRY = "tensor", "graph", "node", "attribute", "sparse tensor", "entry"
_PARTS: dict[str, dict[int, str]] = {
    "model": {7: _GRAPH, 20: "training", 25: "function"},
    "training": {1: _GRAPH, 2: _GRAPH},
    "function": {7: _NODE, 11: _ATTRIBUTE},
    _GRAPH: {1: _NODE, 5: _TENSOR, 15: _SPARSE},
    _NODE: {5: _ATTRIBUTE},
    _ATTRIBUTE: {5: _TENSOR, 6: _GRAPH, 10: _TENSOR, 11: _GRAPH, 22: _SPARSE, 23: _SPARSE},
    _SPARSE: {1: _TENSOR, 2: _TENSOR},
    _TENSOR: {13: _ENTRY},
}
"""Fields of a message of `onnx.proto` that hold tensors, by number: the message that is in each."""
_LENGTH_DELIMITED, _VARINT, _SIZES = 2, 0, {1: 8, 5: 4}


def require_embedded(content: bytes) -> None:
    """Raise EngineError if a graph keeps values in other files."""
    files = external_files(content)
    if files:
        raise EngineError(
            f"the graph keeps its weights in another file: {files[0]!r}",
            hint="give headway the path of the graph, or onnx.save(onnx.load('model.onnx'), 'complete.onnx')",
        )


def external_files(content: bytes) -> tuple[str, ...]:
    """Return the names of the files in which an ONNX graph keeps values; none if it is complete.

    Raises EngineError if bytes that might name one cannot be read.
    """
    found: dict[str, None] = {}
    pending = [("model", 0, len(content))]
    try:
        while pending:
            kind, start, end = pending.pop()
            if content.find(_KEY, start, end) < 0:  # its name has to be there, in one piece
                continue
            if kind == _ENTRY:
                key, value = _entry(content, start, end)
                found |= {value: None} if key == _KEY.decode() else {}
                continue
            parts = _PARTS[kind]
            pending += [
                (parts[number], first, last) for number, first, last in _fields(content, start, end) if number in parts
            ]
    except (ValueError, IndexError) as error:
        raise EngineError("these bytes are not a complete ONNX graph", hint="export it again") from error
    return tuple(found)


def _entry(content: bytes, start: int, end: int) -> tuple[str, str]:
    """Return the key and the value of an entry."""
    fields = {number: content[first:last] for number, first, last in _fields(content, start, end)}
    return fields.get(1, b"").decode(), fields.get(2, b"").decode(errors="replace")


def _fields(content: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield number, start and end of each field of a message that has a length."""
    while start < end:
        tag, start = _varint(content, start)
        wire = tag & 7
        if wire == _LENGTH_DELIMITED:
            size, start = _varint(content, start)
            if start + size > end:
                raise ValueError("a field ends behind its message")
            yield tag >> 3, start, start + size
            start += size
        elif wire == _VARINT:
            _, start = _varint(content, start)
        elif wire in _SIZES:
            start += _SIZES[wire]
        else:
            raise ValueError("a group, which onnx.proto does not have")


def _varint(content: bytes, start: int) -> tuple[int, int]:
    """Return an integer of at most 10 bytes, and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        byte = content[start]
        start += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, start
    raise ValueError("an integer of more than 10 bytes")
