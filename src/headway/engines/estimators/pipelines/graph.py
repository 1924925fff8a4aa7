"""Compile fitted pipelines and ensembles of models (voting, stacking, calibration) to one graph from a row to scores.

A classifier of two classes answers one column, the probability of the second class; one of more classes, or of several
labels a row, answers one column for each.
"""

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
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.linear_model._base import LinearClassifierMixin, LinearModel
from sklearn.linear_model._glm.glm import _GeneralizedLinearRegressor
from sklearn.linear_model._stochastic_gradient import BaseSGDRegressor
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV
from sklearn.model_selection._search import BaseSearchCV
from sklearn.multiclass import OneVsRestClassifier, _ConstantPredictor
from sklearn.multioutput import MultiOutputClassifier
from sklearn.naive_bayes import BernoulliNB, ComplementNB, GaussianNB, MultinomialNB
from sklearn.neighbors import NearestCentroid
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC, NuSVC

from headway.core.arrays import sparse_to_dense
from headway.core.errors import NotApplicable
from headway.engines.estimators.multilabel import label_names
from headway.engines.estimators.pipelines import fold
from headway.engines.estimators.pipelines.features import (
    UFUNC_TERMS,
    ArrayFeature,
    Feature,
    input_features,
)
from headway.engines.estimators.pipelines.graph_builder import TERMS, GraphArray, GraphBuilder
from headway.engines.estimators.pipelines.steps import transform_features
from headway.engines.estimators.skops_file import ModelColumns
from headway.engines.estimators.trees import final_step, is_tree_model
from headway.engines.formats.graph import Graph

Features = list[Feature]

_ACTIVATIONS = {"relu": "Relu", "tanh": "Tanh", "logistic": "Sigmoid", "softmax": "Softmax", "exp": "Exp"}


def linear_decision(model: Any, features: Features, builder: GraphBuilder) -> GraphArray:
    """Emit the decision_function of a linear classifier."""
    if isinstance(model, SVC | NuSVC) and model.kernel == "linear" and len(model.classes_) == 2:
        weights = sparse_to_dense(model.coef_, 0.0) if hasattr(model.coef_, "tocoo") else np.asarray(model.coef_)
        return builder.linear(features, weights.T, np.ravel(model.intercept_))
    if not isinstance(model, LinearClassifierMixin):
        raise _not_supported(model)
    return builder.linear(features, np.asarray(model.coef_).T, np.ravel(model.intercept_))


def model_probability(model: Any, features: Features, builder: GraphBuilder) -> GraphArray:
    """Emit predict_proba; for a classifier without it, the sigmoid or softmax of its decision_function."""
    for kind, read in _FINAL_CLASSIFIERS:
        if isinstance(model, kind):
            return read(model, features, builder)
    raise _not_supported(model)


def model_prediction(model: Any, features: Features, builder: GraphBuilder) -> GraphArray:
    """Emit the predictions [n, 1] of a regressor."""
    if isinstance(model, MLPRegressor):
        return _perceptron(model, features, builder)
    if isinstance(model, _GeneralizedLinearRegressor):
        raw = builder.linear(features, np.ravel(model.coef_)[:, None], np.ravel(model.intercept_))
        return _apply_inverse_link(model, raw, builder)
    if is_regressor(model) and isinstance(model, LinearModel | BaseSGDRegressor) and np.size(model.intercept_) == 1:
        return builder.linear(features, np.ravel(model.coef_)[:, None], np.ravel(model.intercept_))
    raise _not_supported(model)


def sigmoid_or_softmax(found: GraphArray, builder: GraphBuilder, *, multilabel: bool = False) -> GraphArray:
    """Emit the sigmoid of one column or of several labels, or the softmax of several classes."""
    is_sigmoid = found.width == 1 or multilabel
    kind = builder.emitter.emit("Sigmoid", found.name) if is_sigmoid else builder.emitter.softmax(found.name)
    return GraphArray(kind, found.width)


def _not_supported(model: Any) -> NotApplicable:
    return NotApplicable(f"{type(model).__name__} cannot be compiled to a graph")


