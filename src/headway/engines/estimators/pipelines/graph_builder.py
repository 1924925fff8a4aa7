"""Build a graph: emit operations, and weighted sums of features that are merged into one product per row.

All sums over the raw columns that a model requests are computed at once, with one lookup per categorical column and one
product for the numbers. A one-hot column times its weights is the weight of its category, so no one-hot is ever made. A
missing number is replaced by its fill value, or has a weight of its own. A row that the library would reject gets NaN.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import count
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from headway.core.arrays import Floats
from headway.core.errors import NotApplicable
from headway.engines.estimators.pipelines.features import (
    NO_COLUMN,
    ArrayFeature,
    Feature,
    NumericFeature,
    TableFeature,
    Term,
    compare_feature,
    numeric_values,
)
from headway.engines.formats.graph import FOREST, ROWS, SCORES, Attribute, Graph, Operation
from headway.engines.formats.trees import Forest

DOUBLE, INT64 = 11, 7


class GraphArray(NamedTuple):
    """The name of an array [n, width] that operations make."""

    name: str
    width: int


@dataclass(slots=True)
class GraphEmitter:
    """Operations in order, with their constants and forests."""

    operations: list[Operation] = field(default_factory=list)
    constants: dict[str, NDArray[Any]] = field(default_factory=dict)
    forests: dict[str, Forest] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=count)

    def emit(self, kind: str, *inputs: str, attributes: Mapping[str, Attribute] | None = None) -> str:
        """Append an operation and return the name of its output."""
        name = f"v{next(self._numbers)}"
        self.operations.append(Operation(kind=kind, inputs=inputs, outputs=(name,), attributes=dict(attributes or {})))
        return name

    def constant(self, value: Any) -> str:
        """Add a constant and return its name."""
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(value)
        return name

    def add_forest(self, forest: Forest) -> GraphArray:
        """Append the evaluation of a forest over the row."""
        name = self.emit(FOREST, ROWS)
        self.forests[name] = forest
        return GraphArray(name, forest.outputs)

    def rename_outputs(self, *names: str) -> None:
        """Rename the outputs of the last operation."""
        self.operations[-1] = replace(self.operations[-1], outputs=names)

    def select(self, array: str, indices: Any) -> str:
        """Select columns of an array, with a slice if they are contiguous."""
        indices = np.asarray(indices, np.int64)
        if np.array_equal(indices, np.arange(indices[0], indices[0] + len(indices))):
            bounds = [self.constant(np.array([bound])) for bound in (indices[0], indices[0] + len(indices), 1)]
            return self.emit("Slice", array, *bounds)
        return self.emit("Gather", array, self.constant(indices), attributes={"axis": 1})

    def row_sum(self, array: str) -> str:
        """Emit the sum of each row [n, 1]."""
        return self.emit("ReduceSum", array, self.constant(np.array([1])), attributes={"keepdims": 1})

    def concat(self, arrays: list[GraphArray]) -> GraphArray:
        """Concatenate arrays along columns."""
        if len(arrays) == 1:
            return arrays[0]
        name = self.emit("Concat", *(array.name for array in arrays), attributes={"axis": 1})
        return GraphArray(name, sum(array.width for array in arrays))

    def softmax(self, array: str) -> str:
        """Emit the softmax of each row."""
        return self.emit("Softmax", array, attributes={"axis": 1})

    def to_float(self, array: str) -> str:
        """Convert booleans to 1 and 0."""
        return self.emit("Cast", array, attributes={"to": DOUBLE})

    def normalize_rows(self, array: GraphArray, default: float) -> GraphArray:
        """Divide each row by its sum; a row whose sum is 0 gets `default` everywhere."""
        sums = self.row_sum(array.name)
        shares = self.emit("Div", array.name, sums)
        empty = self.emit("Equal", sums, self.constant(0.0))
        return GraphArray(self.emit("Where", empty, self.constant(default), shares), array.width)


TermWriter = Callable[[GraphEmitter, str, Floats], str]


def _compared(kind: str) -> TermWriter:
    return lambda emitter, z, c: emitter.to_float(emitter.emit(kind, z, emitter.constant(c[:, 0])))


def _unary(*kinds: str) -> TermWriter:
    def write(emitter: GraphEmitter, z: str, _: Floats) -> str:
        for kind in kinds:
            z = emitter.emit(kind, z)
        return z

    return write


def _clipped(emitter: GraphEmitter, z: str, c: Floats) -> str:
    return emitter.emit("Min", emitter.emit("Max", z, emitter.constant(c[:, 0])), emitter.constant(c[:, 1]))


def _power(emitter: GraphEmitter, z: str, c: Floats) -> str:
    return emitter.emit("Pow", z, emitter.constant(c[:, 0]))


def _one_plus_positive_part(sign: float) -> TermWriter:
    """Return a writer of 1 + max(z, 0), or of 1 + max(-z, 0)."""

    def write(emitter: GraphEmitter, z: str, _: Floats) -> str:
        signed = z if sign > 0 else emitter.emit("Neg", z)
        return emitter.emit("Add", emitter.emit("Max", signed, emitter.constant(0.0)), emitter.constant(1.0))

    return write


def _chain(first: TermWriter, then: TermWriter) -> TermWriter:
    return lambda emitter, z, c: then(emitter, first(emitter, z, c), c)


# Writers of the terms [n, t], from z = slope * x + shift [n, t] and the remaining constants [t, c].
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
    "log1p": lambda emitter, z, _: emitter.emit("Log", emitter.emit("Add", z, emitter.constant(1.0))),
    "exp": _unary("Exp"),
    "expm1": lambda emitter, z, _: emitter.emit("Sub", emitter.emit("Exp", z), emitter.constant(1.0)),
    "sqrt": _unary("Sqrt"),
    "abs": _unary("Abs"),
    "square": lambda emitter, z, _: emitter.emit("Mul", z, z),
}
STEP_TERMS = ("=", ">=", ">", "clip", "in")


_LARGE = 1e300
_ROUNDING = 1e-12


@dataclass(slots=True)
class _LinearRequests:
    """The sums requested over the row: `width` outputs, of which each request has a slice."""

    numbers: list[tuple[NumericFeature, slice, Floats]] = field(default_factory=list)
    lookups: list[tuple[TableFeature, slice, Floats]] = field(default_factory=list)
    bias: list[Floats] = field(default_factory=list)

    @property
    def width(self) -> int:
        return sum(map(len, self.bias))


class GraphBuilder:
    """An emitter with weighted sums of features; sums over the row are written as one operation before all others."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.emitter = GraphEmitter()
        self._requests = _LinearRequests()

    def linear(self, features: Sequence[Feature], weights: Floats, bias: Floats) -> GraphArray:
        """Emit features @ weights + bias; weights [features, k], bias [k]."""
        weights = np.asarray(weights, np.float64).reshape(len(features), -1)
        bias = np.broadcast_to(np.asarray(bias, np.float64), weights.shape[1:]).copy()
        parts, shift = self._computed(features, weights)
        if all(isinstance(feature, ArrayFeature) for feature in features):
            parts.append(self.emitter.constant(bias + shift))
        else:
            parts.append(self._of_row(features, weights, bias + shift))
        return GraphArray(add_all(self.emitter, parts), weights.shape[1])

    def dense(self, features: Sequence[Feature]) -> GraphArray:
        """Emit the features themselves [n, features]."""
        return self.linear(features, np.eye(len(features)), np.zeros(len(features)))

    def read_step(self, step: Any, features: Any) -> Any:
        """Return the features that a step makes, or None if its general reader makes them."""
        return None

    def pick(self, features: Any, indices: Any) -> Any:
        """Return features by index."""
        return [features[int(index)] for index in indices]

    def above(self, features: Any, threshold: float) -> Any:
        """Return 1 for each feature above a threshold, else 0."""
        return [compare_feature(feature, threshold, ">") for feature in features]

    def finish(self, scores: GraphArray) -> Graph:
        """Return the graph whose answer is `scores`."""
        front = _InputStage(self._requests, self.width)
        rest, self.emitter.operations = self.emitter.operations, []
        if front.columns:
            front.write(self.emitter)
            self.emitter.rename_outputs(*map(self._request, range(len(self._requests.bias))))
        elif self._requests.bias or not self.emitter.forests:
            raise NotApplicable("the model, or a part of it, does not read a column")
        operations = [_renamed(operation, scores.name) for operation in (*self.emitter.operations, *rest)]
        return Graph(
            width=self.width,
            outputs=scores.width,
            operations=tuple(operations),
            constants=self.emitter.constants,
            edges=front.edges(),
            forests={_scores_or(name, scores.name): forest for name, forest in self.emitter.forests.items()},
        )

    def _computed(self, features: Sequence[Feature], weights: Floats) -> tuple[list[str], Floats]:
        """Emit sums over arrays of earlier operations, and return them with the sum of their shifts."""
        found: dict[tuple[str, int], Floats] = {}
        shift = np.zeros(weights.shape[1])
        for feature, weight in zip(features, weights, strict=True):
            if isinstance(feature, ArrayFeature):
                key = (feature.array, feature.width)
                found.setdefault(key, np.zeros((feature.width, len(weight))))[feature.index] += feature.slope * weight
                shift += feature.shift * weight
        return [
            self.emitter.emit("MatMul", name, self.emitter.constant(matrix)) for (name, _), matrix in found.items()
        ], shift

    def _of_row(self, features: Sequence[Feature], weights: Floats, bias: Floats) -> str:
        start = self._requests.width
        span = slice(start, start + len(bias))
        self._requests.bias.append(bias)
        for feature, weight in zip(features, weights, strict=True):
            if isinstance(feature, NumericFeature):
                self._requests.numbers.append((feature, span, weight))
            elif isinstance(feature, TableFeature):
                self._requests.lookups.append((feature, span, weight))
        return self._request(len(self._requests.bias) - 1)

    @staticmethod
    def _request(number: int) -> str:
        return f"sum{number}"


