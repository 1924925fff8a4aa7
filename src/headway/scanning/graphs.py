"""Read an ONNX graph without onnx: operators of other domains, loops, sizes, and files that it names.

Only the structure is read; numbers of tensors are skipped, except small constants that give a size or a number of
rounds.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath, PureWindowsPath

from headway.scanning.arrays import unknown, unsafe
from headway.scanning.pickles import first_problems
from headway.scanning.verdicts import Problem

MAX_NESTED = 24
MAX_ELEMENTS = 1 << 28
MAX_ROUNDS = 1_000_000
MAX_NODES = 2_000_000
_DOMAINS = frozenset(
    (
        "",
        "ai.onnx",
        "ai.onnx.ml",
        "ai.onnx.training",
        "ai.onnx.preview.training",
        "com.microsoft",
        "com.microsoft.nchwc",
    )
)
_RUNS_PYTHON = frozenset(("PyOp", "PyCustomOp", "PythonOp", "ATen", "ATenOp"))
_SIZES = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 14: 8, 15: 16, 16: 2}
_SHAPED = {"ConstantOfShape": 0, "Expand": 1, "Tile": 1, "Reshape": -1, "RandomNormal": -1}


@dataclass(slots=True)
class _GraphReader:
    data: memoryview
    problems: list[Problem] = field(default_factory=list)
    constants: dict[bytes, list[int]] = field(default_factory=dict)
    functions: dict[bytes, set[bytes]] = field(default_factory=dict)
    calls: set[bytes] = field(default_factory=set)
    nodes: int = 0


def looks_like_graph(head: bytes) -> bool:
    """Return whether bytes begin as a model of ONNX: the version of its format, then other fields."""
    return (
        head[:1] == b"\x08"
        and len(head) > 2
        and head[1] < 0x20
        and head[2] in (0x12, 0x1A, 0x22, 0x28, 0x32, 0x3A, 0x42)
    )


def scan_graph(content: bytes | memoryview) -> list[Problem]:
    """Return the problems of an ONNX graph."""
    reader = _GraphReader(memoryview(content))
    try:
        _read_model(reader)
    except (ValueError, IndexError, struct.error) as error:
        return [*reader.problems, unknown("onnx-damaged", f"not a complete graph: {error}")]
    if not reader.nodes and not reader.problems:
        reader.problems.append(unknown("onnx-damaged", "it holds not one operator"))
    _find_recursion(reader)
    return first_problems(reader.problems)


def _read_model(reader: _GraphReader) -> None:
    """Read the functions of a model first, whose names its graph uses as operators."""
    parts = list(_fields(reader.data, 0, len(reader.data)))
    for _, start, end in (part for part in parts if part[0] == 25):
        _read_function(reader, start, end)
    for number, start, end in parts:
        if number == 7:
            _read_graph(reader, start, end, 0)
        elif number == 14 and b"__" in dict(_texts(reader.data, start, end)).get(2, b""):
            reader.problems.append(unknown("onnx-metadata", "its metadata holds names of special methods"))


def _find_recursion(reader: _GraphReader) -> None:
    """Add a problem if a function of the graph reaches itself."""
    for name in reader.functions:
        seen: set[bytes] = set()
        pending = list(reader.functions[name])
        while pending:
            current = pending.pop()
            if current == name:
                shown = name.decode("utf-8", "replace")[:80]
                reader.problems.append(unsafe("onnx-recursion", "a function calls itself", f"function {shown}"))
                return
            if current not in seen:
                seen.add(current)
                pending += reader.functions.get(current, ())


def _read_function(reader: _GraphReader, start: int, end: int) -> None:
    name = b""
    calls: set[bytes] = set()
    outer, reader.calls = reader.calls, calls
    for number, first, last in _fields(reader.data, start, end):
        if number == 1:
            name = bytes(reader.data[first:last])
        elif number == 7:
            _read_node(reader, first, last, 1)
    reader.calls = outer
    reader.functions[name] = calls


def _read_graph(reader: _GraphReader, start: int, end: int, depth: int) -> None:
    if depth > MAX_NESTED:
        raise ValueError(f"graphs nested deeper than {MAX_NESTED}")
    nodes = []
    for number, first, last in _fields(reader.data, start, end):
        if number == 1:
            nodes.append((first, last))
        elif number == 5:
            _read_tensor(reader, first, last, b"")
    for first, last in nodes:
        _read_node(reader, first, last, depth)


def _read_node(reader: _GraphReader, start: int, end: int, depth: int) -> None:
    reader.nodes += 1
    if reader.nodes > MAX_NODES:
        raise ValueError(f"more than {MAX_NODES:,} operators")
    inputs: list[bytes] = []
    output = name = operator = domain = b""
    attributes: list[tuple[int, int]] = []
    for number, first, last in _fields(reader.data, start, end):
        if number == 5:
            attributes.append((first, last))
            continue
        value = bytes(reader.data[first : min(last, first + 512)])
        if number == 1:
            inputs.append(value)
        elif number == 2:
            output = output or value
        elif number == 3:
            name = value
        elif number == 4:
            operator = value
        elif number == 7:
            domain = value
    reader.calls.add(operator)
    shown = operator.decode("utf-8", "replace")[:80]
    location = f"node {(name or output).decode('utf-8', 'replace')[:80]!r}"
    _judge_operator(reader, shown, domain.decode("utf-8", "replace"), location)
    body = _read_attributes(reader, attributes, output, depth)
    if shown in ("Loop", "Scan"):
        _judge_loop(reader, shown, inputs, body, location)
    _judge_size(reader, shown, inputs, location)


def _judge_operator(reader: _GraphReader, operator: str, domain: str, location: str) -> None:
    if operator in _RUNS_PYTHON:
        reader.problems.append(
            unsafe("onnx-python", f"the operator {operator} runs Python or a foreign library", location)
        )
    elif domain not in _DOMAINS and operator.encode() not in reader.functions:
        found = f"the operator {operator} of {domain[:80]!r} needs a library of its own"
        reader.problems.append(unknown("onnx-custom", found, location))


def _read_attributes(
    reader: _GraphReader, attributes: list[tuple[int, int]], output: bytes, depth: int
) -> tuple[int, int]:
    """Read the attributes of a node; return where its last subgraph is."""
    body = (0, 0)
    for start, end in attributes:
        kind = b""
        for number, first, last in _fields(reader.data, start, end):
            if number == 1:
                kind = bytes(reader.data[first : min(last, first + 64)])
            elif number in (5, 10):
                _read_tensor(reader, first, last, output if kind == b"value" else b"")
            elif number in (6, 11):
                body = (first, last)
                _read_graph(reader, first, last, depth + 1)
            elif number in (8, 7) and kind == b"shape":
                _judge_shape(reader, _packed(reader.data, first, last), "an attribute")
    return body


def _judge_loop(reader: _GraphReader, operator: str, inputs: list[bytes], body: tuple[int, int], location: str) -> None:
    if operator == "Scan":
        return
    rounds = reader.constants.get(inputs[0]) if inputs and inputs[0] else None
    if rounds and rounds[0] > MAX_ROUNDS and _keeps_going(reader, body):
        reader.problems.append(unsafe("onnx-loop", f"a loop of {rounds[0]:,} rounds", location))
    elif not (inputs and inputs[0]) and _keeps_going(reader, body):
        reader.problems.append(unsafe("onnx-loop", "a loop without an end", location))
    elif rounds is None or rounds[0] > MAX_ROUNDS:
        reader.problems.append(unknown("onnx-loop", "a loop whose length depends on its input", location))


def _keeps_going(reader: _GraphReader, body: tuple[int, int]) -> bool:
    """Return whether the condition of a loop's body is its own input, or a constant."""
    outputs: list[bytes] = []
    inputs: list[bytes] = []
    made: dict[bytes, tuple[bytes, list[bytes]]] = {}
    constants: set[bytes] = set()
    for number, first, last in _fields(reader.data, *body):
        if number in (11, 12):
            name = dict(_texts(reader.data, first, last)).get(1, b"")
            (inputs if number == 11 else outputs).append(name)
        elif number == 1:
            parts = list(_texts(reader.data, first, last))
            operator = next((value for key, value in parts if key == 4), b"")
            sources = [value for key, value in parts if key == 1]
            made |= {value: (operator, sources) for key, value in parts if key == 2}
        elif number == 5:
            constants |= {value for key, value in _texts(reader.data, first, last) if key == 8}
    current = outputs[0] if outputs else b""
    for _ in range(64):
        if current in constants or (len(inputs) > 1 and current == inputs[1]):
            return True
        operator, sources = made.get(current, (b"", []))
        if operator == b"Constant":
            return True
        if operator not in (b"Identity", b"Cast") or not sources:
            return current not in made  # a value of the graph around it, which no round changes
        current = sources[0]
    return True