def _decision_probability(model: Any, features: Features, builder: GraphBuilder) -> GraphArray:
    """Emit the sigmoid of the decision, as the engine answers for classifiers without probabilities."""
    found = linear_decision(model, features, builder)
    return sigmoid_or_softmax(found, builder, multilabel=bool(label_names(model)))


def _support_vectors(model: Any, features: Features, builder: GraphBuilder) -> GraphArray:
    """Emit the sigmoid of the decision of a linear kernel; pairs of more classes vote, which no sum can express."""
    if model.kernel != "linear" or len(model.classes_) > 2 or hasattr(model, "predict_proba"):
        kind = "probabilities" if hasattr(model, "predict_proba") else f"{len(model.classes_)} classes"
        raise NotApplicable(
            f"{type(model).__name__} with kernel {model.kernel!r} and {kind} cannot be compiled to a graph; "
            "a LinearSVC can"
        )
    return _decision_probability(model, features, builder)


def _logistic_regression(model: Any, features: Features, builder: GraphBuilder) -> GraphArray:
    """Emit the sigmoid or softmax of the decision, or the forms of scikit-learn before 1.8."""
    found, form = linear_decision(model, features, builder), getattr(model, "multi_class", "")
    if found.width == 1 and form == "multinomial":  # the softmax of -x and x
        return GraphArray(builder.emitter.emit("Sigmoid", builder.emitter.emit("Add", found.name, found.name)), 1)
    if found.width > 1 and (form == "ovr" or model.solver == "liblinear"):
        return builder.emitter.normalize_rows(
            GraphArray(builder.emitter.emit("Sigmoid", found.name), found.width), 1 / found.width
        )
    return sigmoid_or_softmax(found, builder)


def _sgd_classifier(model: Any, features: Features, builder: GraphBuilder) -> GraphArray:
    """Emit one score per class, normalized to sum to 1."""
    found, emitter = linear_decision(model, features, builder), builder.emitter
    if model.loss == "log_loss":
        scores = emitter.emit("Sigmoid", found.name)
    elif model.loss == "modified_huber":
        clipped = emitter.emit("Clip", found.name, emitter.constant(-1.0), emitter.constant(1.0))
        scores = emitter.emit("Mul", emitter.emit("Add", clipped, emitter.constant(1.0)), emitter.constant(0.5))
    else:
        return _decision_probability(model, features, builder)
    shares = GraphArray(scores, found.width)
    return shares if found.width == 1 else emitter.normalize_rows(shares, 1 / found.width)


def _discrete_naive_bayes(model: Any, features: Features, builder: GraphBuilder) -> GraphArray:
    """Emit naive Bayes over counts: one sum per class, or the difference of two."""
    weights = model.feature_log_prob_.T
    bias = np.zeros(weights.shape[1]) if isinstance(model, ComplementNB) else model.class_log_prior_
    if isinstance(model, BernoulliNB):
        absent = np.log(1 - np.exp(model.feature_log_prob_))
        weights, bias = (model.feature_log_prob_ - absent).T, bias + absent.sum(axis=1)
        if model.binarize is not None:
            features = builder.above(features, model.binarize)
    if weights.shape[1] == 2:
        weights, bias = weights[:, 1:] - weights[:, :1], bias[1:] - bias[:1]
    return sigmoid_or_softmax(builder.linear(features, weights, bias), builder)


def _nearest_centroid(model: Any, features: Features, builder: GraphBuilder) -> GraphArray:
    """Emit the squared distances to centroids, without the part that all classes share."""
    if model.metric != "euclidean":
        raise NotApplicable(f"NearestCentroid with metric {model.metric!r} cannot be compiled to a graph")
    deviation = np.where(model.within_class_std_dev_ == 0, 1.0, model.within_class_std_dev_)
    centroids = model.centroids_ / deviation
    weights, bias = 2 * (centroids / deviation).T, 2 * np.log(model.class_prior_) - np.sum(centroids**2, axis=1)
    if weights.shape[1] == 2:
        weights, bias = weights[:, 1:] - weights[:, :1], bias[1:] - bias[:1]
    return sigmoid_or_softmax(builder.linear(features, weights, bias), builder)