class _InputStage:
    """The operations from a row to all requested sums."""

    def __init__(self, requests: _LinearRequests, width: int) -> None:
        self.requests = requests
        self.numbers = sorted({feature.column for feature, _, _ in requests.numbers} - {NO_COLUMN})
        self.categorical = sorted({feature.column for feature, _, _ in requests.lookups})
        used = sorted({*self.numbers, *self.categorical})
        self.columns = used if len(used) == width else [*self.numbers, *self.categorical]
        self.gathered = len(used) < width
        self.index = {column: index for index, column in enumerate(self.columns)}
        self.input_width = width

    def write(self, emitter: GraphEmitter) -> None:
        """Emit the operations; the last one has one output per request."""
        rows = emitter.select(ROWS, self.columns) if self.gathered else ROWS
        empty = emitter.emit("IsNaN", rows) if np.isfinite(self.fill).any() else ""
        ready = emitter.emit("Where", empty, emitter.constant(self.fill), rows) if empty else rows
        parts = [*self._products(emitter, ready, empty), *self._terms(emitter, ready), *self._lookups(emitter, ready)]
        if not self.categorical:
            parts.append(emitter.constant(self._bias()))
        sums = add_all(emitter, parts)
        if self.numbers:  # an infinite sum marks a row that the library rejects, and becomes NaN
            emitter.emit("Mod", sums, emitter.constant(_LARGE), attributes={"fmod": 1})
        if len(self.requests.bias) > 1:
            sizes = np.array([len(bias) for bias in self.requests.bias])
            emitter.emit("Split", emitter.operations[-1].outputs[0], emitter.constant(sizes), attributes={"axis": 1})

    def edges(self) -> tuple[Floats, ...]:
        """Return, for each column of a row, the numbers at which a term may jump."""
        found: dict[int, list[float]] = defaultdict(list)
        for feature, _, _ in self.requests.numbers:
            for term in feature.terms:
                if term.kind in STEP_TERMS:
                    slope, shift, *at = term.constants
                    found[feature.column] += [(value - shift) / slope for value in at]
        return tuple(np.unique(np.array(found[column], np.float64)) for column in range(self.input_width))

    @cached_property
    def fill(self) -> Floats:
        """Replacement of a missing value for each column that is read; NaN where missing rows are rejected."""
        fill = np.full(len(self.columns), np.nan)
        for column in self.numbers:
            features = [feature for feature, _, _ in self.requests.numbers if feature.column == column]
            if all(np.isfinite(feature.missing) for feature in features):
                stand_ins = [
                    feature.fill_value for feature in features if feature.terms and np.isfinite(feature.fill_value)
                ]
                fill[self.index[column]] = stand_ins[0] if stand_ins else 0.0
        for column in self.categorical:
            fill[self.index[column]] = self._missing_code(column)
        return fill

    def _bias(self) -> Floats:
        bias = np.concatenate(self.requests.bias)
        for feature, span, weight in self.requests.numbers:
            bias[span] += feature.offset * weight
        return bias

    def _products(self, emitter: GraphEmitter, ready: str, empty: str) -> list[str]:
        """Emit numbers times their weights, and the weights of missing values."""
        if not self.numbers:
            return []
        weights, absent = np.zeros((2, len(self.columns), self.requests.width))
        for feature, span, weight in self.requests.numbers:
            if feature.column != NO_COLUMN:
                index = self.index[feature.column]
                weights[index, span] += sum(term.weight for term in feature.terms if term.kind == "x") * weight
                absent[index, span] += _missing_weight(feature, self.fill[index]) * weight
        parts = [emitter.emit("MatMul", ready, emitter.constant(weights))]
        if absent.any():
            parts.append(emitter.emit("MatMul", emitter.to_float(empty), emitter.constant(absent)))
        return parts

    def _terms(self, emitter: GraphEmitter, ready: str) -> list[str]:
        blocks: dict[str, list[tuple[int, Term, slice, Floats]]] = defaultdict(list)
        for feature, span, weight in self.requests.numbers:
            for term in feature.terms:
                if term.kind != "x":
                    blocks[term.kind].append((self.index[feature.column], term, span, weight))
        return [self._block(emitter, ready, kind, block) for kind, block in sorted(blocks.items())]

    def _block(self, emitter: GraphEmitter, ready: str, kind: str, block: list[tuple[int, Term, slice, Floats]]) -> str:
        """Emit all terms of a kind at once; equal terms are written once."""
        merged: dict[tuple[int, tuple[float, ...]], Floats] = {}
        for index, term, span, weight in block:
            total = merged.setdefault((index, term.constants), np.zeros(self.requests.width))
            total[span] += term.weight * weight
        weights = np.array(list(merged.values()))
        if kind == "in":
            return _only_known(emitter, ready, list(merged), weights)
        z, constants = _shifted_columns(
            emitter, ready, [index for index, _ in merged], [constants for _, constants in merged]
        )
        return emitter.emit("MatMul", TERMS[kind](emitter, z, constants), emitter.constant(weights))

    def _lookups(self, emitter: GraphEmitter, ready: str) -> list[str]:
        """Emit the sum of the table entries of all categorical columns."""
        if not self.categorical:
            return []
        tables = self._tables()
        tables[0] += self._bias()
        ranks = emitter.select(ready, [self.index[column] for column in self.categorical])
        if self.requests.width == 1:
            return [self._of_one_output(emitter, ranks, tables)]
        last = np.array([len(table) - 1 for table in tables])
        known = emitter.emit(
            "Min", emitter.emit("Max", ranks, emitter.constant(0.0)), emitter.constant(last.astype(np.float64))
        )
        codes = emitter.emit("Cast", known, attributes={"to": INT64})
        if len(tables) > 1:
            codes = emitter.emit("Add", codes, emitter.constant(np.cumsum([0, *(last[:-1] + 1)])))
        found = emitter.emit("Gather", emitter.constant(np.concatenate(tables)), codes, attributes={"axis": 0})
        return [emitter.emit("ReduceSum", found, emitter.constant(np.array([1])), attributes={"keepdims": 0})]

    def _of_one_output(self, emitter: GraphEmitter, ranks: str, tables: list[Floats]) -> str:
        """Look up in tables padded to one length: the unseen category's entry repeats before the missing value's."""
        height = max(map(len, tables))
        padded = [np.concatenate([t[:-1], np.repeat(t[-2:-1], height - len(t), axis=0), t[-1:]]) for t in tables]
        known = emitter.emit("Clip", ranks, emitter.constant(0.0), emitter.constant(float(height - 1)))
        codes = emitter.emit("Cast", known, attributes={"to": INT64})
        found = emitter.emit("GatherElements", emitter.constant(np.hstack(padded)), codes, attributes={"axis": 0})
        return found if len(tables) == 1 else emitter.row_sum(found)

    def _tables(self) -> list[Floats]:
        """Return, for each categorical column, what each of its values adds to each sum [ranks + 2, width]."""
        groups: dict[tuple[int, int], list[tuple[TableFeature, slice, Floats]]] = defaultdict(list)
        for found in self.requests.lookups:
            groups[found[0].column, found[1].start].append(found)
        tables = {column: np.zeros((self._height(column), self.requests.width)) for column in self.categorical}
        for (column, _), group in groups.items():
            values = np.column_stack([numeric_values(feature) for feature, _, _ in group])
            values[np.isinf(values)] = np.nan
            tables[column][:, group[0][1]] += values @ np.array([weight for _, _, weight in group])
        return [tables[column] for column in self.categorical]

    def _height(self, column: int) -> int:
        return next(len(feature.values) for feature, _, _ in self.requests.lookups if feature.column == column)

    def _missing_code(self, column: int) -> int:
        """Return a missing value's rank: the last row of its table, or of the longest table for a single output."""
        columns = self.categorical if self.requests.width == 1 else [column]
        return max(map(self._height, columns)) - 1


