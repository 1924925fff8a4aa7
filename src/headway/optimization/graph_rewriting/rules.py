"""Exact rewrites of a network's graph: what exporters write in many small nodes, in few.

A node costs a quarter of a microsecond however little it does, and a row through a small network takes ten or twenty.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headway.optimization.graph_rewriting.graph import Graph
from headway.optimization.graph_rewriting.infinities import remove_expand, remove_infinity_guard
from headway.optimization.graph_rewriting.tables import merge_tables

RULES: dict[str, Callable[[Graph, Any], bool]] = {
    "unexpanded": remove_expand,
    "unbounded": remove_infinity_guard,
    "one_table": merge_tables,
}
"""By name: what rewrites a graph at a node, and says whether it did."""


def fold_graph(content: bytes) -> tuple[bytes, tuple[str, ...]]:
    """The graph with every rewrite that fits it, and the names of those that did."""
    graph = Graph(content)
    done = tuple(name for name, rule in RULES.items() if _everywhere(graph, rule))
    return graph.bytes(), done


def _everywhere(graph: Graph, rule: Callable[[Graph, Any], bool]) -> bool:
    return sum(rule(graph, node) for node in list(graph.nodes)) > 0
