"""X"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import count
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from headway.core.errors import NotApplicable
from headway.engines.estimators.pipelines.features import (
    NO_COLUMN,
    ArrayFeature,
    Feature,
    NumericFeature,
    TableFeature,
    Term,
    numeric_values,
)
from headway.engines.formats.graph import FOREST, ROWS, SCORES, Attribute, Graph, Operation
from headway.engines.formats.trees import Forest

Floats = NDArray[np.float64]

DOUBLE, INT64 = 11, 7


class Tensor(NamedTuple):
    """The name of an array [n, width] that operations make."""

    name: str
    width: int


@dataclass(slots=True)
class Emitter:
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

    def ask(self, forest: Forest) -> Tensor:
        """Note what a forest over the row says."""
        name = self.do(FOREST, ROWS)
        self.forests[name] = forest
        return Tensor(name, forest.outputs)

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

    def join(self, arrays: list[Tensor]) -> Tensor:
        """Arrays side by side."""
        if len(arrays) == 1:
            return arrays[0]
        name = self.do("Concat", *(each.name for each in arrays), attributes={"axis": 1})
        return Tensor(name, sum(each.width for each in arrays))

    def softmax(self, array: str) -> str:
        """The softmax of each row."""
        return self.do("Softmax", array, attributes={"axis": 1})

    def as_numbers(self, array: str) -> str:
        """What is true or false as 1 or 0."""
        return self.do("Cast", array, attributes={"to": DOUBLE})

    def rated(self, array: Tensor, nothing: float) -> Tensor:
        """Each row divided by its sum, and `nothing` in each place where that is 0."""
        sums = self.total(array.name)
        shares = self.do("Div", array.name, sums)
        empty = self.do("Equal", sums, self.keep(0.0))
        return Tensor(self.do("Where", empty, self.keep(nothing), shares), array.width)


TermWriter = Callable[[Emitter, str, Floats], str]


def _compared(kind: str) -> TermWriter:
    return lambda tape, z, c: tape.as_numbers(tape.do(kind, z, tape.keep(c[:, 0])))


def _unary(*kinds: str) -> TermWriter:
    def write(tape: Emitter, z: str, _: Floats) -> str:
        for kind in kinds:
            z = tape.do(kind, z)
        return z

    return write


def _clipped(tape: Emitter, z: str, c: Floats) -> str:
    return tape.do("Min", tape.do("Max", z, tape.keep(c[:, 0])), tape.keep(c[:, 1]))


def _power(tape: Emitter, z: str, c: Floats) -> str:
    return tape.do("Pow", z, tape.keep(c[:, 0]))


def _one_plus_positive_part(sign: float) -> TermWriter:
    """1 + the positive part of z, or of -z."""

    def write(tape: Emitter, z: str, _: Floats) -> str:
        side = z if sign > 0 else tape.do("Neg", z)
        return tape.do("Add", tape.do("Max", side, tape.keep(0.0)), tape.keep(1.0))

    return write


def _chain(first: TermWriter, then: TermWriter) -> TermWriter:
    return lambda tape, z, c: then(tape, first(tape, z, c), c)


# Of z = slope * x + shift [n, t] and the constants behind those two [t, c], the terms [n, t].
TERMS: dict[str, TermWriter] = {
    "=": _compared("Equal"),
    ">=": _compared("GreaterOrEqual"),
    ">": _compared("Greater"),
    "clip": _clipped,
    "pow": _power,
    "pow up": _chain(_one_plus_positive_part(1), _power),
    "pow down": _chain(_one_plus_positive_part(-1), _power),
    "log up": _chain(_one_plus_positive_part(1), _unary("Log")),
    "log down": _chain(_one_plus_positive_part(-1), _unary("Log")),
    "log": _unary("Log"),
    "log1p": lambda tape, z, _: tape.do("Log", tape.do("Add", z, tape.keep(1.0))),
    "exp": _unary("Exp"),
    "expm1": lambda tape, z, _: tape.do("Sub", tape.do("Exp", z), tape.keep(1.0)),
    "sqrt": _unary("Sqrt"),
    "abs": _unary("Abs"),
    "square": lambda tape, z, _: tape.do("Mul", z, z),
}
STEP_TERMS = ("=", ">=", ">", "clip", "in")


_LARGE = 1e300
_ROUNDING = 1e-12


@dataclass(slots=True)
class _LinearRequests:
    """What the sums ask of a row: `width` outputs, of which each request has a span."""

    numbers: list[tuple[NumericFeature, slice, Floats]] = field(default_factory=list)
    lookups: list[tuple[TableFeature, slice, Floats]] = field(default_factory=list)
    bias: list[Floats] = field(default_factory=list)

    @property
    def width(self) -> int:
        return sum(map(len, self.bias))


class GraphBuilder:
    """A tape that also takes weighted sums of features; those of the row itself are written as one, before all else."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.tape = Emitter()
        self._pile = _LinearRequests()

    def linear(self, features: Sequence[Feature], weights: Floats, bias: Floats) -> Tensor:
        """The sums features @ weights + bias; weights [features, k], bias [k]."""
        weights = np.asarray(weights, np.float64).reshape(len(features), -1)
        bias = np.broadcast_to(np.asarray(bias, np.float64), weights.shape[1:]).copy()
        parts, shift = self._computed(features, weights)
        if all(isinstance(each, ArrayFeature) for each in features):
            parts.append(self.tape.keep(bias + shift))
        else:
            parts.append(self._of_row(features, weights, bias + shift))
        return Tensor(add_all(self.tape, parts), weights.shape[1])

    def dense(self, features: Sequence[Feature]) -> Tensor:
        """The features themselves [n, features]."""
        return self.linear(features, np.eye(len(features)), np.zeros(len(features)))

    def finish(self, scores: Tensor) -> Graph:
        """The graph whose answer is `scores`."""
        front = _InputStage(self._pile, self.width)
        rest, self.tape.operations = self.tape.operations, []
        if front.columns:
            front.write(self.tape)
            self.tape.name_last(*map(self._request, range(len(self._pile.bias))))
        elif self._pile.bias or not self.tape.forests:
            raise NotApplicable("the model, or a part of it, reads no column of a row")
        operations = [_renamed(each, scores.name) for each in (*self.tape.operations, *rest)]
        return Graph(
            width=self.width,
            outputs=scores.width,
            operations=tuple(operations),
            constants=self.tape.constants,
            edges=front.edges(),
            forests=self.tape.forests,
        )

    def _computed(self, features: Sequence[Feature], weights: Floats) -> tuple[list[str], Floats]:
        """Sums over arrays that operations made, and what their shifts add."""
        found: dict[tuple[str, int], Floats] = {}
        shift = np.zeros(weights.shape[1])
        for each, weight in zip(features, weights, strict=True):
            if isinstance(each, ArrayFeature):
                key = (each.array, each.width)
                found.setdefault(key, np.zeros((each.width, len(weight))))[each.place] += each.slope * weight
                shift += each.shift * weight
        return [self.tape.do("MatMul", name, self.tape.keep(matrix)) for (name, _), matrix in found.items()], shift

    def _of_row(self, features: Sequence[Feature], weights: Floats, bias: Floats) -> str:
        start = self._pile.width
        span = slice(start, start + len(bias))
        self._pile.bias.append(bias)
        for each, weight in zip(features, weights, strict=True):
            if isinstance(each, NumericFeature):
                self._pile.numbers.append((each, span, weight))
            elif isinstance(each, TableFeature):
                self._pile.lookups.append((each, span, weight))
        return self._request(len(self._pile.bias) - 1)

    @staticmethod
    def _request(number: int) -> str:
        return f"sum{number}"


