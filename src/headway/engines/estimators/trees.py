"""Convert fitted scikit-learn tree models to `Forest`, and shorten them.

Trees and forests compare float32(x) <= threshold, add in float64 and reject infinite values. A forest answers the mean
of its trees, so each leaf is divided by their number. HistGradientBoosting compares in float64 and encodes categories:
its encoder gives each category a code, and an unseen category counts as missing. A categorical split sends some codes
left, the others right, and missing values to one side; here the set holds the codes that go to the other side.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import is_classifier
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import AdaBoostClassifier, AdaBoostRegressor, IsolationForest
from sklearn.ensemble._forest import ForestClassifier, ForestRegressor
from sklearn.ensemble._gb import BaseGradientBoosting
from sklearn.ensemble._hist_gradient_boosting.gradient_boosting import BaseHistGradientBoosting
from sklearn.ensemble._iforest import _average_path_length
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV
from sklearn.pipeline import Pipeline
from sklearn.tree import BaseDecisionTree

from headway.core.arrays import Bools, Floats, Ints
from headway.core.errors import NotApplicable
from headway.core.plugins import load_engine
from headway.core.variant import Field
from headway.engines.estimators.inner import InnerModel
from headway.engines.estimators.objects import walk_objects
from headway.engines.estimators.skops_file import ModelColumns
from headway.engines.formats.trees import Forest, Link, Tree, TreeEngine

_FORESTS = (ForestClassifier, ForestRegressor, IsolationForest)
_CONSTANT = ("prior", "constant", "mean", "median", "quantile", "most_frequent")


def estimator_forest(model: Any, columns: ModelColumns | None) -> Forest:
    """Convert a fitted estimator, for rows as headway passes them.

    Raise NotApplicable, with the reason, for other models.

    `finite_columns` and `required_columns` of the forest describe the rows that the library would reject.
    """
    if isinstance(model, BaseHistGradientBoosting):
        return hist_forest(model, columns)
    _check_tree_model(model)
    if columns is not None and any(field.datatype == "BYTES" for field in columns.inputs):
        raise NotApplicable("its input has strings, and its trees compare numbers")
    if isinstance(model, BaseGradientBoosting):
        return _boosted_forest(model)
    if isinstance(model, IsolationForest):
        return _isolation_forest(model)
    return _averaged_forest(model, [model] if isinstance(model, BaseDecisionTree) else model.estimators_)


def first_tree(model: Any) -> Any:
    """Return the first tree of an estimator that was grown on all of its training rows; None if there is none."""
    if isinstance(model, BaseDecisionTree):
        return model.tree_
    if isinstance(model, BaseGradientBoosting):
        return model.estimators_[0, 0].tree_
    if isinstance(model, ForestClassifier | ForestRegressor) and not model.bootstrap:
        return model.estimators_[0].tree_
    return None


def estimator_rounds(model: Any) -> int:
    """Return the number of boosting rounds, or trees of a forest.

    Raise NotApplicable for an estimator without trees.
    """
    if isinstance(model, BaseHistGradientBoosting):
        return len(model._predictors)
    _check_tree_model(model)
    return 1 if isinstance(model, BaseDecisionTree) else len(model.estimators_)


def openmp_trees(model: Any) -> int:
    """Return the number of trees, in all parts of a model, whose library answers with OpenMP threads."""
    parts = (part for _, part in walk_objects(model) if isinstance(part, BaseHistGradientBoosting))
    return sum(len(round_trees) for part in parts for round_trees in getattr(part, "_predictors", ()))


def truncate_estimator(model: Any, count: int) -> None:
    """Shorten an estimator in place to its first rounds, or trees."""
    if isinstance(model, BaseHistGradientBoosting):
        model._predictors = model._predictors[:count]
        return
    _check_tree_model(model)
    lists = ("estimators_", "estimators_features_", "_decision_path_lengths", "_average_path_length_per_tree")
    for name in lists:
        if name in vars(model):
            setattr(model, name, getattr(model, name)[:count])
    for name in ("n_estimators", "n_estimators_"):
        if name in vars(model):
            setattr(model, name, count)


def _check_tree_model(model: Any) -> None:
    name = type(model).__name__
    if isinstance(model, AdaBoostClassifier | AdaBoostRegressor):
        raise NotApplicable(f"a {name} combines its trees by votes, not by sums of leaves")
    if not isinstance(model, (BaseDecisionTree, BaseGradientBoosting, *_FORESTS)):
        raise NotApplicable(f"a {name} is not a sum of tree leaves")
    if getattr(model, "n_outputs_", 1) > 1:
        raise NotApplicable(f"it predicts {model.n_outputs_} targets")


def _averaged_forest(model: Any, estimators: Sequence[Any]) -> Forest:
    """Convert trees whose mean is the answer: class shares of a leaf, of two classes only the second."""
    width, count = int(model.n_features_in_), len(estimators)
    classes = len(model.classes_) if is_classifier(model) else 0
    wanted = slice(1, 2) if classes == 2 else slice(0, classes or 1)
    outputs = tuple(range(max(classes, 1) if classes != 2 else 1))
    takes_missing = bool(estimators[0]._support_missing_values(np.zeros((1, width))))
    return Forest(
        width=width,
        trees=tuple(
            _tree(tree, _exact_share(shares / count) if classes and count > 1 else shares / count, outputs)
            for tree, shares in ((tree, tree.tree_.value[:, 0, wanted]) for tree in estimators)
        ),
        base=np.zeros(len(outputs)),
        input_dtype="float32",
        finite_columns=tuple(range(width)),
        required_columns=() if takes_missing else tuple(range(width)),
    )


_SHARE_UNIT = 2.0**-52


def _exact_share(shares: Floats) -> Floats:
    """Round shares of votes to multiples of 2**-52, whose sums up to 1 are exact in any order: equal votes stay equal.

    An answer moves by at most 1e-16 per tree.
    """
    rounded: Floats = np.round(shares / _SHARE_UNIT) * _SHARE_UNIT
    return rounded


def _boosted_forest(model: Any) -> Forest:
    """Convert boosted trees on a constant; raise NotApplicable if they start from the answers of another model."""
    start, width, outputs = model.init_, int(model.n_features_in_), model.estimators_.shape[1]
    constant = isinstance(start, DummyClassifier | DummyRegressor) and start.strategy in _CONSTANT
    if not (constant or (isinstance(start, str) and start == "zero")):
        raise NotApplicable(f"its trees start from the predictions of a {type(start).__name__} (init)")
    slope = 2.0 if is_classifier(model) and model.loss == "exponential" else 1.0  # its link is the logistic of 2 x
    scale = model.learning_rate * slope
    link: Link = "identity" if not is_classifier(model) else "sigmoid" if outputs == 1 else "softmax"
    return Forest(
        width=width,
        trees=tuple(
            _tree(tree, tree.tree_.value[:, 0, :1] * scale, (output,))
            for stage in model.estimators_
            for output, tree in enumerate(stage)
        ),
        base=np.ravel(model._raw_predict_init(np.zeros((1, width)))) * slope,
        link=link,
        input_dtype="float32",
        finite_columns=tuple(range(width)),
        required_columns=tuple(range(width)),
    )


def _isolation_forest(model: Any) -> Forest:
    """Convert an isolation forest, whose trees add up depths."""
    columns = tuple(range(int(model.n_features_in_)))
    expected = len(model.estimators_) * float(_average_path_length([model._max_samples])[0])
    trees = []
    for tree, features, steps, rest in zip(
        model.estimators_,
        model.estimators_features_,
        model._decision_path_lengths,
        model._average_path_length_per_tree,
        strict=True,
    ):
        depth = (steps + rest - 1.0)[:, None] / expected if expected else np.zeros((len(steps), 1))
        trees.append(_tree(tree, depth, features=np.asarray(features, np.int64)))
    return Forest(
        width=len(columns),
        trees=tuple(trees),
        base=np.array([0.0 if expected else 1.0]),  # the expected depth of a single row is undefined
        link="isolation",
        input_dtype="float32",
        finite_columns=() if _accepts(model, np.inf) else columns,
        required_columns=() if _accepts(model, np.nan) else columns,
    )


def _accepts(model: Any, value: float) -> bool:
    try:
        model.score_samples(np.full((1, model.n_features_in_), value))
    except ValueError:
        return False
    return True


def _tree(estimator: Any, leaf: Floats, outputs: tuple[int, ...] = (0,), features: Ints | None = None) -> Tree:
    """Convert one tree; `leaf` [nodes, c] covers all nodes, `features` maps the tree's columns to those of a row."""
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


