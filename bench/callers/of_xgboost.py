"""XGBoost as its users call it, on one thread, and by inplace_predict."""

from __future__ import annotations

from typing import Any

import joblib
import xgboost

from callers.call import Call, Order, on_frames


def as_called(order: Order) -> Call:
    """predict_proba of the estimator, with the threads that it takes by itself."""
    return _estimator(order)


def one_thread(order: Order) -> Call:
    """predict_proba of the estimator on one thread."""
    return _estimator(order, n_jobs=1)


def _estimator(order: Order, **parameters: Any) -> Call:
    model = joblib.load(order.model / "model.joblib").set_params(**parameters)
    if not order.options.get("frames"):
        return Call(model.predict_proba)
    names = [f"x{index}" for index in range(model.n_features_in_)]
    model.get_booster().feature_names = names  # as if it had been fitted on a DataFrame
    return on_frames(Call(model.predict_proba), names)


def inplace(order: Order) -> Call:
    """Call inplace_predict of the booster on one thread, without validation of names."""
    model = xgboost.Booster({"nthread": 1}, model_file=order.model / "model.ubj")
    return Call(lambda rows: model.inplace_predict(rows, validate_features=False))
