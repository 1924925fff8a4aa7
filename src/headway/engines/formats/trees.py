"""Ensembles of trees in one neutral form: what the reader of a library gives to the compilers.

Each reader translates what its library does differently (strict comparison, the side of missing values, what counts as
zero) into these records.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from headway.core.arrays import Bools, Floats, Ints
from headway.core.errors import NotApplicable
from headway.core.variant import TIE

Precision = Literal["float32", "float64"]
# `isolation` maps a sum x to -2 ** -x, the score of an isolation forest.
Link = Literal["identity", "sigmoid", "softmax", "exp", "softplus", "signed square", "positive", "isolation"]

ZERO_THRESHOLD = float(np.float32(1e-35))
"""Largest magnitude that counts as zero in a column of `Forest.zero_as_missing`."""
OVERFLOW: dict[Precision, float] = {"float32": 2.0**128 - 2.0**103, "float64": float("inf")}
"""Smallest magnitude that a cast to each precision rounds to infinity."""
_CLASSES = ("identity", "softmax")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """One tree with m inner nodes and m + 1 leaves.

    A child >= 0 is an inner node, a child < 0 is the leaf ~child; a node comes after its parent. A value goes left if
    it is at most `threshold`, or, where `categorical`, if it is in the set `sets[threshold]`. A missing value (NaN)
    goes left where `missing_left`. `leaf` is [m + 1, c], the values added to the c columns of `outputs`. A set may be
    empty, and may hold negative numbers if `Forest.category_cast` is `exact`.
    """

    feature: Ints
    threshold: Floats
    categorical: Bools
    missing_left: Bools
    left: Ints
    right: Ints
    leaf: Floats
    outputs: tuple[int, ...] = (0,)
    sets: tuple[Ints, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Forest:
    """Trees over rows of `width` columns.

    The answer is link(base + sum of the leaves), added in the order of the trees.

    Attributes
    ----------
    base : ndarray of shape (k,)
        Start of the sum of each output.
    input_dtype, sum_dtype : {"float32", "float64"}
        Precision to which a value is rounded before it is compared, and in which leaves are added.
    missing : float
        A value that equals this after rounding is missing; NaN always is.
    category_cast : {"truncated", "floored", "exact"}
        How a number becomes a category; with `exact` a number with a fraction is in no set.
    zero_as_missing : tuple of int
        Columns in which a value of magnitude <= `ZERO_THRESHOLD` is missing.
    finite_columns : tuple of int
        Columns in which the library rejects values of magnitude >= `magnitude_limit` after rounding.
    required_columns : tuple of int
        Columns in which the library rejects missing values.
    max_magnitude : float
        Magnitude from which a preprocessing step in front of the trees overflows.
    """

    width: int
    trees: tuple[Tree, ...]
    base: Floats
    link: Link = "identity"
    input_dtype: Precision = "float64"
    sum_dtype: Precision = "float64"
    missing: float = float("nan")
    category_cast: Literal["truncated", "floored", "exact"] = "truncated"
    zero_as_missing: tuple[int, ...] = ()
    finite_columns: tuple[int, ...] = ()
    required_columns: tuple[int, ...] = ()
    max_magnitude: float = float("inf")

    @property
    def magnitude_limit(self) -> float:
        """Smallest magnitude that the library rejects in a column of `finite_columns`."""
        return min(OVERFLOW[self.input_dtype], self.max_magnitude)

    @property
    def outputs(self) -> int:
        """Number of columns of an answer."""
        return len(self.base)

    @property
    def categorical(self) -> list[int]:
        """Columns that some tree reads as categories."""
        return sorted({int(column) for tree in self.trees for column in tree.feature[tree.categorical]})


@runtime_checkable
class TreeEngine(Protocol):
    """Optional methods of an engine of tree models, which let transforms work on its artifacts."""

    @classmethod
    def forest(cls, content: bytes) -> Forest:
        """Return the trees of an artifact; raise NotApplicable, with the reason, if `Forest` cannot express them."""
        ...

    @classmethod
    def rounds(cls, content: bytes) -> int:
        """Return the number of boosting rounds, or trees of a forest; raise NotApplicable if they have no order."""
        ...

    @classmethod
    def truncate(cls, content: bytes, rounds: int) -> bytes:
        """Return the artifact with only its first rounds."""
        ...


def read_cells(forest: Forest, rows: Floats) -> Floats:
    """Return rows [n, d] as a forest reads them, in its precision, and NaN for what it takes as missing."""
    with np.errstate(over="ignore"):
        cells = rows.astype(forest.input_dtype).astype(np.float64)
    cells[cells == forest.missing] = np.nan
    zeros = list(forest.zero_as_missing)
    cells[:, zeros] = np.where(np.abs(cells[:, zeros]) <= ZERO_THRESHOLD, np.nan, cells[:, zeros])
    return cells


def goes_left(forest: Forest, tree: Tree, nodes: Ints, values: Floats) -> Bools:
    """Return whether each value [k], of `read_cells`, goes left at its node [k]."""
    found = values <= tree.threshold[nodes]
    for node in np.unique(nodes[tree.categorical[nodes]]):
        here = nodes == node
        category = values[here]
        if forest.category_cast != "exact":
            category = np.floor(category) if forest.category_cast == "floored" else np.trunc(category)
        found[here] = np.isin(category, tree.sets[int(tree.threshold[node])])
    return np.where(np.isnan(values), tree.missing_left[nodes], found)


def leaves_of(forest: Forest, tree: Tree, cells: Floats) -> Ints:
    """Return the number of the leaf (n,) in which each row of `read_cells` (n, d) ends."""
    node = np.full(len(cells), 0 if len(tree.feature) else ~0)
    while (inside := np.flatnonzero(node >= 0)).size:
        here = node[inside]
        is_left = goes_left(forest, tree, here, cells[inside, tree.feature[here]])
        node[inside] = np.where(is_left, tree.left[here], tree.right[here])
    return ~node


def distinct_trees(forest: Forest) -> tuple[list[Tree], list[int]]:
    """Return one tree for all with the same splits, and for each tree of the forest the index of that one."""
    kinds: dict[tuple[bytes, ...], int] = {}
    trees, numbers = list[Tree](), list[int]()
    for tree in forest.trees:
        arrays = tree.feature, tree.threshold, tree.categorical, tree.missing_left, tree.left, tree.right, *tree.sets
        number = kinds.setdefault(tuple(np.asarray(array, np.float64).tobytes() for array in arrays), len(trees))
        if number == len(trees):
            trees.append(tree)
        numbers.append(number)
    return trees, numbers


def leaf_paths(tree: Tree) -> Iterator[tuple[int, list[tuple[int, bool]]]]:
    """Yield each leaf of a tree with the nodes above it, and whether it is to their left."""
    waiting: list[tuple[int, list[tuple[int, bool]]]] = [(0 if len(tree.feature) else ~0, [])]
    while waiting:
        node, path = waiting.pop()
        if node < 0:
            yield ~node, path
        else:
            waiting.append((int(tree.right[node]), [*path, (node, False)]))
            waiting.append((int(tree.left[node]), [*path, (node, True)]))


def limit_of_sum(forest: Forest, threshold: float) -> float:
    """Return the sum of the leaves from which the decision is yes; raise NotApplicable if there is none."""
    if len(forest.base) > 1:
        if forest.link in _CLASSES:
            return 0.0
    elif forest.link == "identity":
        return threshold
    elif forest.link == "sigmoid":
        return limit_of_odds(threshold)
    raise NotApplicable(
        f"its trees end in {forest.link!r} with {len(forest.base)} outputs, which no certificate covers"
    )


def limit_of_odds(threshold: float) -> float:
    """Return the log-odds of a threshold of probabilities; raise NotApplicable if it decides nothing."""
    if not 0 < threshold < 1:
        raise NotApplicable(f"every probability is on one side of the threshold {threshold:g}")
    return math.log(threshold / (1 - threshold))


def rounding_of_sum(forest: Forest, threshold: float) -> float:
    """Return a bound of the rounding of a sum of leaves, and of its link: sums this near to the limit are added."""
    unit = float(np.finfo(forest.sum_dtype).eps)
    magnitude = float(np.abs(forest.base).max()) + sum(float(np.abs(tree.leaf).max()) for tree in forest.trees)
    of_link = rounding_of_sigmoid(unit, threshold) if forest.link == "sigmoid" else 0.0
    return max(TIE / 4, 2 * (len(forest.trees) + 2) * unit * magnitude) + of_link


def rounding_of_sigmoid(unit: float, threshold: float) -> float:
    """Return a bound of the log-odds that are rounded to a threshold, in a precision with this unit."""
    return 8 * float(unit) / (threshold * (1 - threshold))


def constant_tree(values: Sequence[float], outputs: tuple[int, ...]) -> Tree:
    """Build a tree without splits, which adds the same values for every row."""
    ints, floats, bools = np.zeros(0, np.int64), np.zeros(0), np.zeros(0, bool)
    return Tree(
        feature=ints,
        threshold=floats,
        categorical=bools,
        missing_left=bools,
        left=ints,
        right=ints,
        leaf=np.array([values], np.float64),
        outputs=outputs,
    )


def accepted_rows(forest: Forest, rows: Floats) -> Bools:
    """Return a mask [n] of the rows [n, d] that the library of the forest accepts."""
    if not (forest.finite_columns or forest.required_columns):
        return np.ones(len(rows), bool)
    return np.asarray(~_rejected_cells(forest, rows).any(axis=1))


def _rejected_cells(forest: Forest, rows: Floats) -> Bools:
    found = np.zeros(rows.shape, bool)
    found[:, forest.finite_columns] = np.abs(rows[:, forest.finite_columns]) >= forest.magnitude_limit
    found[:, forest.required_columns] |= np.isnan(rows[:, forest.required_columns])
    return found
