"""A scikit-learn estimator or pipeline as its users call it; the worker's environment sets the number of threads."""

from __future__ import annotations

import joblib
import numpy as np

from callers.call import Call, Order, on_frames


def predict_proba(order: Order) -> Call:
    """predict_proba of the estimator."""
    model = joblib.load(order.model / "model.joblib")
    if not order.options.get("frames"):
        return Call(model.predict_proba)
    model.feature_names_in_ = np.array([f"x{index}" for index in range(model.n_features_in_)], dtype=object)
    return on_frames(Call(model.predict_proba), model.feature_names_in_)


def on_texts(order: Order) -> Call:
    """predict_proba of a pipeline on a list of texts."""
    return Call(joblib.load(order.model / "model.joblib").predict_proba, ready=list)
