"""What the trees of a LightGBM text say, in the words of `trees`: x <= t in float64, and zero is a small interval."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headway.core.errors import NotApplicable
from headway.engines.formats import trees
from headway.engines.formats.lightgbm_text import TextModel, Tree

Floats = NDArray[np.float64]

_ZERO_IS_MISSING, _MISSING_HAS_A_SIDE = 1, 2  # codes of the text format
_ZERO = float(np.float32(1e-35))
_LINKS: dict[str, trees.Link] = {
    "binary": "sigmoid",
    "cross_entropy": "sigmoid",
    "multiclassova": "sigmoid",
    "multiclass": "softmax",
    "cross_entropy_lambda": "softplus",
    "poisson": "exp",
    "gamma": "exp",
    "tweedie": "exp",
}


def forest(model: TextModel) -> trees.Forest:
    """The trees of a text; raises NotApplicable where leaves are linear models, or zero counts as missing."""
    if any(tree.linear for tree in model.trees):
        raise NotApplicable("its leaves are linear models, and a leaf of a tree is a number")
    if any(bool(np.any(tree.missing == _ZERO_IS_MISSING)) for tree in model.trees):
        raise NotApplicable("it reads zero as missing in some of its splits, and NaN alone is")
    scale = _scale(model)
    return trees.Forest(
        width=model.width,
        trees=tuple(_tree(tree, scale, number % model.outputs) for number, tree in enumerate(model.trees)),
        base=np.zeros(model.outputs),
        link=_link(model),
    )


def _tree(tree: Tree, scale: float, output: int) -> trees.Tree:
    return trees.Tree(
        feature=tree.feature,
        threshold=np.where(tree.categorical, tree.threshold, _past_zero(tree.threshold)),
        categorical=tree.categorical,
        missing_left=_missing_goes_left(tree),
        left=tree.left,
        right=tree.right,
        leaf=tree.leaf[:, None] * scale,
        outputs=(output,),
        sets=tree.sets,
    )


def _past_zero(threshold: Floats) -> Floats:
    """Thresholds that lie within what LightGBM takes for zero (|x| <= 1e-35 of float32), moved to that side's end."""
    inside = np.abs(threshold) <= _ZERO
    return np.where(inside, np.where(threshold < 0, np.nextafter(-_ZERO, -np.inf), _ZERO), threshold)


def _missing_goes_left(tree: Tree) -> NDArray[np.bool_]:
    """Never left by a set; by a threshold to the default side, or where zero goes if the column never missed one."""
    numeric = np.where(tree.missing == _MISSING_HAS_A_SIDE, tree.default_left, tree.threshold >= 0)
    return ~tree.categorical & numeric


def _link(model: TextModel) -> trees.Link:
    name, given = model.objective
    if "sqrt" in given:  # the model learned the signed root of the target
        return "signed square"
    return _LINKS.get(name, "identity")


def _scale(model: TextModel) -> float:
    """What a leaf is multiplied by: the slope of the sigmoid, and one part of the mean where trees are averaged."""
    slope = float(model.objective[1].get("sigmoid", 1.0))
    return slope / model.iterations if model.averages else slope
