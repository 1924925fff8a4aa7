"""CatBoost's own library over numbers and categories: the baseline, called as its users call it.

A row holds the rank of a category among those of the table that the model was bound to, or any other string by its hash
(`core.categories`); a categorical column of integers holds the integers. A missing category is the string "nan", as in
the library's reader of data frames.

Settings: `threads` (>= 1; by default the library uses every core). The baseline has those of its `thread_count`.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import catboost
import numpy as np
import pandas as pd
from msgspec.structs import replace as replace_fields

from headway.core.arrays import Floats, Ints
from headway.core.categories import category_with_hash
from headway.core.contracts import ImportedModel, ModelFile
from headway.core.errors import EngineError, NotApplicable
from headway.core.record import Settings
from headway.core.threads import thread_setting, threads_of
from headway.core.variant import Field, Signature
from headway.engines.formats.catboost import (
    BINARY_LOSSES,
    EXPONENT_LOSSES,
    LOSS_TASKS,
    MULTICLASS_LOSSES,
    CatboostModel,
    catboost_forest,
    is_catboost,
    read_catboost,
)
from headway.engines.formats.catboost_ctr import (
    CATEGORIES,
    MAX_INTEGER,
    NO_CATEGORIES,
    category_notes,
)
from headway.engines.formats.trees import Forest

_NOT_SYMMETRIC = "its trees are not symmetric, and CatBoost truncates no others"


class Catboost:
    """Engine for CatBoost's binary models; the library only loads bytes that were checked."""

    formats: ClassVar[tuple[str, ...]] = ("catboost",)
    files: ClassVar[tuple[str, ...]] = (".cbm", ".json")
    defaults: ClassVar[Settings] = {"threads": 0}

    def __init__(self, content: bytes, settings: Settings) -> None:
        threads = threads_of(settings, engine="catboost", default=0)
        self._threads = {"thread_count": threads} if threads else {}  # empty: the library decides
        model = read_catboost(content)
        self._width, self._kind, self._outputs = model.width, *_prediction_type(model)
        self._categories = model.categories
        self._model = _load_model(content)
        own = self._model.get_metadata().get("binclass_probability_threshold")
        self.thresholds = (float(own),) if own else ()
        self._classes = self._model.classes_ if model.loss in (*BINARY_LOSSES, *MULTICLASS_LOSSES) else None
        try:
            self._answers(np.zeros((1, self._width)))  # the first prediction checks the loss
        except catboost.CatBoostError as error:
            raise _load_error(error) from error

    @classmethod
    def import_model(cls, model: object) -> ImportedModel:
        """Import a fitted CatBoost, classifier, regressor or ranker, or a .cbm file.

        A classifier answers probabilities.

        Raises EngineError for a model that is not fitted, reads texts or embeddings, or predicts several targets, and
        for an incomplete file or CatBoost's JSON.
        """
        if isinstance(model, ModelFile):
            return _import_file(model)
        if not isinstance(model, catboost.CatBoost):
            raise NotApplicable(f"a {type(model).__name__} is not a model of CatBoost")
        if not model.is_fitted():
            raise EngineError(f"this {type(model).__name__} is not fitted", hint="model.fit(X, y)")
        return replace(
            _describe_model(_model_bytes(model), model), threads=thread_setting(model.get_param("thread_count"))
        )

    @classmethod
    def bind(cls, content: bytes, signature: Signature) -> tuple[bytes, Signature]:
        """Return the artifact with the strings of the table in each categorical column, and columns that hash others.

        An artifact without categorical columns is unchanged. Raise EngineError if the table has strings where the model
        reads numbers.
        """
        found = read_catboost(content).categories or NO_CATEGORIES
        wrong = [
            field.name
            for index, field in enumerate(signature.inputs)
            if field.datatype == "BYTES" and index not in found.columns
        ]
        if wrong:
            raise EngineError(
                f"column '{wrong[0]}' is categorical, and the model reads numbers there",
                where=f"categorical columns: {', '.join(wrong)}",
                hint="encode the column as the numbers that the model was trained on",
            )
        if not len(found.columns):
            return content, signature
        inputs = tuple(
            Field(name=field.name, datatype="BYTES", categories=field.categories, unseen="hashed")
            if field.datatype == "BYTES"
            else field
            for field in signature.inputs
        )
        columns = [inputs[index] for index in found.columns.tolist()]
        listed = [field.categories if field.datatype == "BYTES" else None for field in columns]
        model = _load_model(content)
        model.get_metadata()[CATEGORIES] = category_notes(listed)
        return _model_bytes(model), replace_fields(signature, inputs=inputs)

    @classmethod
    def forest(cls, content: bytes) -> Forest:
        """Return the trees; raise NotApplicable for a model that reads categories."""
        model = read_catboost(content)
        if model.categories is not None:
            raise NotApplicable("its trees read statistics of categories, which only transform `trees` compiles")
        return catboost_forest(model)

    @classmethod
    def category_model(cls, content: bytes) -> CatboostModel | None:
        """Return the model if it reads categories, which `compile_categories` compiles; None if it does not."""
        model = read_catboost(content)
        return None if model.categories is None else model

    @classmethod
    def rounds(cls, content: bytes) -> int:
        """Return the number of trees.

        Raise NotApplicable unless they are symmetric, since CatBoost truncates no others.
        """
        model = read_catboost(content)
        if not model.symmetric:
            raise NotApplicable(_NOT_SYMMETRIC)
        return len(model.sizes)

    @classmethod
    def truncate(cls, content: bytes, rounds: int) -> bytes:
        """Return the model of its first trees."""
        model = _load_model(content)
        model.shrink(ntree_end=rounds)
        return _model_bytes(model)

    @property
    def native(self) -> object:
        """The library's own object, to time the calls of its users."""
        return self._model

    def predict(self, rows: Floats) -> Floats:
        """Compute scores float64 [n, k] for rows float64 [n, d], which the library casts to float32; binary: k = 1.

        Raises EngineError for rows of another width, and if the library rejects them.
        """
        if rows.ndim != 2 or rows.shape[1] != self._width:
            raise EngineError(f"rows of shape {rows.shape}, the model reads [n, {self._width}]")
        if not len(rows):
            return np.empty((0, self._outputs))
        try:
            answers = self._answers(rows)
        except catboost.CatBoostError as error:
            raise EngineError(f"CatBoost rejects the rows: {error}") from error
        return answers.reshape(len(rows), -1)[:, -self._outputs :]

    def decide(self, rows: Floats) -> Ints | None:
        """Return the index of the class that the library names, int64 [n], by the model's own threshold if it has one.

        None without classes.
        """
        if self._classes is None:
            return None
        if not len(rows):
            return np.empty(0, dtype=np.int64)
        table = self._table(rows)
        named = np.asarray(self._model.predict(table, prediction_type="Class", **self._threads)).reshape(-1, 1)
        return np.asarray((named == self._classes).argmax(axis=1), dtype=np.int64)

    def _answers(self, rows: Floats) -> Floats:
        table = self._table(rows)
        return np.asarray(self._model.predict(table, prediction_type=self._kind, **self._threads), np.float64)

    def _table(self, rows: Floats) -> Any:
        """Return rows as the library reads them: with categories, a data frame that holds their strings."""
        if self._categories is None:
            return rows
        listed = self._categories.listed or (None,) * len(self._categories.columns)
        strings = {
            column: _category_strings(rows[:, column], known)
            for column, known in zip(self._categories.columns.tolist(), listed, strict=True)
        }
        found = {index: strings.get(index, rows[:, index]) for index in range(self._width)}
        return pd.DataFrame(found).set_axis(self._model.feature_names_, axis=1)


