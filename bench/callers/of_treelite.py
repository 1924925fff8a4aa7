"""Treelite: its general interpreter (GTIL), and its compiler tl2cgen with gcc -O1, both on one thread."""

from __future__ import annotations

import shutil
from typing import Any

import joblib
import numpy as np
import tl2cgen
import treelite

from callers.call import Call, Order


def gtil(order: Order) -> Call:
    """treelite.gtil.predict."""
    model = _model(order)
    if order.options.get("float32"):
        # scikit-learn's forests compare float32, and GTIL compares what it is given.
        return Call(lambda rows: treelite.gtil.predict(model, rows.astype(np.float32).astype(np.float64), nthread=1))
    return Call(lambda rows: treelite.gtil.predict(model, rows, nthread=1))


def compiled(order: Order) -> Call:
    """Call tl2cgen's library, compiled once and stored; a row is converted to its DMatrix in the call."""
    file = order.file("trees.so")
    if not file.exists():
        if not shutil.which("gcc"):
            raise RuntimeError("no compiler gcc")
        made = order.file("trees-new.so")
        tl2cgen.export_lib(_model(order), toolchain="gcc", libpath=made, params={"parallel_comp": 16}, options=["-O1"])
        made.rename(file)
    predictor = tl2cgen.Predictor(file, nthread=1)
    return Call(lambda rows: predictor.predict(tl2cgen.DMatrix(rows)))


def _model(order: Order) -> Any:
    if (order.model / "model.txt").exists():
        return treelite.frontend.load_lightgbm_model(order.model / "model.txt")
    if (order.model / "model.ubj").exists():
        return treelite.frontend.load_xgboost_model(order.model / "model.ubj")
    return treelite.sklearn.import_model(joblib.load(order.model / "model.joblib"))
