"""Compile a forest to the arrays that the kernels of the tree engine read, and to the bytes of an artifact.

A value is replaced by the number of thresholds of its column below it, and thresholds by their ranks. Integers are then
compared, with exactly the library's result: its casts are made once, before the lookup. In a large forest over float32,
the value is replaced by its position among all float32 numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from headway.core.arrays import Bools, Floats, Ints
from headway.core.errors import NotApplicable
from headway.engines.compiled.artifact import pack_arrays, unpack_arrays
from headway.engines.formats.trees import Forest, Link, Tree

Array = NDArray[Any]

PLANE_THRESHOLDS, MAX_PLANES, MAX_LEAVES = 254, 256, 256
MAX_RANKS = 65_535
CATEGORICAL, ZERO_IS_MISSING, IS_FINITE, IS_PRESENT = 1, 2, 4, 8
MISSING_LEFT = 2
_MAGIC = b"headway forest 1\n"
_CATEGORY_CASTS = ("truncated", "floored", "exact")
_KINDS = (
    *("int64", "float64", "float64", "int32", "uint8", "int64", "float64", "int64", "int64", "int64"),
    *("int32", "int32", "int32", "int32", "int32", "uint8", "float64", "int64", "int32"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelColumns:
    """Columns that the nodes read: their index in a row, flags, and their sorted thresholds or categories."""

    index: Ints
    kind: Ints
    tables: Sequence[Floats]


def compile_forest(forest: Forest) -> bytes:
    """Return the bytes of a forest for the kernels; raise NotApplicable if a threshold is NaN."""
    trees = forest.trees
    feature = _concatenate([tree.feature for tree in trees], np.int64)
    categorical = _concatenate([tree.categorical for tree in trees], bool)
    threshold = _concatenate([tree.threshold for tree in trees], np.float64)
    missing_left = _concatenate([tree.missing_left for tree in trees], bool)
    if np.any(np.isnan(threshold)):
        raise NotApplicable("a threshold of its trees is NaN")
    sets = [tree.sets[int(number)] for tree in trees for number in tree.threshold[tree.categorical]]
    columns, node_column = _columns(forest, feature, categorical)
    columns = _with_tables(columns, node_column, threshold, sets, categorical)
    rank = _ranks(columns, node_column, threshold, categorical)
    interval = _fits_in_bytes(columns, node_column, rank, missing_left, trees)
    longest = max((len(table) for table in columns.tables), default=0)
    ordered = forest.input_dtype == "float32" and not interval and longest > MAX_RANKS
    key = np.where(categorical, np.cumsum(categorical) - 1, _float32_order(threshold) if ordered else rank)
    members = _member_ranks(columns, node_column[categorical], sets)
    numbers = [
        *(
            forest.width,
            forest.input_dtype == "float32",
            forest.sum_dtype == "float32",
            _CATEGORY_CASTS.index(forest.category_cast),
        ),
        *(ordered, get_args(Link).index(forest.link), interval),
    ]
    return pack_arrays(
        _MAGIC,
        _KINDS,
        np.array(numbers),
        np.array([forest.missing, forest.max_magnitude]),
        forest.base,
        columns.index,
        columns.kind,
        _offsets([len(table) for table in columns.tables]),
        _concatenate(columns.tables, np.float64),
        _offsets([len(tree.feature) for tree in trees]),
        _offsets([tree.leaf.size for tree in trees]),
        _offsets([len(tree.outputs) for tree in trees]),
        np.array([output for tree in trees for output in tree.outputs]),
        node_column,
        key,
        _concatenate([tree.left for tree in trees], np.int64),
        _concatenate([tree.right for tree in trees], np.int64),
        CATEGORICAL * categorical + MISSING_LEFT * missing_left,
        _concatenate([tree.leaf.ravel() for tree in trees], np.float64),
        _offsets([len(indices) for indices in members]),
        _concatenate(members, np.int64),
    )


def read_forest(content: bytes) -> list[Array]:
    """Return the arrays of an artifact without copying them; raise EngineError unless it is a compiled forest."""
    return unpack_arrays(content, _MAGIC, _KINDS, "compiled forest")


def _concatenate(parts: Sequence[Array], kind: Any) -> Array:
    return np.concatenate([np.zeros(0, kind), *parts]).astype(kind, copy=False)


def _offsets(lengths: Sequence[int]) -> Ints:
    return np.concatenate([[0], np.cumsum(np.array(lengths, np.int64))]).astype(np.int64)


def _columns(forest: Forest, feature: Ints, categorical: Bools) -> tuple[KernelColumns, Ints]:
    """Return the columns that nodes read or that are checked, and the column number of each node.

    A column that some nodes read as a number and others as a category counts as two.
    """
    watched = np.array([*forest.finite_columns, *forest.required_columns], np.int64)
    names, node_column = np.unique(np.concatenate([2 * feature + categorical, 2 * watched]), return_inverse=True)
    index = names // 2
    kind = CATEGORICAL * (names % 2)
    for columns, flag in (
        (forest.zero_as_missing, ZERO_IS_MISSING),
        (forest.finite_columns, IS_FINITE),
        (forest.required_columns, IS_PRESENT),
    ):
        kind = kind + flag * np.isin(index, np.array(columns, np.int64))
    return KernelColumns(index=index, kind=kind, tables=()), node_column[: len(feature)].astype(np.int64)


def _with_tables(
    columns: KernelColumns, node_column: Ints, threshold: Floats, sets: Sequence[Ints], categorical: Bools
) -> KernelColumns:
    order = np.argsort(node_column, kind="stable")
    ends = np.searchsorted(node_column[order], np.arange(len(columns.index) + 1))
    number = np.cumsum(categorical) - 1
    tables: list[Floats] = []
    for column, kind in enumerate(columns.kind.tolist()):
        nodes = order[ends[column] : ends[column + 1]]
        members = _concatenate([sets[index] for index in number[nodes]], np.float64) if kind & CATEGORICAL else None
        tables.append(np.unique(threshold[nodes] if members is None else members))
    return KernelColumns(index=columns.index, kind=columns.kind, tables=tables)


def _ranks(columns: KernelColumns, node_column: Ints, threshold: Floats, categorical: Bools) -> Ints:
    """Return the rank of each node's threshold in the table of its column; 0 for categorical nodes."""
    rank = np.zeros(len(node_column), np.int64)
    order = np.argsort(node_column, kind="stable")
    ends = np.searchsorted(node_column[order], np.arange(len(columns.index) + 1))
    for column, table in enumerate(columns.tables):
        nodes = order[ends[column] : ends[column + 1]]
        rank[nodes] = np.where(categorical[nodes], 0, np.searchsorted(table, threshold[nodes]))
    return rank