def _gaussian_naive_bayes(model: Any, features: Features, builder: GraphBuilder) -> GraphArray:
    """Emit naive Bayes over normal columns: squared distances from the mean of each class."""
    dense, emitter = builder.dense(features), builder.emitter
    scores = []
    for theta, var, prior in zip(model.theta_, model.var_, model.class_prior_, strict=True):
        apart = emitter.emit("Sub", dense.name, emitter.constant(theta))
        squares = emitter.emit("Mul", apart, apart)
        score = emitter.emit("MatMul", squares, emitter.constant((-0.5 / var)[:, None]))
        start = np.log(prior) - 0.5 * np.sum(np.log(2.0 * np.pi * var))
        scores.append(GraphArray(emitter.emit("Add", score, emitter.constant(np.array([start]))), 1))
    if len(scores) == 2:
        return sigmoid_or_softmax(GraphArray(emitter.emit("Sub", scores[1].name, scores[0].name), 1), builder)
    return sigmoid_or_softmax(emitter.concat(scores), builder)


def _perceptron(model: Any, features: Features, builder: GraphBuilder) -> GraphArray:
    """Emit the layers of a multi-layer perceptron; the first layer reads the features directly."""
    emitter, layers = builder.emitter, list(zip(model.coefs_, model.intercepts_, strict=True))
    found = builder.linear(features, *layers[0])
    for weights, bias in layers[1:]:
        found = _activate(found, model.activation, builder)
        product = emitter.emit("MatMul", found.name, emitter.constant(np.asarray(weights, np.float64)))
        found = GraphArray(
            emitter.emit("Add", product, emitter.constant(np.asarray(bias, np.float64))), weights.shape[1]
        )
    return _activate(found, model.out_activation_, builder)


def _activate(found: GraphArray, kind: str, builder: GraphBuilder) -> GraphArray:
    if kind == "identity":
        return found
    made = (
        builder.emitter.softmax(found.name)
        if kind == "softmax"
        else builder.emitter.emit(_ACTIVATIONS[kind], found.name)
    )
    return GraphArray(made, found.width)


def _apply_inverse_link(model: Any, raw: GraphArray, builder: GraphBuilder) -> GraphArray:
    """Emit the inverse link of a generalized linear model."""
    link = type(model._base_loss.link).__name__
    if link == "IdentityLink":
        return raw
    if link == "LogLink":
        return GraphArray(builder.emitter.emit("Exp", raw.name), 1)
    raise NotApplicable(f"{type(model).__name__} with {link} cannot be compiled to a graph")


ModelReader = Callable[[Any, Features, GraphBuilder], GraphArray]
# In order: a class before its base classes.
_FINAL_CLASSIFIERS: tuple[tuple[type, ModelReader], ...] = (
    (SGDClassifier, _sgd_classifier),
    (LogisticRegression, _logistic_regression),
    (MLPClassifier, _perceptron),
    (GaussianNB, _gaussian_naive_bayes),
    (MultinomialNB, _discrete_naive_bayes),
    (ComplementNB, _discrete_naive_bayes),
    (BernoulliNB, _discrete_naive_bayes),
    (NearestCentroid, _nearest_centroid),
    (SVC, _support_vectors),
    (NuSVC, _support_vectors),
    (LinearClassifierMixin, _decision_probability),
)


def array_features(found: GraphArray) -> Features:
    """Return the columns of an array as features."""
    return [ArrayFeature(array=found.name, index=index, width=found.width) for index in range(found.width)]


_LOG_EPSILON = 1e-12  # added to a probability before its logarithm is taken, as scikit-learn does


def pipeline_graph(model: Any, width: int, columns: ModelColumns | None) -> Graph:
    """Compile a fitted estimator to a graph; raise NotApplicable, which names the part that a graph cannot express."""
    builder = GraphBuilder(width)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # steps are called with single values, without column names
        return builder.finish(emit_scores(model, input_features(width, columns), builder))


