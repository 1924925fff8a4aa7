"""A graph that is rewritten in place: who makes a value, who reads it, and which values are constants."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

Array = NDArray[Any]


class Graph:
    """The nodes and constants of an ONNX file."""

    def __init__(self, content: bytes) -> None:
        self.model: Any = onnx.load_from_string(content)
        self.nodes: list[Any] = list(self.model.graph.node)
        self.constants = {each.name: numpy_helper.to_array(each) for each in self.model.graph.initializer}
        for node in self.nodes:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                self.constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        self._answers = {each.name for each in self.model.graph.output}

    def maker(self, name: str, kind: str = "") -> Any:
        """The node that makes a value, if it is of that kind; None for no such."""
        found = next((node for node in self.nodes if name in node.output), None)
        return found if found is not None and kind in ("", found.op_type) else None

    def readers(self, name: str) -> list[Any]:
        """The nodes that read a value."""
        return [node for node in self.nodes if name in node.input]

    def only_reader(self, name: str) -> Any:
        """The one node that reads a value which is no answer; None where there are others."""
        found = self.readers(name)
        return found[0] if len(found) == 1 and name not in self._answers else None

    def add(self, name: str, value: Array) -> str:
        """A new constant."""
        self.constants[name] = value
        self.model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def bytes(self) -> bytes:
        """The graph as it is now, without what nothing reads any more."""
        wanted, kept = set(self._answers), []
        for node in reversed(self.nodes):
            if wanted & set(node.output):
                kept.append(node)
                wanted |= set(node.input)
        graph = self.model.graph
        constants = [each for each in graph.initializer if each.name in wanted]
        for field, values in ((graph.node, kept[::-1]), (graph.initializer, constants)):
            del field[:]
            field.extend(values)
        del graph.value_info[:]
        content: bytes = self.model.SerializeToString(deterministic=True)
        return content


def bounds_of(graph: Graph, clip: Any) -> tuple[float, float]:
    """The numbers between which a Clip holds values; endless where they are no constants."""
    found = [graph.constants.get(name) for name in clip.input[1:3]]
    low, high = [*found, None, None][:2]
    return (
        -np.inf if low is None or low.size != 1 else float(low),
        np.inf if high is None or high.size != 1 else float(high),
    )
