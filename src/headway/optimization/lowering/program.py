"""Emit the instructions of a lowered program, and lay out its registers and constants."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from headway.core.errors import NotApplicable
from headway.engines.compiled.program import IN_BUFFER, IN_POOL, MAX_FLOATS, OPERATIONS, SCALAR, VECTOR_SIZE, Program

Array = NDArray[Any]

MAX_NUMBERS = 4 << 20  # of the pool: 16 MB, which no cache near a core holds
_BY_NUMBER = OPERATIONS.index("copy")  # operations before it go number by number, and may write where they read


class Span(NamedTuple):
    """Numbers of the file: the register they belong to, and where they begin in it."""

    register: int
    offset: int = 0


class Pooled(NamedTuple):
    """Numbers of the pool; `one` says that it is one number, for as many as are wanted."""

    at: int
    one: bool = False


Operand = Span | Pooled


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    operation: str
    out: Span
    count: int
    operands: tuple[Operand, ...]
    sizes: tuple[int, int]

    @property
    def spans(self) -> list[Span]:
        return [each for each in self.operands if isinstance(each, Span)]


@dataclass(slots=True)
class ProgramWriter:
    """Register 0 is the row itself."""

    width: int
    _registers: list[int] = field(default_factory=list)
    _steps: list[_Step] = field(default_factory=list)
    _pool: list[Array] = field(default_factory=list)
    _pooled: dict[bytes, int] = field(default_factory=dict)
    _places: list[Array] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.register(self.width)

    def register(self, size: int) -> Span:
        """Room for so many numbers."""
        self._registers.append(size)
        return Span(len(self._registers) - 1)

    def do(self, operation: str, out: Span, count: int, *operands: Operand, sizes: tuple[int, int] = (0, 0)) -> Span:
        """Note a step; `sizes` are the two last of its eight numbers, where these are no kinds of operands."""
        self._steps.append(_Step(operation=operation, out=out, count=count, operands=operands, sizes=sizes))
        return out

    def pool(self, numbers: Array) -> Pooled:
        """Constants float32, kept once, in whole vectors."""
        flat = np.ascontiguousarray(numbers, np.float32).ravel()
        whole = np.zeros(_round_up(len(flat)), np.float32)
        whole[: len(flat)] = flat
        return Pooled(self._keep(whole))

    def one(self, number: float) -> Pooled:
        """One number as a constant."""
        return Pooled(self._keep(np.full(VECTOR_SIZE, number, np.float32)), one=True)

    def take(self, count: int, out: Span, source: Span, places: Array) -> Span:
        """Note a step that writes the numbers at these places after the start of a span."""
        at = sum(map(len, self._places))
        self._places.append(places.astype(np.int32))
        return self.do("take", out, count, source, Pooled(at), sizes=(0, int(places.max()) + 1))

    def written(self, answer: Span, outputs: int) -> Program:
        """The tape, its spans laid into one file; raises NotApplicable where that is too large."""
        starts, size = self._laid_out(answer)
        if size > MAX_FLOATS:
            raise NotApplicable(f"a row would need {size:,} numbers on its way, at most {MAX_FLOATS:,} are kept near")
        used = [step for step in self._steps if step.out.register in starts]
        return Program(
            width=self.width,
            outputs=outputs,
            output_offset=starts[answer.register] + answer.offset,
            size=size,
            steps=np.array([_numbers(step, starts) for step in used], np.int32).reshape(-1, 8),
            pool=np.concatenate([np.zeros(0, np.float32), *self._pool]),
            indices=np.concatenate([np.zeros(0, np.int32), *self._places]),
        )

    def _keep(self, numbers: Array) -> int:
        content = numbers.tobytes()
        if content not in self._pooled:
            at = sum(map(len, self._pool))
            if at + len(numbers) > MAX_NUMBERS:
                raise NotApplicable(
                    f"it has more than {MAX_NUMBERS:,} weights, and libraries are faster from there on",
                    hint="openvino",
                )
            self._pooled[content] = at
            self._pool.append(numbers)
        return self._pooled[content]

    def _laid_out(self, answer: Span) -> tuple[Mapping[int, int], int]:
        """Where each register that is used begins in the file, and the size of that."""
        last = self._last_uses(answer)
        starts = {0: 0}
        taken = {0: (0, _round_up(self.width))}
        end = _round_up(self.width)
        for number, step in enumerate(self._steps):
            out = step.out.register
            if out not in last:
                continue
            if out not in starts:
                size = _round_up(self._registers[out])
                starts[out] = self._same_place(step, number, last, starts) or _first_gap(taken.values(), size)
                taken[out] = (starts[out], starts[out] + size)
                end = max(end, taken[out][1])
            taken = {each: place for each, place in taken.items() if last.get(each, -1) > number}
        return starts, end + VECTOR_SIZE  # a span within a register is read to its next whole vector

    def _last_uses(self, answer: Span) -> dict[int, int]:
        """Of each register that the answer needs, the last step that reads it."""
        last = {answer.register: len(self._steps)}
        for number in reversed(range(len(self._steps))):
            step = self._steps[number]
            if step.out.register in last:
                for span in step.spans:
                    last.setdefault(span.register, number)
        return last

    def _same_place(self, step: _Step, number: int, last: Mapping[int, int], starts: Mapping[int, int]) -> int:
        """Where a number may be written over one that is read for the last time, or 0: the row is not written over."""
        spans = step.spans
        size = _round_up(self._registers[step.out.register])
        for span in spans:
            alone = all(other == span or other.register != span.register for other in spans)
            dies = last[span.register] == number and span.register != 0 and alone
            same = span.offset == step.out.offset == 0 and _round_up(self._registers[span.register]) == size
            if dies and same and OPERATIONS.index(step.operation) < _BY_NUMBER:
                return starts[span.register]
        return 0


def _round_up(size: int) -> int:
    return -(-max(size, 1) // VECTOR_SIZE) * VECTOR_SIZE


def _first_gap(taken: Any, size: int) -> int:
    """The first place where so many numbers are free."""
    at = 0
    for start, end in sorted(taken):
        if start - at >= size:
            break
        at = max(at, end)
    return at


def _numbers(step: _Step, starts: Mapping[int, int]) -> list[int]:
    """The eight numbers of a step."""
    places = [each.at if isinstance(each, Pooled) else starts[each.register] + each.offset for each in step.operands]
    kinds = [(SCALAR if each.one else IN_POOL) if isinstance(each, Pooled) else IN_BUFFER for each in step.operands]
    operation = OPERATIONS.index(step.operation)
    by_kind = sum(kind << 2 * place for place, kind in enumerate(kinds))
    first = by_kind if operation <= _BY_NUMBER else step.sizes[0]
    a, b, c = [*places, 0, 0, 0][:3]
    return [operation, starts[step.out.register] + step.out.offset, step.count, a, b, c, first, step.sizes[1]]


Kind = Literal["float", "wide", "double", "whole", "truth"]

_MAX_EXACT = 1 << 24  # whole numbers up to here are what they are in float32


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """The same for all rows; `each_row` says that the tensor has an axis of rows, which the array lacks."""

    array: Array
    each_row: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Numbers of each row, of this shape beside the axis of rows; truths are 1 and 0.

    `double` are columns of float64, which the file has in float32; `wide` those of float32 that were made float64.
    """

    span: Span
    shape: tuple[int, ...]
    kind: Kind = "float"

    @property
    def size(self) -> int:
        """Numbers of one row."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """Lengths of axes, None for that of rows; or one of them alone."""

    lengths: tuple[int | None, ...]
    alone: bool = False


Value = Constant | Rows | Lengths


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A node of a graph, with its attributes as plain values."""

    kind: str
    name: str
    attributes: Mapping[str, Any]
    outputs: int

    def refuse(self, why: str) -> NoReturn:
        """Raise NotApplicable with the node and the reason."""
        raise NotApplicable(f"engine 'dense' cannot say {self.kind} ({self.name!r}): {why}")

    def rows(self, value: Value | None) -> Rows:
        """A value that must be numbers of a row."""
        if not isinstance(value, Rows):
            self.refuse("what it reads is not made of a row")
        return value

    def fixed(self, value: Value | None) -> Array:
        """A value that must be a constant."""
        if not isinstance(value, Constant) or value.each_row:
            self.refuse("what it reads beside the row is no constant")
        return value.array

    def numbers(self, name: str, value: Value | None) -> list[int] | None:
        """Whole numbers that older graphs have as an attribute, newer ones as an input; None where there are none."""
        if value is not None:
            return [int(each) for each in self.fixed(value).ravel()]
        found = self.attributes.get(name)
        return None if found is None else [int(each) for each in found]


