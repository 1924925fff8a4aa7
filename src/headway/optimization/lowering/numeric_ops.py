"""Lower the ONNX operators that compute: elementwise functions, products, norms and reductions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.optimization.lowering.program import Constant, Emitter, Kind, Rows, Value

Rule = Callable[..., Value | tuple[Value, ...]]

_EXACT = ("add", "sub", "min", "max", "where")  # operations on integers that are exact in float32
_SELU = (1.67326319217681884765625, 1.05070102214813232421875)


def _kind(emitter: Emitter, operation: str, values: tuple[Value | float, ...]) -> Kind:
    """Return the kind of the result of an operation."""
    kinds = {value.kind for value in values if isinstance(value, Rows)}
    if kinds & {"double", "wide"}:
        emitter.node.refuse("it computes in float64")
    if "integer" in kinds and operation not in _EXACT:
        emitter.node.refuse("it computes with integers")
    return "integer" if "integer" in kinds else "boolean" if kinds == {"boolean"} else "float"


def elementwise(operation: str) -> Rule:
    """Return the rule of a node that applies one operation to all its inputs, from the left."""

    def rule(emitter: Emitter, *values: Value) -> Value:
        kind = _kind(emitter, operation, values)
        if len(values) == 1:
            return emitter.emit(operation, values[0], kind=kind) if operation in _UNARY else values[0]
        return reduce(lambda a, b: emitter.emit(operation, a, b, kind=kind), values)

    return rule


def comparison(operation: str, *, turned: bool = False) -> Rule:
    """Return the rule of a node that compares two sides; `turned` swaps them."""

    def rule(emitter: Emitter, a: Value, b: Value) -> Value:
        if any(isinstance(value, Rows) and value.kind == "double" for value in (a, b)):
            emitter.node.refuse("it computes in float64")
        return emitter.emit(operation, *((b, a) if turned else (a, b)), kind="boolean")

    return rule


def unary(of: Callable[[Emitter, Rows], Rows], *kinds: Kind) -> Rule:
    """Return the rule of a node that is a function of one number, of float32 or of these kinds as well."""

    def rule(emitter: Emitter, value: Value) -> Value:
        rows = emitter.in_rows(value)
        if rows.kind not in ("float", *kinds):
            emitter.node.refuse("it does not compute in float32")
        return of(emitter, rows)

    return rule


def _number(emitter: Emitter, name: str, default: float) -> float:
    return float(emitter.node.attributes.get(name, default))


def _below_zero(emitter: Emitter, x: Rows, below: Rows) -> Rows:
    """Select `below` where x is negative, else x."""
    return emitter.emit("where", emitter.emit("less", x, 0.0, kind="boolean"), below, x)


def _expm1(emitter: Emitter, x: Rows) -> Rows:
    return emitter.emit("sub", emitter.emit("exp", x), 1.0)


def _elu(emitter: Emitter, x: Rows) -> Rows:
    return _below_zero(emitter, x, emitter.emit("mul", _expm1(emitter, x), _number(emitter, "alpha", 1.0)))


def _celu(emitter: Emitter, x: Rows) -> Rows:
    alpha = _number(emitter, "alpha", 1.0)
    return _below_zero(emitter, x, emitter.emit("mul", _expm1(emitter, emitter.emit("div", x, alpha)), alpha))


def _selu(emitter: Emitter, x: Rows) -> Rows:
    alpha, gamma = _number(emitter, "alpha", _SELU[0]), _number(emitter, "gamma", _SELU[1])
    return emitter.emit("mul", _below_zero(emitter, x, emitter.emit("mul", _expm1(emitter, x), alpha)), gamma)


def _relu(emitter: Emitter, x: Rows) -> Rows:
    if emitter.node.reads_alone and emitter.program.convolution(x.span):
        return replace(x, span=emitter.program.fuse(x.span, relu=True))
    return emitter.emit("max", x, 0.0)


def _leaky(emitter: Emitter, x: Rows) -> Rows:
    return _below_zero(emitter, x, emitter.emit("mul", x, _number(emitter, "alpha", 0.01)))


def _hard_sigmoid(emitter: Emitter, x: Rows) -> Rows:
    return _ramp(emitter, x, _number(emitter, "alpha", 0.2), _number(emitter, "beta", 0.5))


def _ramp(emitter: Emitter, x: Rows, slope: float, start: float) -> Rows:
    line = emitter.emit("add", emitter.emit("mul", x, slope), start)
    return emitter.emit("min", emitter.emit("max", line, 0.0), 1.0)


def _softplus(emitter: Emitter, x: Rows) -> Rows:
    small = emitter.emit("exp", emitter.emit("mul", emitter.emit("abs", x), -1.0))
    return emitter.emit("add", emitter.emit("max", x, 0.0), emitter.emit("log", emitter.emit("add", small, 1.0)))


def _mish(emitter: Emitter, x: Rows) -> Rows:
    return emitter.emit("mul", x, emitter.emit("tanh", _softplus(emitter, x)))


def _swish(emitter: Emitter, x: Rows) -> Rows:
    return emitter.emit("mul", x, emitter.emit("sigmoid", emitter.emit("mul", x, _number(emitter, "alpha", 1.0))))


def _gelu(emitter: Emitter, x: Rows) -> Rows:
    if emitter.node.attributes.get("approximate", b"none") in (b"tanh", "tanh"):
        cube = emitter.emit("mul", emitter.emit("mul", emitter.emit("mul", x, x), x), 0.044715)
        part = emitter.emit("tanh", emitter.emit("mul", emitter.emit("add", x, cube), np.sqrt(2 / np.pi)))
    else:
        part = emitter.emit("erf", emitter.emit("mul", x, np.sqrt(0.5)))
    return emitter.emit("mul", emitter.emit("mul", x, 0.5), emitter.emit("add", part, 1.0))


def _ceiling(emitter: Emitter, x: Rows) -> Rows:
    return emitter.emit("mul", emitter.emit("floor", emitter.emit("mul", x, -1.0)), -1.0)


def _is_infinite(emitter: Emitter, x: Rows) -> Rows:
    down = -np.inf if emitter.node.attributes.get("detect_negative", 1) else np.inf
    up = np.inf if emitter.node.attributes.get("detect_positive", 1) else -np.inf
    terms = [emitter.emit("equal", x, bound, kind="boolean") for bound in (down, up)]
    return emitter.emit("max", *terms, kind="boolean")


def _not(emitter: Emitter, value: Value) -> Value:
    return emitter.emit("equal", emitter.node.rows(value), 0.0, kind="boolean")


def _where(emitter: Emitter, mask: Value, yes: Value, no: Value) -> Value:
    return emitter.emit("where", emitter.node.rows(mask), yes, no, kind=_kind(emitter, "where", (yes, no)))


def _clip(emitter: Emitter, value: Value, low: Value | None = None, high: Value | None = None) -> Value:
    rows = emitter.node.rows(value)
    # In ONNX a missing bound is the largest float32.
    largest = float(np.finfo(np.float32).max) if rows.kind == "float" else None
    for name, bound, operation in (("min", low, "max"), ("max", high, "min")):
        lowest = None if largest is None else -largest if name == "min" else largest
        limit = bound if bound is not None else emitter.node.attributes.get(name, lowest)
        if limit is not None:
            rows = emitter.emit(operation, rows, limit, kind=_kind(emitter, operation, (rows,)))
    return rows


def _power(emitter: Emitter, value: Value, exponent: Value) -> Value:
    rows, power = emitter.node.rows(value), emitter.node.fixed(exponent)
    if rows.kind != "float" or power.size != 1 or float(power.ravel()[0]) not in (1, 2, 3):
        emitter.node.refuse("only the powers 1, 2 and 3 are supported")
    return reduce(lambda a, b: emitter.emit("mul", a, b), [rows] * int(power.ravel()[0]))


def _prelu(emitter: Emitter, value: Value, slope: Value) -> Value:
    rows = emitter.node.rows(value)
    return _below_zero(emitter, rows, emitter.emit("mul", rows, Constant(array=emitter.node.fixed(slope))))


_UNARY = ("abs", "exp", "log", "sqrt", "floor", "round", "sigmoid", "tanh", "erf")


Array = NDArray[Any]


def _dense(emitter: Emitter, value: Value, weights: Array, bias: Array) -> Rows:
    """Multiply a row by weights (inputs, outputs), and add a bias per output."""
    rows = emitter.in_rows(value)
    if rows.kind != "float" or weights.dtype != np.float32:
        emitter.node.refuse("it does not compute in float32")
    if weights.ndim != 2 or rows.shape[-1:] != weights.shape[:1] or rows.size != weights.shape[0]:
        emitter.node.refuse(f"it is not a product of a row and a matrix: {rows.shape} and {weights.shape}")
    if not (np.isfinite(weights).all() and np.isfinite(bias).all()):
        emitter.node.refuse("its weights are not all finite")
    if rows.order is not None:
        weights = weights[np.argsort(rows.order)]
    inputs, outputs = weights.shape
    out = emitter.program.register(outputs)
    pooled = emitter.program.pool(weights), emitter.program.pool(np.broadcast_to(bias, outputs) + np.float32(0))
    emitter.program.emit("dense", out, outputs, rows.span, *pooled, sizes=(0, inputs))
    return Rows(span=out, shape=(*rows.shape[:-1], outputs))


def _gemm(emitter: Emitter, value: Value, weights: Value, bias: Value | None = None) -> Value:
    of = emitter.node.attributes
    if of.get("transA", 0):
        emitter.node.refuse("it transposes the rows")
    factor = np.float32(of.get("alpha", 1.0)) * emitter.node.fixed(weights)
    added = np.float32(of.get("beta", 1.0)) * emitter.node.fixed(bias) if bias is not None else np.zeros(1, np.float32)
    if added.ndim == 2 and len(added) == 1:
        added = added[0]
    if added.ndim > 1:
        emitter.node.refuse("its bias differs between rows")
    return _dense(emitter, value, factor.T if of.get("transB", 0) else factor, added)


def _matmul(emitter: Emitter, value: Value, weights: Value) -> Value:
    return _dense(emitter, value, emitter.node.fixed(weights), np.zeros(1, np.float32))


def _batch_norm(emitter: Emitter, value: Value, *arguments: Value) -> Value:
    rows = emitter.node.rows(value)
    if emitter.node.attributes.get("training_mode", 0) or not rows.shape:
        emitter.node.refuse("it is in training mode")
    scale, shift, mean, variance = (emitter.node.fixed(value).astype(np.float32) for value in arguments[:4])
    slope = scale / np.sqrt(variance + np.float32(emitter.node.attributes.get("epsilon", 1e-5)))
    behind = (-1, *[1] * (len(rows.shape) - 1))
    terms = [Constant(array=array.reshape(behind)) for array in (slope, shift - mean * slope)]
    return emitter.emit("add", emitter.emit("mul", rows, terms[0]), terms[1])


def _sum(emitter: Emitter, rows: Rows, *, by: int = 1) -> Rows:
    """Sum over the last axis, which keeps length 1, divided by a number."""
    count = rows.shape[-1]
    out = emitter.program.emit(
        "sum", emitter.program.register(rows.size // count), rows.size // count, rows.span, sizes=(count, by)
    )
    return Rows(span=out, shape=(*rows.shape[:-1], 1))


def _mean(emitter: Emitter, rows: Rows) -> Rows:
    return _sum(emitter, rows, by=rows.shape[-1])


def _of_last_axis(emitter: Emitter, value: Value, axes: list[int] | None) -> Rows:
    rows = emitter.in_rows(value)
    if rows.kind != "float" or not rows.shape or axes not in ([-1], [len(rows.shape)]):
        emitter.node.refuse("it does not reduce the last axis of float32 values")
    return emitter.in_order(rows)


def _layer_norm(emitter: Emitter, value: Value, scale: Value, shift: Value | None = None) -> Value:
    rows = _of_last_axis(emitter, value, [int(emitter.node.attributes.get("axis", -1))])
    centred = emitter.emit("sub", rows, _mean(emitter, rows))
    variance = _mean(emitter, emitter.emit("mul", centred, centred))
    deviation = emitter.emit("sqrt", emitter.emit("add", variance, float(emitter.node.attributes.get("epsilon", 1e-5))))
    scaled = emitter.emit("mul", emitter.emit("div", centred, deviation), Constant(array=emitter.node.fixed(scale)))
    return emitter.emit("add", scaled, Constant(array=emitter.node.fixed(shift))) if shift is not None else scaled


def _softmax(emitter: Emitter, value: Value) -> Value:
    rows = _of_last_axis(emitter, value, [int(emitter.node.attributes.get("axis", -1))])
    out = emitter.program.register(rows.size)
    emitter.program.emit("softmax", out, rows.size, rows.span, sizes=(rows.shape[-1], 0))
    return Rows(span=out, shape=rows.shape)


def _reduced(mean: bool) -> Rule:
    def rule(emitter: Emitter, value: Value, axes: Value | None = None) -> Value:
        rows = _of_last_axis(emitter, value, emitter.node.numbers("axes", axes))
        found = _mean(emitter, rows) if mean else _sum(emitter, rows)
        keeps = emitter.node.attributes.get("keepdims", 1)
        return found if keeps else Rows(span=found.span, shape=found.shape[:-1])

    return rule


def _scaler(emitter: Emitter, value: Value) -> Value:
    offset, scale = (np.array(emitter.node.attributes[name], np.float32) for name in ("offset", "scale"))
    return emitter.emit(
        "mul", emitter.emit("sub", emitter.node.rows(value), Constant(array=offset)), Constant(array=scale)
    )


RULES: dict[str, Rule] = {
    "Add": elementwise("add"),
    "Sub": elementwise("sub"),
    "Mul": elementwise("mul"),
    "Div": elementwise("div"),
    "Sum": elementwise("add"),
    "Max": elementwise("max"),
    "Min": elementwise("min"),
    "And": elementwise("min"),
    "Or": elementwise("max"),
    "Not": _not,
    "Less": comparison("less"),
    "LessOrEqual": comparison("less_equal"),
    "Equal": comparison("equal"),
    "Greater": comparison("less", turned=True),
    "GreaterOrEqual": comparison("less_equal", turned=True),
    **{name.capitalize(): elementwise(name) for name in _UNARY},
    "IsNaN": unary(lambda emitter, x: emitter.emit("is_nan", x, kind="boolean"), "wide"),
    "IsInf": unary(_is_infinite, "wide"),
    "Relu": unary(_relu),
    "Neg": unary(lambda emitter, x: emitter.emit("mul", x, -1.0)),
    "Reciprocal": unary(lambda emitter, x: emitter.emit("div", 1.0, x)),
    "Softsign": unary(lambda emitter, x: emitter.emit("div", x, emitter.emit("add", emitter.emit("abs", x), 1.0))),
    "HardSwish": unary(lambda emitter, x: emitter.emit("mul", x, _ramp(emitter, x, 1 / 6, 0.5))),
    "LeakyRelu": unary(_leaky),
    "Elu": unary(_elu),
    "Celu": unary(_celu),
    "Selu": unary(_selu),
    "Gelu": unary(_gelu),
    "HardSigmoid": unary(_hard_sigmoid),
    "Softplus": unary(_softplus),
    "Mish": unary(_mish),
    "Swish": unary(_swish),
    "Ceil": unary(_ceiling),
    "Where": _where,
    "Clip": _clip,
    "Pow": _power,
    "PRelu": _prelu,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Softmax": _softmax,
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "ReduceSum": _reduced(False),
    "ReduceMean": _reduced(True),
    "Scaler": _scaler,
}
"""Emitter of each ONNX operator that computes."""