class _InputStage:
    """The operations from a row to all the sums that were asked of it."""

    def __init__(self, pile: _LinearRequests, width: int) -> None:
        self.pile = pile
        self.numbers = sorted({each.column for each, _, _ in pile.numbers} - {NO_COLUMN})
        self.texts = sorted({each.column for each, _, _ in pile.lookups})
        used = sorted({*self.numbers, *self.texts})
        self.columns = used if len(used) == width else [*self.numbers, *self.texts]
        self.gathered = len(used) < width
        self.place = {column: place for place, column in enumerate(self.columns)}
        self.row_width = width

    def write(self, tape: Emitter) -> None:
        """Note the operations; the last one makes the sums, each request's as an output."""
        rows = tape.pick(ROWS, self.columns) if self.gathered else ROWS
        empty = tape.do("IsNaN", rows) if np.isfinite(self.fill).any() else ""
        ready = tape.do("Where", empty, tape.keep(self.fill), rows) if empty else rows
        parts = [*self._products(tape, ready, empty), *self._terms(tape, ready), *self._lookups(tape, ready)]
        if not self.texts:
            parts.append(tape.keep(self._bias()))
        sums = add_all(tape, parts)
        if self.numbers:  # an infinite sum, of a row that the library refuses, becomes NaN; others stay as they are
            tape.do("Mod", sums, tape.keep(_LARGE), attributes={"fmod": 1})
        if len(self.pile.bias) > 1:
            sizes = np.array([len(each) for each in self.pile.bias])
            tape.do("Split", tape.operations[-1].outputs[0], tape.keep(sizes), attributes={"axis": 1})

    def edges(self) -> tuple[Floats, ...]:
        """For each column of a row, the numbers at which a term may jump."""
        found: dict[int, list[float]] = defaultdict(list)
        for each, _, _ in self.pile.numbers:
            for term in each.terms:
                if term.kind in STEP_TERMS:
                    slope, shift, *at = term.constants
                    found[each.column] += [(value - shift) / slope for value in at]
        return tuple(np.unique(np.array(found[column], np.float64)) for column in range(self.row_width))

    @cached_property
    def fill(self) -> Floats:
        """What stands for a missing value, by place: NaN where it is refused, the last rank of a text."""
        fill = np.full(len(self.columns), np.nan)
        for column in self.numbers:
            features = [each for each, _, _ in self.pile.numbers if each.column == column]
            if all(np.isfinite(each.missing) for each in features):
                stand_ins = [each.stand_in for each in features if each.terms and np.isfinite(each.stand_in)]
                fill[self.place[column]] = stand_ins[0] if stand_ins else 0.0
        for column in self.texts:
            fill[self.place[column]] = self._missing_code(column)
        return fill

    def _bias(self) -> Floats:
        bias = np.concatenate(self.pile.bias)
        for each, span, weight in self.pile.numbers:
            bias[span] += each.offset * weight
        return bias

    def _products(self, tape: Emitter, ready: str, empty: str) -> list[str]:
        """Numbers times their weights, and the weights of those that are missing."""
        if not self.numbers:
            return []
        weights, absent = np.zeros((2, len(self.columns), self.pile.width))
        for each, span, weight in self.pile.numbers:
            if each.column != NO_COLUMN:
                place = self.place[each.column]
                weights[place, span] += sum(term.weight for term in each.terms if term.kind == "x") * weight
                absent[place, span] += _missing_weight(each, self.fill[place]) * weight
        parts = [tape.do("MatMul", ready, tape.keep(weights))]
        if absent.any():
            parts.append(tape.do("MatMul", tape.as_numbers(empty), tape.keep(absent)))
        return parts

    def _terms(self, tape: Emitter, ready: str) -> list[str]:
        blocks: dict[str, list[tuple[int, Term, slice, Floats]]] = defaultdict(list)
        for each, span, weight in self.pile.numbers:
            for term in each.terms:
                if term.kind != "x":
                    blocks[term.kind].append((self.place[each.column], term, span, weight))
        return [self._block(tape, ready, kind, block) for kind, block in sorted(blocks.items())]

    def _block(self, tape: Emitter, ready: str, kind: str, block: list[tuple[int, Term, slice, Floats]]) -> str:
        """All terms of a kind at once; equal ones are written once."""
        alike: dict[tuple[int, tuple[float, ...]], Floats] = {}
        for place, term, span, weight in block:
            total = alike.setdefault((place, term.constants), np.zeros(self.pile.width))
            total[span] += term.weight * weight
        weights = np.array(list(alike.values()))
        if kind == "in":
            return _only_known(tape, ready, list(alike), weights)
        z, constants = _shifted_columns(tape, ready, [place for place, _ in alike], [given for _, given in alike])
        return tape.do("MatMul", TERMS[kind](tape, z, constants), tape.keep(weights))

    def _lookups(self, tape: Emitter, ready: str) -> list[str]:
        """The sum over texts of what each adds."""
        if not self.texts:
            return []
        tables = self._tables()
        tables[0] += self._bias()
        ranks = tape.pick(ready, [self.place[column] for column in self.texts])
        if self.pile.width == 1:
            return [self._of_one_output(tape, ranks, tables)]
        last = np.array([len(table) - 1 for table in tables])
        known = tape.do("Min", tape.do("Max", ranks, tape.keep(0.0)), tape.keep(last.astype(np.float64)))
        codes = tape.do("Cast", known, attributes={"to": INT64})
        if len(tables) > 1:
            codes = tape.do("Add", codes, tape.keep(np.cumsum([0, *(last[:-1] + 1)])))
        found = tape.do("Gather", tape.keep(np.concatenate(tables)), codes, attributes={"axis": 0})
        return [tape.do("ReduceSum", found, tape.keep(np.array([1])), attributes={"keepdims": 0})]

    def _of_one_output(self, tape: Emitter, ranks: str, tables: list[Floats]) -> str:
        """Tables of one length side by side: another text is repeated down to the last, the missing one."""
        height = max(map(len, tables))
        padded = [np.concatenate([t[:-1], np.repeat(t[-2:-1], height - len(t), axis=0), t[-1:]]) for t in tables]
        known = tape.do("Clip", ranks, tape.keep(0.0), tape.keep(float(height - 1)))
        codes = tape.do("Cast", known, attributes={"to": INT64})
        found = tape.do("GatherElements", tape.keep(np.hstack(padded)), codes, attributes={"axis": 0})
        return found if len(tables) == 1 else tape.total(found)

    def _tables(self) -> list[Floats]:
        """For each column of texts, what each of its values adds to each sum [ranks + 2, width]."""
        groups: dict[tuple[int, int], list[tuple[TableFeature, slice, Floats]]] = defaultdict(list)
        for found in self.pile.lookups:
            groups[found[0].column, found[1].start].append(found)
        tables = {column: np.zeros((self._height(column), self.pile.width)) for column in self.texts}
        for (column, _), group in groups.items():
            values = np.column_stack([numeric_values(each) for each, _, _ in group])
            values[np.isinf(values)] = np.nan
            tables[column][:, group[0][1]] += values @ np.array([weight for _, _, weight in group])
        return [tables[column] for column in self.texts]

    def _height(self, column: int) -> int:
        return next(len(each.values) for each, _, _ in self.pile.lookups if each.column == column)

    def _missing_code(self, column: int) -> int:
        """Where a missing text is looked up: the last place of its table, or of the longest for one output."""
        columns = self.texts if self.pile.width == 1 else [column]
        return max(map(self._height, columns)) - 1