def add_all(emitter: GraphEmitter, parts: list[str]) -> str:
    """Emit the sum of several arrays."""
    total = parts[0]
    for part in parts[1:]:
        total = emitter.emit("Add", total, part)
    return total


def _renamed(operation: Operation, scores: str) -> Operation:
    """Rename the array of that name to `scores`."""

    def named(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_scores_or(name, scores) for name in names)

    return replace(operation, inputs=named(operation.inputs), outputs=named(operation.outputs))


def _missing_weight(feature: NumericFeature, fill: float) -> float:
    """Return what a missing value adds in excess of its fill value."""
    if np.isnan(fill):
        return 0.0
    stands = float(feature.function(np.array([fill]))[0])
    apart = feature.missing - stands
    return 0.0 if abs(apart) <= _ROUNDING * max(abs(stands), abs(feature.missing)) else apart


def _shifted_columns(
    emitter: GraphEmitter, ready: str, indices: list[int], terms: list[tuple[float, ...]]
) -> tuple[str, Floats]:
    """Emit slope * x + shift for the column of each term, and return the remaining constants."""
    constants = np.array(terms)
    z = emitter.select(ready, indices)
    if (constants[:, 0] != 1).any():
        z = emitter.emit("Mul", z, emitter.constant(constants[:, 0]))
    if (constants[:, 1] != 0).any():
        z = emitter.emit("Add", z, emitter.constant(constants[:, 1]))
    return z, constants[:, 2:]


def _only_known(emitter: GraphEmitter, ready: str, terms: list[tuple[int, tuple[float, ...]]], weights: Floats) -> str:
    """Emit 0 for the numbers that a column knows, and an infinite sum for others."""
    flat = [(index, (*constants[:2], value)) for index, constants in terms for value in constants[2:]]
    z, constants = _shifted_columns(emitter, ready, [index for index, _ in flat], [constants for _, constants in flat])
    owner = np.repeat(np.arange(len(terms)), [len(known) - 2 for _, known in terms])
    equal = emitter.to_float(emitter.emit("Equal", z, emitter.constant(constants[:, 0])))
    found = emitter.emit("MatMul", equal, emitter.constant(np.eye(len(terms))[owner]))
    return emitter.emit("MatMul", emitter.emit("Log", found), emitter.constant(np.where(weights == 0, 1.0, weights)))


def _scores_or(name: str, scores: str) -> str:
    return SCORES if name == scores else name
