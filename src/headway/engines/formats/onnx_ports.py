"""Map the columns of a row to the inputs of an ONNX graph, and its outputs to scores.

A graph reads one table, several tables, or one input per column, of floats or integers, with any number of rows or a
fixed one. It returns scores as floats, or as one dictionary per row (ZipMap). Several outputs of scores stand side by
side, and none is left out, but for the first of two complementary probabilities.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from headway.core.arrays import Floats
from headway.core.errors import EngineError

Array = NDArray[np.generic]
Answer = Array | list[dict[int | str, float]]

_DTYPES: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
}
_MAX_INTEGER = {"tensor(int64)": 2.0**53, "tensor(int32)": 2.0**31 - 1}
_FLOATS = ("tensor(float)", "tensor(double)")
_DICTIONARIES = ("seq(map(int64,tensor(float)))", "seq(map(string,tensor(float)))")
_PROBES, _ROUNDING = 16, 0.02
CONVERT_HINT = "export it with one input [any, d]; in skl2onnx: initial_types=[('rows', FloatTensorType([None, d]))]"
TENSORS = "tensors (images, sound, sequences), which headway does not read yet: it reads tables and texts"
TENSORS_HINT = "call the model itself, or pass the part of it that reads rows of numbers [any, d]"


class Port(Protocol):
    """An input or output of a graph as ONNX Runtime describes it.

    A dimension of `shape` that is not an integer is dynamic.
    """

    name: str
    type: str
    shape: Sequence[int | str | None]


@dataclass(slots=True, kw_only=True)
class PortInfo:
    """A `Port` that is made from the description of another library."""

    name: str
    type: str
    shape: Sequence[int | str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphInput:
    """An input that reads the columns `start` to `stop` of a row, without the second axis if `is_flat`.

    `max_integer` is the largest magnitude that an integer input represents exactly, or 0 for a float input.
    """

    name: str
    dtype: type[np.generic]
    start: int
    stop: int
    is_flat: bool
    max_integer: float

    def select(self, rows: Floats) -> Array:
        """Return the array for this input; raise EngineError if it reads integers and a value is not one."""
        part = rows[:, self.start] if self.is_flat else rows[:, self.start : self.stop]
        if self.max_integer and not np.all((np.abs(part) <= self.max_integer) & (np.trunc(part) == part)):
            raise EngineError(
                f"input {self.name!r} reads integers, and a row has another value there",
                hint="impute missing values, or convert the model with a float input",
            )
        with np.errstate(over="ignore"):  # a value beyond float32 is infinite to the graph, as it was to the library
            return np.ascontiguousarray(part, self.dtype)


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphInputs:
    """The inputs of a graph; `batch_size` is the only number of rows that it accepts, or 0 if it accepts any."""

    inputs: tuple[GraphInput, ...]
    batch_size: int

    @property
    def width(self) -> int:
        """Number of columns of a row."""
        return self.inputs[-1].stop

    @property
    def names(self) -> tuple[str, ...]:
        """Column names, if each column is an input of its own."""
        alone = len(self.inputs) == self.width > 1
        return tuple(port.name for port in self.inputs) if alone else ()

    @property
    def table(self) -> tuple[str, type[np.generic]] | None:
        """Name and dtype of the only input, if it reads whole rows of any number and is not an integer input."""
        first = self.inputs[0]
        is_table = len(self.inputs) == 1 and not (first.is_flat or first.max_integer or self.batch_size)
        return (first.name, first.dtype) if is_table else None

    def batches(self, rows: Floats) -> list[tuple[Mapping[str, Array], int]]:
        """Return the feeds of the graph with the number of valid rows in each.

        A fixed batch size is padded with zeros.
        """
        if not self.batch_size:
            return [({port.name: port.select(rows) for port in self.inputs}, len(rows))]
        count = max(-(-len(rows) // self.batch_size), 1)
        filled = np.zeros((count * self.batch_size, self.width))
        filled[: len(rows)] = rows
        return [
            (
                {port.name: port.select(some) for port in self.inputs},
                min(len(rows) - number * self.batch_size, self.batch_size),
            )
            for number, some in enumerate(np.split(filled, count))
        ]


def graph_inputs(inputs: Sequence[Port]) -> GraphInputs:
    """Assign columns to inputs in order; raise EngineError if the inputs do not form a numeric table."""
    strings = [port.name for port in inputs if port.type == "tensor(string)"]
    if strings:
        raise EngineError(
            f"the graph reads strings ({', '.join(strings)}), and does not list the categories",
            where=_describe_ports("inputs", inputs),
            hint="import the fitted scikit-learn pipeline instead of its graph, or encode the strings before the graph",
        )
    found: list[GraphInput] = []
    for port in inputs:
        if port.type not in _DTYPES or len(port.shape) not in (1, 2) or not _width(port):
            raise _not_a_table(inputs)
        start = found[-1].stop if found else 0
        found.append(
            GraphInput(
                name=port.name,
                dtype=_DTYPES[port.type],
                start=start,
                stop=start + _width(port),
                is_flat=len(port.shape) == 1,
                max_integer=_MAX_INTEGER.get(port.type, 0.0),
            )
        )
    counts = {port.shape[0] if isinstance(port.shape[0], int) else 0 for port in inputs}
    if len(counts) != 1:
        raise _not_a_table(inputs)
    return GraphInputs(inputs=tuple(found), batch_size=counts.pop())


def _width(port: Port) -> int:
    """Return the number of columns of an input, 0 if it is dynamic."""
    width = port.shape[1] if len(port.shape) == 2 else 1
    return width if isinstance(width, int) else 0


def _not_a_table(inputs: Sequence[Port]) -> EngineError:
    if any(len(port.shape) > 2 for port in inputs):
        return EngineError(f"the graph reads {TENSORS}", where=_describe_ports("inputs", inputs), hint=TENSORS_HINT)
    return EngineError(
        "the graph does not read a table of numbers: [any, d], or an input [any, 1] for each column",
        where=_describe_ports("inputs", inputs),
        hint=CONVERT_HINT,
    )


def score_outputs(outputs: Sequence[Port]) -> tuple[str, ...]:
    """Return the names of the outputs of scores, in order: the probabilities, else all float ones, else a dictionary.

    Raises EngineError that lists the outputs if there are none, or one is not a column or table.
    """
    floats = [port for port in outputs if port.type in _FLOATS]
    named = [port for port in floats if "prob" in port.name.lower()]
    chosen = named or floats or [port for port in outputs if port.type in _DICTIONARIES]
    if not chosen or (len(chosen) > 1 and not all(port.type in _FLOATS and len(port.shape) <= 2 for port in chosen)):
        raise EngineError(
            "the graph does not have outputs of scores: floats [n] or [n, k], or one dictionary a row",
            where=_describe_ports("outputs", outputs),
            hint="convert with zipmap=False, and call the output 'probabilities'",
        )
    return tuple(port.name for port in chosen)


def side_by_side(answers: Sequence[Answer]) -> Array:
    """Return several outputs as one table [n, k], in order; a single one as it is."""
    parts = [score_array(answer) for answer in answers]
    if len(parts) == 1:
        return parts[0]
    return np.concatenate([part if part.ndim == 2 else part.reshape(-1, 1) for part in parts], axis=1)


def are_two_classes(predict: Callable[[Floats], Array], inputs: GraphInputs) -> bool:
    """Return whether the two columns that a graph answers are probabilities of two classes: they always add up to 1.

    Parameters
    ----------
    predict : callable
        From rows float64 [n, d] to answers [n, 2].
    """
    random = np.random.default_rng(0)
    rows = random.normal(size=(_PROBES, inputs.width)) * 3
    rows[0] = 0.0
    for port in inputs.inputs:
        if port.max_integer:
            rows[:, port.start : port.stop] = random.integers(0, 2, (_PROBES, port.stop - port.start))
    try:
        answers = predict(rows)
    except EngineError:  # a table of the graph has no such row
        answers = predict(np.zeros((1, inputs.width)))
    found = answers.astype(np.float64)
    found = found[np.isfinite(found).all(axis=1)]
    inside = (found >= -_ROUNDING) & (found <= 1 + _ROUNDING)
    return bool(inside.all() and (np.abs(found.sum(axis=1) - 1) <= _ROUNDING).all())


def score_array(answer: Answer) -> Array:
    """Return the scores [n, k] of an answer; dictionaries are read in the order of their classes."""
    if isinstance(answer, np.ndarray):
        return answer
    return np.array([list(row.values()) for row in answer])


def output_classes(answer: Answer) -> tuple[str, ...]:
    """Return the classes that dictionaries name, in order; empty for an array."""
    return () if isinstance(answer, np.ndarray) else tuple(str(name) for name in answer[0])


def _describe_ports(what: str, ports: Sequence[Port]) -> str:
    return f"its {what}: " + (", ".join(f"{port.name} {port.type} {port.shape}" for port in ports) or "none")
