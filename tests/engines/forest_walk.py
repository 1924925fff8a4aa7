"""A slow reference implementation of `Forest` in plain numpy, node by node."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headway.core.arrays import Floats
from headway.engines.formats.trees import ZERO_THRESHOLD, Forest, Tree

LINKS = {
    "identity": lambda x: x,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softmax": lambda x: (
        np.exp(x - x.max(axis=1, keepdims=True)) / np.exp(x - x.max(axis=1, keepdims=True)).sum(axis=1, keepdims=True)
    ),
    "exp": np.exp,
    "softplus": lambda x: np.logaddexp(0, x),
    "signed square": lambda x: x * np.abs(x),
    "positive": lambda x: (x > 0).astype(x.dtype),
    "isolation": lambda x: -(2.0**-x),
}


def answers(forest: Forest, rows: Floats) -> Floats:
    """The predictions of a forest for rows float64 [n, d]: float64 [n, k]."""
    with np.errstate(over="ignore", invalid="ignore"):
        cells = rows.astype(forest.input_dtype)
        cells[cells == np.asarray(forest.missing, forest.input_dtype)] = np.nan
        small = np.abs(cells) <= ZERO_THRESHOLD
        small[:, [column for column in range(forest.width) if column not in forest.zero_as_missing]] = False
        cells[small] = np.nan
        sums = np.tile(forest.base.astype(forest.sum_dtype), (len(rows), 1))
        for tree in forest.trees:
            sums[:, tree.outputs] += tree.leaf.astype(forest.sum_dtype)[
                _leaves(tree, cells.astype(np.float64), forest.category_cast)
            ]
        return np.asarray(LINKS[forest.link](sums), np.float64)


def _leaves(tree: Tree, cells: Floats, category_cast: str) -> NDArray[np.int64]:
    """The leaf in which each row ends."""
    node = np.full(len(cells), 0 if len(tree.feature) else ~0)
    while (inside := np.flatnonzero(node >= 0)).size:
        here = node[inside]
        value = cells[inside, tree.feature[here]]
        goes_left = value <= tree.threshold[here]
        for number in np.unique(here[tree.categorical[here]]):
            at_node = here == number
            goes_left[at_node] = np.isin(
                _category(value[at_node], category_cast), tree.sets[int(tree.threshold[number])]
            )
        goes_left = np.where(np.isnan(value), tree.missing_left[here], goes_left)
        node[inside] = np.where(goes_left, tree.left[here], tree.right[here])
    return ~node


def _category(value: Floats, category_cast: str) -> Floats:
    return {"truncated": np.trunc, "floored": np.floor, "exact": np.asarray}[category_cast](value)
