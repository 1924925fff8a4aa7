"""Lower the ONNX operators that only move numbers: slices, gathers, reshapes and casts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from headway.optimization.lowering.numeric_ops import Rule
from headway.optimization.lowering.program import Constant, Emitter, Lengths, Rows, Value

Array = NDArray[Any]

_WHOLE = {TensorProto.INT64: 2.0**63, TensorProto.INT32: 2.0**31}
_ROWS = "it moves numbers from row to row"


def _positions(rows: Rows) -> Array:
    """Of each number of a row its own place."""
    return np.arange(rows.size).reshape(rows.shape)


def _axis(pen: Emitter, axis: int, rank: int) -> int:
    """An axis of a row's numbers; `rank` counts the axis of rows."""
    axis += rank if axis < 0 else 0
    if not 0 < axis < rank:
        pen.node.refuse(_ROWS)
    return axis - 1


def _concat(pen: Emitter, *values: Value) -> Value:
    if not any(isinstance(each, Rows) for each in values):
        return _concat_lengths(pen, values)
    parts = [pen.in_rows(each) for each in values]
    axis = _axis(pen, pen.node.attributes["axis"], len(parts[0].shape) + 1)
    if len({(len(part.shape), part.kind) for part in parts}) > 1:
        pen.node.refuse("its parts are not of one kind")
    size, at = sum(part.size for part in parts), 0
    whole, places = pen.tape.register(size), []
    for part in parts:
        pen.tape.do("copy", whole._replace(offset=at), part.size, part.span)
        places.append(_positions(part) + at)
        at += part.size
    together = Rows(span=whole, shape=(size,), kind=parts[0].kind)
    return pen.moved(together, np.concatenate(places, axis=axis))


def _lengths_value(lengths: Sequence[int | None], *, alone: bool = False) -> Value:
    """Lengths of axes; constants where that of rows is not among them."""
    if None in lengths:
        return Lengths(lengths=tuple(lengths), alone=alone)
    known = np.array([each or 0 for each in lengths], np.int64)
    return Constant(array=known[0] if alone else known)


def _concat_lengths(pen: Emitter, values: Sequence[Value]) -> Lengths:
    """Lengths one after the other, some of them constants."""
    parts: list[int | None] = []
    for each in values:
        parts += each.lengths if isinstance(each, Lengths) else pen.node.fixed(each).ravel().tolist()
    return Lengths(lengths=tuple(parts))


def _slice(pen: Emitter, value: Value, *given: Value | None) -> Value:
    starts, ends, axes, steps = (
        pen.node.numbers(name, each)
        for name, each in zip(("starts", "ends", "axes", "steps"), (*given, *[None] * 4), strict=False)
    )
    cuts = {
        axis: slice(start, end, step)
        for axis, start, end, step in zip(
            axes or range(len(starts or ())), starts or (), ends or (), steps or [1] * len(starts or ()), strict=True
        )
    }
    if isinstance(value, Lengths):
        return _lengths_value(value.lengths[cuts.get(0, slice(None))])
    rows = pen.in_rows(value)
    whole = [slice(None)] * len(rows.shape)
    for axis, cut in cuts.items():
        if axis != 0 or (cut.start, cut.step) != (0, 1) or cut.stop < np.iinfo(np.int32).max:
            whole[_axis(pen, axis, len(rows.shape) + 1)] = cut
    return pen.moved(rows, _positions(rows)[tuple(whole)])


