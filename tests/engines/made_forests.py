"""Random forests of any shape that a library could produce, and rows for them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headway.core.arrays import Floats
from headway.engines.formats.trees import Forest, Link, Precision, Tree
from headway.optimization.parity import edge_rows


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The shape of a forest; the rest is random. Every third column is categorical if there are categories."""

    width: int = 5
    trees: int = 20
    leaves: int = 16
    thresholds: int = 20
    categories: int = 0
    outputs: int = 1
    together: bool = False  # every tree adds to all outputs
    rows: Precision = "float64"
    sums: Precision = "float64"
    link: Link = "identity"
    missing: float = float("nan")
    zeros: bool = False
    values: int = 0  # different values of leaves; 0 sets no bound
    deep: bool = False  # each node hangs from one of the last, so that a tree is a long path


def made(shape: Shape, seed: int) -> Forest:
    """A forest of that shape."""
    random = np.random.default_rng(seed)
    digits = 3 if shape.thresholds < 10_000 else 9
    values = np.unique(np.round(random.normal(size=(shape.width, shape.thresholds)), digits), axis=1)
    trees = tuple(_tree(shape, number, values, random) for number in range(shape.trees))
    numeric = tuple(range(0, shape.width, 3)) if not shape.categories else ()
    return Forest(
        width=shape.width,
        trees=trees,
        base=random.normal(size=shape.outputs).astype(np.float32).astype(np.float64),
        link=shape.link,
        input_dtype=shape.rows,
        sum_dtype=shape.sums,
        missing=shape.missing,
        category_cast=("truncated", "floored", "exact")[seed % 3],
        zero_as_missing=numeric if shape.zeros else (),
    )


def _tree(shape: Shape, number: int, values: Floats, random: np.random.Generator) -> Tree:
    m = int(random.integers(shape.leaves))
    left, right = _grown(m, random, deep=shape.deep)
    feature = random.integers(shape.width, size=m)
    categorical = (feature % 3 == 0) & (shape.categories > 0)
    threshold = values[feature, random.integers(values.shape[1], size=m)]
    sets = [
        np.flatnonzero(random.random(shape.categories) < 0.4).astype(np.int64) for _ in range(int(categorical.sum()))
    ]
    outputs = tuple(range(shape.outputs)) if shape.together else (number % shape.outputs,)
    leaf = random.normal(size=(m + 1, len(outputs)))
    leaf = np.round(leaf * shape.values / 4) / 8 if shape.values else leaf
    return Tree(
        feature=feature,
        threshold=np.where(categorical, np.cumsum(categorical) - 1, threshold),
        categorical=categorical,
        missing_left=random.random(m) < 0.5,
        left=left,
        right=right,
        leaf=leaf.astype(np.float32).astype(np.float64) if shape.sums == "float32" else leaf,
        outputs=outputs,
        sets=tuple(sets),
    )


def _grown(m: int, random: np.random.Generator, *, deep: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Children of m nodes: each node after the first takes a free branch of an earlier one.

    The free branches left are leaves.
    """
    children = [m + 1] * (2 * m)  # left and right of each node in turn
    free = [0, 1] if m else []
    among = np.arange(2, m + 1)  # free branches before each node
    for node, back in enumerate(random.integers(np.minimum(among, 3) if deep else among).tolist(), 1):
        children[free.pop(-1 - back)] = node
        free += [2 * node, 2 * node + 1]
    for leaf, branch in enumerate(random.permutation(free).tolist() if free else []):
        children[branch] = ~leaf
    return np.array(children[::2], dtype=np.int64), np.array(children[1::2], dtype=np.int64)


def rows_for(forest: Forest, count: int, seed: int = 0) -> Floats:
    """Rows at the edges of a forest and between them, [count, width]."""
    random = np.random.default_rng(seed)
    sample = np.round(random.normal(size=(50, forest.width)) * 3, 2)
    sample[random.random(sample.shape) < 0.1] = np.nan
    edges = edge_rows(forest, sample)
    return np.ascontiguousarray(edges[random.integers(len(edges), size=count)])
