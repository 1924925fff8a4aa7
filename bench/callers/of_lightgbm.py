"""LightGBM as its users call it, on one thread, and by the fastest call that it has."""

from __future__ import annotations

import ctypes
from functools import partial
from typing import Any

import joblib
import lightgbm
import numpy as np
from lightgbm.basic import _LIB

from callers.call import Call, Order, on_frames

NORMAL, FLOAT64, INT32 = 0, 1, 2


def as_called(order: Order) -> Call:
    """predict_proba of the estimator, with the threads that it takes by itself."""
    return _estimator(order)


def one_thread(order: Order) -> Call:
    """predict_proba of the estimator on one thread."""
    return _estimator(order, num_threads=1)


def _estimator(order: Order, **options: Any) -> Call:
    model = joblib.load(order.model / "model.joblib")
    call = Call(partial(model.predict_proba, **options))
    return on_frames(call, model.feature_name_) if order.options.get("frames") else call


def booster(order: Order) -> Call:
    """Booster.predict on one thread."""
    model = lightgbm.Booster(model_file=order.model / "model.txt")
    return Call(lambda rows: model.predict(rows, num_threads=1))


def single_row_fast(order: Order) -> Call:
    """The C-API's call for single rows, through ctypes; more rows than one go to Booster.predict."""
    model = lightgbm.Booster(model_file=order.model / "model.txt")
    setup, out, length = ctypes.c_void_p(), np.empty(1), ctypes.c_int64()
    columns = ctypes.c_int32(model.num_feature())
    begun = _LIB.LGBM_BoosterPredictForMatSingleRowFastInit(
        model._handle, NORMAL, 0, -1, FLOAT64, columns, b"num_threads=1", ctypes.byref(setup)
    )
    if begun:
        raise RuntimeError("LightGBM cannot begin its call for single rows")
    ask, result = _LIB.LGBM_BoosterPredictForMatSingleRowFast, ctypes.c_void_p(out.ctypes.data)
    count = ctypes.byref(length)

    def predict(rows: Any) -> Any:
        if len(rows) > 1:
            return model.predict(rows, num_threads=1)
        ask(setup, ctypes.c_void_p(rows.__array_interface__["data"][0]), count, result)
        return out

    return Call(predict)


def sparse_single_row_fast(order: Order) -> Call:
    """The same for single rows of a csr matrix."""
    model = lightgbm.Booster(model_file=order.model / "model.txt")
    setup, out, length = ctypes.c_void_p(), np.empty(1), ctypes.c_int64()
    begun = _LIB.LGBM_BoosterPredictForCSRSingleRowFastInit(
        model._handle,
        NORMAL,
        0,
        -1,
        FLOAT64,
        ctypes.c_int64(model.num_feature()),
        b"num_threads=1",
        ctypes.byref(setup),
    )
    if begun:
        raise RuntimeError("LightGBM cannot begin its call for single sparse rows")
    ask, result = _LIB.LGBM_BoosterPredictForCSRSingleRowFast, ctypes.c_void_p(out.ctypes.data)
    count, two = ctypes.byref(length), ctypes.c_int64(2)

    def predict(rows: Any) -> Any:
        if rows.shape[0] > 1:
            return model.predict(rows, num_threads=1)
        starts, columns, values = (
            ctypes.c_void_p(part.__array_interface__["data"][0]) for part in (rows.indptr, rows.indices, rows.data)
        )
        ask(setup, starts, INT32, columns, values, two, ctypes.c_int64(len(rows.data)), count, result)
        return out

    return Call(predict)
