"""What a tensor of a graph is to whoever writes its tape: constants, numbers of each row, or lengths that are told."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

import numpy as np
from numpy.typing import NDArray

from headway.core.errors import NotApplicable
from headway.optimization.lowering.writer import Operand, Pooled, ProgramWriter, Span

Array = NDArray[Any]
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
