"""Lower the operations of a graph to the steps of a text program, which run on one buffer of float64 per text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from headway.core.arrays import Floats
from headway.core.errors import NotApplicable
from headway.engines.formats.graph import ROWS, Operation
from headway.engines.formats.text import IN_POOL, REPEATED, step

_BINARY = {
    "Add": "add",
    "Sub": "sub",
    "Mul": "mul",
    "Div": "div",
    "Min": "min",
    "Max": "max",
    "Pow": "pow",
    "Mod": "mod",
    "Equal": "equal",
    "Greater": "greater",
    "GreaterOrEqual": "greater_equal",
}
_UNARY = {
    "Neg": "neg",
    "Abs": "abs",
    "Sqrt": "sqrt",
    "Log": "log",
    "Exp": "exp",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "Relu": "relu",
    "IsNaN": "is_nan",
}
_DOUBLE = 11


class _Span(NamedTuple):
    """Numbers of the buffer or the pool; `rows` tables of `width` numbers after a lookup."""

    at: int
    width: int
    in_pool: bool = False
    rows: int = 1


@dataclass(slots=True, kw_only=True)
class Lowered:
    """Steps, the constants that follow the sums in the pool, and where the answer is."""

    size: int
    pool_size: int
    answer: int = 0
    steps: list[tuple[int, ...]] = field(default_factory=list)
    pool: list[Floats] = field(default_factory=list)
    indices: list[int] = field(default_factory=list)

    def allocate(self, width: int) -> int:
        """Return the offset of new numbers in the buffer."""
        self.size += width
        return self.size - width

    def constant(self, values: Any) -> _Span:
        """Add numbers to the pool."""
        flat = np.ravel(np.asarray(values, np.float64))
        self.pool.append(flat)
        self.pool_size += len(flat)
        return _Span(self.pool_size - len(flat), len(flat), in_pool=True)


def lower_operations(
    operations: Sequence[Operation],
    constants: Mapping[str, NDArray[Any]],
    *,
    width: int,
    sums: Mapping[str, int],
    answer: str,
    outputs: int,
) -> Lowered:
    """Lower operations in order; the buffer begins with the row of `width` numbers and the `sums` by name.

    Raises NotApplicable, with the name of the operation, for one that steps cannot express.
    """
    total = sum(sums.values())
    lowering = _Lowering(Lowered(size=width + total, pool_size=total), constants)
    lowering.spans[ROWS] = _Span(0, width)
    at = width
    for name, count in sums.items():
        lowering.spans[name] = _Span(at, count)
        at += count
    for operation in operations:
        lowering.lower(operation)
    found = lowering.in_buffer(answer, outputs)
    lowering.made.answer = found.at
    return lowering.made


class _Lowering:
    """The spans of all arrays, and the steps so far."""

    def __init__(self, made: Lowered, constants: Mapping[str, NDArray[Any]]) -> None:
        self.made, self.constants = made, constants
        self.spans: dict[str, _Span] = {}

    def lower(self, operation: Operation) -> None:
        """Append the steps of an operation."""
        kind, inputs = operation.kind, operation.inputs
        if kind in _BINARY:
            span = self._elementwise(_BINARY[kind], *inputs)
        elif kind in _UNARY:
            span = self._elementwise(_UNARY[kind], *inputs)
        elif kind == "Where":
            span = self._elementwise("where", *inputs)
        elif kind == "Clip":
            span = self._clip(*inputs)
        elif kind == "Cast":
            to_integer = operation.attributes["to"] != _DOUBLE
            span = self._elementwise("trunc", *inputs) if to_integer else self.span(inputs[0])
        elif kind == "Split":
            self._split(operation)
            return
        elif kind in _OTHERS:
            span = _OTHERS[kind](self, operation)
        else:
            raise NotApplicable(f"operation {kind} cannot be lowered to a step of a text program")
        self.spans[operation.outputs[0]] = span

    def span(self, name: str) -> _Span:
        """Return where an array is; a constant is written to the pool when it is first read."""
        if name not in self.spans:
            self.spans[name] = self.made.constant(self.constants[name])
        return self.spans[name]

    def in_buffer(self, name: str, width: int) -> _Span:
        """Return an array of that width in the buffer, copied there if needed."""
        span = self.span(name)
        return span if not span.in_pool and span.width == width else self._step("copy", [span], width)

    def _elementwise(self, operation: str, *names: str) -> _Span:
        spans = [self.span(name) for name in names]
        return self._step(operation, spans, max(span.width * span.rows for span in spans))

    def _step(self, operation: str, spans: Sequence[_Span], width: int) -> _Span:
        operands = [
            (span.at, (IN_POOL if span.in_pool else 0) | (REPEATED if span.width * span.rows < width else 0))
            for span in spans
        ]
        if any(span.width * span.rows not in (1, width) for span in spans):
            raise NotApplicable(f"arrays of different widths in {operation} cannot be lowered to a text program")
        out = self.made.allocate(width)
        self.made.steps.append(step(operation, out=out, n=width, operands=operands))
        return _Span(out, width)

    def _clip(self, array: str, low: str, high: str) -> _Span:
        bounded = self._step("max", [self.span(array), self.span(low)], self.span(array).width)
        return self._step("min", [bounded, self.span(high)], bounded.width)

    def _split(self, operation: Operation) -> None:
        at = self.span(operation.inputs[0]).at
        for name, size in zip(operation.outputs, self.constants[operation.inputs[1]].tolist(), strict=True):
            self.spans[name] = _Span(at, size)
            at += size

    def product(self, operation: Operation) -> _Span:
        """Lower a product with a constant matrix."""
        matrix = np.asarray(self.constants[operation.inputs[1]], np.float64)
        inner, width = matrix.shape
        source, weights = self.in_buffer(operation.inputs[0], inner), self.made.constant(matrix)
        out = self.made.allocate(width)
        self.made.steps.append(step("dense", out=out, n=width, operands=[(source.at, 0), (weights.at, 0)], k=inner))
        return _Span(out, width)

    def row_sum(self, operation: Operation) -> _Span:
        """Lower a sum of each row, or of the tables that a lookup found."""
        source = self.span(operation.inputs[0])
        if source.rows > 1 or not operation.attributes["keepdims"]:
            total = _Span(source.at, source.width)
            for number in range(1, source.rows):
                total = self._step("add", [total, _Span(source.at + number * source.width, source.width)], source.width)
            return total
        out = self.made.allocate(1)
        self.made.steps.append(step("sum", out=out, n=1, operands=[(source.at, 0)], k=source.width))
        return _Span(out, 1)

    def row_max(self, operation: Operation) -> _Span:
        """Lower the largest number of each row."""
        source = self.span(operation.inputs[0])
        top = _Span(source.at, 1)
        for number in range(1, source.width):
            top = self._step("max", [top, _Span(source.at + number, 1)], 1)
        return top

    def softmax(self, operation: Operation) -> _Span:
        """Lower the softmax of a row."""
        source = self.span(operation.inputs[0])
        out = self.made.allocate(source.width)
        self.made.steps.append(step("softmax", out=out, n=source.width, operands=[(source.at, 0)], k=source.width))
        return _Span(out, source.width)

    def concat(self, operation: Operation) -> _Span:
        """Lower arrays side by side."""
        spans = [self.span(name) for name in operation.inputs]
        out = at = self.made.allocate(sum(span.width for span in spans))
        for span in spans:
            flag = IN_POOL if span.in_pool else 0
            self.made.steps.append(step("copy", out=at, n=span.width, operands=[(span.at, flag)]))
            at += span.width
        return _Span(out, at - out)

    def part(self, operation: Operation) -> _Span:
        """Lower contiguous columns, which need no step."""
        start, end = (int(self.constants[name][0]) for name in operation.inputs[1:3])
        return self.span(operation.inputs[0])._replace(at=self.span(operation.inputs[0]).at + start, width=end - start)

    def gather(self, operation: Operation) -> _Span:
        """Lower selected columns, or the rows of a constant table by the numbers of an array."""
        if operation.attributes["axis"] == 0:
            return self._rows_of(operation)
        source = self.in_buffer(operation.inputs[0], self.span(operation.inputs[0]).width)
        chosen = [source.at + int(index) for index in self.constants[operation.inputs[1]]]
        out = self.made.allocate(len(chosen))
        operands = [(source.at, 0), (len(self.made.indices), 0)]
        self.made.steps.append(step("take", out=out, n=len(chosen), operands=operands, k=source.width))
        self.made.indices += chosen
        return _Span(out, len(chosen))

    def _rows_of(self, operation: Operation) -> _Span:
        table = np.asarray(self.constants[operation.inputs[0]], np.float64)
        codes, rows = self.span(operation.inputs[1]), self.made.constant(table)
        out = self.made.allocate(codes.width * table.shape[1])
        for number in range(codes.width):
            self._lookup(out + number * table.shape[1], table.shape, codes.at + number, rows.at)
        return _Span(out, table.shape[1], rows=codes.width)

    def gather_elements(self, operation: Operation) -> _Span:
        """Lower one number of each column of a constant table."""
        table = np.asarray(self.constants[operation.inputs[0]], np.float64)
        codes = self.span(operation.inputs[1])
        out = self.made.allocate(codes.width)
        for number in range(codes.width):
            rows = self.made.constant(table[:, number])
            self._lookup(out + number, (len(table), 1), codes.at + number, rows.at)
        return _Span(out, codes.width)

    def _lookup(self, out: int, shape: tuple[int, ...], code: int, rows: int) -> None:
        operands = [(code, 0), (rows, 0)]
        self.made.steps.append(step("lookup", out=out, n=shape[1], operands=operands, k=shape[0]))


_OTHERS: dict[str, Callable[[_Lowering, Operation], _Span]] = {
    "Concat": _Lowering.concat,
    "Gather": _Lowering.gather,
    "GatherElements": _Lowering.gather_elements,
    "MatMul": _Lowering.product,
    "ReduceMax": _Lowering.row_max,
    "ReduceSum": _Lowering.row_sum,
    "Slice": _Lowering.part,
    "Softmax": _Lowering.softmax,
}
