"""Nodes that are layers: products with weights, norms, sums and shares of a whole."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.optimization.lowering.numbers import Rule
from headway.optimization.lowering.values import Constant, Emitter, Rows, Value

Array = NDArray[Any]


def _dense(pen: Emitter, value: Value, weights: Array, bias: Array) -> Rows:
    """A row times weights [inputs, outputs], and a bias for each output."""
    rows = pen.in_rows(value)
    if rows.kind != "float" or weights.dtype != np.float32:
        pen.node.refuse("it reckons in other numbers than float32")
    if weights.ndim != 2 or rows.shape[-1:] != weights.shape[:1] or rows.size != weights.shape[0]:
        pen.node.refuse(f"it is no product of one row of numbers: {rows.shape} and {weights.shape}")
    if not (np.isfinite(weights).all() and np.isfinite(bias).all()):
        pen.node.refuse("not all of its weights are numbers")
    inputs, outputs = weights.shape
    out = pen.tape.register(outputs)
    pooled = pen.tape.pool(weights), pen.tape.pool(np.broadcast_to(bias, outputs) + np.float32(0))
    pen.tape.do("dense", out, outputs, rows.span, *pooled, sizes=(0, inputs))
    return Rows(span=out, shape=(*rows.shape[:-1], outputs))


def _gemm(pen: Emitter, value: Value, weights: Value, bias: Value | None = None) -> Value:
    of = pen.node.attributes
    if of.get("transA", 0):
        pen.node.refuse("it turns rows into columns")
    factor = np.float32(of.get("alpha", 1.0)) * pen.node.fixed(weights)
    added = np.float32(of.get("beta", 1.0)) * pen.node.fixed(bias) if bias is not None else np.zeros(1, np.float32)
    if added.ndim == 2 and len(added) == 1:
        added = added[0]
    if added.ndim > 1:
        pen.node.refuse("what it adds is another for each row")
    return _dense(pen, value, factor.T if of.get("transB", 0) else factor, added)


def _matmul(pen: Emitter, value: Value, weights: Value) -> Value:
    return _dense(pen, value, pen.node.fixed(weights), np.zeros(1, np.float32))


def _batch_norm(pen: Emitter, value: Value, *given: Value) -> Value:
    rows = pen.node.rows(value)
    if pen.node.attributes.get("training_mode", 0) or not rows.shape:
        pen.node.refuse("it learns while it answers")
    scale, shift, mean, variance = (pen.node.fixed(each).astype(np.float32) for each in given[:4])
    slope = scale / np.sqrt(variance + np.float32(pen.node.attributes.get("epsilon", 1e-5)))
    behind = (-1, *[1] * (len(rows.shape) - 1))
    sides = [Constant(array=each.reshape(behind)) for each in (slope, shift - mean * slope)]
    return pen.do("add", pen.do("mul", rows, sides[0]), sides[1])


def _sum(pen: Emitter, rows: Rows, *, by: int = 1) -> Rows:
    """The sum over the last axis, which is left as one of length 1, divided by a number."""
    count = rows.shape[-1]
    out = pen.tape.do("sum", pen.tape.register(rows.size // count), rows.size // count, rows.span, sizes=(count, by))
    return Rows(span=out, shape=(*rows.shape[:-1], 1))


def _mean(pen: Emitter, rows: Rows) -> Rows:
    return _sum(pen, rows, by=rows.shape[-1])


def _of_last_axis(pen: Emitter, value: Value, axes: list[int] | None) -> Rows:
    rows = pen.in_rows(value)
    if rows.kind != "float" or not rows.shape or axes not in ([-1], [len(rows.shape)]):
        pen.node.refuse("it does not go over the last axis of float32 numbers")
    return rows


def _layer_norm(pen: Emitter, value: Value, scale: Value, shift: Value | None = None) -> Value:
    rows = _of_last_axis(pen, value, [int(pen.node.attributes.get("axis", -1))])
    centred = pen.do("sub", rows, _mean(pen, rows))
    variance = _mean(pen, pen.do("mul", centred, centred))
    deviation = pen.do("sqrt", pen.do("add", variance, float(pen.node.attributes.get("epsilon", 1e-5))))
    scaled = pen.do("mul", pen.do("div", centred, deviation), Constant(array=pen.node.fixed(scale)))
    return pen.do("add", scaled, Constant(array=pen.node.fixed(shift))) if shift is not None else scaled


def _softmax(pen: Emitter, value: Value) -> Value:
    rows = _of_last_axis(pen, value, [int(pen.node.attributes.get("axis", -1))])
    out = pen.tape.register(rows.size)
    pen.tape.do("softmax", out, rows.size, rows.span, sizes=(rows.shape[-1], 0))
    return Rows(span=out, shape=rows.shape)


def _reduced(mean: bool) -> Rule:
    def rule(pen: Emitter, value: Value, axes: Value | None = None) -> Value:
        rows = _of_last_axis(pen, value, pen.node.numbers("axes", axes))
        found = _mean(pen, rows) if mean else _sum(pen, rows)
        keeps = pen.node.attributes.get("keepdims", 1)
        return found if keeps else Rows(span=found.span, shape=found.shape[:-1])

    return rule


def _scaler(pen: Emitter, value: Value) -> Value:
    offset, scale = (np.array(pen.node.attributes[name], np.float32) for name in ("offset", "scale"))
    return pen.do("mul", pen.do("sub", pen.node.rows(value), Constant(array=offset)), Constant(array=scale))


RULES: dict[str, Rule] = {
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Softmax": _softmax,
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "ReduceSum": _reduced(False),
    "ReduceMean": _reduced(True),
    "Scaler": _scaler,
}
"""By the kind of a node, what writes it."""
