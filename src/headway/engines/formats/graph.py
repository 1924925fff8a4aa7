"""A model as a few operations on arrays: the form in which a reader gives a pipeline to whoever compiles it.

Operations are those of ONNX by name and meaning (opset 18), on float64, so that a writer only has to write them down.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from headway.engines.formats.trees import Forest

Floats = NDArray[np.float64]
Attribute = int | float | str

ROWS, SCORES = "rows", "scores"
FOREST = "Forest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation: what it reads and makes, by name, and its attributes."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute]


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """Operations in order, from `rows` (float64 [n, width]) to `scores` (float64 [n, outputs]), and their constants.

    A row that the library refuses (a missing or infinite value, a text that it did not learn) gets NaN. `edges` holds,
    for each column, the numbers at which an answer may jump. An operation `FOREST` reads the row, and makes what the
    forest of that name says.
    """

    width: int
    outputs: int
    operations: tuple[Operation, ...]
    constants: Mapping[str, NDArray[Any]]
    edges: tuple[Floats, ...]
    forests: Mapping[str, Forest]


@runtime_checkable
class OfGraphs(Protocol):
    """What an engine of pipelines offers beside its contract, so that a transform can write them as one graph."""

    @classmethod
    def graph(cls, content: bytes) -> Graph:
        """The operations of an artifact; raises NotApplicable that names the part which this form cannot say."""
        ...
