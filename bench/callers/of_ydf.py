"""YDF: the model that `from_sklearn` makes of a forest, on one thread."""

from __future__ import annotations

import joblib
import ydf

from callers.call import Call, Order


def from_sklearn(order: Order) -> Call:
    """Call predict with a dictionary of the rows, which is made beforehand."""
    if any((order.model / name).exists() for name in ("model.txt", "model.ubj")):
        raise RuntimeError("YDF reads no models of LightGBM or XGBoost")
    model = ydf.from_sklearn(joblib.load(order.model / "model.joblib"))
    return Call(lambda rows: model.predict(rows, num_threads=1), ready=lambda rows: {"features": rows})
