"""Models at the end of a pipeline, as sums of features and a few operations on them.

Of a classifier of two classes an answer has one column, that of the second class; of more, one a class.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_regressor
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.linear_model._base import LinearClassifierMixin, LinearModel
from sklearn.linear_model._glm.glm import _GeneralizedLinearRegressor
from sklearn.linear_model._stochastic_gradient import BaseSGDRegressor
from sklearn.naive_bayes import BernoulliNB, ComplementNB, GaussianNB, MultinomialNB
from sklearn.neural_network import MLPClassifier, MLPRegressor

from headway.core.errors import NotApplicable
from headway.engines.estimators.pipelines import curves
from headway.engines.estimators.pipelines.features import Computed, Feature
from headway.engines.estimators.pipelines.sums import Sums
from headway.engines.estimators.pipelines.tape import Array

Floats = NDArray[np.float64]
Features = list[Feature]

_ACTIVATIONS = {"relu": "Relu", "tanh": "Tanh", "logistic": "Sigmoid", "softmax": "Softmax", "exp": "Exp"}


def decision(model: Any, features: Features, sums: Sums) -> Array:
    """The decision_function of a linear classifier."""
    if not isinstance(model, LinearClassifierMixin):
        raise _unknown(model)
    return sums.linear(features, np.asarray(model.coef_).T, np.ravel(model.intercept_))


def probability(model: Any, features: Features, sums: Sums) -> Array:
    """What predict_proba says; of a classifier without it, the logistic or softmax of its decision_function."""
    for kind, read in _CLASSIFIERS:
        if isinstance(model, kind):
            return read(model, features, sums)
    raise _unknown(model)


def prediction(model: Any, features: Features, sums: Sums) -> Array:
    """What a regressor predicts [n, 1]."""
    if isinstance(model, MLPRegressor):
        return _network(model, features, sums)
    if isinstance(model, _GeneralizedLinearRegressor):
        raw = sums.linear(features, np.ravel(model.coef_)[:, None], np.ravel(model.intercept_))
        return _linked(model, raw, sums)
    if is_regressor(model) and isinstance(model, LinearModel | BaseSGDRegressor) and np.size(model.intercept_) == 1:
        return sums.linear(features, np.ravel(model.coef_)[:, None], np.ravel(model.intercept_))
    raise _unknown(model)


def logistic(found: Array, sums: Sums) -> Array:
    """The logistic of one column, the softmax of more."""
    kind = sums.tape.do("Sigmoid", found.name) if found.width == 1 else sums.tape.softmax(found.name)
    return Array(kind, found.width)


def _unknown(model: Any) -> NotApplicable:
    return NotApplicable(f"{type(model).__name__} is not written as a graph")


def _by_decision(model: Any, features: Features, sums: Sums) -> Array:
    """Where the library says no probability, the engine takes the same logistic of its decision."""
    return logistic(decision(model, features, sums), sums)


def _regression(model: Any, features: Features, sums: Sums) -> Array:
    """LogisticRegression: the logistic or softmax of its decision, or the other forms of releases before 1.8."""
    found, form = decision(model, features, sums), getattr(model, "multi_class", "")
    if found.width == 1 and form == "multinomial":  # the softmax of -x and x
        return Array(sums.tape.do("Sigmoid", sums.tape.do("Add", found.name, found.name)), 1)
    if found.width > 1 and (form == "ovr" or model.solver == "liblinear"):
        return sums.tape.rated(Array(sums.tape.do("Sigmoid", found.name), found.width), 1 / found.width)
    return logistic(found, sums)


def _descent(model: Any, features: Features, sums: Sums) -> Array:
    """SGDClassifier: each class by itself, then shares of their sum."""
    found, tape = decision(model, features, sums), sums.tape
    if model.loss == "log_loss":
        each = tape.do("Sigmoid", found.name)
    elif model.loss == "modified_huber":
        clipped = tape.do("Clip", found.name, tape.keep(-1.0), tape.keep(1.0))
        each = tape.do("Mul", tape.do("Add", clipped, tape.keep(1.0)), tape.keep(0.5))
    else:
        return _by_decision(model, features, sums)
    shares = Array(each, found.width)
    return shares if found.width == 1 else tape.rated(shares, 1 / found.width)


def _counts(model: Any, features: Features, sums: Sums) -> Array:
    """Naive Bayes of counts: a sum for each class, of two classes their difference."""
    weights = model.feature_log_prob_.T
    bias = np.zeros(weights.shape[1]) if isinstance(model, ComplementNB) else model.class_log_prior_
    if isinstance(model, BernoulliNB):
        absent = np.log(1 - np.exp(model.feature_log_prob_))
        weights, bias = (model.feature_log_prob_ - absent).T, bias + absent.sum(axis=1)
        if model.binarize is not None:
            features = [curves.jumped(each, model.binarize, ">") for each in features]
    if weights.shape[1] == 2:
        weights, bias = weights[:, 1:] - weights[:, :1], bias[1:] - bias[:1]
    return logistic(sums.linear(features, weights, bias), sums)


def _bells(model: Any, features: Features, sums: Sums) -> Array:
    """Naive Bayes of normal columns: squares of how far a number is from the mean of each class."""
    dense, tape = sums.dense(features), sums.tape
    scores = []
    for theta, var, prior in zip(model.theta_, model.var_, model.class_prior_, strict=True):
        apart = tape.do("Sub", dense.name, tape.keep(theta))
        squares = tape.do("Mul", apart, apart)
        score = tape.do("MatMul", squares, tape.keep((-0.5 / var)[:, None]))
        start = np.log(prior) - 0.5 * np.sum(np.log(2.0 * np.pi * var))
        scores.append(Array(tape.do("Add", score, tape.keep(np.array([start]))), 1))
    if len(scores) == 2:
        return logistic(Array(tape.do("Sub", scores[1].name, scores[0].name), 1), sums)
    return logistic(tape.join(scores), sums)


def _network(model: Any, features: Features, sums: Sums) -> Array:
    """Layers of a multi-layer perceptron; the first takes the features as they are."""
    tape, layers = sums.tape, list(zip(model.coefs_, model.intercepts_, strict=True))
    found = sums.linear(features, *layers[0])
    for weights, bias in layers[1:]:
        found = _activated(found, model.activation, sums)
        product = tape.do("MatMul", found.name, tape.keep(np.asarray(weights, np.float64)))
        found = Array(tape.do("Add", product, tape.keep(np.asarray(bias, np.float64))), weights.shape[1])
    return _activated(found, model.out_activation_, sums)


def _activated(found: Array, kind: str, sums: Sums) -> Array:
    if kind == "identity":
        return found
    made = sums.tape.softmax(found.name) if kind == "softmax" else sums.tape.do(_ACTIVATIONS[kind], found.name)
    return Array(made, found.width)


def _linked(model: Any, raw: Array, sums: Sums) -> Array:
    """A generalised linear model by the inverse of its link."""
    link = type(model._base_loss.link).__name__
    if link == "IdentityLink":
        return raw
    if link == "LogLink":
        return Array(sums.tape.do("Exp", raw.name), 1)
    raise NotApplicable(f"{type(model).__name__} with {link} is not written as a graph")


Read = Callable[[Any, Features, Sums], Array]
# In this order: a class before those that it derives from.
_CLASSIFIERS: tuple[tuple[type, Read], ...] = (
    (SGDClassifier, _descent),
    (LogisticRegression, _regression),
    (MLPClassifier, _network),
    (GaussianNB, _bells),
    (MultinomialNB, _counts),
    (ComplementNB, _counts),
    (BernoulliNB, _counts),
    (LinearClassifierMixin, _by_decision),
)


def as_features(found: Array) -> Features:
    """The columns of an array as features."""
    return [Computed(array=found.name, place=place, width=found.width) for place in range(found.width)]