_MAX_CODES = 256
_HIST_LINKS: dict[str, Link] = {"IdentityLink": "identity", "LogLink": "exp"}


class EncoderCodes(NamedTuple):
    """Values in a row of a column's codes, int64 [c], whether no row can hold each, and the code of None or -1."""

    value: Ints
    absent: Bools
    none: int


class HistColumns(NamedTuple):
    """For each column as the trees number them, its position in a row, and the codes of those that are categorical."""

    position: Ints
    codes: dict[int, EncoderCodes]


def hist_forest(model: Any, columns: ModelColumns | None) -> Forest:
    """Convert a fitted HistGradientBoosting model, for rows with strings as ranks among the categories of `columns`.

    Raises NotApplicable if a category is not an integer, or if a string is read as a number.
    """
    inputs = () if columns is None else columns.inputs
    hist = _hist_columns(model, inputs)
    strings = {index for index, field in enumerate(inputs) if field.datatype == "BYTES"}
    categorical = {int(hist.position[column]) for column in hist.codes}
    if strings - categorical:
        raise NotApplicable(f"it reads the strings of column '{inputs[min(strings - categorical)].name}' as numbers")
    return Forest(
        width=int(model.n_features_in_),
        trees=tuple(
            _hist_tree(predictor, hist, output=output)
            for stage in model._predictors
            for output, predictor in enumerate(stage)
        ),
        base=np.ravel(model._baseline_prediction).astype(np.float64),
        link=_hist_link(model),
        category_cast="exact",
        finite_columns=tuple(sorted(categorical - strings)),
    )