def _judge_size(reader: _GraphReader, operator: str, inputs: list[bytes], location: str) -> None:
    index = _SHAPED.get(operator, -1)
    if 0 <= index < len(inputs):
        _judge_shape(reader, reader.constants.get(inputs[index], []), location)
    elif operator == "Range" and len(inputs) == 3:
        ends = [reader.constants.get(name, [0]) for name in inputs]
        if all(ends) and abs(ends[1][0] - ends[0][0]) > MAX_ELEMENTS * max(abs(ends[2][0]), 1):
            reader.problems.append(unsafe("onnx-size", f"a range up to {ends[1][0]:,}", location))


def _judge_shape(reader: _GraphReader, shape: list[int], location: str) -> None:
    total = math.prod(abs(size) for size in shape) if shape else 0
    if total > MAX_ELEMENTS:
        reader.problems.append(unsafe("onnx-size", f"an array of {total:,} elements from a few bytes", location))


def _read_tensor(reader: _GraphReader, start: int, end: int, name: bytes) -> None:
    shape: list[int] = []
    kind = stored = 0
    values: list[int] = []
    external: dict[bytes, bytes] = {}
    own, is_external = b"", False
    for number, wire, value, first, last in _all_fields(reader.data, start, end):
        if number == 1:
            shape += [value] if wire == 0 else _packed(reader.data, first, last)
        elif number == 2 and wire == 0:
            kind = value
        elif number == 14 and wire == 0:
            is_external = value == 1
        elif number == 8:
            own = bytes(reader.data[first:last][:512])
        elif number == 13:
            entry = dict(_texts(reader.data, first, last))
            external[entry.get(1, b"")] = entry.get(2, b"")
        elif number in (4, 5, 6, 7, 9, 10, 11):
            stored += last - first if wire == 2 else 8
            if number == 7 and last - first <= 512:
                values += [value] if wire == 0 else _packed(reader.data, first, last)
            elif number == 9 and kind == 7 and last - first <= 512:
                values += struct.unpack(
                    f"<{(last - first) // 8}q", reader.data[first : first + (last - first) // 8 * 8]
                )
    label = (own or name).decode("utf-8", "replace")[:80]
    location = f"tensor {label!r}"
    if values and (name or own):
        reader.constants[name or own] = values
    if external:
        _judge_external(reader, external, location)
    elif is_external:
        reader.problems.append(unsafe("onnx-external", "keeps its values in a file without a name", location))
    elif math.prod(shape) * _SIZES.get(kind, 1) > 16 * stored + MAX_ELEMENTS:
        reader.problems.append(
            unsafe("onnx-size", f"claims {math.prod(shape):,} elements, {stored:,} bytes are there", location)
        )
    elif any(size < 0 for size in shape):
        reader.problems.append(unsafe("onnx-size", "has a negative size", location))


def _judge_external(reader: _GraphReader, external: dict[bytes, bytes], location: str) -> None:
    path = external.get(b"location", b"").decode("utf-8", "replace")
    if leaves_folder(path):
        reader.problems.append(
            unsafe("onnx-external", f"reads the file {path[:200]!r} outside of its folder", location)
        )
        return
    for key in (b"offset", b"length"):
        if not external.get(key, b"0").isdigit():
            reader.problems.append(unsafe("onnx-external", f"the {key.decode()} of its file is not a number", location))
            return
    reader.problems.append(unknown("onnx-external", f"keeps values in the file {path[:200]!r}", location))


def leaves_folder(path: str) -> bool:
    """Return whether a relative name leads out of its folder, on any system."""
    windows, posix = PureWindowsPath(path), PurePosixPath(path)
    return (
        not path
        or "\0" in path
        or ".." in windows.parts
        or bool(windows.drive or windows.root or posix.is_absolute())
        or path.startswith("~")
    )


def _packed(data: memoryview, start: int, end: int) -> list[int]:
    values: list[int] = []
    while start < end and len(values) < 64:
        value, start = _varint(data, start)
        values.append(value - (1 << 64) if value >> 63 else value)
    return values


def _texts(data: memoryview, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    for number, first, last in _fields(data, start, end):
        yield number, bytes(data[first : min(last, first + 4096)])


def _fields(data: memoryview, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    for number, wire, _, first, last in _all_fields(data, start, end):
        if wire == 2:
            yield number, first, last


def _all_fields(data: memoryview, start: int, end: int) -> Iterator[tuple[int, int, int, int, int]]:
    """Yield number, wire type, value, start and end of each field of a message."""
    while start < end:
        tag, start = _varint(data, start)
        wire = tag & 7
        value, size = 0, 0
        if wire == 2:
            size, start = _varint(data, start)
        elif wire == 0:
            value, start = _varint(data, start)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ValueError("a group, which the format does not have")
        if start + size > end:
            raise ValueError("a field ends after its message")
        if wire == 0 and value >> 63:
            value -= 1 << 64
        yield tag >> 3, wire, value, start, start + size
        start += size


def _varint(data: memoryview, start: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[start]
        start += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, start
    raise ValueError("an integer of more than 10 bytes")
