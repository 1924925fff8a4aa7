"""What the trees of a LightGBM text say, in the words of `trees`: x <= t in float64, and zero is a small interval."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headway.core.errors import NotApplicable
from headway.engines.formats import trees
from headway.engines.formats.lightgbm_text import TextModel, Tree

Floats = NDArray[np.float64]

_MISSING_IS_ZERO, _ZERO_IS_MISSING = 0, 1  # codes of the text format
_HAVE_A_SLOPE = ("binary", "multiclassova")
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
    """The trees of a text; raises NotApplicable where leaves are linear models, or zero is missing now and then."""
    if any(tree.linear for tree in model.trees):
        raise NotApplicable("its leaves are linear models, and a leaf of a tree is a number")
    scale = _scale(model)
    return trees.Forest(
        width=model.width,
        trees=tuple(_tree(tree, scale, number % model.outputs) for number, tree in enumerate(model.trees)),
        base=np.zeros(model.outputs),
        link=_link(model),
        zeros=_zeros(model),
    )


def _zeros(model: TextModel) -> tuple[int, ...]:
    """Columns in which zero counts as missing, in every split that compares them."""
    numeric = [(tree, ~tree.categorical) for tree in model.trees]
    sides = [(tree.feature[at], tree.missing[at] == _ZERO_IS_MISSING) for tree, at in numeric]
    zero, other = (
        {int(column) for feature, is_zero in sides for column in feature[is_zero == wanted]} for wanted in (True, False)
    )
    if zero & other:
        raise NotApplicable(f"it reads zero in column {min(zero & other)} as missing in some splits, and not in others")
    return tuple(sorted(zero))


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
    inside = np.abs(threshold) <= trees.ZERO
    return np.where(inside, np.where(threshold < 0, np.nextafter(-trees.ZERO, -np.inf), trees.ZERO), threshold)


def _missing_goes_left(tree: Tree) -> NDArray[np.bool_]:
    """Never left by a set; by a threshold to the default side, or where zero goes if the column never missed one."""
    numeric = np.where(tree.missing == _MISSING_IS_ZERO, tree.threshold >= 0, tree.default_left)
    return ~tree.categorical & numeric


def _link(model: TextModel) -> trees.Link:
    name, given = model.objective
    if "sqrt" in given:  # the model learned the signed root of the target
        return "signed square"
    return _LINKS.get(name, "identity")


def _scale(model: TextModel) -> float:
    """What a leaf is multiplied by: the slope of the sigmoid, and one part of the mean where trees are averaged."""
    name, given = model.objective
    slope = float(given.get("sigmoid", 1.0)) if name in _HAVE_A_SLOPE else 1.0
    return slope / model.iterations if model.averages else slope
