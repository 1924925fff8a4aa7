"""What a model of XGBoost says, in the words of `trees`: float32(x) < t, members of a set go right, sums in float32."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headway.core.errors import NotApplicable
from headway.engines.formats import trees
from headway.engines.formats.xgboost_model import OBJECTIVES, Tree, XgboostModel

Floats = NDArray[np.float64]
Floats32 = NDArray[np.float32]


def forest(model: XgboostModel) -> trees.Forest:
    """The trees of a model; raises NotApplicable where it is linear."""
    if model.weights is not None:
        raise NotApplicable("it is a linear model, which has no trees")
    link = OBJECTIVES[model.objective].link
    with np.errstate(over="ignore"):  # a value beyond float32 is infinite to the library
        missing = float(np.float32(model.missing))
    return trees.Forest(
        width=model.width,
        trees=tuple(_tree(tree) for tree in model.trees),
        base=_margin(model).astype(np.float64),
        link=link,
        rows="float32",
        sums="float32",
        missing=missing,
        whole="floored",
    )


def _tree(tree: Tree) -> trees.Tree:
    """Members of a set go right in XGBoost, and left here: the sides of such a node change places."""
    below = np.nextafter(tree.condition, np.float32(-np.inf)).astype(np.float64)
    threshold = np.where(tree.categorical, np.cumsum(tree.categorical) - 1, below)
    return trees.Tree(
        feature=tree.feature,
        threshold=threshold,
        categorical=tree.categorical,
        missing_left=tree.default_left ^ tree.categorical,
        left=np.where(tree.categorical, tree.right, tree.left),
        right=np.where(tree.categorical, tree.left, tree.right),
        leaf=tree.leaf.astype(np.float64)[:, None],
        outputs=(tree.output,),
        sets=tree.sets,
    )


def _margin(model: XgboostModel) -> Floats32:
    """The base of each output before the link, [k], computed in float32 as the library does."""
    base = np.full(model.outputs, model.base, np.float32) if len(model.base) == 1 else np.array(model.base, np.float32)
    kind = OBJECTIVES[model.objective].base
    with np.errstate(divide="ignore", invalid="ignore"):  # a base outside the range of the link: the library says so
        logit = -np.log(np.float32(1) / base - np.float32(1))
        margin: Floats32 = {"identity": base, "log": np.log(base), "logit": logit}[kind]
    return margin
