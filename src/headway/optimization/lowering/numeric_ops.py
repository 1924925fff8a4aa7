"""Lower the ONNX operators that compute: elementwise functions, products, norms and reductions."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.optimization.lowering.program import Constant, Emitter, Kind, Rows, Value

Rule = Callable[..., Value | tuple[Value, ...]]

_EXACT = ("add", "sub", "min", "max", "where")  # what whole numbers may go through in float32
_SELU = (1.67326319217681884765625, 1.05070102214813232421875)


def _kind(pen: Emitter, operation: str, values: tuple[Value | float, ...]) -> Kind:
    """The kind of what comes out of an operation of these values."""
    kinds = {each.kind for each in values if isinstance(each, Rows)}
    if kinds & {"double", "wide"}:
        pen.node.refuse("it reckons in float64")
    if "whole" in kinds and operation not in _EXACT:
        pen.node.refuse("it reckons with whole numbers")
    return "whole" if "whole" in kinds else "truth" if kinds == {"truth"} else "float"


def elementwise(operation: str) -> Rule:
    """A node that is one operation of all that it reads, from the left."""

    def rule(pen: Emitter, *values: Value) -> Value:
        kind = _kind(pen, operation, values)
        if len(values) == 1:
            return pen.do(operation, values[0], kind=kind) if operation in _UNARY else values[0]
        return reduce(lambda a, b: pen.do(operation, a, b, kind=kind), values)

    return rule


def comparison(operation: str, *, turned: bool = False) -> Rule:
    """A node that compares two sides."""

    def rule(pen: Emitter, a: Value, b: Value) -> Value:
        if any(isinstance(each, Rows) and each.kind == "double" for each in (a, b)):
            pen.node.refuse("it reckons in float64")
        return pen.do(operation, *((b, a) if turned else (a, b)), kind="truth")

    return rule


def unary(of: Callable[[Emitter, Rows], Rows], *kinds: Kind) -> Rule:
    """A node that is a function of one number, of float32 or of these kinds as well."""

    def rule(pen: Emitter, value: Value) -> Value:
        rows = pen.in_rows(value)
        if rows.kind not in ("float", *kinds):
            pen.node.refuse("it reckons in other numbers than float32")
        return of(pen, rows)

    return rule


def _number(pen: Emitter, name: str, default: float) -> float:
    return float(pen.node.attributes.get(name, default))


def _below_zero(pen: Emitter, x: Rows, below: Rows) -> Rows:
    """`below` where x is less than 0, x where it is not."""
    return pen.do("where", pen.do("less", x, 0.0, kind="truth"), below, x)


def _grown(pen: Emitter, x: Rows) -> Rows:
    return pen.do("sub", pen.do("exp", x), 1.0)


def _elu(pen: Emitter, x: Rows) -> Rows:
    return _below_zero(pen, x, pen.do("mul", _grown(pen, x), _number(pen, "alpha", 1.0)))


def _celu(pen: Emitter, x: Rows) -> Rows:
    alpha = _number(pen, "alpha", 1.0)
    return _below_zero(pen, x, pen.do("mul", _grown(pen, pen.do("div", x, alpha)), alpha))


def _selu(pen: Emitter, x: Rows) -> Rows:
    alpha, gamma = _number(pen, "alpha", _SELU[0]), _number(pen, "gamma", _SELU[1])
    return pen.do("mul", _below_zero(pen, x, pen.do("mul", _grown(pen, x), alpha)), gamma)


def _leaky(pen: Emitter, x: Rows) -> Rows:
    return _below_zero(pen, x, pen.do("mul", x, _number(pen, "alpha", 0.01)))


def _hard_sigmoid(pen: Emitter, x: Rows) -> Rows:
    return _ramp(pen, x, _number(pen, "alpha", 0.2), _number(pen, "beta", 0.5))


def _ramp(pen: Emitter, x: Rows, slope: float, start: float) -> Rows:
    line = pen.do("add", pen.do("mul", x, slope), start)
    return pen.do("min", pen.do("max", line, 0.0), 1.0)


def _softplus(pen: Emitter, x: Rows) -> Rows:
    small = pen.do("exp", pen.do("mul", pen.do("abs", x), -1.0))
    return pen.do("add", pen.do("max", x, 0.0), pen.do("log", pen.do("add", small, 1.0)))


def _mish(pen: Emitter, x: Rows) -> Rows:
    return pen.do("mul", x, pen.do("tanh", _softplus(pen, x)))


def _swish(pen: Emitter, x: Rows) -> Rows:
    return pen.do("mul", x, pen.do("sigmoid", pen.do("mul", x, _number(pen, "alpha", 1.0))))


def _gelu(pen: Emitter, x: Rows) -> Rows:
    if pen.node.attributes.get("approximate", b"none") in (b"tanh", "tanh"):
        cube = pen.do("mul", pen.do("mul", pen.do("mul", x, x), x), 0.044715)
        part = pen.do("tanh", pen.do("mul", pen.do("add", x, cube), np.sqrt(2 / np.pi)))
    else:
        part = pen.do("erf", pen.do("mul", x, np.sqrt(0.5)))
    return pen.do("mul", pen.do("mul", x, 0.5), pen.do("add", part, 1.0))


def _ceiling(pen: Emitter, x: Rows) -> Rows:
    return pen.do("mul", pen.do("floor", pen.do("mul", x, -1.0)), -1.0)


def _is_infinite(pen: Emitter, x: Rows) -> Rows:
    down = -np.inf if pen.node.attributes.get("detect_negative", 1) else np.inf
    up = np.inf if pen.node.attributes.get("detect_positive", 1) else -np.inf
    sides = [pen.do("equal", x, side, kind="truth") for side in (down, up)]
    return pen.do("max", *sides, kind="truth")


def _not(pen: Emitter, value: Value) -> Value:
    return pen.do("equal", pen.node.rows(value), 0.0, kind="truth")


def _where(pen: Emitter, mask: Value, yes: Value, no: Value) -> Value:
    return pen.do("where", pen.node.rows(mask), yes, no, kind=_kind(pen, "where", (yes, no)))


def _clip(pen: Emitter, value: Value, low: Value | None = None, high: Value | None = None) -> Value:
    rows = pen.node.rows(value)
    largest = float(np.finfo(np.float32).max) if rows.kind == "float" else None  # nothing is endless without a bound
    for name, bound, operation in (("min", low, "max"), ("max", high, "min")):
        least = None if largest is None else -largest if name == "min" else largest
        limit = bound if bound is not None else pen.node.attributes.get(name, least)
        if limit is not None:
            rows = pen.do(operation, rows, limit, kind=_kind(pen, operation, (rows,)))
    return rows


def _power(pen: Emitter, value: Value, exponent: Value) -> Value:
    rows, power = pen.node.rows(value), pen.node.fixed(exponent)
    if rows.kind != "float" or power.size != 1 or float(power.ravel()[0]) not in (1, 2, 3):
        pen.node.refuse("of powers, those of 1, 2 and 3 are known")
    return reduce(lambda a, b: pen.do("mul", a, b), [rows] * int(power.ravel()[0]))


def _sloped(pen: Emitter, value: Value, slope: Value) -> Value:
    rows = pen.node.rows(value)
    return _below_zero(pen, rows, pen.do("mul", rows, Constant(array=pen.node.fixed(slope))))


_UNARY = ("abs", "exp", "log", "sqrt", "floor", "round", "sigmoid", "tanh", "erf")


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
    "IsNaN": unary(lambda pen, x: pen.do("is_nan", x, kind="truth"), "wide"),
    "IsInf": unary(_is_infinite, "wide"),
    "Relu": unary(lambda pen, x: pen.do("max", x, 0.0)),
    "Neg": unary(lambda pen, x: pen.do("mul", x, -1.0)),
    "Reciprocal": unary(lambda pen, x: pen.do("div", 1.0, x)),
    "Softsign": unary(lambda pen, x: pen.do("div", x, pen.do("add", pen.do("abs", x), 1.0))),
    "HardSwish": unary(lambda pen, x: pen.do("mul", x, _ramp(pen, x, 1 / 6, 0.5))),
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
    "PRelu": _sloped,
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