def _hist_link(model: Any) -> Link:
    if is_classifier(model):
        return "sigmoid" if model.n_trees_per_iteration_ == 1 else "softmax"
    name = type(model._loss.link).__name__
    if name not in _HIST_LINKS:
        raise NotApplicable(f"unknown link function {name}")
    return _HIST_LINKS[name]


def _hist_columns(model: Any, inputs: tuple[Field, ...]) -> HistColumns:
    """Return the columns in the order of the trees, which number categorical columns first."""
    if model._preprocessor is None:
        return HistColumns(np.arange(model.n_features_in_), {})
    categorical = np.asarray(model.is_categorical_, bool)
    indices = np.concatenate([np.flatnonzero(categorical), np.flatnonzero(~categorical)])
    learned = model._preprocessor.named_transformers_["encoder"].categories_
    codes = {
        column: _category_codes(values.tolist(), inputs[indices[column]] if inputs else None)
        for column, values in enumerate(learned)
    }
    return HistColumns(indices, codes)


def _category_codes(learned: list[Any], field: Field | None) -> EncoderCodes:
    """Return the codes of the categories that an encoder learned; NaN, which comes last, has none."""
    known = [category for category in learned if category is None or category == category]
    if field is not None and field.datatype == "BYTES":
        rank = {category: number for number, category in enumerate(field.categories)}
        if any(not isinstance(category, str) for category in known if category is not None):
            raise NotApplicable(f"it learned numbers in column '{field.name}', which holds strings")
        value = np.array([rank.get(category, -1) for category in known], np.int64)
        return EncoderCodes(value, value < 0, known.index(None) if None in known else -1)
    if any(isinstance(category, str | None) or category != int(category) for category in known):
        unsupported = next(
            category for category in known if isinstance(category, str | None) or category != int(category)
        )
        raise NotApplicable(f"one of its categories is {unsupported!r}, which is not an integer")
    return EncoderCodes(np.array([int(category) for category in known], np.int64), np.zeros(len(known), bool), -1)


