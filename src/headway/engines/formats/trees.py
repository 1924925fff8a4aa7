"""Trees whose leaves are added up: the form in which a reader of any library gives them to whoever compiles them.

What a library does its own way (strict or not, where missing goes, what is zero), its reader says in these words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from headway.core.errors import EngineError

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Precision = Literal["float32", "float64"]
# `isolation` of a sum x is -2 ** -x, the score of an isolation forest.
Link = Literal["identity", "sigmoid", "softmax", "exp", "softplus", "signed square", "positive", "isolation"]

ZERO = float(np.float32(1e-35))
"""Up to this size a number is zero in a column of `Forest.zeros`."""
BEYOND: dict[Precision, float] = {"float32": 2.0**128 - 2.0**103, "float64": float("inf")}
"""From this size on a number is rounded to an infinite one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """One tree: m inner nodes and m + 1 leaves; a child >= 0 is an inner node, a child < 0 is the leaf ~child.

    A value goes left where it is at most `threshold`, or in the set `sets[threshold]` where `categorical`; a missing
    one (NaN) where `missing_left`. A node comes after its parent. `leaf` is [m + 1, c]: what the c `outputs` get.
    A set may be empty, or hold negative numbers where `Forest.whole` is `exact`.
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
    """Trees over rows of `width` columns: link(base + sum of the leaves), `base` [k], summed in the order of the trees.

    `rows` is the precision to which a value is rounded before it is compared, `sums` the one in which leaves are added.
    A value that, once it is rounded, equals `missing` is missing, as NaN always is; in the columns of `zeros` one of at
    most 1e-35 (`ZERO`) is too. `whole` says how a number becomes a category: `exact` that one with a fraction is in no
    set. The library refuses rows with an infinite value in a column of `finite`, once it is rounded, or a missing one
    in a column of `present` (`expect_taken`).
    """

    width: int
    trees: tuple[Tree, ...]
    base: Floats
    link: Link = "identity"
    rows: Precision = "float64"
    sums: Precision = "float64"
    missing: float = float("nan")
    whole: Literal["truncated", "floored", "exact"] = "truncated"
    zeros: tuple[int, ...] = ()
    finite: tuple[int, ...] = ()
    present: tuple[int, ...] = ()
    reach: float = float("inf")

    @property
    def beyond(self) -> float:
        """From this size on the library refuses a number in a column of `finite`."""
        return min(BEYOND[self.rows], self.reach)

    @property
    def outputs(self) -> int:
        """Columns of an answer."""
        return len(self.base)

    @property
    def categorical(self) -> list[int]:
        """Columns that some tree reads as categories."""
        return sorted({int(column) for tree in self.trees for column in tree.feature[tree.categorical]})


@runtime_checkable
class OfTrees(Protocol):
    """What an engine of tree models offers beside its contract, so that transforms can work on its artifacts."""

    @classmethod
    def forest(cls, content: bytes) -> Forest:
        """The trees of an artifact; raises NotApplicable, with the reason, where this form cannot say them."""
        ...

    @classmethod
    def rounds(cls, content: bytes) -> int:
        """Boosting rounds of an artifact, or trees of a forest; raises NotApplicable where none of them comes first."""
        ...

    @classmethod
    def first(cls, content: bytes, rounds: int) -> bytes:
        """The artifact with its first rounds alone."""
        ...


def one_leaf(values: Sequence[float], outputs: tuple[int, ...]) -> Tree:
    """A tree without a split: the same for every row."""
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


def taken(forest: Forest, rows: Floats) -> Bools:
    """Which rows [n, d] the library of the forest answers, bool [n]; it raises for a table that holds one of others."""
    if not (forest.finite or forest.present):
        return np.ones(len(rows), bool)
    return np.asarray(~_refused(forest, rows).any(axis=1))


def expect_taken(forest: Forest, rows: Floats) -> None:
    """Raise EngineError, with the first cell, for rows [n, d] that the library of the forest refuses."""
    if taken(forest, rows).all():
        return
    row, column = (int(place) for place in np.argwhere(_refused(forest, rows))[0])
    value = rows[row, column]
    raise EngineError(
        f"the model's library refuses {'a missing value' if np.isnan(value) else f'{value:g}'} in column {column}",
        where=f"row {row} of {len(rows):,}",
        hint="fill it, as the model was fitted without such a value" if np.isnan(value) else "leave out such rows",
    )


def _refused(forest: Forest, rows: Floats) -> Bools:
    """The cells [n, d] that the library refuses."""
    found = np.zeros(rows.shape, bool)
    found[:, forest.finite] = np.abs(rows[:, forest.finite]) >= forest.beyond
    found[:, forest.present] |= np.isnan(rows[:, forest.present])
    return found
