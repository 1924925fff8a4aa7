"""A model of another library inside an estimator (a booster at the end of a pipeline), opened by that library's engine.

It stands where the model stood and answers as it did; what is kept of it are the bytes that its own engine checks.
"""

from __future__ import annotations

import copy
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

from headway.core import plugins
from headway.core.contracts import Engine
from headway.core.errors import EngineError
from headway.engines.estimators.objects import EXTERNAL_LIBRARIES, root_package, walk_objects

Floats = NDArray[np.float64]


class InnerModel(BaseEstimator):  # type: ignore[misc]
    """Bytes of a model and the name of the engine that opens them; `absent` is what a sparse row leaves out.

    Without bytes it stands for a model that is not fitted, as the pattern for others that are.
    """

    def __init__(self, engine: str = "", content: bytes = b"", width: int = 0, absent: float = 0.0) -> None:
        self.engine = engine
        self.content = content
        self.width = width
        self.absent = absent
        self.n_features_in_ = width

    def __sklearn_is_fitted__(self) -> bool:
        return bool(self.content)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_opened"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self.content:
            self._engine()  # what cannot be opened is told now, and not when a row comes

    def fit(self, rows: Any, labels: Any = None) -> InnerModel:
        """Refused: this is a model that was fitted where it came from, and scikit-learn only asks whether one could."""
        raise EngineError(f"a model of {self.engine} inside another cannot be fitted again", hint="fit the whole anew")

    def _scores(self, rows: Any, *, margins: bool = False) -> Floats:
        """What the model answers, float64 [n, k], or what LightGBM sums before its link."""
        if hasattr(rows, "tocoo"):
            rows = _to_dense(rows, self.absent)
        return self._engine(margins).predict(np.ascontiguousarray(rows, dtype=np.float64))

    def _engine(self, margins: bool = False) -> Engine:
        """The engine of the model, opened once; without its objective LightGBM answers margins."""
        opened: dict[bool, Engine] = self.__dict__.setdefault("_opened", {})
        if margins not in opened:
            content = re.sub(rb"(?m)^objective=.*\n", b"", self.content, count=1) if margins else self.content
            opened[margins] = plugins.load_engine(self.engine)(content, {})
        return opened[margins]


class InnerClassifier(ClassifierMixin, InnerModel):  # type: ignore[misc]
    """A classifier of another library."""

    classes_: NDArray[Any]

    def predict_proba(self, rows: Any) -> Floats:
        """The probability of each class, float64 [n, classes]."""
        scores = self._scores(rows)
        return np.column_stack([1 - scores[:, 0], scores[:, 0]]) if scores.shape[1] == 1 else scores

    def predict(self, rows: Any) -> NDArray[Any]:
        """The most probable class of each row [n]."""
        return np.asarray(self.classes_[np.argmax(self.predict_proba(rows), axis=1)])


class InnerMargins(InnerClassifier):
    """A classifier of LightGBM, which tells its sums before the link too: calibration is fitted on those."""

    def decision_function(self, rows: Any) -> Floats:
        """The sums of leaves: float64 [n] of two classes, else [n, classes]."""
        sums = self._scores(rows, margins=True)
        return sums[:, 0] if sums.shape[1] == 1 else sums


class InnerRegressor(RegressorMixin, InnerModel):  # type: ignore[misc]
    """A regressor of another library."""

    def predict(self, rows: Any) -> Floats:
        """The answer to each row, float64 [n]."""
        return self._scores(rows)[:, 0]


def wrap_inner_models(model: object) -> object:
    """The model, or a copy in which each model of another library is taken by that library's engine.

    Raises EngineError, with its place, for one that reads categories of its own: it wants texts, not numbers.
    """
    found = {id(value): _wrap(path, value) for path, value in walk_objects(model) if _is_external(value)}
    return copy.deepcopy(model, dict(found)) if found else model


def _is_external(value: object) -> bool:
    """Whether it is an estimator of a library that has an engine of its own."""
    return root_package(value) in EXTERNAL_LIBRARIES and hasattr(value, "predict") and hasattr(value, "get_params")


def _wrap(path: str, value: Any) -> InnerModel:
    kind = _wrapper_class(value)
    if not (value.__sklearn_is_fitted__() if hasattr(value, "__sklearn_is_fitted__") else value.is_fitted()):
        return kind(engine=root_package(value))
    adopted = plugins.load_engine(root_package(value)).import_model(value)
    if adopted.categories:
        raise EngineError(
            f"the {type(value).__name__} reads columns of categories as they are, which only pandas gives it",
            where=path,
            hint="give it numbers: put an OrdinalEncoder before it, or optimize that model alone",
        )
    inner = kind(engine=root_package(value), content=adopted.content, width=adopted.width, absent=adopted.absent)
    if isinstance(inner, InnerClassifier):
        inner.classes_ = np.asarray(value.classes_)
    return inner


def _wrapper_class(value: Any) -> type[InnerModel]:
    if not hasattr(value, "predict_proba"):
        return InnerRegressor
    if not hasattr(value, "decision_function"):
        return InnerClassifier
    if root_package(value) != "lightgbm":
        raise EngineError(f"the margins of a {type(value).__name__} inside another model cannot be told")
    return InnerMargins


def _to_dense(rows: Any, absent: float) -> Floats:
    """A sparse matrix as float64 [n, d] with `absent` where it holds nothing."""
    entries = rows.tocoo()
    found = np.full(rows.shape, absent, dtype=np.float64)
    found[entries.row, entries.col] = entries.data
    return found