def emit_scores(model: Any, features: Features, builder: GraphBuilder) -> GraphArray:
    """Emit the answers of a fitted estimator: predictions of a regressor, else probabilities."""
    last = final_step(model)
    if is_tree_model(last):
        raise NotApplicable(f"{type(last).__name__} is compiled to trees, with the steps before it")
    _expect_decisions_of_probabilities(last)
    return (_prediction if is_regressor(model) else _probability)(model, features, builder)


def _expect_decisions_of_probabilities(last: Any) -> None:
    """Raise NotApplicable for a classifier of several classes whose `predict` its clipped probabilities do not give."""
    inner = getattr(last, "estimator", None) if isinstance(last, OneVsRestClassifier) else last
    several = isinstance(classes := getattr(last, "classes_", ()), np.ndarray) and len(classes) > 2
    if isinstance(inner, SGDClassifier) and inner.loss == "modified_huber" and several and not label_names(last):
        raise NotApplicable(
            f"{type(last).__name__} with loss 'modified_huber' and {len(classes)} classes cannot be compiled: its "
            "predict follows the decision function, and its probabilities are clipped, so that classes tie"
        )


def _probability(model: Any, features: Features, builder: GraphBuilder) -> GraphArray:
    return _read_through(
        model, features, builder, _probability, _CLASSIFIERS.get(type(model), _forest_or(model_probability))
    )


def _prediction(model: Any, features: Features, builder: GraphBuilder) -> GraphArray:
    return _read_through(
        model, features, builder, _prediction, _REGRESSORS.get(type(model), _forest_or(model_prediction))
    )


def _decision(model: Any, features: Features, builder: GraphBuilder) -> GraphArray:
    stacking = partial(_stacking, final=_decision)
    known: dict[type, ModelReader] = {StackingClassifier: stacking, _ConstantPredictor: _constant}
    return _read_through(
        model, features, builder, _decision, known.get(type(model), _forest_or(linear_decision, raw=True))
    )


def _read_through(
    model: Any, features: Features, builder: GraphBuilder, again: ModelReader, last: ModelReader
) -> GraphArray:
    """Unwrap pipelines and meta-estimators, then compile the model inside with `last`."""
    if isinstance(model, Pipeline):
        for _, step in model.steps[:-1]:
            features = transform_features(step, features, builder)
        return again(model.steps[-1][1], features, builder)
    if type(model).__name__ == "FrozenEstimator":
        return again(model.estimator, features, builder)
    if isinstance(model, BaseSearchCV):
        return again(model.best_estimator_, features, builder)
    if isinstance(model, FixedThresholdClassifier | TunedThresholdClassifierCV):
        return again(model.estimator_, features, builder)
    return last(model, features, builder)


def _forest_or(read: ModelReader, *, raw: bool = False) -> ModelReader:
    """Compile a tree model to a forest over the row, without its link if `raw`; compile any other model with `read`."""

    def either(model: Any, features: Features, builder: GraphBuilder) -> GraphArray:
        if not is_tree_model(model):
            return read(model, features, builder)
        forest = fold.fold_features(model, features, builder.width)
        if raw and getattr(model, "loss", "") == "exponential":
            raise NotApplicable(f"{type(model).__name__} with exponential loss cannot be compiled to a graph")
        return builder.emitter.add_forest(replace(forest, link="identity") if raw else forest)

    return either


def _average(found: list[GraphArray], weights: Any, builder: GraphBuilder) -> GraphArray:
    """Emit the weighted mean of answers of equal shape."""
    shares = np.full(len(found), 1 / len(found)) if weights is None else np.asarray(weights, float) / np.sum(weights)
    joined, width = builder.emitter.concat(found), found[0].width
    matrix = np.vstack([share * np.eye(width) for share in shares])
    return GraphArray(builder.emitter.emit("MatMul", joined.name, builder.emitter.constant(matrix)), width)


def _soft_vote(model: Any, features: Features, builder: GraphBuilder) -> GraphArray:
    return _average(
        [_probability(estimator, features, builder) for estimator in model.estimators_],
        model._weights_not_none,
        builder,
    )


