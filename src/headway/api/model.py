"""A model that headway opened, called as the one that it came from: same columns in, same classes and shape out."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.api.tables import SmallTableReader, is_pandas_table, to_dense, to_polars
from headway.core.calibrator import Calibrator
from headway.core.contracts import Engine
from headway.core.errors import DataError
from headway.core.variant import Variant
from headway.data.matrix import matrix
from headway.evaluation.calibration.apply import calibration_function

Floats = NDArray[np.float64]

CHUNK_ROWS = 65_536


class Model:
    """Answers as the model as it came: `predict`, and for a classifier `predict_proba`, `classes_`.

    A classifier decides by the class that is most probable, or by `threshold` where one was chosen from costs. A model
    that has no classes of its own (a Booster) is called as its library does: `predict` gives its scores.
    """

    def __init__(
        self,
        variant: Variant,
        engine: Engine,
        *,
        threshold: float | None = None,
        calibrator: Calibrator = Calibrator(),  # noqa: B008 - frozen
    ) -> None:
        self.variant = variant
        self.threshold = threshold
        self._engine = engine
        self._calibrated = calibration_function(calibrator)
        self._numbers_only = all(field.datatype != "BYTES" for field in variant.signature.inputs)
        self._absent = np.nan if variant.signature.absent == "missing" else 0.0
        self._few = SmallTableReader(variant.signature)
        self.feature_names_in_ = np.array(variant.signature.names, dtype=object)
        self.n_features_in_ = len(variant.signature.inputs)
        if variant.task in ("binary", "multiclass"):
            self.classes_ = parse_classes(variant.signature.classes) if variant.signature.classes else np.array([0, 1])
        self._estimator_type = "classifier" if variant.task in ("binary", "multiclass") else "regressor"

    def __sklearn_is_fitted__(self) -> bool:
        """It came fitted."""
        return True

    def scores(self, rows: Any) -> Floats:
        """What the model answers, float64 [n, k]: k = 1 for binary and regression, one a class for multiclass.

        `rows` is any table that holds the columns which the model reads, or a matrix [n, d] in their order. Raises
        DataError that names the column at fault.
        """
        ready = self._ready(rows)
        parts = [self._engine.predict(ready[start : start + CHUNK_ROWS]) for start in range(0, len(ready), CHUNK_ROWS)]
        answers = parts[0] if len(parts) == 1 else np.concatenate(parts) if parts else self._engine.predict(ready)
        return self._calibrated(answers)

    def predict_proba(self, rows: Any) -> Floats:
        """The probability of each class, float64 [n, classes], in the order of `classes_`."""
        if self.variant.task not in ("binary", "multiclass"):
            raise AttributeError(f"a model of the task {self.variant.task!r} has no predict_proba")
        scores = self.scores(rows)
        return np.column_stack([1 - scores[:, 0], scores[:, 0]]) if scores.shape[1] == 1 else scores

    def predict(self, rows: Any) -> NDArray[Any]:
        """A class for each row, or the value of a regression [n]; a model without classes answers its scores."""
        scores = self.scores(rows)
        if self.variant.task not in ("binary", "multiclass") or not self.variant.signature.classes:
            return scores[:, 0] if scores.shape[1] == 1 else scores
        if scores.shape[1] > 1:
            return np.asarray(self.classes_[np.argmax(scores, axis=1)])
        yes = scores[:, 0] > 0.5 if self.threshold is None else scores[:, 0] >= self.threshold
        return np.asarray(self.classes_[yes.astype(np.int64)])

    def __repr__(self) -> str:
        return f"<headway model: {self.variant.name}, {self.n_features_in_} columns, {self.variant.task}>"

    def _ready(self, rows: Any) -> Floats:
        """float64 [n, d] in C order; a matrix of numbers that is ready goes the short way."""
        if hasattr(rows, "tocsr"):
            rows = to_dense(rows, self._absent)
        if self._numbers_only and isinstance(rows, np.ndarray):
            if rows.ndim != 2 or rows.shape[1] != self.n_features_in_:
                raise DataError(
                    f"rows have shape {rows.shape}, the model reads [n, {self.n_features_in_}]",
                    where=f"columns: {', '.join(self.feature_names_in_)}",
                    hint="X.reshape(1, -1) for a single row",
                )
            return np.ascontiguousarray(rows, dtype=np.float64)
        few = self._few.read(rows) if is_pandas_table(rows) else None
        if few is not None:
            return few
        names = list(self.feature_names_in_)
        return matrix(to_polars(rows, names, absent=self._absent), self.variant.signature)


def parse_classes(classes: tuple[str, ...]) -> NDArray[Any]:
    """Classes as they were before they were written down: whole numbers, truth values, or texts.

    >>> parse_classes(("0", "1")), parse_classes(("no", "yes")).tolist()
    (array([0, 1]), ['no', 'yes'])
    """
    if all(re.fullmatch(r"-?\d{1,18}", each) for each in classes):
        return np.array([int(each) for each in classes])
    if set(classes) <= {"True", "False"}:
        return np.array([each == "True" for each in classes])
    if all(re.fullmatch(r"-?\d{1,18}\.\d+", each) for each in classes):
        return np.array([float(each) for each in classes])
    return np.array(classes, dtype=object)
