"""Fold the small nodes that prepare a network's columns into few, with every answer unchanged.

A node costs a quarter of a microsecond however little it does, and a row through a small network takes ten or twenty.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from headway.core.errors import NotApplicable
from headway.core.plugins import load_engine
from headway.core.variant import Step, Variant
from headway.optimization.context import TransformContext
from headway.optimization.parity import add_edge_cases, check_parity, predict_both
from headway.optimization.quantization.networks import calibration_rows, load_network

STAGE = "export"
KEEPS_ANSWERS = True
COST = {"rows": 2_000, "seconds": 1}


def plugin(variant: Variant, context: TransformContext) -> Sequence[Variant]:
    """Return the variant with the folded graph, if no answer moves by more than 1e-6 on the sample and on edge cases.

    Raises
    ------
    NotApplicable
        If it is not the ONNX graph of a network, or nothing in it can be folded.
    EngineError
        If an answer moves.
    """
    if variant.artifact.format != "onnx":
        raise NotApplicable(f"folds ONNX graphs, and this is of format {variant.artifact.format!r}")
    content = context.read(variant)
    net = load_network(content)
    graph, rules = fold_graph(content)
    if not rules:
        raise NotApplicable("nothing in the graph can be folded")
    engine = load_engine("onnxruntime")
    rows = add_edge_cases(calibration_rows(context.sample, net.work))
    check_parity(rows, *predict_both(engine(content, {}), engine(graph, {}), rows), variant, form="a folded graph")
    return [variant.remade(Step(transform="fold"), context.save(graph, "onnx"), engine="onnxruntime")]


Array = NDArray[Any]


class OnnxGraph:
    """Nodes and constants of an ONNX file, with look-up by value name."""

    def __init__(self, content: bytes) -> None:
        self.model: Any = onnx.load_from_string(content)
        self.nodes: list[Any] = list(self.model.graph.node)
        self.constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in self.model.graph.initializer}
        for node in self.nodes:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                self.constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        self._answers = {port.name for port in self.model.graph.output}

    def producer(self, name: str, kind: str = "") -> Any:
        """Return the node that makes a value, if it is of that kind; else None."""
        found = next((node for node in self.nodes if name in node.output), None)
        return found if found is not None and kind in ("", found.op_type) else None

    def consumers(self, name: str) -> list[Any]:
        """Return the nodes that read a value."""
        return [node for node in self.nodes if name in node.input]

    def only_consumer(self, name: str) -> Any:
        """Return the only consumer of a value that is not an output; None if there are others."""
        found = self.consumers(name)
        return found[0] if len(found) == 1 and name not in self._answers else None

    def add(self, name: str, value: Array) -> str:
        """Add a constant and return its name."""
        self.constants[name] = value
        self.model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def bytes(self) -> bytes:
        """Serialize the graph without the nodes and constants that nothing reads."""
        wanted, kept_nodes = set(self._answers), []
        for node in reversed(self.nodes):
            if wanted & set(node.output):
                kept_nodes.append(node)
                wanted |= set(node.input)
        graph = self.model.graph
        constants = [tensor for tensor in graph.initializer if tensor.name in wanted]
        for field, values in ((graph.node, kept_nodes[::-1]), (graph.initializer, constants)):
            del field[:]
            field.extend(values)
        del graph.value_info[:]
        content: bytes = self.model.SerializeToString(deterministic=True)
        return content


def bounds_of(graph: OnnxGraph, clip: Any) -> tuple[float, float]:
    """Return the bounds of a Clip node; infinite where they are not constants."""
    found = [graph.constants.get(name) for name in clip.input[1:3]]
    low, high = [*found, None, None][:2]
    return (
        -np.inf if low is None or low.size != 1 else float(low),
        np.inf if high is None or high.size != 1 else float(high),
    )


_INFINITE = 1e30  # numbers that replace an infinity in float32 are at least this large


def remove_expand(graph: OnnxGraph, node: Any) -> bool:
    """Let Where read a scalar constant directly instead of one expanded to the shape of the other side."""
    if node.op_type != "Where":
        return False
    for index, other in ((1, 2), (2, 1)):
        large = graph.producer(node.input[index], "Expand")
        shape = large and graph.producer(large.input[1], "Shape")
        source = shape and shape.input[0] == node.input[other] and not any(attribute.i for attribute in shape.attribute)
        if source and _is_scalar(graph, large.input[0]):
            node.input[index] = large.input[0]
            return True
    return False


def remove_infinity_guard(graph: OnnxGraph, node: Any) -> bool:
    """Remove a Where that replaces infinities by large numbers if a later Clip bounds the value anyway."""
    if node.op_type != "Where" or not _replaces_infinity(graph, node):
        return False
    end = node
    while end is not None and end.op_type in ("Where", "Add"):
        if end is not node and not (_replaces_infinity(graph, end) or _adds_small_constant(graph, end)):
            return False
        end = graph.only_consumer(end.output[0])
    if end is None or end.op_type != "Clip" or not _is_within(bounds_of(graph, end), _INFINITE / 2):
        return False
    [consumer] = graph.consumers(node.output[0])
    consumer.input[list(consumer.input).index(node.output[0])] = node.input[2]
    graph.nodes.remove(node)
    return True


def _replaces_infinity(graph: OnnxGraph, node: Any) -> bool:
    """Return whether a Where replaces an infinity by a large number of the same sign."""
    mask, number = graph.producer(node.input[0], "And"), graph.constants.get(node.input[1])
    if node.op_type != "Where" or mask is None or number is None or number.size != 1:
        return False
    makers = [graph.producer(name) for name in mask.input]
    infinite = next((item for item in makers if item is not None and item.op_type == "IsInf"), None)
    sign = next((item for item in makers if item is not None and item.op_type in ("Less", "Greater")), None)
    if infinite is None or sign is None or infinite.input[0] != sign.input[0] or abs(float(number)) < _INFINITE:
        return False
    zero = graph.constants.get(sign.input[1])
    same = sign.op_type == ("Less" if float(number) < 0 else "Greater")
    return same and zero is not None and not zero.any() and _preserves_infinity(graph, node.input[2], infinite.input[0])


def _preserves_infinity(graph: OnnxGraph, name: str, source: str) -> bool:
    """Return whether a value equals `source` wherever that is infinite."""
    while name != source:
        node = graph.producer(name, "Where")
        if node is None or not (_replaces_nan(graph, node, source) or _replaces_infinity(graph, node)):
            return False
        name = node.input[2]
    return True


def _replaces_nan(graph: OnnxGraph, node: Any, source: str) -> bool:
    is_nan = graph.producer(node.input[0], "IsNaN")
    return is_nan is not None and is_nan.input[0] == source


def _adds_small_constant(graph: OnnxGraph, node: Any) -> bool:
    numbers = [graph.constants[name] for name in node.input if name in graph.constants]
    return node.op_type == "Add" and len(numbers) == 1 and bool((np.abs(numbers[0]) < _INFINITE / 4).all())


def _is_within(bounds: tuple[float, float], limit: float) -> bool:
    return max(abs(bound) for bound in bounds) < limit


def _is_scalar(graph: OnnxGraph, name: str) -> bool:
    value = graph.constants.get(name)
    return value is not None and value.ndim == 0


_MIN_TABLES = 2


def merge_tables(graph: OnnxGraph, node: Any) -> bool:
    """Stack the embedding tables of several columns and look them up with one Gather instead of one per column."""
    if node.op_type != "Concat" or node.attribute[0].i not in (1, -1):
        return False
    lookups = [_look_up(graph, name) for name in node.input]
    first = next((index for index, found in enumerate(lookups) if found), 0)
    run = _lookups_of_same_ranks(lookups[first:])
    if len(run) < _MIN_TABLES or not _are_valid_indices(graph, run):
        return False
    tables, columns = [graph.constants[table] for table, _, _ in run], [column for _, _, column in run]
    at, offsets = f"{node.output[0]}_headway", np.cumsum([0, *(len(table) for table in tables[:-1])])
    kind = graph.constants[run[0][0]].dtype
    constants = {
        "columns": np.array(columns, np.int64),
        "offsets": offsets.astype(np.int64),
        "tables": np.concatenate(tables).astype(kind),
        "shape": np.array([0, sum(table.shape[1] for table in tables)], np.int64),
    }
    named = {name: graph.add(f"{at}_{name}", value) for name, value in constants.items()}
    made = [
        helper.make_node("Gather", [run[0][1], named["columns"]], [f"{at}_ranks"], f"{at}_ranks", axis=1),
        helper.make_node("Add", [f"{at}_ranks", named["offsets"]], [f"{at}_places"], f"{at}_places"),
        helper.make_node("Gather", [named["tables"], f"{at}_places"], [f"{at}_found"], f"{at}_found", axis=0),
        helper.make_node("Reshape", [f"{at}_found", named["shape"]], [f"{at}_flat"], f"{at}_flat"),
    ]
    inputs = [*node.input[:first], f"{at}_flat", *node.input[first + len(run) :]]
    index = graph.nodes.index(node)
    del node.input[:]
    node.input.extend(inputs)
    graph.nodes[index:index] = made
    return True


TableLookup = tuple[str, str, int]
"""A table, the ranks that are looked up in tables, and the column of them."""


def _look_up(graph: OnnxGraph, name: str) -> TableLookup | None:
    """Match a Gather of a constant table (rows, width) at one column of ranks (n, columns)."""
    outer = graph.producer(name, "Gather")
    inner = outer and graph.producer(outer.input[1], "Gather")
    if not inner or _gather_axis(outer) != 0 or _gather_axis(inner) != 1 or graph.only_consumer(name) is None:
        return None
    table, column = graph.constants.get(outer.input[0]), graph.constants.get(inner.input[1])
    if table is None or table.ndim != 2 or column is None or column.ndim or column < 0:
        return None
    return outer.input[0], inner.input[0], int(column)


def _lookups_of_same_ranks(lookups: Sequence[TableLookup | None]) -> list[TableLookup]:
    """Return the leading look-ups that read the same ranks."""
    run: list[TableLookup] = []
    for found in lookups:
        if found is None or (run and found[1] != run[0][1]):
            break
        run.append(found)
    return run


def _are_valid_indices(graph: OnnxGraph, run: Sequence[TableLookup]) -> bool:
    """Return whether the tables match in type and width, and ranks are clipped to their rows and cast to int64."""
    tables = [graph.constants[table] for table, _, _ in run]
    if len({(table.dtype, table.shape[1]) for table in tables}) > 1:
        return False
    source = graph.producer(run[0][1], "Cast")
    clipped = source and source.attribute[0].i == onnx.TensorProto.INT64 and graph.producer(source.input[0], "Clip")
    low, high = bounds_of(graph, clipped) if clipped else (-1.0, 0.0)
    return low >= 0 and high <= min(len(table) for table in tables) - 1


def _gather_axis(node: Any) -> int:
    return next((int(attribute.i) for attribute in node.attribute if attribute.name == "axis"), 0)


RULES: dict[str, Callable[[OnnxGraph, Any], bool]] = {
    "unexpanded": remove_expand,
    "unbounded": remove_infinity_guard,
    "one_table": merge_tables,
}
"""Rewrites by name; each may change the graph at a node, and returns whether it did."""


def fold_graph(content: bytes) -> tuple[bytes, tuple[str, ...]]:
    """Apply every rewrite that fits, and return the graph with the names of the rewrites that did."""
    graph = OnnxGraph(content)
    done = tuple(name for name, rule in RULES.items() if _apply_rule(graph, rule))
    return graph.bytes(), done


def _apply_rule(graph: OnnxGraph, rule: Callable[[OnnxGraph, Any], bool]) -> bool:
    return sum(rule(graph, node) for node in list(graph.nodes)) > 0
