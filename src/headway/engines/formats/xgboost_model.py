"""A model of XGBoost as `xgboost_reader` read it, and the bytes in which its library gets it: plain trees, all checked.

Nodes that pruning left behind, statistics of the training and the weights of DART's trees are not written. The rules
are those of XGBoost's tree_model.cc, gbtree_model.cc and learner.cc.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from headway.engines.formats import ubjson
from headway.engines.formats.trees import Link
from headway.engines.formats.ubjson import Writable

Ints = NDArray[np.int64]
Floats32 = NDArray[np.float32]
Bools = NDArray[np.bool_]

MISSING, CATEGORIES = "headway_missing", "headway_categories"


class Objective(NamedTuple):
    """What an objective learns, how a sum of leaves becomes its answer, and how its base score became a sum."""

    task: str
    link: Link = "identity"
    base: Literal["identity", "log", "logit"] = "identity"


_REGRESSION, _COUNT = Objective("regression"), Objective("regression", "exp", "log")
_RANKING = Objective("ranking")
OBJECTIVES = {
    "binary:hinge": Objective("binary", "positive"),
    "binary:logistic": Objective("binary", "sigmoid", "logit"),
    "binary:logitraw": Objective("binary"),
    "count:poisson": _COUNT,
    "multi:softprob": Objective("multiclass", "softmax"),
    "rank:map": _RANKING,
    "rank:ndcg": _RANKING,
    "rank:pairwise": _RANKING,
    "reg:absoluteerror": _REGRESSION,
    "reg:expectileerror": _REGRESSION,
    "reg:gamma": _COUNT,
    "reg:logistic": Objective("regression", "sigmoid", "logit"),
    "reg:pseudohubererror": _REGRESSION,
    "reg:quantileerror": _REGRESSION,
    "reg:squarederror": _REGRESSION,
    "reg:squaredlogerror": _REGRESSION,
    "reg:tweedie": _COUNT,
    "survival:aft": _COUNT,
    "survival:cox": _COUNT,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """One tree: m inner nodes and m + 1 leaves; a child >= 0 is an inner node, a child < 0 is the leaf ~child.

    A number goes left where float32(x) < `condition`. Where `categorical`, members of the node's set go right; `sets`
    are in the order of these nodes. Nodes are numbered by depth. `output` is the column to which the leaves are added.
    """

    feature: Ints
    condition: Floats32
    categorical: Bools
    default_left: Bools
    left: Ints
    right: Ints
    leaf: Floats32
    sets: tuple[Ints, ...]
    output: int


@dataclass(frozen=True, slots=True, kw_only=True)
class XgboostModel:
    """A model of XGBoost: trees, or the `weights` of a linear one, float32 [(d + 1) * k].

    `base` has one value, or one an output, before the objective's link. `categories` are the names of those of a
    column, in order, where the model knows them. `bounds` are the numbers of trees before each round and after the
    last. `kept` is how many of the rounds an estimator that stopped early predicts with, or 0.
    """

    width: int
    outputs: int
    objective: str
    parameters: Mapping[str, Mapping[str, str]]
    base: tuple[float, ...]
    version: tuple[int, ...]
    names: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    categories: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    trees: tuple[Tree, ...] = ()
    bounds: tuple[int, ...] = (0,)
    weights: Floats32 | None = None
    kept: int = 0
    missing: float = math.nan

    @property
    def rounds(self) -> int:
        """Boosting rounds."""
        return len(self.bounds) - 1

    def first(self, rounds: int) -> XgboostModel:
        """The model of its first rounds."""
        bounds = self.bounds[: rounds + 1]
        return replace(self, trees=self.trees[: bounds[-1]], bounds=bounds, kept=0)

    def content(self) -> bytes:
        """The model as UBJSON: what is safe to hand to the library, and what `read` reads again as it was."""
        base = [f"{value:.9g}" for value in self.base]
        learner: dict[str, Writable] = {
            "attributes": self._attributes(),
            "feature_names": self.names,
            "feature_types": self.types,
            "gradient_booster": self._booster(),
            "learner_model_param": {
                "base_score": base[0] if len(base) == 1 else f"[{','.join(base)}]",
                "boost_from_average": "0",
                "num_class": str(self.outputs) if self.outputs > 1 else "0",
                "num_feature": str(self.width),
                "num_target": "1",
            },
            "objective": {"name": self.objective, **self.parameters},
        }
        return ubjson.encode({"learner": learner, "version": self.version})

    def _attributes(self) -> dict[str, Writable]:
        """What the library does not look at, and `read` does."""
        names = msgspec.json.encode(self.categories).decode()
        found: dict[str, Writable] = {} if math.isnan(self.missing) else {MISSING: repr(self.missing)}
        return found | {CATEGORIES: names} if self.categories else found

    def _booster(self) -> dict[str, Writable]:
        if self.weights is not None:
            return {"model": {"boosted_rounds": 0, "weights": self.weights}, "name": "gblinear"}
        model: dict[str, Writable] = {
            "gbtree_model_param": {"num_parallel_tree": "1", "num_trees": str(len(self.trees))},
            "iteration_indptr": self.bounds,
            "tree_info": [tree.output for tree in self.trees],
            "trees": [_written(tree, number, self.width) for number, tree in enumerate(self.trees)],
        }
        return {"model": model, "name": "gbtree"}


def _written(tree: Tree, number: int, width: int) -> dict[str, Writable]:
    """A tree in the library's form: inner nodes and leaves in one list, pair by pair.

    The library finds a right child behind the left one, wherever the file says that it is.
    """
    pairs = np.column_stack([tree.left, tree.right]).ravel()
    node = np.concatenate([[0 if len(pairs) else -1], pairs])  # of each place: an inner node, or a leaf as ~leaf
    inner, size = node >= 0, len(node)
    place = np.flatnonzero(inner)
    left = np.where(inner, 2 * node + 1, -1)
    nothing, members = np.zeros(size, np.float32), [np.zeros(0, np.int64), *tree.sets]
    sizes = np.array([len(each) for each in tree.sets], np.int64)
    return {
        "base_weights": nothing,
        "categories": np.concatenate(members).astype(np.int32),
        "categories_nodes": place[tree.categorical].astype(np.int32),
        "categories_segments": np.cumsum([0, *sizes[:-1]])[: len(sizes)].astype(np.int64),
        "categories_sizes": sizes,
        "default_left": _spread(tree.default_left, inner).astype(np.uint8),
        "id": number,
        "left_children": left.astype(np.int32),
        "loss_changes": nothing,
        "parents": np.concatenate([[2**31 - 1], np.repeat(place, 2)]).astype(np.int32),
        "right_children": (left + inner).astype(np.int32),
        "split_conditions": np.where(inner, _spread(tree.condition, inner), tree.leaf[~np.minimum(node, -1)]),
        "split_indices": _spread(tree.feature, inner).astype(np.int32),
        "split_type": _spread(tree.categorical, inner).astype(np.uint8),
        "sum_hessian": nothing,
        "tree_param": {
            "num_deleted": "0",
            "num_feature": str(width),
            "num_nodes": str(size),
            "size_leaf_vector": "1",
        },
    }


def _spread(values: NDArray[np.generic], inner: Bools) -> NDArray[np.generic]:
    """The values of inner nodes at their places in the list of all nodes, which has zeros for the leaves."""
    found = np.zeros(len(inner), values.dtype)
    found[inner] = values
    return found
