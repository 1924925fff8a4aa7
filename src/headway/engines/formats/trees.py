"""Trees whose leaves are added up: the form in which a reader of any library gives them to whoever compiles them.

What a library does its own way (strict or not, where missing goes, what is zero), its reader says in these words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Precision = Literal["float32", "float64"]
Link = Literal["identity", "sigmoid", "softmax", "exp", "softplus", "signed square", "positive"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """One tree: m inner nodes and m + 1 leaves; a child >= 0 is an inner node, a child < 0 is the leaf ~child.

    A value goes left where it is at most `threshold`, or in the set `sets[threshold]` where `categorical`; a missing
    one (NaN) where `missing_left`. A node comes after its parent. `leaf` is [m + 1, c]: what the c `outputs` get.
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
    A value that equals `missing` is missing, as NaN always is. `whole` says how a number becomes a category.
    """

    width: int
    trees: tuple[Tree, ...]
    base: Floats
    link: Link = "identity"
    rows: Precision = "float64"
    sums: Precision = "float64"
    missing: float = float("nan")
    whole: Literal["truncated", "floored"] = "truncated"

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
        """Boosting rounds of an artifact; raises NotApplicable where none of them comes first."""
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
