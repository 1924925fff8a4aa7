"""A learning curve to be drawn: one word for each library, in the form in which that library calls back."""

from __future__ import annotations

from functools import cached_property

from headway.evaluation.learning_curves.catboost import CatBoost
from headway.evaluation.learning_curves.lightgbm import LightGBM
from headway.evaluation.learning_curves.recorder import Recorder
from headway.evaluation.learning_curves.sklearn import Sklearn
from headway.evaluation.learning_curves.torch import Torch
from headway.evaluation.learning_curves.xgboost import XGBoost


class Curve(Recorder):
    """What `[model] train` is given as `curve`, and what `hw.learning_curve` makes."""

    @cached_property
    def lightgbm(self) -> LightGBM:
        """`callbacks=[curve.lightgbm]`."""
        return LightGBM(self)

    @cached_property
    def xgboost(self) -> XGBoost:
        """`callbacks=[curve.xgboost]`."""
        return XGBoost(self)

    @cached_property
    def catboost(self) -> CatBoost:
        """`fit(X, y, callbacks=[curve.catboost])`, then `curve.catboost(model)`."""
        return CatBoost(self)

    @cached_property
    def sklearn(self) -> Sklearn:
        """`curve.sklearn(model)`: after `fit` where the model has stages, else after each step."""
        return Sklearn(self)

    @cached_property
    def torch(self) -> Torch:
        """`curve.torch(module)` after each epoch."""
        return Torch(self)
