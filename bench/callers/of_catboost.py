"""CatBoost as its users call it, on a pandas table with its categories as strings."""

from __future__ import annotations

import joblib

from callers.call import Call, Order


def as_called(order: Order) -> Call:
    """Call predict_proba with the library's own number of threads."""
    return Call(joblib.load(order.model / "model.joblib").predict_proba)


def one_thread(order: Order) -> Call:
    """Call predict_proba on one thread."""
    model = joblib.load(order.model / "model.joblib")
    return Call(lambda rows: model.predict_proba(rows, thread_count=1))
