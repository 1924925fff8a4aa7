"""Emit the instructions of a lowered program, and lay out its registers and constants."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from headway.core.errors import NotApplicable
from headway.engines.compiled.artifact import IN_BUFFER, IN_POOL, MAX_FLOATS, OPERATIONS, SCALAR, VECTOR_SIZE, Program

Array = NDArray[Any]

MAX_NUMBERS = 4 << 20  # of the pool: 16 MB, more than the near caches hold
_ELEMENTWISE_END = OPERATIONS.index("copy")  # operations before it are elementwise, and may overwrite an operand


class Span(NamedTuple):
    """Start of a run of numbers: the register that holds them, and the offset in it."""

    register: int
    offset: int = 0


class Pooled(NamedTuple):
    """Start of constants in the pool; `one` marks a single number that is repeated as needed."""

    at: int
    one: bool = False


Operand = Span | Pooled


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageWindow:
    """Sizes of a convolution or pooling over an image; pairs are of rows and columns of pixels.

    Attributes
    ----------
    border : tuple of int
        Zeros above and to the left; those below and to the right follow from `out`.
    out : tuple of int
        Pixels of the answer, before the largest of each 2 x 2 of them is taken if it is `pooled`.
    """

    channels: int
    height: int
    width: int
    outputs: int
    groups: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    border: tuple[int, int]
    out: tuple[int, int]
    pooled: bool = False

    @property
    def answer(self) -> tuple[int, int]:
        """Return the rows and columns of the answer."""
        return (self.out[0] // 2, self.out[1] // 2) if self.pooled else self.out

    @property
    def numbers(self) -> Array:
        """Return what the kernel reads (`Window` of program.h)."""
        first = (self.channels, self.height, self.width, self.outputs, self.groups)
        return np.array([*first, *self.kernel, *self.stride, *self.dilation, *self.border, *self.out, self.pooled])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    operation: str
    out: Span
    count: int
    operands: tuple[Operand, ...]
    sizes: tuple[int, int]
    window: ImageWindow | None = None

    @property
    def spans(self) -> list[Span]:
        return [operand for operand in self.operands if isinstance(operand, Span)]


@dataclass(slots=True)
class ProgramWriter:
    """Collects instructions, registers and constants of a program; register 0 is the input row."""

    width: int
    _registers: list[int] = field(default_factory=list)
    _steps: list[_Step] = field(default_factory=list)
    _pool: list[Array] = field(default_factory=list)
    _pooled: dict[bytes, int] = field(default_factory=dict)
    _positions: list[Array] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.register(self.width)

    def register(self, size: int) -> Span:
        """Allocate a register of this many numbers."""
        self._registers.append(size)
        return Span(len(self._registers) - 1)

    def emit(self, operation: str, out: Span, count: int, *operands: Operand, sizes: tuple[int, int] = (0, 0)) -> Span:
        """Append an instruction; `sizes` are the last two of its eight numbers unless these encode operand kinds."""
        self._steps.append(_Step(operation=operation, out=out, count=count, operands=operands, sizes=sizes))
        return out

    def pool(self, numbers: Array) -> Pooled:
        """Store float32 constants once, padded to whole vectors."""
        flat = np.ascontiguousarray(numbers, np.float32).ravel()
        padded = np.zeros(_round_up(len(flat)), np.float32)
        padded[: len(flat)] = flat
        return Pooled(self._store(padded))

    def one(self, number: float) -> Pooled:
        """Store one number as a constant."""
        return Pooled(self._store(np.full(VECTOR_SIZE, number, np.float32)), one=True)

    def take(self, count: int, out: Span, source: Span, positions: Array) -> Span:
        """Append an instruction that copies the numbers at these positions of a span."""
        at = sum(map(len, self._positions))
        self._positions.append(positions.astype(np.int32))
        return self.emit("take", out, count, source, Pooled(at), sizes=(0, int(positions.max()) + 1))

    def emit_window(self, operation: str, window: ImageWindow, *operands: Operand, mode: int = 0) -> Span:
        """Append a convolution (mode 1: with a relu) or pooling, and return the register of its answer."""
        at = sum(map(len, self._positions))
        self._positions.append(window.numbers.astype(np.int32))
        count = window.outputs * math.prod(window.answer)
        out = self.register(count)
        self._steps.append(
            _Step(operation=operation, out=out, count=count, operands=operands, sizes=(mode, at), window=window)
        )
        return out

    def convolution(self, span: Span) -> ImageWindow | None:
        """Return the window of the convolution whose answer this is; None if another instruction wrote it."""
        found = next((step for step in reversed(self._steps) if step.out == span), None)
        return found.window if found is not None and found.operation == "conv" else None

    def fuse(self, span: Span, *, relu: bool = False, pooled: bool = False) -> Span:
        """Append the convolution that wrote a span with a relu or pooling; without readers the first is left out."""
        step = next(step for step in reversed(self._steps) if step.out == span)
        assert step.window is not None
        window = replace(step.window, pooled=step.window.pooled or pooled)
        return self.emit_window("conv", window, *step.operands, mode=int(relu) or step.sizes[0])

    def finish(self, answer: Span, outputs: int) -> Program:
        """Return the program with its registers laid out in one buffer; raise NotApplicable if that is too large."""
        starts, size = self._allocate_registers(answer)
        if size > MAX_FLOATS:
            raise NotApplicable(f"a row needs {size:,} intermediate numbers, at most {MAX_FLOATS:,} are supported")
        used = [step for step in self._steps if step.out.register in starts]
        return Program(
            width=self.width,
            outputs=outputs,
            output_offset=starts[answer.register] + answer.offset,
            size=size,
            steps=np.array([_numbers(step, starts) for step in used], np.int32).reshape(-1, 8),
            pool=np.concatenate([np.zeros(0, np.float32), *self._pool]),
            indices=np.concatenate([np.zeros(0, np.int32), *self._positions]),
        )

    def _store(self, numbers: Array) -> int:
        content = numbers.tobytes()
        if content not in self._pooled:
            at = sum(map(len, self._pool))
            if at + len(numbers) > MAX_NUMBERS:
                raise NotApplicable(
                    f"it has more than {MAX_NUMBERS:,} weights; libraries are faster for such networks",
                    hint="openvino",
                )
            self._pooled[content] = at
            self._pool.append(numbers)
        return self._pooled[content]

    def _allocate_registers(self, answer: Span) -> tuple[Mapping[int, int], int]:
        """Return the start of each used register in the buffer, and the size of the buffer."""
        last = self._last_uses(answer)
        starts = {0: 0}
        occupied = {0: (0, _round_up(self.width))}
        end = _round_up(self.width)
        for number, step in enumerate(self._steps):
            out = step.out.register
            if out not in last:
                continue
            if out not in starts:
                size = _round_up(self._registers[out])
                starts[out] = self._reused_offset(step, number, last, starts) or _first_gap(occupied.values(), size)
                occupied[out] = (starts[out], starts[out] + size)
                end = max(end, occupied[out][1])
            occupied = {item: span for item, span in occupied.items() if last.get(item, -1) > number}
        return starts, end + VECTOR_SIZE  # a span within a register is read to its next whole vector

    def _last_uses(self, answer: Span) -> dict[int, int]:
        """Return, for each register the answer needs, the last instruction that reads it."""
        last = {answer.register: len(self._steps)}
        for number in reversed(range(len(self._steps))):
            step = self._steps[number]
            if step.out.register in last:
                for span in step.spans:
                    last.setdefault(span.register, number)
        return last

    def _reused_offset(self, step: _Step, number: int, last: Mapping[int, int], starts: Mapping[int, int]) -> int:
        """Return where a result may overwrite an operand that is read for the last time; 0 if nowhere."""
        spans = step.spans
        size = _round_up(self._registers[step.out.register])
        for span in spans:
            alone = all(other == span or other.register != span.register for other in spans)
            dies = last[span.register] == number and span.register != 0 and alone
            same = span.offset == step.out.offset == 0 and _round_up(self._registers[span.register]) == size
            if dies and same and OPERATIONS.index(step.operation) < _ELEMENTWISE_END:
                return starts[span.register]
        return 0


def _round_up(size: int) -> int:
    return -(-max(size, 1) // VECTOR_SIZE) * VECTOR_SIZE


def _first_gap(occupied: Any, size: int) -> int:
    """Return the first position with this many free numbers."""
    at = 0
    for start, end in sorted(occupied):
        if start - at >= size:
            break
        at = max(at, end)
    return at


def _numbers(step: _Step, starts: Mapping[int, int]) -> list[int]:
    """Encode an instruction as eight numbers."""
    positions = [
        operand.at if isinstance(operand, Pooled) else starts[operand.register] + operand.offset
        for operand in step.operands
    ]
    kinds = [
        (SCALAR if operand.one else IN_POOL) if isinstance(operand, Pooled) else IN_BUFFER for operand in step.operands
    ]
    operation = OPERATIONS.index(step.operation)
    by_kind = sum(kind << 2 * span for span, kind in enumerate(kinds))
    first = by_kind if operation <= _ELEMENTWISE_END else step.sizes[0]
    a, b, c = [*positions, 0, 0, 0][:3]
    return [operation, starts[step.out.register] + step.out.offset, step.count, a, b, c, first, step.sizes[1]]


Kind = Literal["float", "wide", "double", "integer", "boolean"]

_MAX_EXACT = 1 << 24  # integers up to here are exact in float32


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """Value that is the same for all rows; `each_row` marks a tensor with an axis of rows, which the array lacks."""

    array: Array
    each_row: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Numbers of each row, of this shape without the axis of rows; booleans are 1 and 0.

    Number i is stored at `order[i]` of the span, by default at i. Kind `double` marks float64 input columns, stored as
    float32; `wide` marks float32 values cast to float64.
    """

    span: Span
    shape: tuple[int, ...]
    kind: Kind = "float"
    order: Array | None = None

    @property
    def size(self) -> int:
        """Return how many numbers a row has."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """Lengths of axes, None for the axis of rows; or one of them alone."""

    lengths: tuple[int | None, ...]
    alone: bool = False


Value = Constant | Rows | Lengths


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """Node of a graph, with its attributes as plain values; `reads_alone` if no other node reads its first input."""

    kind: str
    name: str
    attributes: Mapping[str, Any]
    outputs: int
    reads_alone: bool = False

    def refuse(self, why: str) -> NoReturn:
        """Raise NotApplicable with the node and the reason."""
        raise NotApplicable(f"engine 'dense' does not support {self.kind} ({self.name!r}): {why}")

    def rows(self, value: Value | None) -> Rows:
        """Return a value that must be numbers of a row; refuse any other."""
        if not isinstance(value, Rows):
            self.refuse("its input does not depend on the row")
        return value

    def fixed(self, value: Value | None) -> Array:
        """Return the array of a value that must be constant; refuse any other."""
        if not isinstance(value, Constant) or value.each_row:
            self.refuse("its other input is not constant")
        return value.array

    def numbers(self, name: str, value: Value | None) -> list[int] | None:
        """Return integers that older opsets have as an attribute and newer ones as an input; None if absent."""
        if value is not None:
            return [int(item) for item in self.fixed(value).ravel()]
        found = self.attributes.get(name)
        return None if found is None else [int(result) for result in found]


@dataclass(slots=True)
class Emitter:
    """Emits the instructions of a node; broadcasts shapes as ONNX does, and takes plain numbers as constants."""

    program: ProgramWriter
    node: Node

    def emit(self, operation: str, *operands: Value | float, kind: Kind = "float") -> Rows:
        """Emit an elementwise operation."""
        values = [
            self._in_rows(operand) if isinstance(operand, Constant) and operand.each_row else operand
            for operand in operands
        ]
        rank = max((len(value.shape) for value in values if isinstance(value, Rows)), default=-1)
        if rank < 0:
            self.node.refuse("its input does not depend on the row")
        shape = self._shape(values, rank)
        size = math.prod(shape)
        order = _common_order([value for value in values if isinstance(value, Rows)], shape)
        if order is None:
            values = [self.in_order(value) if isinstance(value, Rows) else value for value in values]
        ready = [self._spread(value, shape, order) for value in values]
        out = self.program.emit(operation, self.program.register(size), size, *ready)
        return Rows(span=out, shape=shape, kind=kind, order=order)

    def in_order(self, value: Rows) -> Rows:
        """Return the numbers of a row stored in the order of their shape."""
        return value if value.order is None else self.gather(value, value.order.reshape(value.shape))

    def gather(self, value: Rows, positions: Array) -> Rows:
        """Return the numbers of a row at these positions, in their shape; consecutive ones are not copied."""
        flat = positions.ravel()
        if not flat.size:
            self.node.refuse("its result is empty")
        if np.array_equal(flat, np.arange(flat.size) + flat[0]):
            span = Span(value.span.register, value.span.offset + int(flat[0]))
        else:
            span = self.program.take(flat.size, self.program.register(flat.size), value.span, flat)
        return Rows(span=span, shape=positions.shape, kind=value.kind)

    def _in_rows(self, value: Constant) -> Rows:
        size = value.array.size
        out = self.program.emit(
            "copy", self.program.register(size), size, self.program.pool(self._float32(value.array))
        )
        return Rows(span=out, shape=value.array.shape)

    def in_rows(self, value: Value | None) -> Rows:
        """Return a value as numbers of each row; a constant is repeated."""
        return self._in_rows(value) if isinstance(value, Constant) and value.each_row else self.node.rows(value)

    def _shape(self, values: list[Value | float], rank: int) -> tuple[int, ...]:
        shapes: list[tuple[int, ...]] = [()]
        for value in values:
            if isinstance(value, Rows):
                shapes.append(value.shape)
                if len(value.shape) != rank:
                    self.node.refuse("its inputs cannot be broadcast row by row")
            elif isinstance(value, Constant):
                shapes.append(self._without_row_axis(value.array, rank).shape)
        try:
            return tuple(np.broadcast_shapes(*shapes))
        except ValueError:
            self.node.refuse("its inputs cannot be broadcast")

    def _without_row_axis(self, array: Array, rank: int) -> Array:
        """Remove the axis of rows from a constant."""
        if array.ndim > rank + 1 or (array.ndim == rank + 1 and array.shape[0] != 1):
            self.node.refuse(f"a constant of shape {array.shape} is not the same for all rows")
        return array[0] if array.ndim == rank + 1 else array

    def _spread(self, value: Value | float, shape: tuple[int, ...], order: Array | None) -> Operand:
        if isinstance(value, Rows):
            if value.size == math.prod(shape):
                return value.span
            positions = np.arange(value.size).reshape(value.shape)
            return self.gather(value, np.broadcast_to(positions, shape)).span
        if isinstance(value, Constant):
            return self._pooled(self._float32(self._without_row_axis(value.array, len(shape))), shape, order)
        if isinstance(value, Lengths):
            self.node.refuse("it computes with the number of rows")
        return self.program.one(value)

    def _pooled(self, array: Array, shape: tuple[int, ...], order: Array | None) -> Pooled:
        if array.size == 1:
            return self.program.one(float(array.ravel()[0]))
        stored = np.broadcast_to(array, shape).ravel()
        if order is not None:
            stored = stored[np.argsort(order)]
        return self.program.pool(stored)

    def _float32(self, array: Array) -> Array:
        """Return a constant as float32; refuse one that would change."""
        if array.dtype.kind in "iu" and np.all(np.abs(array.astype(np.float64)) <= _MAX_EXACT):
            return array.astype(np.float32)
        if array.dtype not in (np.float32, np.bool_):
            self.node.refuse(f"a constant of {array.dtype} is not exact in float32")
        return array.astype(np.float32)


def _common_order(values: list[Rows], shape: tuple[int, ...]) -> Array | None:
    """Return the order that all of these are stored in, if they have this shape; else None."""
    first = values[0].order
    same = first is not None and all(
        value.shape == shape and value.order is not None and np.array_equal(value.order, first) for value in values
    )
    return first if same else None