def _voting_regressor(model: Any, features: Features, builder: GraphBuilder) -> GraphArray:
    return _average(
        [_prediction(estimator, features, builder) for estimator in model.estimators_], model._weights_not_none, builder
    )


def _bagging(model: Any, features: Features, builder: GraphBuilder, *, read: ModelReader) -> GraphArray:
    """Emit the mean of estimators that each read some of the features."""
    if any(
        len(getattr(estimator, "classes_", ())) != len(getattr(model, "classes_", ()))
        for estimator in model.estimators_
    ):
        raise NotApplicable(f"{type(model).__name__} with a part that saw fewer classes cannot be compiled to a graph")
    parts = [
        read(estimator, builder.pick(features, indices), builder)
        for estimator, indices in zip(model.estimators_, model.estimators_features_, strict=True)
    ]
    return _average(parts, None, builder)


def _stacking(model: Any, features: Features, builder: GraphBuilder, *, final: ModelReader) -> GraphArray:
    """Emit the final estimator over the first layer's answers, followed by the row's features if passed through."""
    methods = {"predict_proba": _probability, "decision_function": _decision}
    found: Features = []
    for estimator, method in zip(model.estimators_, model.stack_method_, strict=True):
        if method == "predict" and not is_regressor(estimator):
            raise NotApplicable(
                f"a stack over the classes that {type(estimator).__name__} predicts cannot be compiled to a graph"
            )
        found += array_features(methods.get(method, _prediction)(estimator, features, builder))
    return final(model.final_estimator_, found + (features if model.passthrough else []), builder)


def _calibration(model: Any, features: Features, builder: GraphBuilder) -> GraphArray:
    return _average(
        [_calibrate_one(classifier, features, builder) for classifier in model.calibrated_classifiers_], None, builder
    )


def _calibrate_one(model: Any, features: Features, builder: GraphBuilder) -> GraphArray:
    by_decision = hasattr(model.estimator, "decision_function")
    found, emitter = (_decision if by_decision else _probability)(model.estimator, features, builder), builder.emitter
    if model.method == "temperature":
        return _temperature_scaling(float(model.calibrators[0].beta_), found, by_decision, builder)
    if len(model.calibrators) != found.width:
        raise NotApplicable("CalibratedClassifierCV with a part that saw fewer classes cannot be compiled to a graph")
    made = _platt_scaling(model, found, builder) if model.method == "sigmoid" else _isotonic(model, found, builder)
    return made if found.width == 1 else emitter.normalize_rows(made, 1 / made.width)


def _temperature_scaling(beta: float, found: GraphArray, by_decision: bool, builder: GraphBuilder) -> GraphArray:
    """Emit the softmax of scaled decisions or log-probabilities, or the sigmoid of a single decision."""
    emitter = builder.emitter
    if not by_decision:
        if found.width == 1:
            found = emitter.concat([GraphArray(emitter.emit("Sub", emitter.constant(1.0), found.name), 1), found])
        logs = emitter.emit("Log", emitter.emit("Add", found.name, emitter.constant(_LOG_EPSILON)))
        both = emitter.softmax(emitter.emit("Mul", logs, emitter.constant(beta)))
        return GraphArray(emitter.select(both, [1]), 1) if found.width == 2 else GraphArray(both, found.width)
    scaled = emitter.emit("Mul", found.name, emitter.constant(beta if found.width > 1 else 2 * beta))
    return sigmoid_or_softmax(GraphArray(scaled, found.width), builder)


def _platt_scaling(model: Any, found: GraphArray, builder: GraphBuilder) -> GraphArray:
    slopes, shifts = (
        np.array([getattr(calibrator, name) for calibrator in model.calibrators]) for name in ("a_", "b_")
    )
    scaled = builder.emitter.emit("Mul", found.name, builder.emitter.constant(-slopes))
    return GraphArray(
        builder.emitter.emit("Sigmoid", builder.emitter.emit("Add", scaled, builder.emitter.constant(-shifts))),
        found.width,
    )


