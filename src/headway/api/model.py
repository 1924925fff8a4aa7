"""A model that headway opened, called like the original: the same columns in, the same classes and shape out."""

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
    """A model with `predict`, and for a classifier `predict_proba` and `classes_`, as scikit-learn calls it.

    A classifier predicts the most probable class, or decides by `threshold` if one was chosen from costs. A model
    without classes of its own (a Booster) behaves as in its library: `predict` returns its scores.

    Attributes
    ----------
    variant : Variant
        What is run: engine, steps, signature, task.
    threshold : float or None
        Decision threshold of a binary classifier, if one was chosen from costs.
    classes_ : ndarray of shape (n_classes,)
        Classes of a classifier.
    feature_names_in_ : ndarray of shape (d,)
        Names of the columns that are read.
    n_features_in_ : int
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
        self._calibrate = calibration_function(calibrator)
        self._is_numeric = all(field.datatype != "BYTES" for field in variant.signature.inputs)
        self._absent = np.nan if variant.signature.absent == "missing" else 0.0
        self._small_tables = SmallTableReader(variant.signature)
        self.feature_names_in_ = np.array(variant.signature.names, dtype=object)
        self.n_features_in_ = len(variant.signature.inputs)
        if variant.task in ("binary", "multiclass"):
            self.classes_ = parse_classes(variant.signature.classes) if variant.signature.classes else np.array([0, 1])
        self._estimator_type = "classifier" if variant.task in ("binary", "multiclass") else "regressor"

    def __sklearn_is_fitted__(self) -> bool:
        """Return True: the model is fitted."""
        return True

    def scores(self, rows: Any) -> Floats:
        """Return the calibrated output of the model.

        Parameters
        ----------
        rows : array-like of shape (n, d)
            Any table with the columns that the model reads, or a matrix in their order.

        Returns
        -------
        ndarray of shape (n, k)
            k = 1 for binary classification and regression, one column for each class for multiclass.

        Raises
        ------
        DataError
            The message names the column.
        """
        table = self._matrix(rows)
        starts = range(0, len(table), CHUNK_ROWS)
        parts = [self._engine.predict(table[start : start + CHUNK_ROWS]) for start in starts]
        output = parts[0] if len(parts) == 1 else np.concatenate(parts) if parts else self._engine.predict(table)
        return self._calibrate(output)

    def predict_proba(self, rows: Any) -> Floats:
        """Return the probability of each class.

        Parameters
        ----------
        rows : array-like of shape (n, d)

        Returns
        -------
        ndarray of shape (n, n_classes)
            Columns in the order of `classes_`.
        """
        if self.variant.task not in ("binary", "multiclass"):
            raise AttributeError(f"a model of the task {self.variant.task!r} has no predict_proba")
        scores = self.scores(rows)
        return np.column_stack([1 - scores[:, 0], scores[:, 0]]) if scores.shape[1] == 1 else scores

    def predict(self, rows: Any) -> NDArray[Any]:
        """Return the predicted class of each row, or the value of a regression.

        Parameters
        ----------
        rows : array-like of shape (n, d)

        Returns
        -------
        ndarray of shape (n,)
            Scores of shape (n, k) if the model has no classes and more than one output.
        """
        scores = self.scores(rows)
        if self.variant.task not in ("binary", "multiclass") or not self.variant.signature.classes:
            return scores[:, 0] if scores.shape[1] == 1 else scores
        if scores.shape[1] > 1:
            return np.asarray(self.classes_[np.argmax(scores, axis=1)])
        positive = scores[:, 0] > 0.5 if self.threshold is None else scores[:, 0] >= self.threshold
        return np.asarray(self.classes_[positive.astype(np.int64)])

    def __repr__(self) -> str:
        return f"<headway model: {self.variant.name}, {self.n_features_in_} columns, {self.variant.task}>"

    def _matrix(self, rows: Any) -> Floats:
        """Return rows as float64 [n, d] in C order; a numeric matrix takes a short path."""
        if hasattr(rows, "tocsr"):
            rows = to_dense(rows, self._absent)
        if self._is_numeric and isinstance(rows, np.ndarray):
            if rows.ndim != 2 or rows.shape[1] != self.n_features_in_:
                raise DataError(
                    f"rows have shape {rows.shape}, the model reads [n, {self.n_features_in_}]",
                    where=f"columns: {', '.join(self.feature_names_in_)}",
                    hint="X.reshape(1, -1) for a single row",
                )
            return np.ascontiguousarray(rows, dtype=np.float64)
        small = self._small_tables.read(rows) if is_pandas_table(rows) else None
        if small is not None:
            return small
        names = list(self.feature_names_in_)
        return matrix(to_polars(rows, names, absent=self._absent), self.variant.signature)


def parse_classes(classes: tuple[str, ...]) -> NDArray[Any]:
    """Return classes in their original type: integers, booleans, floats or strings.

    >>> parse_classes(("0", "1")), parse_classes(("no", "yes")).tolist()
    (array([0, 1]), ['no', 'yes'])
    """
    if all(re.fullmatch(r"-?\d{1,18}", name) for name in classes):
        return np.array([int(name) for name in classes])
    if set(classes) <= {"True", "False"}:
        return np.array([name == "True" for name in classes])
    if all(re.fullmatch(r"-?\d{1,18}\.\d+", name) for name in classes):
        return np.array([float(name) for name in classes])
    return np.array(classes, dtype=object)