@dataclass(slots=True)
class Emitter:
    """Writes steps over values: shapes are spread over each other as ONNX says, plain numbers stand for constants."""

    tape: ProgramWriter
    node: Node

    def do(self, operation: str, *operands: Value | float, kind: Kind = "float") -> Rows:
        """A step number by number."""
        values = [self._in_rows(each) if isinstance(each, Constant) and each.each_row else each for each in operands]
        rank = max((len(each.shape) for each in values if isinstance(each, Rows)), default=-1)
        if rank < 0:
            self.node.refuse("what it reads is not made of a row")
        shape = self._shape(values, rank)
        size = math.prod(shape)
        ready = [self._spread(each, shape) for each in values]
        out = self.tape.do(operation, self.tape.register(size), size, *ready)
        return Rows(span=out, shape=shape, kind=kind)

    def moved(self, value: Rows, places: Array) -> Rows:
        """The numbers of a row at these places, in their shape; nothing is moved where they follow each other."""
        flat = places.ravel()
        if not flat.size:
            self.node.refuse("nothing would be left of a row")
        if np.array_equal(flat, np.arange(flat.size) + flat[0]):
            span = Span(value.span.register, value.span.offset + int(flat[0]))
        else:
            span = self.tape.take(flat.size, self.tape.register(flat.size), value.span, flat)
        return Rows(span=span, shape=places.shape, kind=value.kind)

    def _in_rows(self, value: Constant) -> Rows:
        size = value.array.size
        out = self.tape.do("copy", self.tape.register(size), size, self.tape.pool(self._float32(value.array)))
        return Rows(span=out, shape=value.array.shape)

    def in_rows(self, value: Value | None) -> Rows:
        """A value as numbers of each row, the same in all where it is a constant."""
        return self._in_rows(value) if isinstance(value, Constant) and value.each_row else self.node.rows(value)

    def _shape(self, values: list[Value | float], rank: int) -> tuple[int, ...]:
        shapes: list[tuple[int, ...]] = [()]
        for value in values:
            if isinstance(value, Rows):
                shapes.append(value.shape)
                if len(value.shape) != rank:
                    self.node.refuse("sides of so different shapes do not go row by row")
            elif isinstance(value, Constant):
                shapes.append(self._beside_rows(value.array, rank).shape)
        try:
            return tuple(np.broadcast_shapes(*shapes))
        except ValueError:
            self.node.refuse("its sides do not fit each other")

    def _beside_rows(self, array: Array, rank: int) -> Array:
        """A constant without the axis that would be that of rows."""
        if array.ndim > rank + 1 or (array.ndim == rank + 1 and array.shape[0] != 1):
            self.node.refuse(f"a constant of shape {array.shape} is not the same for all rows")
        return array[0] if array.ndim == rank + 1 else array

    def _spread(self, value: Value | float, shape: tuple[int, ...]) -> Operand:
        if isinstance(value, Rows):
            if value.size == math.prod(shape):
                return value.span
            places = np.arange(value.size).reshape(value.shape)
            return self.moved(value, np.broadcast_to(places, shape)).span
        if isinstance(value, Constant):
            return self._pooled(self._float32(self._beside_rows(value.array, len(shape))), shape)
        if isinstance(value, Lengths):
            self.node.refuse("it reckons with the number of rows")
        return self.tape.one(value)

    def _pooled(self, array: Array, shape: tuple[int, ...]) -> Pooled:
        if array.size == 1:
            return self.tape.one(float(array.ravel()[0]))
        return self.tape.pool(np.broadcast_to(array, shape))

    def _float32(self, array: Array) -> Array:
        """A constant in float32, if no number of it is another there."""
        if array.dtype.kind in "iu" and np.all(np.abs(array.astype(np.float64)) <= _MAX_EXACT):
            return array.astype(np.float32)
        if array.dtype not in (np.float32, np.bool_):
            self.node.refuse(f"a constant of {array.dtype} is not what it is in float32")
        return array.astype(np.float32)
