"""A fitted pipeline, and models around models (votes, stacks, calibration), as one graph from a row to scores."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from sklearn.base import is_regressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import (
    BaggingClassifier,
    BaggingRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV
from sklearn.model_selection._search import BaseSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from headway.core.errors import NotApplicable
from headway.engines.estimators.pipelines import fold, heads
from headway.engines.estimators.pipelines.curves import FUNCTIONS
from headway.engines.estimators.pipelines.ending import ending, is_of_trees
from headway.engines.estimators.pipelines.features import Feature, raw_features
from headway.engines.estimators.pipelines.steps import transformed
from headway.engines.estimators.pipelines.sums import Sums
from headway.engines.estimators.pipelines.tape import TERMS, Array
from headway.engines.estimators.skops_file import Columns
from headway.engines.formats.graph import Graph

Features = list[Feature]
_ALMOST_NOTHING = 1e-12  # added to a probability before its logarithm is taken, as scikit-learn does
Read = Callable[[Any, Features, Sums], Array]


def graph(model: Any, width: int, columns: Columns | None) -> Graph:
    """The graph of a fitted estimator; raises NotApplicable that names the part which no graph says."""
    sums = Sums(width)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a step that is asked for single values is given them without names
        return sums.finish(_answer(model, raw_features(width, columns), sums))


def _answer(model: Any, features: Features, sums: Sums) -> Array:
    last = ending(model)
    if is_of_trees(last):
        raise NotApplicable(f"{type(last).__name__} is compiled as trees, with the steps before it")
    return (_prediction if is_regressor(model) else _probability)(model, features, sums)


def _probability(model: Any, features: Features, sums: Sums) -> Array:
    return _read(model, features, sums, _probability, _CLASSIFIERS.get(type(model), _trees_or(heads.probability)))


def _prediction(model: Any, features: Features, sums: Sums) -> Array:
    return _read(model, features, sums, _prediction, _REGRESSORS.get(type(model), _trees_or(heads.prediction)))


def _decision(model: Any, features: Features, sums: Sums) -> Array:
    stacks = {StackingClassifier: partial(_stacked, final=_decision)}
    return _read(model, features, sums, _decision, stacks.get(type(model), _trees_or(heads.decision, raw=True)))


def _read(model: Any, features: Features, sums: Sums, again: Read, last: Read) -> Array:
    """Through what only holds a model to that model, and what it says by `last`."""
    if isinstance(model, Pipeline):
        for _, step in model.steps[:-1]:
            features = transformed(step, features, sums)
        return again(model.steps[-1][1], features, sums)
    if type(model).__name__ == "FrozenEstimator":
        return again(model.estimator, features, sums)
    if isinstance(model, BaseSearchCV):
        return again(model.best_estimator_, features, sums)
    if isinstance(model, FixedThresholdClassifier | TunedThresholdClassifierCV):
        return again(model.estimator_, features, sums)
    return last(model, features, sums)


def _trees_or(read: Read, *, raw: bool = False) -> Read:
    """A model of trees as a forest over the row, `raw` without its link; any other by `read`."""

    def either(model: Any, features: Features, sums: Sums) -> Array:
        if not is_of_trees(model):
            return read(model, features, sums)
        forest = fold.over_features(model, features, sums.width)
        if raw and getattr(model, "loss", "") == "exponential":
            raise NotApplicable(f"{type(model).__name__} with exponential loss is not written as a graph")
        return sums.tape.ask(replace(forest, link="identity") if raw else forest)

    return either


def _average(found: list[Array], weights: Any, sums: Sums) -> Array:
    """The weighted mean of answers of one form."""
    shares = np.full(len(found), 1 / len(found)) if weights is None else np.asarray(weights, float) / np.sum(weights)
    whole, width = sums.tape.join(found), found[0].width
    matrix = np.vstack([share * np.eye(width) for share in shares])
    return Array(sums.tape.do("MatMul", whole.name, sums.tape.keep(matrix)), width)


def _voted(model: Any, features: Features, sums: Sums) -> Array:
    return _average([_probability(each, features, sums) for each in model.estimators_], model._weights_not_none, sums)


def _mean_voted(model: Any, features: Features, sums: Sums) -> Array:
    return _average([_prediction(each, features, sums) for each in model.estimators_], model._weights_not_none, sums)


def _bagged(model: Any, features: Features, sums: Sums, *, read: Read) -> Array:
    """The mean of parts that each read some of the features."""
    if any(len(getattr(each, "classes_", ())) != len(getattr(model, "classes_", ())) for each in model.estimators_):
        raise NotApplicable(f"{type(model).__name__} with a part that saw fewer classes is not written as a graph")
    parts = [
        read(each, [features[int(place)] for place in places], sums)
        for each, places in zip(model.estimators_, model.estimators_features_, strict=True)
    ]
    return _average(parts, None, sums)


def _stacked(model: Any, features: Features, sums: Sums, *, final: Read) -> Array:
    """Answers of the first layer as features of the last, before those of the row where it passes them on."""
    methods = {"predict_proba": _probability, "decision_function": _decision}
    found: Features = []
    for each, method in zip(model.estimators_, model.stack_method_, strict=True):
        if method == "predict" and not is_regressor(each):
            raise NotApplicable(f"a stack of the classes that {type(each).__name__} predicts is not written as a graph")
        found += heads.as_features(methods.get(method, _prediction)(each, features, sums))
    return final(model.final_estimator_, found + (features if model.passthrough else []), sums)


def _calibrated(model: Any, features: Features, sums: Sums) -> Array:
    return _average([_one_calibrated(each, features, sums) for each in model.calibrated_classifiers_], None, sums)


def _one_calibrated(model: Any, features: Features, sums: Sums) -> Array:
    by_decision = hasattr(model.estimator, "decision_function")
    found, tape = (_decision if by_decision else _probability)(model.estimator, features, sums), sums.tape
    if model.method == "temperature":
        return _by_temperature(float(model.calibrators[0].beta_), found, by_decision, sums)
    if len(model.calibrators) != found.width:
        raise NotApplicable("CalibratedClassifierCV with a part that saw fewer classes is not written as a graph")
    made = _by_sigmoid(model, found, sums) if model.method == "sigmoid" else _by_steps(model, found, sums)
    return made if found.width == 1 else tape.rated(made, 1 / made.width)


def _by_temperature(beta: float, found: Array, by_decision: bool, sums: Sums) -> Array:
    """The softmax of scaled decisions or logarithms of probabilities; the logistic where there is one decision."""
    tape = sums.tape
    if not by_decision:
        if found.width == 1:
            found = tape.join([Array(tape.do("Sub", tape.keep(1.0), found.name), 1), found])
        logs = tape.do("Log", tape.do("Add", found.name, tape.keep(_ALMOST_NOTHING)))
        both = tape.softmax(tape.do("Mul", logs, tape.keep(beta)))
        return Array(tape.pick(both, [1]), 1) if found.width == 2 else Array(both, found.width)
    scaled = tape.do("Mul", found.name, tape.keep(beta if found.width > 1 else 2 * beta))
    return heads.logistic(Array(scaled, found.width), sums)


def _by_sigmoid(model: Any, found: Array, sums: Sums) -> Array:
    slopes, shifts = (np.array([getattr(each, name) for each in model.calibrators]) for name in ("a_", "b_"))
    scaled = sums.tape.do("Mul", found.name, sums.tape.keep(-slopes))
    return Array(sums.tape.do("Sigmoid", sums.tape.do("Add", scaled, sums.tape.keep(-shifts))), found.width)


def _by_steps(model: Any, found: Array, sums: Sums) -> Array:
    """Isotonic calibration: a line in pieces, each of which adds its rise as far as the number has come in it."""
    return sums.tape.join(
        [
            _in_pieces(each, sums.tape.pick(found.name, [place]) if found.width > 1 else found.name, sums)
            for place, each in enumerate(model.calibrators)
        ]
    )


def _in_pieces(curve: Any, x: str, sums: Sums) -> Array:
    at, height = (np.asarray(each, np.float64) for each in (curve.X_thresholds_, curve.y_thresholds_))
    tape = sums.tape
    if len(at) == 1:
        return Array(tape.do("Add", tape.do("Mul", x, tape.keep(0.0)), tape.keep(height)), 1)
    inside = TERMS["clip"](tape, x, np.column_stack([at[:-1], at[1:]]))
    rises = (np.diff(height) / np.diff(at))[:, None]
    risen = tape.do("MatMul", tape.do("Sub", inside, tape.keep(at[:-1])), tape.keep(rises))
    return Array(tape.do("Add", risen, tape.keep(height[:1])), 1)


def _each_against_the_rest(model: Any, features: Features, sums: Sums) -> Array:
    found = sums.tape.join([_probability(each, features, sums) for each in model.estimators_])
    return found if found.width == 1 else sums.tape.rated(found, 0.0)


def _target(model: Any, features: Features, sums: Sums) -> Array:
    """A regressor of a target that was changed before the fit, and is changed back."""
    found, back, tape = _prediction(model.regressor_, features, sums), model.transformer_, sums.tape
    if isinstance(back, StandardScaler):
        scale, mean = (1.0 if each is None else each for each in (back.scale_, back.mean_))
        return Array(tape.do("Add", tape.do("Mul", found.name, tape.keep(scale)), tape.keep(mean)), 1)
    name = getattr(getattr(back, "inverse_func", None), "__name__", "")
    if not (isinstance(back, FunctionTransformer) and isinstance(back.inverse_func, np.ufunc) and name in FUNCTIONS):
        raise NotApplicable(f"TransformedTargetRegressor with {name or type(back).__name__} is not written as a graph")
    return Array(TERMS[FUNCTIONS[name]](tape, found.name, np.zeros((1, 0))), 1)


_CLASSIFIERS: dict[type, Read] = {
    BaggingClassifier: partial(_bagged, read=_probability),
    CalibratedClassifierCV: _calibrated,
    OneVsRestClassifier: _each_against_the_rest,
    StackingClassifier: partial(_stacked, final=_probability),
    VotingClassifier: _voted,
}
_REGRESSORS: dict[type, Read] = {
    BaggingRegressor: partial(_bagged, read=_prediction),
    StackingRegressor: partial(_stacked, final=_prediction),
    TransformedTargetRegressor: _target,
    VotingRegressor: _mean_voted,
}
