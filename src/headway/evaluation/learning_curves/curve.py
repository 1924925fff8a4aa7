"""Learning curve of a training: one attribute for each library, in the form in which that library calls back."""

from __future__ import annotations

from functools import cached_property

import polars as pl

from headway.core.dataset import Dataset
from headway.core.learning import LearningCurve
from headway.core.variant import Signature
from headway.data.matrix import group_codes, matrix, sample_weights, target_values
from headway.data.provenance.fingerprint import table_digest
from headway.data.split import labeled_rows
from headway.evaluation.learning_curves.callbacks import (
    CatBoostCallback,
    LightGBMCallback,
    SklearnCallback,
    TorchCallback,
    XGBoostCallback,
)
from headway.evaluation.learning_curves.data import CurveData, build_curve_data
from headway.evaluation.learning_curves.recorder import Recorder


class Curve(Recorder):
    """Learning curve that a training function receives as `curve`, and that `hw.learning_curve` returns."""

    @cached_property
    def lightgbm(self) -> LightGBMCallback:
        """`callbacks=[curve.lightgbm]`."""
        return LightGBMCallback(self)

    @cached_property
    def xgboost(self) -> XGBoostCallback:
        """`callbacks=[curve.xgboost]`."""
        return XGBoostCallback(self)

    @cached_property
    def catboost(self) -> CatBoostCallback:
        """`fit(X, y, callbacks=[curve.catboost])`, then `curve.catboost(model)`."""
        return CatBoostCallback(self)

    @cached_property
    def sklearn(self) -> SklearnCallback:
        """`curve.sklearn(model)`: after `fit` where the model has stages, else after each step."""
        return SklearnCallback(self)

    @cached_property
    def torch(self) -> TorchCallback:
        """`curve.torch(module)` after each epoch."""
        return TorchCallback(self)


class ProjectCurve:
    """Learning curve of a project's own training, once its columns are known: `validation` held out, `test` unread."""

    def __init__(self, learned: Dataset, held_out: Dataset) -> None:
        self._learned, self._held_out = learned, held_out
        self._curve: Curve | None = None

    def begin(self, signature: Signature) -> Curve:
        """Return the curve for a training that reads these columns."""
        self._curve = Curve(_curve_data(self._held_out, signature), _curve_data(self._learned, signature))
        datasets = {"held_out": self._held_out, "learned": self._learned}
        self._curve.digests |= {name: table_digest(dataset.table) for name, dataset in datasets.items()}
        return self._curve

    @property
    def spent(self) -> float:
        """Seconds that the evaluations took."""
        return self._curve.spent if self._curve else 0.0

    def record(self) -> LearningCurve | None:
        """Return the curve; None if the training function took none, or did not use it."""
        return self._curve.record() if self._curve and self._curve.library else None


def _curve_data(dataset: Dataset, signature: Signature) -> CurveData:
    known = labeled_rows(dataset)
    rows = pl.DataFrame(matrix(known.table, signature), schema=list(signature.names))
    return build_curve_data(
        rows, target_values(known), group_codes(known), task=known.roles.task, weights=sample_weights(known)
    )
