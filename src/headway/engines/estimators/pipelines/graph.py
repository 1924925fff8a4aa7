"""X"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
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
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.linear_model._base import LinearClassifierMixin, LinearModel
from sklearn.linear_model._glm.glm import _GeneralizedLinearRegressor
from sklearn.linear_model._stochastic_gradient import BaseSGDRegressor
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV
from sklearn.model_selection._search import BaseSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import BernoulliNB, ComplementNB, GaussianNB, MultinomialNB
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from headway.core.errors import NotApplicable
from headway.engines.estimators.pipelines import fold
from headway.engines.estimators.pipelines.features import (
    UFUNC_TERMS,
    ArrayFeature,
    Feature,
    compare_feature,
    input_features,
)
from headway.engines.estimators.pipelines.graph_builder import TERMS, GraphBuilder, Tensor
from headway.engines.estimators.pipelines.steps import transform_features
from headway.engines.estimators.skops_file import ModelColumns
from headway.engines.estimators.trees import final_step, is_tree_model
from headway.engines.formats.graph import Graph

Floats = NDArray[np.float64]
Features = list[Feature]

_ACTIVATIONS = {"relu": "Relu", "tanh": "Tanh", "logistic": "Sigmoid", "softmax": "Softmax", "exp": "Exp"}


def linear_decision(model: Any, features: Features, sums: GraphBuilder) -> Tensor:
    """The decision_function of a linear classifier."""
    if not isinstance(model, LinearClassifierMixin):
        raise _not_supported(model)
    return sums.linear(features, np.asarray(model.coef_).T, np.ravel(model.intercept_))


def model_probability(model: Any, features: Features, sums: GraphBuilder) -> Tensor:
    """What predict_proba says; of a classifier without it, the logistic or softmax of its decision_function."""
    for kind, read in _FINAL_CLASSIFIERS:
        if isinstance(model, kind):
            return read(model, features, sums)
    raise _not_supported(model)


def model_prediction(model: Any, features: Features, sums: GraphBuilder) -> Tensor:
    """What a regressor predicts [n, 1]."""
    if isinstance(model, MLPRegressor):
        return _perceptron(model, features, sums)
    if isinstance(model, _GeneralizedLinearRegressor):
        raw = sums.linear(features, np.ravel(model.coef_)[:, None], np.ravel(model.intercept_))
        return _apply_inverse_link(model, raw, sums)
    if is_regressor(model) and isinstance(model, LinearModel | BaseSGDRegressor) and np.size(model.intercept_) == 1:
        return sums.linear(features, np.ravel(model.coef_)[:, None], np.ravel(model.intercept_))
    raise _not_supported(model)


def sigmoid_or_softmax(found: Tensor, sums: GraphBuilder) -> Tensor:
    """The logistic of one column, the softmax of more."""
    kind = sums.tape.do("Sigmoid", found.name) if found.width == 1 else sums.tape.softmax(found.name)
    return Tensor(kind, found.width)


def _not_supported(model: Any) -> NotApplicable:
    return NotApplicable(f"{type(model).__name__} is not written as a graph")


def _decision_probability(model: Any, features: Features, sums: GraphBuilder) -> Tensor:
    """Where the library says no probability, the engine takes the same logistic of its decision."""
    return sigmoid_or_softmax(linear_decision(model, features, sums), sums)


def _logistic_regression(model: Any, features: Features, sums: GraphBuilder) -> Tensor:
    """LogisticRegression: the logistic or softmax of its decision, or the other forms of releases before 1.8."""
    found, form = linear_decision(model, features, sums), getattr(model, "multi_class", "")
    if found.width == 1 and form == "multinomial":  # the softmax of -x and x
        return Tensor(sums.tape.do("Sigmoid", sums.tape.do("Add", found.name, found.name)), 1)
    if found.width > 1 and (form == "ovr" or model.solver == "liblinear"):
        return sums.tape.rated(Tensor(sums.tape.do("Sigmoid", found.name), found.width), 1 / found.width)
    return sigmoid_or_softmax(found, sums)


def _sgd_classifier(model: Any, features: Features, sums: GraphBuilder) -> Tensor:
    """SGDClassifier: each class by itself, then shares of their sum."""
    found, tape = linear_decision(model, features, sums), sums.tape
    if model.loss == "log_loss":
        each = tape.do("Sigmoid", found.name)
    elif model.loss == "modified_huber":
        clipped = tape.do("Clip", found.name, tape.keep(-1.0), tape.keep(1.0))
        each = tape.do("Mul", tape.do("Add", clipped, tape.keep(1.0)), tape.keep(0.5))
    else:
        return _decision_probability(model, features, sums)
    shares = Tensor(each, found.width)
    return shares if found.width == 1 else tape.rated(shares, 1 / found.width)


def _discrete_naive_bayes(model: Any, features: Features, sums: GraphBuilder) -> Tensor:
    """Naive Bayes of counts: a sum for each class, of two classes their difference."""
    weights = model.feature_log_prob_.T
    bias = np.zeros(weights.shape[1]) if isinstance(model, ComplementNB) else model.class_log_prior_
    if isinstance(model, BernoulliNB):
        absent = np.log(1 - np.exp(model.feature_log_prob_))
        weights, bias = (model.feature_log_prob_ - absent).T, bias + absent.sum(axis=1)
        if model.binarize is not None:
            features = [compare_feature(each, model.binarize, ">") for each in features]
    if weights.shape[1] == 2:
        weights, bias = weights[:, 1:] - weights[:, :1], bias[1:] - bias[:1]
    return sigmoid_or_softmax(sums.linear(features, weights, bias), sums)


def _gaussian_naive_bayes(model: Any, features: Features, sums: GraphBuilder) -> Tensor:
    """Naive Bayes of normal columns: squares of how far a number is from the mean of each class."""
    dense, tape = sums.dense(features), sums.tape
    scores = []
    for theta, var, prior in zip(model.theta_, model.var_, model.class_prior_, strict=True):
        apart = tape.do("Sub", dense.name, tape.keep(theta))
        squares = tape.do("Mul", apart, apart)
        score = tape.do("MatMul", squares, tape.keep((-0.5 / var)[:, None]))
        start = np.log(prior) - 0.5 * np.sum(np.log(2.0 * np.pi * var))
        scores.append(Tensor(tape.do("Add", score, tape.keep(np.array([start]))), 1))
    if len(scores) == 2:
        return sigmoid_or_softmax(Tensor(tape.do("Sub", scores[1].name, scores[0].name), 1), sums)
    return sigmoid_or_softmax(tape.join(scores), sums)


def _perceptron(model: Any, features: Features, sums: GraphBuilder) -> Tensor:
    """Layers of a multi-layer perceptron; the first takes the features as they are."""
    tape, layers = sums.tape, list(zip(model.coefs_, model.intercepts_, strict=True))
    found = sums.linear(features, *layers[0])
    for weights, bias in layers[1:]:
        found = _activate(found, model.activation, sums)
        product = tape.do("MatMul", found.name, tape.keep(np.asarray(weights, np.float64)))
        found = Tensor(tape.do("Add", product, tape.keep(np.asarray(bias, np.float64))), weights.shape[1])
    return _activate(found, model.out_activation_, sums)


def _activate(found: Tensor, kind: str, sums: GraphBuilder) -> Tensor:
    if kind == "identity":
        return found
    made = sums.tape.softmax(found.name) if kind == "softmax" else sums.tape.do(_ACTIVATIONS[kind], found.name)
    return Tensor(made, found.width)


def _apply_inverse_link(model: Any, raw: Tensor, sums: GraphBuilder) -> Tensor:
    """A generalised linear model by the inverse of its link."""
    link = type(model._base_loss.link).__name__
    if link == "IdentityLink":
        return raw
    if link == "LogLink":
        return Tensor(sums.tape.do("Exp", raw.name), 1)
    raise NotApplicable(f"{type(model).__name__} with {link} is not written as a graph")


ModelReader = Callable[[Any, Features, GraphBuilder], Tensor]
# In this order: a class before those that it derives from.
_FINAL_CLASSIFIERS: tuple[tuple[type, ModelReader], ...] = (
    (SGDClassifier, _sgd_classifier),
    (LogisticRegression, _logistic_regression),
    (MLPClassifier, _perceptron),
    (GaussianNB, _gaussian_naive_bayes),
    (MultinomialNB, _discrete_naive_bayes),
    (ComplementNB, _discrete_naive_bayes),
    (BernoulliNB, _discrete_naive_bayes),
    (LinearClassifierMixin, _decision_probability),
)


def array_features(found: Tensor) -> Features:
    """The columns of an array as features."""
    return [ArrayFeature(array=found.name, place=place, width=found.width) for place in range(found.width)]


_LOG_EPSILON = 1e-12  # added to a probability before its logarithm is taken, as scikit-learn does


def pipeline_graph(model: Any, width: int, columns: ModelColumns | None) -> Graph:
    """The graph of a fitted estimator; raises NotApplicable that names the part which no graph says."""
    sums = GraphBuilder(width)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a step that is asked for single values is given them without names
        return sums.finish(_scores(model, input_features(width, columns), sums))


def _scores(model: Any, features: Features, sums: GraphBuilder) -> Tensor:
    last = final_step(model)
    if is_tree_model(last):
        raise NotApplicable(f"{type(last).__name__} is compiled as trees, with the steps before it")
    return (_prediction if is_regressor(model) else _probability)(model, features, sums)


def _probability(model: Any, features: Features, sums: GraphBuilder) -> Tensor:
    return _read_through(
        model, features, sums, _probability, _CLASSIFIERS.get(type(model), _forest_or(model_probability))
    )


def _prediction(model: Any, features: Features, sums: GraphBuilder) -> Tensor:
    return _read_through(model, features, sums, _prediction, _REGRESSORS.get(type(model), _forest_or(model_prediction)))


def _decision(model: Any, features: Features, sums: GraphBuilder) -> Tensor:
    stacks = {StackingClassifier: partial(_stacking, final=_decision)}
    return _read_through(
        model, features, sums, _decision, stacks.get(type(model), _forest_or(linear_decision, raw=True))
    )


def _read_through(model: Any, features: Features, sums: GraphBuilder, again: ModelReader, last: ModelReader) -> Tensor:
    """Through what only holds a model to that model, and what it says by `last`."""
    if isinstance(model, Pipeline):
        for _, step in model.steps[:-1]:
            features = transform_features(step, features, sums)
        return again(model.steps[-1][1], features, sums)
    if type(model).__name__ == "FrozenEstimator":
        return again(model.estimator, features, sums)
    if isinstance(model, BaseSearchCV):
        return again(model.best_estimator_, features, sums)
    if isinstance(model, FixedThresholdClassifier | TunedThresholdClassifierCV):
        return again(model.estimator_, features, sums)
    return last(model, features, sums)


def _forest_or(read: ModelReader, *, raw: bool = False) -> ModelReader:
    """A model of trees as a forest over the row, `raw` without its link; any other by `read`."""

    def either(model: Any, features: Features, sums: GraphBuilder) -> Tensor:
        if not is_tree_model(model):
            return read(model, features, sums)
        forest = fold.fold_features(model, features, sums.width)
        if raw and getattr(model, "loss", "") == "exponential":
            raise NotApplicable(f"{type(model).__name__} with exponential loss is not written as a graph")
        return sums.tape.ask(replace(forest, link="identity") if raw else forest)

    return either


def _average(found: list[Tensor], weights: Any, sums: GraphBuilder) -> Tensor:
    """The weighted mean of answers of one form."""
    shares = np.full(len(found), 1 / len(found)) if weights is None else np.asarray(weights, float) / np.sum(weights)
    whole, width = sums.tape.join(found), found[0].width
    matrix = np.vstack([share * np.eye(width) for share in shares])
    return Tensor(sums.tape.do("MatMul", whole.name, sums.tape.keep(matrix)), width)


def _soft_vote(model: Any, features: Features, sums: GraphBuilder) -> Tensor:
    return _average([_probability(each, features, sums) for each in model.estimators_], model._weights_not_none, sums)


def _voting_regressor(model: Any, features: Features, sums: GraphBuilder) -> Tensor:
    return _average([_prediction(each, features, sums) for each in model.estimators_], model._weights_not_none, sums)


def _bagging(model: Any, features: Features, sums: GraphBuilder, *, read: ModelReader) -> Tensor:
    """The mean of parts that each read some of the features."""
    if any(len(getattr(each, "classes_", ())) != len(getattr(model, "classes_", ())) for each in model.estimators_):
        raise NotApplicable(f"{type(model).__name__} with a part that saw fewer classes is not written as a graph")
    parts = [
        read(each, [features[int(place)] for place in places], sums)
        for each, places in zip(model.estimators_, model.estimators_features_, strict=True)
    ]
    return _average(parts, None, sums)


def _stacking(model: Any, features: Features, sums: GraphBuilder, *, final: ModelReader) -> Tensor:
    """Answers of the first layer as features of the last, before those of the row where it passes them on."""
    methods = {"predict_proba": _probability, "decision_function": _decision}
    found: Features = []
    for each, method in zip(model.estimators_, model.stack_method_, strict=True):
        if method == "predict" and not is_regressor(each):
            raise NotApplicable(f"a stack of the classes that {type(each).__name__} predicts is not written as a graph")
        found += array_features(methods.get(method, _prediction)(each, features, sums))
    return final(model.final_estimator_, found + (features if model.passthrough else []), sums)


def _calibration(model: Any, features: Features, sums: GraphBuilder) -> Tensor:
    return _average([_calibrate_one(each, features, sums) for each in model.calibrated_classifiers_], None, sums)


def _calibrate_one(model: Any, features: Features, sums: GraphBuilder) -> Tensor:
    by_decision = hasattr(model.estimator, "decision_function")
    found, tape = (_decision if by_decision else _probability)(model.estimator, features, sums), sums.tape
    if model.method == "temperature":
        return _temperature_scaling(float(model.calibrators[0].beta_), found, by_decision, sums)
    if len(model.calibrators) != found.width:
        raise NotApplicable("CalibratedClassifierCV with a part that saw fewer classes is not written as a graph")
    made = _platt_scaling(model, found, sums) if model.method == "sigmoid" else _isotonic(model, found, sums)
    return made if found.width == 1 else tape.rated(made, 1 / made.width)


def _temperature_scaling(beta: float, found: Tensor, by_decision: bool, sums: GraphBuilder) -> Tensor:
    """The softmax of scaled decisions or logarithms of probabilities; the logistic where there is one decision."""
    tape = sums.tape
    if not by_decision:
        if found.width == 1:
            found = tape.join([Tensor(tape.do("Sub", tape.keep(1.0), found.name), 1), found])
        logs = tape.do("Log", tape.do("Add", found.name, tape.keep(_LOG_EPSILON)))
        both = tape.softmax(tape.do("Mul", logs, tape.keep(beta)))
        return Tensor(tape.pick(both, [1]), 1) if found.width == 2 else Tensor(both, found.width)
    scaled = tape.do("Mul", found.name, tape.keep(beta if found.width > 1 else 2 * beta))
    return sigmoid_or_softmax(Tensor(scaled, found.width), sums)


def _platt_scaling(model: Any, found: Tensor, sums: GraphBuilder) -> Tensor:
    slopes, shifts = (np.array([getattr(each, name) for each in model.calibrators]) for name in ("a_", "b_"))
    scaled = sums.tape.do("Mul", found.name, sums.tape.keep(-slopes))
    return Tensor(sums.tape.do("Sigmoid", sums.tape.do("Add", scaled, sums.tape.keep(-shifts))), found.width)


def _isotonic(model: Any, found: Tensor, sums: GraphBuilder) -> Tensor:
    """Isotonic calibration: a line in pieces, each of which adds its rise as far as the number has come in it."""
    return sums.tape.join(
        [
            _piecewise_linear(each, sums.tape.pick(found.name, [place]) if found.width > 1 else found.name, sums)
            for place, each in enumerate(model.calibrators)
        ]
    )


def _piecewise_linear(curve: Any, x: str, sums: GraphBuilder) -> Tensor:
    at, height = (np.asarray(each, np.float64) for each in (curve.X_thresholds_, curve.y_thresholds_))
    tape = sums.tape
    if len(at) == 1:
        return Tensor(tape.do("Add", tape.do("Mul", x, tape.keep(0.0)), tape.keep(height)), 1)
    inside = TERMS["clip"](tape, x, np.column_stack([at[:-1], at[1:]]))
    rises = (np.diff(height) / np.diff(at))[:, None]
    risen = tape.do("MatMul", tape.do("Sub", inside, tape.keep(at[:-1])), tape.keep(rises))
    return Tensor(tape.do("Add", risen, tape.keep(height[:1])), 1)


def _one_vs_rest(model: Any, features: Features, sums: GraphBuilder) -> Tensor:
    found = sums.tape.join([_probability(each, features, sums) for each in model.estimators_])
    return found if found.width == 1 else sums.tape.rated(found, 0.0)


def _transformed_target(model: Any, features: Features, sums: GraphBuilder) -> Tensor:
    """A regressor of a target that was changed before the fit, and is changed back."""
    found, back, tape = _prediction(model.regressor_, features, sums), model.transformer_, sums.tape
    if isinstance(back, StandardScaler):
        scale, mean = (1.0 if each is None else each for each in (back.scale_, back.mean_))
        return Tensor(tape.do("Add", tape.do("Mul", found.name, tape.keep(scale)), tape.keep(mean)), 1)
    name = getattr(getattr(back, "inverse_func", None), "__name__", "")
    if not (isinstance(back, FunctionTransformer) and isinstance(back.inverse_func, np.ufunc) and name in UFUNC_TERMS):
        raise NotApplicable(f"TransformedTargetRegressor with {name or type(back).__name__} is not written as a graph")
    return Tensor(TERMS[UFUNC_TERMS[name]](tape, found.name, np.zeros((1, 0))), 1)


_CLASSIFIERS: dict[type, ModelReader] = {
    BaggingClassifier: partial(_bagging, read=_probability),
    CalibratedClassifierCV: _calibration,
    OneVsRestClassifier: _one_vs_rest,
    StackingClassifier: partial(_stacking, final=_probability),
    VotingClassifier: _soft_vote,
}
_REGRESSORS: dict[type, ModelReader] = {
    BaggingRegressor: partial(_bagging, read=_prediction),
    StackingRegressor: partial(_stacking, final=_prediction),
    TransformedTargetRegressor: _transformed_target,
    VotingRegressor: _voting_regressor,
}
