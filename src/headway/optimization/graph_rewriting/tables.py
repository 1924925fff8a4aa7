"""Columns that are looked up in tables of their own, looked up at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper

from headway.optimization.graph_rewriting.graph import Graph, bounds_of

_MIN_TABLES = 2


def merge_tables(graph: Graph, node: Any) -> bool:
    """One look-up in the tables of several columns put one under the other, in place of one for each column."""
    if node.op_type != "Concat" or node.attribute[0].i not in (1, -1):
        return False
    looked = [_look_up(graph, name) for name in node.input]
    first = next((place for place, found in enumerate(looked) if found), 0)
    run = _lookups_of_same_ranks(looked[first:])
    if len(run) < _MIN_TABLES or not _are_valid_indices(graph, run):
        return False
    tables, columns = [graph.constants[table] for table, _, _ in run], [column for _, _, column in run]
    at, offsets = f"{node.output[0]}_headway", np.cumsum([0, *(len(each) for each in tables[:-1])])
    kind = graph.constants[run[0][0]].dtype
    constants = {
        "columns": np.array(columns, np.int64),
        "offsets": offsets.astype(np.int64),
        "tables": np.concatenate(tables).astype(kind),
        "shape": np.array([0, sum(each.shape[1] for each in tables)], np.int64),
    }
    named = {name: graph.add(f"{at}_{name}", value) for name, value in constants.items()}
    made = [
        helper.make_node("Gather", [run[0][1], named["columns"]], [f"{at}_ranks"], f"{at}_ranks", axis=1),
        helper.make_node("Add", [f"{at}_ranks", named["offsets"]], [f"{at}_places"], f"{at}_places"),
        helper.make_node("Gather", [named["tables"], f"{at}_places"], [f"{at}_found"], f"{at}_found", axis=0),
        helper.make_node("Reshape", [f"{at}_found", named["shape"]], [f"{at}_flat"], f"{at}_flat"),
    ]
    inputs = [*node.input[:first], f"{at}_flat", *node.input[first + len(run) :]]
    place = graph.nodes.index(node)
    del node.input[:]
    node.input.extend(inputs)
    graph.nodes[place:place] = made
    return True


TableLookup = tuple[str, str, int]
"""A table, the ranks that are looked up in tables, and the column of them."""


def _look_up(graph: Graph, name: str) -> TableLookup | None:
    """Gather of a constant table [rows, width] at one column of ranks [n, columns]."""
    outer = graph.maker(name, "Gather")
    inner = outer and graph.maker(outer.input[1], "Gather")
    if not inner or _gather_axis(outer) != 0 or _gather_axis(inner) != 1 or graph.only_reader(name) is None:
        return None
    table, column = graph.constants.get(outer.input[0]), graph.constants.get(inner.input[1])
    if table is None or table.ndim != 2 or column is None or column.ndim or column < 0:
        return None
    return outer.input[0], inner.input[0], int(column)


def _lookups_of_same_ranks(looked: Sequence[TableLookup | None]) -> list[TableLookup]:
    """The looks from the first on that read the same ranks."""
    run: list[TableLookup] = []
    for found in looked:
        if found is None or (run and found[1] != run[0][1]):
            break
        run.append(found)
    return run


def _are_valid_indices(graph: Graph, run: Sequence[TableLookup]) -> bool:
    """Whether the tables are alike, and no rank is below 0 or beyond one of them: they are clipped, then made whole."""
    tables = [graph.constants[table] for table, _, _ in run]
    if len({(each.dtype, each.shape[1]) for each in tables}) > 1:
        return False
    whole = graph.maker(run[0][1], "Cast")
    clipped = whole and whole.attribute[0].i == onnx.TensorProto.INT64 and graph.maker(whole.input[0], "Clip")
    low, high = bounds_of(graph, clipped) if clipped else (-1.0, 0.0)
    return low >= 0 and high <= min(len(each) for each in tables) - 1


def _gather_axis(node: Any) -> int:
    return next((int(each.i) for each in node.attribute if each.name == "axis"), 0)
