"""Lower the ONNX operators that only move numbers: slices, gathers, reshapes and casts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from headway.optimization.lowering.numeric_ops import Rule
from headway.optimization.lowering.program import Constant, Emitter, Lengths, Rows, Value

Array = NDArray[Any]

_INTEGER_LIMITS = {TensorProto.INT64: 2.0**63, TensorProto.INT32: 2.0**31}
_ROWS = "it mixes rows"


def _positions(rows: Rows) -> Array:
    """Return the position of each number of a row, in its shape."""
    return np.arange(rows.size).reshape(rows.shape)


def _axis(emitter: Emitter, axis: int, rank: int) -> int:
    """Return the axis within a row; `rank` counts the axis of rows."""
    axis += rank if axis < 0 else 0
    if not 0 < axis < rank:
        emitter.node.refuse(_ROWS)
    return axis - 1


def _concat(emitter: Emitter, *values: Value) -> Value:
    if not any(isinstance(value, Rows) for value in values):
        return _concat_lengths(emitter, values)
    parts = [emitter.in_rows(value) for value in values]
    axis = _axis(emitter, emitter.node.attributes["axis"], len(parts[0].shape) + 1)
    if len({(len(part.shape), part.kind) for part in parts}) > 1:
        emitter.node.refuse("its inputs have different types")
    size, at = sum(part.size for part in parts), 0
    joined, positions = emitter.program.register(size), []
    for part in parts:
        emitter.program.emit("copy", joined._replace(offset=at), part.size, part.span)
        positions.append(_positions(part) + at)
        at += part.size
    together = Rows(span=joined, shape=(size,), kind=parts[0].kind)
    return emitter.gather(together, np.concatenate(positions, axis=axis))


def _lengths_value(lengths: Sequence[int | None], *, alone: bool = False) -> Value:
    """Return lengths of axes, as a constant if the number of rows is not among them."""
    if None in lengths:
        return Lengths(lengths=tuple(lengths), alone=alone)
    known = np.array([length or 0 for length in lengths], np.int64)
    return Constant(array=known[0] if alone else known)


def _concat_lengths(emitter: Emitter, values: Sequence[Value]) -> Lengths:
    """Concatenate lengths, some of which are constants."""
    parts: list[int | None] = []
    for value in values:
        parts += value.lengths if isinstance(value, Lengths) else emitter.node.fixed(value).ravel().tolist()
    return Lengths(lengths=tuple(parts))


def _slice(emitter: Emitter, value: Value, *arguments: Value | None) -> Value:
    starts, ends, axes, steps = (
        emitter.node.numbers(name, value)
        for name, value in zip(("starts", "ends", "axes", "steps"), (*arguments, *[None] * 4), strict=False)
    )
    cuts = {
        axis: slice(start, end, step)
        for axis, start, end, step in zip(
            axes or range(len(starts or ())), starts or (), ends or (), steps or [1] * len(starts or ()), strict=True
        )
    }
    if isinstance(value, Lengths):
        return _lengths_value(value.lengths[cuts.get(0, slice(None))])
    rows = emitter.in_rows(value)
    joined = [slice(None)] * len(rows.shape)
    for axis, cut in cuts.items():
        if axis != 0 or (cut.start, cut.step) != (0, 1) or cut.stop < np.iinfo(np.int32).max:
            joined[_axis(emitter, axis, len(rows.shape) + 1)] = cut
    return emitter.gather(rows, _positions(rows)[tuple(joined)])


def _split(emitter: Emitter, value: Value, sizes: Value | None = None) -> tuple[Value, ...]:
    rows = emitter.node.rows(value)
    axis = _axis(emitter, emitter.node.attributes.get("axis", 0), len(rows.shape) + 1)
    length, parts = rows.shape[axis], emitter.node.outputs
    even = -(-length // parts)
    split = emitter.node.numbers("split", sizes) or [even] * (parts - 1) + [length - even * (parts - 1)]
    positions = np.split(_positions(rows), np.cumsum(split)[:-1], axis=axis)
    return tuple(emitter.gather(rows, position) for position in positions)


def _gather(emitter: Emitter, value: Value, at: Value) -> Value:
    axis = int(emitter.node.attributes.get("axis", 0))
    if isinstance(at, Rows):
        return _look_up(emitter, emitter.node.fixed(value), at, axis)
    positions = emitter.node.fixed(at)
    if isinstance(value, Lengths):
        return _lengths_value(
            [value.lengths[int(position)] for position in positions.ravel()], alone=positions.ndim == 0
        )
    rows = emitter.in_rows(value)
    axis = _axis(emitter, axis, len(rows.shape) + 1)
    length = rows.shape[axis]
    if not np.all((positions >= -length) & (positions < length)):
        emitter.node.refuse("its index is out of range")
    return emitter.gather(rows, np.take(_positions(rows), positions, axis=axis))


def _look_up(emitter: Emitter, table: Array, ranks: Rows, axis: int) -> Rows:
    """Emit a look-up of table rows, one for each rank of a row."""
    if axis not in (0, -table.ndim) or ranks.kind != "integer" or table.dtype != np.float32 or not table.size:
        emitter.node.refuse("it is not a look-up of integers in a float32 table")
    width = table.size // len(table)
    out = emitter.program.register(ranks.size * width)
    emitter.program.emit("lookup", out, ranks.size, ranks.span, emitter.program.pool(table), sizes=(len(table), width))
    return Rows(span=out, shape=ranks.shape + table.shape[1:])


def _reshape(emitter: Emitter, value: Value, shape: Value | None = None) -> Value:
    if isinstance(value, Lengths):
        return Lengths(lengths=value.lengths)
    rows = emitter.in_rows(value)
    wanted = shape.lengths if isinstance(shape, Lengths) else emitter.node.numbers("shape", shape) or []
    if not wanted or (0 in wanted and emitter.node.attributes.get("allowzero")):
        emitter.node.refuse("its new shape is unknown")
    first, rest = wanted[0], [-1 if length is None else int(length) for length in wanted[1:]]
    rest = [rows.shape[axis] if length == 0 and axis < len(rows.shape) else length for axis, length in enumerate(rest)]
    if rest.count(-1) == 1 and first in (None, 0):
        rest[rest.index(-1)] = rows.size // max(abs(math.prod(rest)), 1)
    if first not in (None, 0, -1) or math.prod(rest) != rows.size:
        emitter.node.refuse(_ROWS)
    return replace(rows, shape=tuple(rest))


def _flatten(emitter: Emitter, value: Value) -> Value:
    rows = emitter.in_rows(value)
    if emitter.node.attributes.get("axis", 1) not in (1, -len(rows.shape)):
        emitter.node.refuse(_ROWS)
    return replace(rows, shape=(rows.size,))


def _squeeze(emitter: Emitter, value: Value, axes: Value | None = None) -> Value:
    if isinstance(value, Lengths):
        return Lengths(lengths=value.lengths, alone=True)
    rows, arguments = emitter.in_rows(value), emitter.node.numbers("axes", axes)
    if arguments is None:
        emitter.node.refuse("the axes it removes depend on the number of rows")
    gone = tuple(_axis(emitter, axis, len(rows.shape) + 1) for axis in arguments)
    if any(rows.shape[axis] != 1 for axis in gone):
        emitter.node.refuse("an axis that it removes is longer than 1")
    remaining = tuple(length for axis, length in enumerate(rows.shape) if axis not in gone)
    return Rows(span=rows.span, shape=remaining, kind=rows.kind)


def _unsqueeze(emitter: Emitter, value: Value, axes: Value | None = None) -> Value:
    if isinstance(value, Lengths):
        return Lengths(lengths=value.lengths)
    rows, arguments = emitter.in_rows(value), emitter.node.numbers("axes", axes) or []
    rank = len(rows.shape) + 1 + len(arguments)
    new = tuple(_axis(emitter, axis, rank) for axis in arguments)
    return Rows(span=rows.span, shape=np.expand_dims(np.empty(rows.shape), new).shape, kind=rows.kind)


def _transpose(emitter: Emitter, value: Value) -> Value:
    rows = emitter.in_rows(value)
    order = list(emitter.node.attributes.get("perm", range(len(rows.shape), -1, -1)))
    if order[0] != 0:
        emitter.node.refuse(_ROWS)
    return emitter.gather(rows, _positions(rows).transpose([axis - 1 for axis in order[1:]]))


def _expand(emitter: Emitter, value: Value, shape: Value) -> Value:
    first, *rest = shape.lengths if isinstance(shape, Lengths) else emitter.node.fixed(shape).ravel().tolist() or [0]
    lengths = tuple(int(length) for length in rest if length is not None)
    if len(lengths) != len(rest) or first not in (None, 1):
        emitter.node.refuse("its new shape is unknown")
    if isinstance(value, Constant):
        array = value.array[0] if value.array.ndim == len(rest) + 1 and len(value.array) == 1 else value.array
        if first is not None or array.ndim > len(rest):
            emitter.node.refuse(_ROWS)
        return Constant(array=np.broadcast_to(array, lengths), each_row=True)
    rows = emitter.node.rows(value)
    if len(rest) != len(rows.shape):
        emitter.node.refuse(_ROWS)
    return emitter.gather(rows, np.broadcast_to(_positions(rows), np.broadcast_shapes(rows.shape, lengths)))


def _cast(emitter: Emitter, value: Value) -> Value:
    if isinstance(value, Lengths):
        return value
    rows, kind = emitter.in_rows(value), emitter.node.attributes["to"]
    if kind == TensorProto.DOUBLE:
        return Rows(span=rows.span, shape=rows.shape, kind="double" if rows.kind == "double" else "wide")
    if kind == TensorProto.FLOAT:
        return Rows(span=rows.span, shape=rows.shape)
    if rows.kind == "double":
        emitter.node.refuse("it computes in float64")
    if kind == TensorProto.BOOL:
        return emitter.emit("equal", emitter.emit("equal", rows, 0.0), 0.0, kind="boolean")
    if kind not in _INTEGER_LIMITS:
        emitter.node.refuse(f"casts to {kind} are not supported")
    if rows.kind in ("integer", "boolean"):
        return Rows(span=rows.span, shape=rows.shape, kind="integer")
    return emitter.emit("trunc", rows, _INTEGER_LIMITS[kind], kind="integer")


def _shape(emitter: Emitter, value: Value) -> Value:
    rows = emitter.in_rows(value)
    found = (None, *rows.shape)
    return _lengths_value(
        found[emitter.node.attributes.get("start", 0) : emitter.node.attributes.get("end", len(found))]
    )


def _filled(emitter: Emitter, lengths: Value) -> Value:
    if not isinstance(lengths, Lengths) or lengths.lengths[0] is not None or None in lengths.lengths[1:]:
        emitter.node.refuse("its shape is unknown")
    number = emitter.node.attributes.get("value", np.zeros(1, np.float32))
    rest = tuple(int(length or 0) for length in lengths.lengths[1:])
    return Constant(array=np.full(rest, number[0]), each_row=True)


def _identity(_: Emitter, value: Value, *__: Value | None) -> Value:
    return value


RULES: dict[str, Rule] = {
    "Concat": _concat,
    "Slice": _slice,
    "Split": _split,
    "Gather": _gather,
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Transpose": _transpose,
    "Expand": _expand,
    "Cast": _cast,
    "Shape": _shape,
    "ConstantOfShape": _filled,
    "Identity": _identity,
    "Dropout": _identity,
    "ZipMap": _identity,
}
"""Rules by operator."""
ANY_ORDER = ("Reshape", "Flatten", "Identity", "Dropout")
"""Operators that read numbers in any order of storage."""