def _hist_tree(predictor: Any, columns: HistColumns, *, output: int) -> Tree:
    nodes = predictor.nodes
    inner = ~nodes["is_leaf"].astype(bool)
    number = np.where(inner, np.cumsum(inner) - 1, ~(np.cumsum(~inner) - 1))
    split = nodes[inner]
    feature = split["feature_idx"].astype(np.int64)
    categorical = split["is_categorical"].astype(bool)
    missing_left = split["missing_go_to_left"].astype(bool)
    left, right = number[split["left"]], number[split["right"]]
    sets, none_left = _hist_sets(predictor, split[categorical], columns)
    swapped = categorical & missing_left
    goes_left = missing_left & ~swapped
    goes_left[categorical] = none_left
    return Tree(
        feature=columns.position[feature],
        threshold=np.where(categorical, np.cumsum(categorical) - 1, split["num_threshold"]),
        categorical=categorical,
        missing_left=goes_left,
        left=np.where(swapped, right, left),
        right=np.where(swapped, left, right),
        leaf=nodes["value"][~inner][:, None].astype(np.float64),
        outputs=(output,),
        sets=sets,
    )


def _hist_sets(predictor: Any, split: Any, columns: HistColumns) -> tuple[tuple[Ints, ...], Bools]:
    """Return, for each categorical split, the values that do not go where missing goes, and whether None is one."""
    words = np.asarray(predictor.raw_left_cat_bitsets, np.uint32).reshape(-1, _MAX_CODES // 32)
    lefts = np.unpackbits(words.astype("<u4").view(np.uint8), axis=1, bitorder="little").astype(bool)
    sets, none = [], np.zeros(len(split), bool)
    for index, node in enumerate(split):
        codes = columns.codes[int(node["feature_idx"])]
        apart = lefts[node["bitset_idx"], : len(codes.value)] ^ bool(node["missing_go_to_left"])
        none[index] = codes.none >= 0 and apart[codes.none]
        sets.append(np.sort(codes.value[apart & ~codes.absent]))
    return tuple(sets), none


_TREES = (BaseDecisionTree, BaseGradientBoosting, BaseHistGradientBoosting, ForestClassifier, ForestRegressor)


def flat_steps(model: Pipeline) -> list[Any]:
    """Return the steps of a pipeline, with nested pipelines expanded."""
    return [inner for _, step in model.steps for inner in (flat_steps(step) if isinstance(step, Pipeline) else [step])]


def final_step(model: Any) -> Any:
    """Return the last step of a pipeline, or the model itself."""
    return flat_steps(model)[-1] if isinstance(model, Pipeline) else model


def inside_threshold(model: Any) -> Any:
    """Return the estimator inside classifiers with a threshold of their own, which keep its probabilities."""
    while isinstance(model, FixedThresholdClassifier | TunedThresholdClassifierCV):
        model = model.estimator_
    return model


def is_tree_model(model: Any) -> bool:
    """Return whether a model is a sum of trees, of scikit-learn or of another library."""
    return isinstance(model, (InnerModel, *_TREES))


def model_forest(model: Any) -> Forest:
    """Convert a tree model over its own inputs; raise NotApplicable, with the reason, for other models."""
    return _engine_of(model).forest(model.content) if isinstance(model, InnerModel) else estimator_forest(model, None)


def count_rounds(model: Any) -> int:
    """Return the boosting rounds, or trees, of the final step; raise NotApplicable if it has none."""
    last = final_step(model)
    return _engine_of(last).rounds(last.content) if isinstance(last, InnerModel) else estimator_rounds(last)


def truncate_rounds(model: Any, count: int) -> None:
    """Shorten the final step in place to its first rounds, or trees."""
    last = final_step(model)
    if isinstance(last, InnerModel):
        last.__setstate__(
            {**last.__getstate__(), "content": _engine_of(last).truncate(last.content, count), "_opened": {}}
        )
    else:
        truncate_estimator(last, count)


def _engine_of(model: InnerModel) -> type[TreeEngine]:
    engine = load_engine(model.engine)
    if not isinstance(engine, TreeEngine):
        raise NotApplicable(f"a model of {model.engine} does not expose its trees")
    return engine