def _isotonic(model: Any, found: GraphArray, builder: GraphBuilder) -> GraphArray:
    """Emit isotonic calibration: a piecewise linear curve as the sum of the rises of its pieces."""
    return builder.emitter.concat(
        [
            _piecewise_linear(
                calibrator, builder.emitter.select(found.name, [index]) if found.width > 1 else found.name, builder
            )
            for index, calibrator in enumerate(model.calibrators)
        ]
    )


def _piecewise_linear(curve: Any, x: str, builder: GraphBuilder) -> GraphArray:
    at, height = (np.asarray(array, np.float64) for array in (curve.X_thresholds_, curve.y_thresholds_))
    emitter = builder.emitter
    if len(at) == 1:
        return GraphArray(
            emitter.emit("Add", emitter.emit("Mul", x, emitter.constant(0.0)), emitter.constant(height)), 1
        )
    inside = TERMS["clip"](emitter, x, np.column_stack([at[:-1], at[1:]]))
    rises = (np.diff(height) / np.diff(at))[:, None]
    risen = emitter.emit("MatMul", emitter.emit("Sub", inside, emitter.constant(at[:-1])), emitter.constant(rises))
    return GraphArray(emitter.emit("Add", risen, emitter.constant(height[:1])), 1)


def _one_vs_rest(model: Any, features: Features, builder: GraphBuilder) -> GraphArray:
    has_probabilities = all(hasattr(estimator, "predict_proba") for estimator in model.estimators_)
    read = _probability if has_probabilities else _decision
    found = builder.emitter.concat([read(estimator, features, builder) for estimator in model.estimators_])
    if not has_probabilities:
        return sigmoid_or_softmax(found, builder, multilabel=model.multilabel_)
    return found if found.width == 1 or model.multilabel_ else builder.emitter.normalize_rows(found, 0.0)


def _multi_output(model: Any, features: Features, builder: GraphBuilder) -> GraphArray:
    """Emit the probability of each label, by its own estimator."""
    label_names(model)
    return builder.emitter.concat([_probability(estimator, features, builder) for estimator in model.estimators_])


def _constant(model: Any, features: Features, builder: GraphBuilder) -> GraphArray:
    """Emit the answer of a label that all training rows had, or none."""
    return builder.linear(features, np.zeros((len(features), 1)), np.asarray(model.y_, np.float64))


def _transformed_target(model: Any, features: Features, builder: GraphBuilder) -> GraphArray:
    """Emit a regressor of a transformed target, with the inverse transform."""
    found, back, emitter = _prediction(model.regressor_, features, builder), model.transformer_, builder.emitter
    if isinstance(back, StandardScaler):
        scale, mean = (1.0 if value is None else value for value in (back.scale_, back.mean_))
        return GraphArray(
            emitter.emit("Add", emitter.emit("Mul", found.name, emitter.constant(scale)), emitter.constant(mean)), 1
        )
    name = getattr(getattr(back, "inverse_func", None), "__name__", "")
    if not (isinstance(back, FunctionTransformer) and isinstance(back.inverse_func, np.ufunc) and name in UFUNC_TERMS):
        raise NotApplicable(
            f"TransformedTargetRegressor with {name or type(back).__name__} cannot be compiled to a graph"
        )
    return GraphArray(TERMS[UFUNC_TERMS[name]](emitter, found.name, np.zeros((1, 0))), 1)


_CLASSIFIERS: dict[type, ModelReader] = {
    BaggingClassifier: partial(_bagging, read=_probability),
    CalibratedClassifierCV: _calibration,
    OneVsRestClassifier: _one_vs_rest,
    MultiOutputClassifier: _multi_output,
    StackingClassifier: partial(_stacking, final=_probability),
    VotingClassifier: _soft_vote,
    _ConstantPredictor: _constant,
}
_REGRESSORS: dict[type, ModelReader] = {
    BaggingRegressor: partial(_bagging, read=_prediction),
    StackingRegressor: partial(_stacking, final=_prediction),
    TransformedTargetRegressor: _transformed_target,
    VotingRegressor: _voting_regressor,
}
