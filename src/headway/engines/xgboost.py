"""XGBoost's own library: the baseline, called as its users call it.

Settings: `threads` (>= 1; by default the library uses every core). The baseline has those of the model's `nthread`.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from typing import ClassVar

import numpy as np
import xgboost
from numpy.typing import NDArray

from headway.core.arrays import Floats
from headway.core.contracts import ImportedModel, ModelFile, newer_library
from headway.core.errors import EngineError, NotApplicable
from headway.core.record import Settings
from headway.core.threads import thread_setting, threads_of
from headway.core.variant import Signature
from headway.engines.formats.trees import Forest
from headway.engines.formats.xgboost import OBJECTIVES, XgboostModel, is_xgboost, read_xgboost, xgboost_forest


class Xgboost:
    """Engine for XGBoost models; the library only loads what was read, checked and written again."""

    formats: ClassVar[tuple[str, ...]] = ("xgboost",)
    files: ClassVar[tuple[str, ...]] = (".ubj", ".json", ".xgb", ".bst", ".model", ".bin", ".deprecated")
    defaults: ClassVar[Settings] = {"threads": 0}

    def __init__(self, content: bytes, settings: Settings) -> None:
        model = read_xgboost(content)
        self._width, self._outputs, self._missing = model.width, model.outputs, model.missing
        self._linear = model.weights is not None
        self._booster = _load_booster(model, threads_of(settings, engine="xgboost", default=0))
        try:
            with xgboost.config_context(verbosity=0):  # the first prediction checks the base score, and warns
                self._scores(np.zeros((1, self._width)))
        except xgboost.core.XGBoostError as error:
            raise _load_error(error) from error

    @classmethod
    def import_model(cls, model: object) -> ImportedModel:
        """Import a fitted Booster or XGBModel as UBJSON.

        An XGBModel is truncated to the rounds that its `predict` uses.

        Its `missing` is stored. Raises EngineError for an XGBModel that is not fitted, for an incomplete file, and for
        the old binary format.
        """
        if isinstance(model, ModelFile):
            if model.suffix not in cls.files or not is_xgboost(model.content):
                raise NotApplicable(f"a {model.suffix} file without a 'learner' is not an XGBoost model")
            return _describe_model(read_xgboost(model.content))
        if isinstance(model, xgboost.XGBModel):
            return _import_estimator(model)
        if not isinstance(model, xgboost.Booster):
            raise NotApplicable(f"a {type(model).__name__} is not a model of XGBoost")
        return replace(_describe_model(read_xgboost(bytes(model.save_raw("ubj")))), threads=_threads(model))

    @classmethod
    def bind(cls, content: bytes, signature: Signature) -> tuple[bytes, Signature]:
        """Return the artifact unchanged.

        Raise EngineError if the table has categorical columns that the model does not name.

        XGBoost stores category names since 3.1, if it was trained on a dataframe.
        """
        model = read_xgboost(content)
        known, version = model.categories, ".".join(map(str, model.version))
        categorical = [field.name for index, field in enumerate(signature.inputs) if field.datatype == "BYTES"]
        named = {signature.inputs[index].name for index in known if index < len(signature.inputs)}
        unnamed = [name for name in categorical if name not in named]
        if unnamed:
            raise EngineError(
                f"column '{unnamed[0]}' is categorical, and the model does not name the categories that it learned "
                "there",
                where=f"categorical columns: {', '.join(categorical)}; named by the model: "
                f"{', '.join(sorted(named)) or 'none'}",
                hint=f"XGBoost {version} saved it; 3.1 and later store the names of a frame's categories, before 3.4 "
                "only if all are ASCII: retrain it on such a frame, or encode the column as it was in training",
            )
        return content, signature

    @classmethod
    def forest(cls, content: bytes) -> Forest:
        """Return the trees; raise NotApplicable for a linear model."""
        return xgboost_forest(read_xgboost(content))

    @classmethod
    def rounds(cls, content: bytes) -> int:
        """Return the number of boosting rounds; raise NotApplicable for a linear model."""
        model = read_xgboost(content)
        if model.weights is not None:
            raise NotApplicable("it is a linear model, which has no trees")
        return model.rounds

    @classmethod
    def truncate(cls, content: bytes, rounds: int) -> bytes:
        """Return the model of its first rounds."""
        return read_xgboost(content).truncate(rounds).content()

    @property
    def native(self) -> object:
        """The library's own object, to time the calls of its users."""
        return self._booster

    def predict(self, rows: Floats) -> Floats:
        """Compute scores float64 [n, k] for rows float64 [n, d], which the library casts to float32; binary: k = 1.

        Raises EngineError for rows of another width, and if the library rejects them: a linear model accepts no
        infinity.
        """
        if rows.ndim != 2 or rows.shape[1] != self._width:
            raise EngineError(f"rows of shape {rows.shape}, the model reads [n, {self._width}]")
        if not len(rows):
            return np.empty((0, self._outputs))
        try:
            scores = self._scores(rows)
        except xgboost.core.XGBoostError as error:
            raise EngineError(f"XGBoost rejects the rows: {_error_message(error)}") from error
        return scores.reshape(len(rows), self._outputs).astype(np.float64)

    def _scores(self, rows: Floats) -> NDArray[np.float32]:
        if self._linear:
            table = xgboost.DMatrix(rows, missing=self._missing)
            answers: NDArray[np.float32] = self._booster.predict(table, validate_features=False)
        else:
            answers = self._booster.inplace_predict(rows, missing=self._missing, validate_features=False)
        return answers


