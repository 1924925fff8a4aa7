"""A model as a short list of array operations: what the reader of a pipeline gives to the compilers.

Operations have the names and the meaning of ONNX (opset 18) on float64, so a writer only copies them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from headway.core.arrays import Floats
from headway.engines.formats.trees import Forest

Attribute = int | float | str

ROWS, SCORES = "rows", "scores"
FOREST = "Forest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation: the names of the arrays that it reads and makes, and its attributes."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute]


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """Operations in order, from `rows` (float64 [n, width]) to `scores` (float64 [n, outputs]), and their constants.

    A row that the library rejects (a missing or infinite value, an unseen category) gets NaN. `edges` lists, for each
    column, the numbers at which an answer may jump. An operation of kind `FOREST` reads the row and makes the answer of
    the forest in `forests` that has the name of its output.
    """

    width: int
    outputs: int
    operations: tuple[Operation, ...]
    constants: Mapping[str, NDArray[Any]]
    edges: tuple[Floats, ...]
    forests: Mapping[str, Forest]


@runtime_checkable
class GraphEngine(Protocol):
    """Optional method of an engine of pipelines, which lets a transform compile them to one graph."""

    @classmethod
    def graph(cls, content: bytes) -> Graph:
        """Return the operations of an artifact.

        Raise NotApplicable, which names the part that `Graph` cannot express.
        """
        ...