def add_all(tape: Emitter, parts: list[str]) -> str:
    """The sum of parts."""
    whole = parts[0]
    for part in parts[1:]:
        whole = tape.do("Add", whole, part)
    return whole


def _renamed(operation: Operation, scores: str) -> Operation:
    """The operation, with the array of that name called `scores`."""

    def named(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(SCORES if each == scores else each for each in names)

    return replace(operation, inputs=named(operation.inputs), outputs=named(operation.outputs))


def _missing_weight(feature: NumericFeature, fill: float) -> float:
    """What a missing value adds beside what its stand-in adds."""
    if np.isnan(fill):
        return 0.0
    stands = float(feature.image(np.array([fill]))[0])
    apart = feature.missing - stands
    return 0.0 if abs(apart) <= _ROUNDING * max(abs(stands), abs(feature.missing)) else apart


def _shifted_columns(
    tape: Emitter, ready: str, places: list[int], given: list[tuple[float, ...]]
) -> tuple[str, Floats]:
    """slope * x + shift of the columns of each term, and the constants behind those two."""
    constants = np.array(given)
    z = tape.pick(ready, places)
    if (constants[:, 0] != 1).any():
        z = tape.do("Mul", z, tape.keep(constants[:, 0]))
    if (constants[:, 1] != 0).any():
        z = tape.do("Add", z, tape.keep(constants[:, 1]))
    return z, constants[:, 2:]


def _only_known(tape: Emitter, ready: str, terms: list[tuple[int, tuple[float, ...]]], weights: Floats) -> str:
    """0 for the numbers that a column knows, and an infinite sum for any other."""
    flat = [(place, (*given[:2], value)) for place, given in terms for value in given[2:]]
    z, constants = _shifted_columns(tape, ready, [place for place, _ in flat], [given for _, given in flat])
    owner = np.repeat(np.arange(len(terms)), [len(given) - 2 for _, given in terms])
    equal = tape.as_numbers(tape.do("Equal", z, tape.keep(constants[:, 0])))
    found = tape.do("MatMul", equal, tape.keep(np.eye(len(terms))[owner]))
    return tape.do("MatMul", tape.do("Log", found), tape.keep(np.where(weights == 0, 1.0, weights)))
