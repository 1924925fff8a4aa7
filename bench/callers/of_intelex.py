"""scikit-learn-intelex: the model builders of daal4py, which run oneDAL's trees, on one thread."""

from __future__ import annotations

import daal4py
import joblib
import treelite

from callers.call import Call, Order


def model_builder(order: Order) -> Call:
    """Call predict_proba of the converted estimator; models of scikit-learn are converted by Treelite first."""
    daal4py.daalinit(1)
    model = joblib.load(order.model / "model.joblib")
    if type(model).__module__.startswith("sklearn"):
        model = treelite.sklearn.import_model(model)
    return Call(daal4py.mb.convert_model(model).predict_proba)