def _member_ranks(columns: KernelColumns, node_column: Ints, sets: Sequence[Ints]) -> list[Ints]:
    """Return the members of each set as ranks in the table of their column."""
    tables = (columns.tables[index] for index in node_column.tolist())
    return [np.searchsorted(table, members) for table, members in zip(tables, sets, strict=True)]


def _fits_in_bytes(
    columns: KernelColumns, node_column: Ints, rank: Ints, missing_left: Bools, trees: Sequence[Tree]
) -> bool:
    """Return whether a byte can number the leaves of each tree, the categories of a column and the planes of codes."""
    if max((len(tree.leaf) for tree in trees), default=0) > MAX_LEAVES:
        return False
    categorical = (columns.kind & CATEGORICAL).astype(bool)
    max_categories = max((len(columns.tables[column]) for column in np.flatnonzero(categorical).tolist()), default=0)
    missing_side = np.where(categorical[node_column], 0, missing_left)
    planes = np.unique(np.column_stack([node_column, rank // PLANE_THRESHOLDS, missing_side]), axis=0)
    return max_categories <= PLANE_THRESHOLDS and len(planes) <= MAX_PLANES and len(columns.index) <= MAX_PLANES


def _float32_order(threshold: Floats) -> Ints:
    """Map each threshold to the largest float32 that does not exceed it, as an integer in the order of float32."""
    with np.errstate(over="ignore"):
        near = threshold.astype(np.float32)
    near = np.where(near > threshold, np.nextafter(near, np.float32(-np.inf)), near) + np.float32(0)
    bits = near.astype(np.float32).view(np.int32)
    return (bits ^ ((bits >> 31) & 0x7FFFFFFF)).astype(np.int64)
