"""What a model of CatBoost says, in the words of `trees`: float32(x) > border goes right, sums in float64."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from headway.engines.formats import trees
from headway.engines.formats.catboost_model import CatboostModel

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

BINARY = ("Logloss", "CrossEntropy", "Focal")
MULTICLASS: dict[str, trees.Link] = {"MultiClass": "softmax", "MultiClassOneVsAll": "sigmoid"}
RANKING = (
    *("YetiRank", "YetiRankPairwise", "PairLogit", "PairLogitPairwise", "LambdaMart", "StochasticRank"),
    *("QueryRMSE", "QuerySoftMax", "QueryCrossEntropy"),
)
TASKS = {"binary": BINARY, "multiclass": tuple(MULTICLASS), "ranking": RANKING}
EXPONENT = ("Poisson", "Tweedie")


def forest(model: CatboostModel) -> trees.Forest:
    """The trees of a model; a symmetric one is written out."""
    return trees.Forest(
        width=model.width,
        trees=tuple(_levels(model) if model.symmetric else _steps(model)),
        base=model.bias,
        link=_link(model.loss),
        rows="float32",
        sums="float64",
    )


def _link(loss: str) -> trees.Link:
    if loss in BINARY:
        return "sigmoid"
    return "exp" if loss in EXPONENT else MULTICLASS.get(loss, "identity")


def _levels(model: CatboostModel) -> Iterator[trees.Tree]:
    """Symmetric trees: nodes level by level, so that the children of node i are 2i + 1 and 2i + 2."""
    start = first_leaf = 0
    for size in model.sizes.tolist():
        inner = 2**size - 1
        split = start + np.repeat(np.arange(size)[::-1], 2 ** np.arange(size))
        left, right = (2 * np.arange(inner) + side for side in (1, 2))
        yield _tree(
            model,
            split,
            left=np.where(left < inner, left, ~(left - inner)),
            right=np.where(right < inner, right, ~(right - inner)),
            leaf=model.leaf[first_leaf : first_leaf + 2**size],
        )
        start, first_leaf = start + size, first_leaf + 2**size


def _steps(model: CatboostModel) -> Iterator[trees.Tree]:
    """Trees of any form: a split with a side that leads nowhere ends there in a leaf of its own."""
    start = 0
    for size in model.sizes.tolist():
        place = np.arange(start, start + size)
        left, right = model.left[place], model.right[place]
        inner = (left > 0) | (right > 0)
        ends = (left == 0) | (right == 0)
        number = np.where(inner, np.cumsum(inner) - 1, ~(np.cumsum(ends) - 1))
        own = ~(np.cumsum(ends) - 1)
        child = [np.where(side > 0, number[np.arange(size) + side], own) for side in (left, right)]
        yield _tree(
            model,
            place[inner],
            left=child[0][inner],
            right=child[1][inner],
            leaf=model.leaf[model.end[place[ends]] // model.outputs],
        )
        start += size


def _tree(model: CatboostModel, split: Ints, *, left: Ints, right: Ints, leaf: Floats) -> trees.Tree:
    feature = model.feature[split]
    return trees.Tree(
        feature=feature,
        threshold=model.border[split],
        categorical=np.zeros(len(split), bool),
        missing_left=~model.missing_right[feature],
        left=left.astype(np.int64),
        right=right.astype(np.int64),
        leaf=leaf * model.scale,
        outputs=tuple(range(model.outputs)),
    )