def _category_strings(values: Floats, listed: tuple[str, ...] | None) -> list[str]:
    """Return the string of each rank, or of each integer if no strings are listed; raise EngineError for others."""
    unknown = values[~np.isnan(values)]
    low, high = (-MAX_INTEGER, MAX_INTEGER) if listed is None else (0, len(listed) + 2**32 - 1)
    if np.any((unknown < low) | (unknown > high) | (unknown != np.trunc(unknown))):
        kind = "integers" if listed is None else "ranks of categories"
        raise EngineError("a categorical column holds other numbers than " + kind, hint="pass strings or integers")
    if listed is None:
        return ["nan" if value != value else str(int(value)) for value in values.tolist()]
    size = len(listed)
    return [
        "nan" if rank != rank else listed[int(rank)] if rank < size else category_with_hash(int(rank) - size)
        for rank in values.tolist()
    ]


def _import_file(file: ModelFile) -> ImportedModel:
    if file.suffix == ".json" and b'"oblivious_trees"' in file.content:
        raise EngineError("CatBoost's JSON format is not supported", hint="model.save_model('model.cbm')")
    if file.suffix != ".cbm" and not is_catboost(file.content):
        raise NotApplicable(f"a {file.suffix} file that does not start with 'CBM1' is not a CatBoost model")
    read_catboost(file.content)
    return _describe_model(file.content, _load_model(file.content))


def _describe_model(content: bytes, model: catboost.CatBoost) -> ImportedModel:
    """Return the model's columns, task and classes; names that only count the columns are left out."""
    found = read_catboost(content)
    _prediction_type(found)
    counted = [str(index) for index in range(found.width)]
    named = all(found.names) and list(found.names) != counted
    task = next((name for name, losses in LOSS_TASKS.items() if found.loss in losses), "regression")
    return ImportedModel(
        content=content,
        width=found.width,
        names=found.names if named else (),
        task=task if found.loss else "",
        classes=tuple(str(name) for name in model.classes_),
    )


def _prediction_type(model: CatboostModel) -> tuple[str, int]:
    """Return the prediction type for the library, and the number of its columns."""
    if model.loss in MULTICLASS_LOSSES:
        return "Probability", model.outputs
    if model.outputs > 1:
        raise EngineError(
            f"the CatBoost model returns {model.outputs} outputs ({model.loss}), and headway evaluates one",
            hint="train a model for each target",
        )
    if model.loss in BINARY_LOSSES:
        return "Probability", 1
    return "Exponent" if model.loss in EXPONENT_LOSSES else "RawFormulaVal", 1


def _load_model(content: bytes) -> catboost.CatBoost:
    try:
        return catboost.CatBoost().load_model(blob=content)
    except (catboost.CatBoostError, ValueError, TypeError) as error:
        raise _load_error(error) from error


def _load_error(error: Exception) -> EngineError:
    message = f"CatBoost {catboost.__version__} cannot open the model: {str(error)[:200]}"
    return EngineError(message, hint="pip install --upgrade catboost")


def _model_bytes(model: catboost.CatBoost) -> bytes:
    with tempfile.TemporaryDirectory(prefix="headway-") as folder:
        path = Path(folder) / "model.cbm"
        model.save_model(str(path))
        return path.read_bytes()


plugin = Catboost
