"""What the trees of a fitted estimator say, in the words of `formats.trees`: float32(x) <= t in float64, no infinities.

The answer of a forest is the mean of its trees: each leaf is divided by their number. HistGradientBoosting has a form
of its own (`hist_trees`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import AdaBoostClassifier, AdaBoostRegressor, IsolationForest
from sklearn.ensemble._forest import ForestClassifier, ForestRegressor
from sklearn.ensemble._gb import BaseGradientBoosting
from sklearn.ensemble._hist_gradient_boosting.gradient_boosting import BaseHistGradientBoosting
from sklearn.ensemble._iforest import _average_path_length
from sklearn.tree import BaseDecisionTree

from headway.core.errors import NotApplicable
from headway.engines.estimators import hist_trees
from headway.engines.estimators.skops_file import Columns
from headway.engines.formats.trees import Forest, Link, Tree

Floats = NDArray[np.float64]

_FORESTS = (ForestClassifier, ForestRegressor, IsolationForest)
_CONSTANT = ("prior", "constant", "mean", "median", "quantile", "most_frequent")


def forest(model: Any, columns: Columns | None) -> Forest:
    """The trees of a fitted estimator, for rows as headway gives them; raises NotApplicable, with why, for any other.

    Rows that the library would refuse are in the fields `finite` and `present`.
    """
    if isinstance(model, BaseHistGradientBoosting):
        return hist_trees.forest(model, columns)
    _expect_trees(model)
    if columns is not None and any(field.datatype == "BYTES" for field in columns.inputs):
        raise NotApplicable("it is given texts, and its trees compare numbers")
    if isinstance(model, BaseGradientBoosting):
        return _boosted(model)
    if isinstance(model, IsolationForest):
        return _isolating(model)
    return _averaged(model, [model] if isinstance(model, BaseDecisionTree) else model.estimators_)


def rounds(model: Any) -> int:
    """Boosting rounds, or trees of a forest; raises NotApplicable for an estimator without trees."""
    if isinstance(model, BaseHistGradientBoosting):
        return len(model._predictors)
    _expect_trees(model)
    return 1 if isinstance(model, BaseDecisionTree) else len(model.estimators_)


def cut(model: Any, count: int) -> None:
    """Leave an estimator no more than its first rounds, or trees."""
    if isinstance(model, BaseHistGradientBoosting):
        model._predictors = model._predictors[:count]
        return
    _expect_trees(model)
    lists = ("estimators_", "estimators_features_", "_decision_path_lengths", "_average_path_length_per_tree")
    for name in lists:
        if name in vars(model):
            setattr(model, name, getattr(model, name)[:count])
    for name in ("n_estimators", "n_estimators_"):
        if name in vars(model):
            setattr(model, name, count)


def _expect_trees(model: Any) -> None:
    name = type(model).__name__
    if isinstance(model, AdaBoostClassifier | AdaBoostRegressor):
        raise NotApplicable(f"a {name} lets its trees vote, and adds no leaves up")
    if not isinstance(model, (BaseDecisionTree, BaseGradientBoosting, *_FORESTS)):
        raise NotApplicable(f"a {name} is not made of trees whose leaves are added up")
    if getattr(model, "n_outputs_", 1) > 1:
        raise NotApplicable(f"it answers {model.n_outputs_} targets at once")


def _averaged(model: Any, estimators: Sequence[Any]) -> Forest:
    """Trees whose mean is the answer: of classes their shares in a leaf, of two the second's alone."""
    width = int(model.n_features_in_)
    classes = len(model.classes_) if is_classifier(model) else 0
    wanted = slice(1, 2) if classes == 2 else slice(0, classes or 1)
    outputs = tuple(range(max(classes, 1) if classes != 2 else 1))
    takes_missing = bool(estimators[0]._support_missing_values(np.zeros((1, width))))
    return Forest(
        width=width,
        trees=tuple(_tree(each, each.tree_.value[:, 0, wanted] / len(estimators), outputs) for each in estimators),
        base=np.zeros(len(outputs)),
        rows="float32",
        finite=tuple(range(width)),
        present=() if takes_missing else tuple(range(width)),
    )


def _boosted(model: Any) -> Forest:
    """Trees on a constant; raises NotApplicable where they start from the answers of another model."""
    start, width, outputs = model.init_, int(model.n_features_in_), model.estimators_.shape[1]
    constant = isinstance(start, DummyClassifier | DummyRegressor) and start.strategy in _CONSTANT
    if not (constant or (isinstance(start, str) and start == "zero")):
        raise NotApplicable(f"its trees start from the answers of a {type(start).__name__} (init)")
    slope = 2.0 if is_classifier(model) and model.loss == "exponential" else 1.0  # its link is the logistic of 2 x
    scale = model.learning_rate * slope
    link: Link = "identity" if not is_classifier(model) else "sigmoid" if outputs == 1 else "softmax"
    return Forest(
        width=width,
        trees=tuple(
            _tree(each, each.tree_.value[:, 0, :1] * scale, (output,))
            for stage in model.estimators_
            for output, each in enumerate(stage)
        ),
        base=np.ravel(model._raw_predict_init(np.zeros((1, width)))) * slope,
        link=link,
        rows="float32",
        finite=tuple(range(width)),
        present=tuple(range(width)),
    )


def _isolating(model: Any) -> Forest:
    """Trees whose leaves are depths, in parts of the depth that is expected.

    Newer releases of the library take what is infinite or missing; whether this one does, it is asked.
    """
    every = tuple(range(int(model.n_features_in_)))
    expected = len(model.estimators_) * float(_average_path_length([model._max_samples])[0])
    trees = []
    for each, features, steps, rest in zip(
        model.estimators_,
        model.estimators_features_,
        model._decision_path_lengths,
        model._average_path_length_per_tree,
        strict=True,
    ):
        depth = (steps + rest - 1.0)[:, None] / expected if expected else np.zeros((len(steps), 1))
        trees.append(_tree(each, depth, features=np.asarray(features, np.int64)))
    return Forest(
        width=len(every),
        trees=tuple(trees),
        base=np.array([0.0 if expected else 1.0]),  # of one row there is no depth to expect
        link="isolation",
        rows="float32",
        finite=() if _takes(model, np.inf) else every,
        present=() if _takes(model, np.nan) else every,
    )


def _takes(model: Any, value: float) -> bool:
    try:
        model.score_samples(np.full((1, model.n_features_in_), value))
    except ValueError:
        return False
    return True


def _tree(
    estimator: Any, leaf: Floats, outputs: tuple[int, ...] = (0,), features: NDArray[np.int64] | None = None
) -> Tree:
    """The tree of an estimator; `leaf` is of all its nodes, [nodes, c], `features` of its columns those in a row."""
    nodes = estimator.tree_.__getstate__()["nodes"]
    inner = nodes["left_child"] >= 0
    number = np.where(inner, np.cumsum(inner) - 1, ~(np.cumsum(~inner) - 1))
    split = nodes[inner]
    feature = split["feature"].astype(np.int64)
    return Tree(
        feature=feature if features is None else features[feature],
        threshold=split["threshold"].astype(np.float64),
        categorical=np.zeros(len(split), bool),
        missing_left=split["missing_go_to_left"].astype(bool),
        left=number[split["left_child"]],
        right=number[split["right_child"]],
        leaf=leaf[~inner],
        outputs=outputs,
    )
