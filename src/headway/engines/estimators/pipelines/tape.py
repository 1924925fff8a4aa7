"""Operations of a graph as they are written down, and the functions of a number that its terms may be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from headway.engines.formats.graph import FOREST, ROWS, Attribute, Operation
from headway.engines.formats.trees import Forest

Floats = NDArray[np.float64]

DOUBLE, INT64 = 11, 7


class Array(NamedTuple):
    """The name of an array [n, width] that operations make."""

    name: str
    width: int


@dataclass(slots=True)
class Tape:
    """Operations in order, with their constants."""

    operations: list[Operation] = field(default_factory=list)
    constants: dict[str, NDArray[Any]] = field(default_factory=dict)
    forests: dict[str, Forest] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=count)

    def do(self, kind: str, *inputs: str, attributes: Mapping[str, Attribute] | None = None) -> str:
        """Note an operation; the name of what it makes."""
        name = f"v{next(self._numbers)}"
        self.operations.append(Operation(kind=kind, inputs=inputs, outputs=(name,), attributes=dict(attributes or {})))
        return name

    def keep(self, value: Any) -> str:
        """Note a constant; its name."""
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(value)
        return name

    def ask(self, forest: Forest) -> Array:
        """Note what a forest over the row says."""
        name = self.do(FOREST, ROWS)
        self.forests[name] = forest
        return Array(name, forest.outputs)

    def name_last(self, *names: str) -> None:
        """Name what the last operation makes."""
        self.operations[-1] = replace(self.operations[-1], outputs=names)

    def pick(self, array: str, places: Any) -> str:
        """Some columns of an array, in one piece where they lie side by side."""
        places = np.asarray(places, np.int64)
        if np.array_equal(places, np.arange(places[0], places[0] + len(places))):
            bounds = [self.keep(np.array([each])) for each in (places[0], places[0] + len(places), 1)]
            return self.do("Slice", array, *bounds)
        return self.do("Gather", array, self.keep(places), attributes={"axis": 1})

    def total(self, array: str) -> str:
        """The sum of each row [n, 1]."""
        return self.do("ReduceSum", array, self.keep(np.array([1])), attributes={"keepdims": 1})

    def join(self, arrays: list[Array]) -> Array:
        """Arrays side by side."""
        if len(arrays) == 1:
            return arrays[0]
        name = self.do("Concat", *(each.name for each in arrays), attributes={"axis": 1})
        return Array(name, sum(each.width for each in arrays))

    def softmax(self, array: str) -> str:
        """The softmax of each row."""
        return self.do("Softmax", array, attributes={"axis": 1})

    def as_numbers(self, array: str) -> str:
        """What is true or false as 1 or 0."""
        return self.do("Cast", array, attributes={"to": DOUBLE})

    def rated(self, array: Array, nothing: float) -> Array:
        """Each row divided by its sum, and `nothing` in each place where that is 0."""
        sums = self.total(array.name)
        shares = self.do("Div", array.name, sums)
        empty = self.do("Equal", sums, self.keep(0.0))
        return Array(self.do("Where", empty, self.keep(nothing), shares), array.width)


Write = Callable[[Tape, str, Floats], str]


def _compared(kind: str) -> Write:
    return lambda tape, z, c: tape.as_numbers(tape.do(kind, z, tape.keep(c[:, 0])))


def _plain(*kinds: str) -> Write:
    def write(tape: Tape, z: str, _: Floats) -> str:
        for kind in kinds:
            z = tape.do(kind, z)
        return z

    return write


def _clipped(tape: Tape, z: str, c: Floats) -> str:
    return tape.do("Min", tape.do("Max", z, tape.keep(c[:, 0])), tape.keep(c[:, 1]))


def _power(tape: Tape, z: str, c: Floats) -> str:
    return tape.do("Pow", z, tape.keep(c[:, 0]))


def _part_from_one(sign: float) -> Write:
    """1 + the positive part of z, or of -z."""

    def write(tape: Tape, z: str, _: Floats) -> str:
        side = z if sign > 0 else tape.do("Neg", z)
        return tape.do("Add", tape.do("Max", side, tape.keep(0.0)), tape.keep(1.0))

    return write


def _and_then(first: Write, then: Write) -> Write:
    return lambda tape, z, c: then(tape, first(tape, z, c), c)


# Of z = slope * x + shift [n, t] and the constants behind those two [t, c], the terms [n, t].
TERMS: dict[str, Write] = {
    "=": _compared("Equal"),
    ">=": _compared("GreaterOrEqual"),
    ">": _compared("Greater"),
    "clip": _clipped,
    "pow": _power,
    "pow up": _and_then(_part_from_one(1), _power),
    "pow down": _and_then(_part_from_one(-1), _power),
    "log up": _and_then(_part_from_one(1), _plain("Log")),
    "log down": _and_then(_part_from_one(-1), _plain("Log")),
    "log": _plain("Log"),
    "log1p": lambda tape, z, _: tape.do("Log", tape.do("Add", z, tape.keep(1.0))),
    "exp": _plain("Exp"),
    "expm1": lambda tape, z, _: tape.do("Sub", tape.do("Exp", z), tape.keep(1.0)),
    "sqrt": _plain("Sqrt"),
    "abs": _plain("Abs"),
    "square": lambda tape, z, _: tape.do("Mul", z, z),
}
EDGED = ("=", ">=", ">", "clip", "in")
