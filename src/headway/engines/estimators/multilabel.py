"""Classifiers of scikit-learn that give several labels to a row, and the probability of each label."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

from headway.core.arrays import Floats, sigmoid
from headway.core.errors import EngineError
from headway.engines.estimators.trees import final_step, flat_steps


def label_names(model: Any) -> tuple[str, ...]:
    """Return the labels of a multilabel classifier, numbered as the columns of its indicator matrix; empty for others.

    Raises
    ------
    EngineError
        If one of its outputs has other values than 0 and 1.
    """
    last = final_step(model)
    classes = getattr(last, "classes_", None)
    if isinstance(classes, list):
        _require_indicator(last, classes)
        return tuple(str(index) for index in range(len(classes)))
    binarizer = getattr(last, "label_binarizer_", getattr(last, "_label_binarizer", None))
    if not str(getattr(binarizer, "y_type_", "")).startswith("multilabel"):
        return ()
    return tuple(str(name) for name in np.asarray(classes).tolist())


def _require_indicator(last: Any, classes: list[Any]) -> None:
    for index, values in enumerate(classes):
        if np.asarray(values).tolist() != [0, 1]:
            shown = ", ".join(map(str, np.asarray(values).tolist()[:5]))
            raise EngineError(
                f"output {index} of the {type(last).__name__} has the values {shown}, and a label is 0 or 1",
                hint="fit it on an indicator matrix, such as MultiLabelBinarizer().fit_transform(y), each column with "
                "both values; or optimize a model for each output: y[:, 0], y[:, 1], ...",
            )


def score_function(model: Any) -> Callable[[Any], Floats]:
    """Return the function from rows to the probability of each label, (n, k), or the sigmoid of its decision."""
    last = final_step(model)
    estimators = getattr(last, "estimators_", [last])
    if hasattr(model, "predict_proba") and all(hasattr(estimator, "predict_proba") for estimator in estimators):
        return lambda rows: _indicator_scores(model.predict_proba(rows))
    if hasattr(model, "decision_function"):
        return lambda rows: sigmoid(np.asarray(model.decision_function(rows), dtype=np.float64))
    if all(hasattr(estimator, "decision_function") for estimator in estimators):
        return lambda rows: sigmoid(
            np.column_stack([estimator.decision_function(_before(model, rows)) for estimator in estimators])
        )
    raise EngineError(
        f"a {type(last).__name__} has neither predict_proba nor decision_function, so it returns no score",
        hint="CalibratedClassifierCV around the classifier of each label",
    )


def _indicator_scores(answers: Any) -> Floats:
    """Return the probability of 1 for each label, of an array (n, k), or of a list of arrays (n, 2)."""
    if isinstance(answers, list):
        return np.column_stack([answer[:, 1] for answer in answers])
    return np.asarray(answers, dtype=np.float64)


def _before(model: Any, rows: Any) -> Any:
    """Transform rows by the steps before the classifier."""
    for step in flat_steps(model)[:-1] if isinstance(model, Pipeline) else ():
        rows = rows if step in (None, "passthrough") else step.transform(rows)
    return rows
