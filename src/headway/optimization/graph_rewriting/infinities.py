"""What exporters write for endless and missing numbers, where a later node makes it superfluous."""

from __future__ import annotations

from typing import Any

import numpy as np

from headway.optimization.graph_rewriting.graph import Graph, bounds_of

_INFINITE = 1e30  # what stands for an infinity in float32 is at least this


def remove_expand(graph: Graph, node: Any) -> bool:
    """Where reads a constant itself, in place of it made as large as the other side is."""
    if node.op_type != "Where":
        return False
    for place, other in ((1, 2), (2, 1)):
        large = graph.maker(node.input[place], "Expand")
        shape = large and graph.maker(large.input[1], "Shape")
        whole = shape and shape.input[0] == node.input[other] and not any(each.i for each in shape.attribute)
        if whole and _is_scalar(graph, large.input[0]):
            node.input[place] = large.input[0]
            return True
    return False


def remove_infinity_guard(graph: Graph, node: Any) -> bool:
    """No great number in place of an infinity that is clipped afterwards anyhow."""
    if node.op_type != "Where" or not _replaces_infinity(graph, node):
        return False
    end = node
    while end is not None and end.op_type in ("Where", "Add"):
        if end is not node and not (_replaces_infinity(graph, end) or _adds_little(graph, end)):
            return False
        end = graph.only_reader(end.output[0])
    if end is None or end.op_type != "Clip" or not _is_within(bounds_of(graph, end), _INFINITE / 2):
        return False
    [reader] = graph.readers(node.output[0])
    reader.input[list(reader.input).index(node.output[0])] = node.input[2]
    graph.nodes.remove(node)
    return True


def _replaces_infinity(graph: Graph, node: Any) -> bool:
    """Whether a Where puts a great number of the same sign for an infinity of the value that it lets through."""
    mask, number = graph.maker(node.input[0], "And"), graph.constants.get(node.input[1])
    if node.op_type != "Where" or mask is None or number is None or number.size != 1:
        return False
    sides = [graph.maker(name) for name in mask.input]
    infinite = next((each for each in sides if each is not None and each.op_type == "IsInf"), None)
    sign = next((each for each in sides if each is not None and each.op_type in ("Less", "Greater")), None)
    if infinite is None or sign is None or infinite.input[0] != sign.input[0] or abs(float(number)) < _INFINITE:
        return False
    zero = graph.constants.get(sign.input[1])
    same = sign.op_type == ("Less" if float(number) < 0 else "Greater")
    return same and zero is not None and not zero.any() and _lets_through(graph, node.input[2], infinite.input[0])


def _lets_through(graph: Graph, name: str, source: str) -> bool:
    """Whether a value is that of `source` wherever that is infinite."""
    while name != source:
        node = graph.maker(name, "Where")
        if node is None or not (_is_of_nan(graph, node, source) or _replaces_infinity(graph, node)):
            return False
        name = node.input[2]
    return True


def _is_of_nan(graph: Graph, node: Any, source: str) -> bool:
    asked = graph.maker(node.input[0], "IsNaN")
    return asked is not None and asked.input[0] == source


def _adds_little(graph: Graph, node: Any) -> bool:
    numbers = [graph.constants[name] for name in node.input if name in graph.constants]
    return node.op_type == "Add" and len(numbers) == 1 and bool((np.abs(numbers[0]) < _INFINITE / 4).all())


def _is_within(bounds: tuple[float, float], limit: float) -> bool:
    return max(abs(each) for each in bounds) < limit


def _is_scalar(graph: Graph, name: str) -> bool:
    value = graph.constants.get(name)
    return value is not None and value.ndim == 0
