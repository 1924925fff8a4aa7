"""XGBoost as its users call it, on one thread, and by inplace_predict."""

from __future__ import annotations

import joblib
import xgboost

from callers.call import Call, Order


def as_called(order: Order) -> Call:
    """predict_proba of the estimator, with the threads that it takes by itself."""
    return Call(joblib.load(order.model / "model.joblib").predict_proba)


def one_thread(order: Order) -> Call:
    """predict_proba of the estimator on one thread."""
    return Call(joblib.load(order.model / "model.joblib").set_params(n_jobs=1).predict_proba)


def inplace(order: Order) -> Call:
    """Call inplace_predict of the booster on one thread, without validation of names."""
    model = xgboost.Booster({"nthread": 1}, model_file=order.model / "model.ubj")
    return Call(lambda rows: model.inplace_predict(rows, validate_features=False))
