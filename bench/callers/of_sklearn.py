"""A scikit-learn estimator or pipeline as its users call it; the worker's environment sets the number of threads."""

from __future__ import annotations

import joblib

from callers.call import Call, Order


def predict_proba(order: Order) -> Call:
    """predict_proba of the estimator."""
    return Call(joblib.load(order.model / "model.joblib").predict_proba)


def on_texts(order: Order) -> Call:
    """predict_proba of a pipeline on a list of texts."""
    return Call(joblib.load(order.model / "model.joblib").predict_proba, ready=list)