def _split(pen: Emitter, value: Value, sizes: Value | None = None) -> tuple[Value, ...]:
    rows = pen.node.rows(value)
    axis = _axis(pen, pen.node.attributes.get("axis", 0), len(rows.shape) + 1)
    length, parts = rows.shape[axis], pen.node.outputs
    even = -(-length // parts)
    split = pen.node.numbers("split", sizes) or [even] * (parts - 1) + [length - even * (parts - 1)]
    places = np.split(_positions(rows), np.cumsum(split)[:-1], axis=axis)
    return tuple(pen.moved(rows, each) for each in places)


def _gather(pen: Emitter, value: Value, at: Value) -> Value:
    axis = int(pen.node.attributes.get("axis", 0))
    if isinstance(at, Rows):
        return _look_up(pen, pen.node.fixed(value), at, axis)
    places = pen.node.fixed(at)
    if isinstance(value, Lengths):
        return _lengths_value([value.lengths[int(each)] for each in places.ravel()], alone=places.ndim == 0)
    rows = pen.in_rows(value)
    axis = _axis(pen, axis, len(rows.shape) + 1)
    length = rows.shape[axis]
    if not np.all((places >= -length) & (places < length)):
        pen.node.refuse("it asks for a place that is not there")
    return pen.moved(rows, np.take(_positions(rows), places, axis=axis))


def _look_up(pen: Emitter, table: Array, ranks: Rows, axis: int) -> Rows:
    """Rows of a table, one for each rank of a row."""
    if axis not in (0, -table.ndim) or ranks.kind != "whole" or table.dtype != np.float32 or not table.size:
        pen.node.refuse("it is no look-up of whole numbers in a table of float32")
    width = table.size // len(table)
    out = pen.tape.register(ranks.size * width)
    pen.tape.do("lookup", out, ranks.size, ranks.span, pen.tape.pool(table), sizes=(len(table), width))
    return Rows(span=out, shape=ranks.shape + table.shape[1:])


def _reshape(pen: Emitter, value: Value, shape: Value | None = None) -> Value:
    if isinstance(value, Lengths):
        return Lengths(lengths=value.lengths)
    rows = pen.in_rows(value)
    wanted = shape.lengths if isinstance(shape, Lengths) else pen.node.numbers("shape", shape) or []
    if not wanted or (0 in wanted and pen.node.attributes.get("allowzero")):
        pen.node.refuse("its new shape is not known")
    first, rest = wanted[0], [-1 if each is None else int(each) for each in wanted[1:]]
    rest = [rows.shape[axis] if each == 0 and axis < len(rows.shape) else each for axis, each in enumerate(rest)]
    if rest.count(-1) == 1 and first in (None, 0):
        rest[rest.index(-1)] = rows.size // max(abs(math.prod(rest)), 1)
    if first not in (None, 0, -1) or math.prod(rest) != rows.size:
        pen.node.refuse(_ROWS)
    return Rows(span=rows.span, shape=tuple(rest), kind=rows.kind)


def _flatten(pen: Emitter, value: Value) -> Value:
    rows = pen.in_rows(value)
    if pen.node.attributes.get("axis", 1) not in (1, -len(rows.shape)):
        pen.node.refuse(_ROWS)
    return Rows(span=rows.span, shape=(rows.size,), kind=rows.kind)


def _squeeze(pen: Emitter, value: Value, axes: Value | None = None) -> Value:
    if isinstance(value, Lengths):
        return Lengths(lengths=value.lengths, alone=True)
    rows, given = pen.in_rows(value), pen.node.numbers("axes", axes)
    if given is None:
        pen.node.refuse("which axes it takes away depends on the number of rows")
    gone = tuple(_axis(pen, axis, len(rows.shape) + 1) for axis in given)
    if any(rows.shape[axis] != 1 for axis in gone):
        pen.node.refuse("an axis that it takes away is longer than 1")
    left = tuple(length for axis, length in enumerate(rows.shape) if axis not in gone)
    return Rows(span=rows.span, shape=left, kind=rows.kind)


def _unsqueeze(pen: Emitter, value: Value, axes: Value | None = None) -> Value:
    if isinstance(value, Lengths):
        return Lengths(lengths=value.lengths)
    rows, given = pen.in_rows(value), pen.node.numbers("axes", axes) or []
    rank = len(rows.shape) + 1 + len(given)
    new = tuple(_axis(pen, axis, rank) for axis in given)
    return Rows(span=rows.span, shape=np.expand_dims(np.empty(rows.shape), new).shape, kind=rows.kind)


def _transpose(pen: Emitter, value: Value) -> Value:
    rows = pen.in_rows(value)
    order = list(pen.node.attributes.get("perm", range(len(rows.shape), -1, -1)))
    if order[0] != 0:
        pen.node.refuse(_ROWS)
    return pen.moved(rows, _positions(rows).transpose([axis - 1 for axis in order[1:]]))


def _expand(pen: Emitter, value: Value, shape: Value) -> Value:
    first, *rest = shape.lengths if isinstance(shape, Lengths) else pen.node.fixed(shape).ravel().tolist() or [0]
    lengths = tuple(int(each) for each in rest if each is not None)
    if len(lengths) != len(rest) or first not in (None, 1):
        pen.node.refuse("its new shape is not known")
    if isinstance(value, Constant):
        array = value.array[0] if value.array.ndim == len(rest) + 1 and len(value.array) == 1 else value.array
        if first is not None or array.ndim > len(rest):
            pen.node.refuse(_ROWS)
        return Constant(array=np.broadcast_to(array, lengths), each_row=True)
    rows = pen.node.rows(value)
    if len(rest) != len(rows.shape):
        pen.node.refuse(_ROWS)
    return pen.moved(rows, np.broadcast_to(_positions(rows), np.broadcast_shapes(rows.shape, lengths)))


def _cast(pen: Emitter, value: Value) -> Value:
    if isinstance(value, Lengths):
        return value
    rows, kind = pen.in_rows(value), pen.node.attributes["to"]
    if kind == TensorProto.DOUBLE:
        return Rows(span=rows.span, shape=rows.shape, kind="double" if rows.kind == "double" else "wide")
    if kind == TensorProto.FLOAT:
        return Rows(span=rows.span, shape=rows.shape)
    if rows.kind == "double":
        pen.node.refuse("it reckons in float64")
    if kind == TensorProto.BOOL:
        return pen.do("equal", pen.do("equal", rows, 0.0), 0.0, kind="truth")
    if kind not in _WHOLE:
        pen.node.refuse(f"numbers of kind {kind} are none of its own")
    if rows.kind in ("whole", "truth"):
        return Rows(span=rows.span, shape=rows.shape, kind="whole")
    return pen.do("trunc", rows, _WHOLE[kind], kind="whole")


def _shape(pen: Emitter, value: Value) -> Value:
    rows = pen.in_rows(value)
    found = (None, *rows.shape)
    return _lengths_value(found[pen.node.attributes.get("start", 0) : pen.node.attributes.get("end", len(found))])


def _filled(pen: Emitter, lengths: Value) -> Value:
    if not isinstance(lengths, Lengths) or lengths.lengths[0] is not None or None in lengths.lengths[1:]:
        pen.node.refuse("its shape is not known")
    number = pen.node.attributes.get("value", np.zeros(1, np.float32))
    rest = tuple(int(each or 0) for each in lengths.lengths[1:])
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
"""By the kind of a node, what writes it."""
