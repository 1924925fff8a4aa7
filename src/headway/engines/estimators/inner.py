"""Wrap a model of another library in an estimator (a booster that ends a pipeline) as one of that library's engine.

The wrapper replaces the model and answers as it did. It stores the bytes that the library's own engine checks.
"""

from __future__ import annotations

import copy
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.frozen import FrozenEstimator

from headway.core import plugins
from headway.core.arrays import Floats, sparse_to_dense
from headway.core.contracts import Engine
from headway.core.errors import EngineError
from headway.engines.estimators.objects import EXTERNAL_LIBRARIES, root_package, walk_objects


class InnerModel(BaseEstimator):  # type: ignore[misc]
    """Bytes of a model, and the engine that opens them; `absent` is the value of cells that a sparse row leaves out.

    `threads` is the number that it runs on, 0 if its library decides.

    Without bytes it replaces a model that is not fitted, the template of others that are.
    """

    threads = 0  # of a model that an earlier version wrote

    def __init__(
        self, engine: str = "", content: bytes = b"", width: int = 0, absent: float = 0.0, threads: int = 0
    ) -> None:
        self.engine = engine
        self.content = content
        self.width = width
        self.absent = absent
        self.threads = threads
        self.n_features_in_ = width

    def __sklearn_is_fitted__(self) -> bool:
        return bool(self.content)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_opened"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self.content:
            self._engine()  # raise now if it cannot be opened, not at the first row

    def fit(self, rows: Any, labels: Any = None) -> InnerModel:
        """Raise EngineError: the model is already fitted, and scikit-learn only checks that the method exists."""
        raise EngineError(
            f"a model of {self.engine} inside another cannot be refitted", hint="refit the outer estimator"
        )

    def _scores(self, rows: Any, *, margins: bool = False) -> Floats:
        """Return the answers, float64 [n, k], or LightGBM's sums before the link."""
        if hasattr(rows, "tocoo"):
            rows = sparse_to_dense(rows, self.absent)
        return self._engine(margins).predict(np.ascontiguousarray(rows, dtype=np.float64))

    def _engine(self, margins: bool = False) -> Engine:
        """Return the engine of the model, opened once; LightGBM answers margins if its objective is removed."""
        opened: dict[bool, Engine] = self.__dict__.setdefault("_opened", {})
        if margins not in opened:
            content = re.sub(rb"(?m)^objective=.*\n", b"", self.content, count=1) if margins else self.content
            settings = {"threads": self.threads} if self.threads else {}
            opened[margins] = plugins.load_engine(self.engine)(content, settings)
        return opened[margins]

    def set_threads(self, threads: int) -> None:
        """Let the model run on a number of threads from the next call on."""
        self.threads = threads
        self.__dict__.pop("_opened", None)


class InnerClassifier(ClassifierMixin, InnerModel):  # type: ignore[misc]
    """A classifier of another library."""

    classes_: NDArray[Any]

    def predict_proba(self, rows: Any) -> Floats:
        """Return the probability of each class, float64 [n, classes]."""
        scores = self._scores(rows)
        return np.column_stack([1 - scores[:, 0], scores[:, 0]]) if scores.shape[1] == 1 else scores

    def predict(self, rows: Any) -> NDArray[Any]:
        """Return the most probable class of each row [n]."""
        return np.asarray(self.classes_[np.argmax(self.predict_proba(rows), axis=1)])


class InnerMargins(InnerClassifier):
    """A LightGBM classifier that also returns its sums before the link, which calibration is fitted on."""

    def decision_function(self, rows: Any) -> Floats:
        """Return the sums of leaves: float64 [n] for two classes, else [n, classes]."""
        sums = self._scores(rows, margins=True)
        return sums[:, 0] if sums.shape[1] == 1 else sums


class InnerRegressor(RegressorMixin, InnerModel):  # type: ignore[misc]
    """A regressor of another library."""

    def predict(self, rows: Any) -> Floats:
        """Return the prediction of each row, float64 [n]."""
        return self._scores(rows)[:, 0]


def stays_fitted(part: object) -> bool:
    """Return whether a part of an estimator keeps what it learned when the estimator is fitted again."""
    return isinstance(part, InnerModel | FrozenEstimator) or (
        isinstance(part, BaseEstimator) and isinstance(cv := getattr(part, "cv", None), str) and cv == "prefit"
    )


def wrap_inner_models(model: object) -> object:
    """Return the model, or a copy in which every model of another library is wrapped.

    Raises EngineError, with its path, for a model that reads categories, since it expects strings and not numbers.
    """
    found = {id(value): _wrap(path, value) for path, value in walk_objects(model) if _is_external(value)}
    return copy.deepcopy(model, dict(found)) if found else model


def _is_external(value: object) -> bool:
    """Return whether a value is an estimator of a library that has an engine of its own."""
    return root_package(value) in EXTERNAL_LIBRARIES and hasattr(value, "predict") and hasattr(value, "get_params")


def _wrap(path: str, value: Any) -> InnerModel:
    kind = _wrapper_class(value)
    if not (value.__sklearn_is_fitted__() if hasattr(value, "__sklearn_is_fitted__") else value.is_fitted()):
        return kind(engine=root_package(value))
    imported = plugins.load_engine(root_package(value)).import_model(value)
    if imported.categories:
        raise EngineError(
            f"the {type(value).__name__} reads categorical columns directly, which requires a pandas dataframe",
            where=path,
            hint="pass numbers: put an OrdinalEncoder before it, or optimize that model alone",
        )
    inner = kind(
        engine=root_package(value),
        content=imported.content,
        width=imported.width,
        absent=imported.absent,
        threads=imported.threads,
    )
    if isinstance(inner, InnerClassifier):
        inner.classes_ = np.asarray(value.classes_)
    return inner


def _wrapper_class(value: Any) -> type[InnerModel]:
    if not hasattr(value, "predict_proba"):
        return InnerRegressor
    if not hasattr(value, "decision_function"):
        return InnerClassifier
    if root_package(value) != "lightgbm":
        raise EngineError(f"the margins of a {type(value).__name__} inside another model cannot be computed")
    return InnerMargins