def _import_estimator(model: xgboost.XGBModel) -> ImportedModel:
    if not model.__sklearn_is_fitted__():
        raise EngineError(f"this {type(model).__name__} is not fitted", hint="model.fit(X, y)")
    found = read_xgboost(bytes(model.get_booster().save_raw("ubj")))
    best = getattr(model, "best_iteration", None)  # absent without early stopping
    missing = math.nan if model.missing is None else float(model.missing)
    classes = tuple(str(name) for name in getattr(model, "classes_", ()))
    best_rounds = 0 if best is None or found.weights is not None else best + 1
    described = _describe_model(replace(found, missing=missing, best_rounds=best_rounds), classes)
    return replace(described, threads=_threads(model.get_booster()))


def _threads(booster: xgboost.Booster) -> int:
    """Return the number of threads that a booster predicts with, 0 if the library decides."""
    learner = json.loads(booster.save_config()).get("learner", {})
    return thread_setting(int(learner.get("generic_param", {}).get("nthread", 0)))


def _describe_model(model: XgboostModel, classes: tuple[str, ...] = ()) -> ImportedModel:
    """Return the model's columns, task and classes; names that only count the columns are left out."""
    counted = [str(index) for index in range(model.width)]
    installed = tuple(int(number) for number in re.findall(r"\d+", xgboost.__version__)[:3])
    return ImportedModel(
        findings=newer_library("XGBoost", model.version, installed),
        content=(model.truncate(model.best_rounds) if model.best_rounds else model).content(),
        width=model.width,
        names=model.names if list(model.names) != counted else (),
        task=OBJECTIVES[model.objective].task,
        classes=classes,
        categories=_category_lists(model),
        absent=math.nan,
    )


def _category_lists(model: XgboostModel) -> tuple[tuple[str, ...], ...]:
    """Return the category names of each categorical column, in order: none where XGBoost cut them."""
    categorical = {number for number, kind in enumerate(model.types) if kind == "c"} | {*model.categories}
    return tuple(model.categories.get(number, ()) for number in sorted(categorical)) if model.categories else ()


def _load_booster(model: XgboostModel, threads: int) -> xgboost.Booster:
    parameters = {"nthread": threads} if threads else {}
    try:
        with xgboost.config_context(verbosity=0):
            return xgboost.Booster(parameters, model_file=bytearray(model.content()))
    except xgboost.core.XGBoostError as error:
        raise _load_error(error) from error


def _load_error(error: Exception) -> EngineError:
    message = f"XGBoost {xgboost.__version__} cannot open the model: {_error_message(error)}"
    return EngineError(message, hint="pip install --upgrade xgboost")


def _error_message(error: Exception) -> str:
    """Return the first line of the library's message, without time and source location."""
    return re.sub(r"^(\[[\d:]+\] \S+: )?(Check failed: )?", "", str(error)).partition("\n")[0]


plugin = Xgboost
