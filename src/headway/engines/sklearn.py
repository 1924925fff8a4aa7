"""scikit-learn's own estimators and pipelines: the baseline, called as its users call it.

Settings: `threads` (>= 1: that many where an estimator has `n_jobs`, and in boosters inside; absent leaves them as they
were fitted).

HistGradientBoosting starts a team of OpenMP threads for each tree, which on busy cores wait for each other (110 ms for
a row instead of 2 ms). A call that one thread answers in about 50 ms has one; a longer one has `threads`.

A row holds numbers, categories as ranks, and the numbers of texts. A pipeline that begins with a vectorizer receives
the list of texts, one a row. A pipeline that selects columns by name receives a pandas dataframe with
the categories themselves, any other a float64 array. A classifier without predict_proba answers the sigmoid or softmax
of its decision_function: decisions are the same, but the scores are not calibrated probabilities. An IsolationForest
answers its score_samples (lower is more anomalous).
"""

from __future__ import annotations

import io
import math
import re
import sys
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any, ClassVar

import joblib
import numpy as np
import pandas as pd
import sklearn
from msgspec.structs import replace
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, OutlierMixin, clone, is_classifier, is_regressor
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction import DictVectorizer, FeatureHasher
from sklearn.linear_model import QuantileRegressor
from sklearn.model_selection._search import BaseSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import SVC, NuSVC
from sklearn.utils.validation import check_is_fitted, has_fit_parameter
from threadpoolctl import ThreadpoolController

from headway.core import plugins
from headway.core.arrays import Floats, Ints, sigmoid, softmax
from headway.core.contracts import ImportedModel, ModelFile
from headway.core.errors import DataError, EngineError, NotApplicable
from headway.core.record import Settings
from headway.core.texts import text_codes
from headway.core.threads import threads_of
from headway.core.variant import TIE, Field, Signature
from headway.engines.estimators import multilabel, skops_file, texts, trees
from headway.engines.estimators.encoders import SentenceEncoder
from headway.engines.estimators.inner import InnerModel, stays_fitted, wrap_inner_models
from headway.engines.estimators.objects import EXTERNAL_LIBRARIES, custom_code, root_package, walk_objects
from headway.engines.estimators.pipelines import fold
from headway.engines.estimators.pipelines import graph as graphs
from headway.engines.estimators.pipelines.features import category_values
from headway.engines.estimators.refit import can_clone, fit_clone
from headway.engines.estimators.skops_file import ModelColumns
from headway.engines.estimators.text_columns import TextColumn, read_text_columns, reads_sequence
from headway.engines.formats.graph import Graph
from headway.engines.formats.trees import Forest

MAX_CATEGORIES = 1_000
_SMALL_CALL = 5_000_000
"""Rows times trees that one thread answers in about 50 ms."""
_FAILURES = (ArithmeticError, AttributeError, LookupError, NotFittedError, RuntimeError, TypeError, ValueError)


class Sklearn:
    """Engine for skops files; answers are the estimator's own."""

    formats: ClassVar[tuple[str, ...]] = ("skops",)
    files: ClassVar[tuple[str, ...]] = (".skops",)
    defaults: ClassVar[Settings] = {"threads": 0}
    refuses_rows: ClassVar[bool] = True  # the library raises for the values that it refuses

    def __init__(self, content: bytes, settings: Settings) -> None:
        opened, threads = skops_file.read_skops(content), threads_of(settings, engine="sklearn", default=0)
        self._model = opened.model
        try:
            self._width = _width(self._model)
            self._score, self._outputs = _score_function(self._model)
            self.thresholds = _thresholds(self._model)
            self._table = _row_converter(self._model, opened.columns)
            _set_threads(self._model, threads)
            self._threads, self._openmp_trees = threads, trees.openmp_trees(self._model)
            self._openmp = ThreadpoolController().select(user_api="openmp") if self._openmp_trees else None
        except _FAILURES as error:
            raise _damaged_model(error) from error

    @classmethod
    def import_model(cls, model: object) -> ImportedModel:
        """Import a fitted classifier or regressor with all its parts; a search contributes its best estimator.

        Raises EngineError if it is not fitted, predicts several targets, or holds custom Python code, which is named. A
        model of another library inside it is opened by that library's engine.
        """
        if isinstance(model, ModelFile):
            return _import_file(model)
        if not isinstance(model, BaseEstimator) or root_package(model) in EXTERNAL_LIBRARIES:
            raise NotApplicable(f"a {type(model).__name__} is not a model of scikit-learn")
        _check_fitted(model)
        if isinstance(model, BaseSearchCV):
            return cls.import_model(model.best_estimator_)
        own = custom_code(model)
        if own:
            raise EngineError(
                f"a {type(model).__name__} holds custom Python code, which cannot be stored as data",
                where="; ".join(own[:5]),
                hint="headway.optimize(model, X, y) leaves that part unchanged, and optimizes the model after it",
            )
        return _describe_model(model, skops_file.write_skops(wrap_inner_models(model)))

    @classmethod
    def bind(cls, content: bytes, signature: Signature) -> tuple[bytes, Signature]:
        """Return the artifact for the columns of a table, with the categories that the encoders learned.

        Columns that a vectorizer reads are texts. Raises DataError if the model reads strings and the table has
        numbers, EngineError for free text that no vectorizer reads.
        """
        opened = _shared(content)
        found = read_text_columns(opened.model, len(signature.inputs))
        inputs = tuple(_bind_field(field, found.get(index)) for index, field in enumerate(signature.inputs))
        columns = ModelColumns(
            inputs=inputs, none_columns=frozenset(index for index, reading in found.items() if reading.missing_is_none)
        )
        return skops_file.with_columns(content, columns), replace(signature, inputs=inputs)

    @classmethod
    def opened(cls, file: ModelFile) -> object:
        """Load a pickle or joblib file, or skops with any types: runs code in it, so call it only for a trusted file.

        Raises EngineError, with both versions, if another version of scikit-learn wrote it.
        """
        if file.suffix in cls.files:
            return skops_file.read_trusted(file.content)
        made_by, model = _pickled_version(file.content), None
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            try:
                model = joblib.load(io.BytesIO(file.content))
            finally:
                # A booster stores only its classes in scikit-learn objects.
                if model is None or root_package(model) not in EXTERNAL_LIBRARIES:
                    check_sklearn_version(skops_file.sklearn_version(warned) or made_by)
        return model

    @classmethod
    def forest(cls, content: bytes) -> Forest:
        """Return the trees; raise NotApplicable for an estimator that is not a sum of trees."""
        opened = _shared(content)
        try:
            model = trees.inside_threshold(opened.model)
            if isinstance(model, Pipeline):
                return fold.fold_pipeline(model, _width(model), opened.columns)
            return trees.estimator_forest(model, opened.columns)
        except _FAILURES as error:
            raise _damaged_model(error) from error

    @classmethod
    def graph(cls, content: bytes) -> Graph:
        """Compile the pipeline to operations; raise NotApplicable, which names the unsupported part."""
        opened = _shared(content)
        if opened.columns is not None and any(field.is_text for field in opened.columns.inputs):
            raise NotApplicable("it reads texts, which transform `text` compiles")
        try:
            return graphs.pipeline_graph(opened.model, _width(opened.model), opened.columns)
        except _FAILURES as error:
            raise _damaged_model(error) from error

    @classmethod
    def text_program(cls, content: bytes) -> bytes:
        """Compile a pipeline over texts for engine `text`; raise NotApplicable, which names the unsupported part."""
        opened = _shared(content)
        inputs = () if opened.columns is None else opened.columns.inputs
        columns = [0] if reads_sequence(opened.model) else [i for i, field in enumerate(inputs) if field.is_text]
        try:
            return texts.text_program(opened.model, columns=opened.columns, width=_width(opened.model), texts=columns)
        except _FAILURES as error:
            raise _damaged_model(error) from error

    @classmethod
    def encoder_step(cls, content: bytes) -> SentenceEncoder:
        """Return a sentence encoder as a step of a pipeline."""
        return SentenceEncoder(content)

    @classmethod
    def split_encoder(cls, content: bytes) -> tuple[bytes, bytes]:
        """Return the encoder that a pipeline begins with, and the steps after it as an artifact of their own."""
        model = _shared(content).model
        if not isinstance(model, Pipeline) or len(model.steps) < 2 or not isinstance(model[0], SentenceEncoder):
            raise NotApplicable("the first step of the model is not a sentence encoder")
        return model[0].content, skops_file.write_skops(model[1:] if len(model.steps) > 2 else model[1])

    @classmethod
    def rounds(cls, content: bytes) -> int:
        """Return the number of boosting rounds, or trees of a forest; raise NotApplicable if there are none."""
        return trees.count_rounds(_shared(content).model)

    @classmethod
    def truncate(cls, content: bytes, rounds: int) -> bytes:
        """Return the artifact with only its first rounds; a forest then answers the mean of its first trees."""
        opened = skops_file.read_skops(content)
        trees.truncate_rounds(opened.model, rounds)
        shorter = skops_file.write_skops(opened.model)
        return shorter if opened.columns is None else skops_file.with_columns(shorter, opened.columns)

    @classmethod
    def refit(cls, content: bytes, rows: Floats, labels: Floats, weights: Floats | None) -> bytes:
        """Return the artifact of the same estimator, fitted on other rows with the same columns, on one thread.

        Raises NotApplicable if some part of it would stay as it was fitted before, or cannot be fitted on these rows.
        """
        opened = skops_file.read_skops(content)
        fitted_parts = [
            path for path, part in walk_objects(opened.model) if isinstance(part, SentenceEncoder) or stays_fitted(part)
        ]
        if fitted_parts:
            raise NotApplicable(f"a part of it cannot be fitted again: {fitted_parts[0] or 'the model itself'}")
        target: NDArray[Any] = labels
        if is_classifier(opened.model):
            several = bool(multilabel.label_names(opened.model))
            codes = labels.astype(np.int64)
            target = codes if several else opened.model.classes_[codes]
        try:
            model = clone(opened.model)
            for _, part in walk_objects(model):
                # `memory` is a folder of pickles, which a file may name.
                safe = {"memory": None, "n_jobs": 1}
                changed = {name: value for name, value in safe.items() if getattr(part, name, None) is not None}
                if changed and isinstance(part, BaseEstimator):
                    part.set_params(**changed)
            model.fit(_row_converter(opened.model, opened.columns)(rows), target, **_weight_argument(model, weights))
        except _FAILURES as error:
            raise NotApplicable(f"a {type(opened.model).__name__} cannot be fitted on these rows: {error}") from error
        fitted = skops_file.write_skops(model)
        return fitted if opened.columns is None else skops_file.with_columns(fitted, opened.columns)

    can_clone = staticmethod(can_clone)
    fit_clone = staticmethod(fit_clone)

    def training_leaves(self) -> Ints:
        """Return the number of training rows in each node of the first tree, 0 for inner ones; empty if unknown."""
        tree = trees.first_tree(self._model)
        if tree is None:
            return np.empty(0, dtype=np.int64)
        return np.where(tree.children_left < 0, tree.n_node_samples, 0).astype(np.int64)

    def leaves(self, rows: Floats) -> Ints:
        """Return the leaf of the first tree for each row, int64 (n,)."""
        table = np.asarray(self._table(rows), dtype=np.float32)
        return np.asarray(trees.first_tree(self._model).apply(table), dtype=np.int64)

    @property
    def native(self) -> object:
        """The library's own object, to time the calls of its users."""
        return self._model

    def predict(self, rows: Floats) -> Floats:
        """Compute scores float64 [n, k] for rows float64 [n, d] with categories as ranks.

        Binary: of the second class, k = 1.

        Raises EngineError for rows of another width, and if the library fails on them.
        """
        if rows.ndim != 2 or rows.shape[1] != self._width:
            raise EngineError(f"rows of shape {rows.shape}, the model reads [n, {self._width}]")
        if not len(rows):
            return np.empty((0, self._outputs))
        scores = np.asarray(self._call(self._score, rows), dtype=np.float64)
        if scores.size != len(rows) * self._outputs:
            raise EngineError(f"{type(self._model).__name__} answers {scores.shape[1:]} numbers a row, expected one")
        return scores.reshape(len(rows), self._outputs)

    def decide(self, rows: Floats) -> Ints | None:
        """Return the index of the class that the estimator's own `predict` names, int64 [n]; None for a regressor.

        Of several labels a row, the indicator [n, k] of 0 and 1.

        It may differ from the most probable class: an SVC decides by its decision function, which its probabilities do
        not follow exactly, and a tuned classifier by its own threshold.
        """
        if not is_classifier(self._model):
            return None
        several = bool(multilabel.label_names(self._model))
        if not len(rows):
            return np.empty((0, self._outputs) if several else 0, dtype=np.int64)
        named = self._call(self._model.predict, rows)
        if several:
            return np.asarray(named.toarray() if hasattr(named, "toarray") else named, dtype=np.int64)
        return np.asarray(np.searchsorted(self._model.classes_, named), dtype=np.int64)

    def _call(self, function: Callable[[Any], Any], rows: Floats) -> Any:
        try:
            with self._limited_threads(len(rows)):
                return function(self._table(rows))
        except _FAILURES as error:
            raise _cannot_answer(self._model, rows, error) from error

    def _limited_threads(self, rows: int) -> AbstractContextManager[object]:
        """Limit the OpenMP threads of a call to one if the call is small, else to the setting."""
        threads = 1 if rows * self._openmp_trees < _SMALL_CALL else self._threads
        if self._openmp is None or not threads:
            return nullcontext()
        limited: AbstractContextManager[object] = self._openmp.limit(limits=threads)
        return limited


def _cannot_answer(model: Any, rows: Floats, error: Exception) -> EngineError:
    """Return the error of a model; if it refuses NaN or infinite values, with the first column that has one."""
    what = f"{type(model).__name__} cannot answer these rows: {error}"
    columns = np.flatnonzero(~np.isfinite(rows).all(axis=0))
    if not len(columns) or not any(word in str(error) for word in ("NaN", "infinity")):
        return EngineError(what)
    hint = "leave such rows out, or fit the model in a pipeline that replaces the values (SimpleImputer for NaN)"
    return EngineError(what, where=f"the first is in column {columns[0]} of 0 to {rows.shape[1] - 1}", hint=hint)


def _damaged_model(error: Exception) -> EngineError:
    return EngineError(f"the skops file is not a complete model: {error}", hint="skops.io.dump(model, 'model.skops')")


@lru_cache(maxsize=2)
def _shared(content: bytes) -> skops_file.SkopsModel:
    """Return the model of a file for callers that do not change it: reading a large forest takes a second."""
    return skops_file.read_skops(content)


def _import_file(file: ModelFile) -> ImportedModel:
    """Import a skops file; one of another scikit-learn version may answer differently, and is rejected."""
    if file.suffix not in Sklearn.files or not file.content.startswith(b"PK"):
        raise NotApplicable(f"a {file.suffix} file is not a model of scikit-learn in the form of skops")
    opened = skops_file.read_skops(file.content)
    check_sklearn_version(opened.made_by)
    return Sklearn.import_model(opened.model)


def _pickled_version(pickled: bytes) -> str:
    """Return the scikit-learn version that a pickle records; empty if it records none, or is compressed."""
    found = re.search(rb"_sklearn_version.{1,8}?(\d+(?:\.\d+)+)", pickled, re.DOTALL)
    return found[1].decode() if found else ""


def check_sklearn_version(made_by: str) -> None:
    """Raise EngineError if another minor version of scikit-learn wrote a model."""
    if made_by and made_by.split(".")[:2] != sklearn.__version__.split(".")[:2]:
        raise EngineError(
            f"this model was made by scikit-learn {made_by}, and {sklearn.__version__} is installed here",
            where="another version may predict differently, or fail",
            hint=version_hint(made_by),
        )


LAST_PYTHON = {"0.24": 9, "1.0": 10, "1.1": 10, "1.2": 11, "1.3": 12, "1.4": 12, "1.5": 12, "1.6": 13, "1.7": 13}
"""The last Python 3.x for which every wheel of a version exists; newer versions have wheels for every Python here."""


def version_hint(made_by: str, *, python: int = sys.version_info.minor) -> str:
    """Return how to open a model of another version: install it, or where this Python has no wheel, save it again."""
    major, minor = (int(part) for part in made_by.split(".")[:2])
    last = LAST_PYTHON.get(f"{major}.{minor}", 9 if (major, minor) < (1, 0) else python)
    if python <= last:
        return f"pip install scikit-learn=={made_by}"
    return (
        f"scikit-learn {made_by} has no wheel for Python 3.{python}: fit the model again here, or open it with Python "
        f"3.{last} and scikit-learn {made_by} and export it to ONNX (skl2onnx.to_onnx(model, X[:1]))"
    )


def _check_fitted(model: Any) -> None:
    try:
        check_is_fitted(model)
    except (NotFittedError, TypeError) as error:
        raise EngineError(f"this {type(model).__name__} is not fitted", hint="model.fit(X, y)") from error


def _describe_model(model: Any, content: bytes) -> ImportedModel:
    """Return the estimator's columns, task and classes."""
    _, outputs = _score_function(model)
    several = multilabel.label_names(model)
    classes = several or (tuple(str(name) for name in model.classes_) if is_classifier(model) else ())
    task = (
        _number_task(model) if not classes else "multilabel" if several else "binary" if outputs == 1 else "multiclass"
    )
    names = tuple(str(name) for name in getattr(model, "feature_names_in_", ()))
    return ImportedModel(content=content, width=_width(model), names=names, task=task, classes=classes)


_OWN_TASKS = ("quantile", "survival")


def _number_task(model: Any) -> str:
    """Return the task of a model that answers a number: that of its last step, which may be of another library."""
    if isinstance(model, Pipeline):
        return _number_task(model[-1])
    if isinstance(model, BaseSearchCV):
        return _number_task(model.best_estimator_)
    if isinstance(model, TransformedTargetRegressor):
        return _number_task(model.regressor_)
    if isinstance(model, OutlierMixin):
        return "anomaly"
    if root_package(model) in EXTERNAL_LIBRARIES:
        own = plugins.load_engine(root_package(model)).import_model(model).task
        return own if own in _OWN_TASKS else "regression"
    is_quantile = isinstance(model, QuantileRegressor) or getattr(model, "loss", None) == "quantile"
    return "quantile" if is_quantile else "regression"


def _require_texts(model: Any) -> None:
    """Raise EngineError for a step that reads other things than texts or columns."""
    for _, step in model.steps if isinstance(model, Pipeline) else [("", model)]:
        if isinstance(step, DictVectorizer | FeatureHasher):
            raise EngineError(
                f"a {type(step).__name__} reads dictionaries or lists of strings, and a row has texts and columns",
                hint="TfidfVectorizer or HashingVectorizer reads texts, OneHotEncoder reads columns",
            )


def _width(model: Any) -> int:
    _require_texts(model)
    width = 1 if reads_sequence(model) else getattr(model, "n_features_in_", None)
    if not isinstance(width, int | np.integer) or width < 1:
        raise EngineError(
            f"a {type(model).__name__} does not declare how many columns it reads", hint="fit it on a table [n, d]"
        )
    return int(width)


def _score_function(model: Any) -> tuple[Callable[[Any], Any], int]:
    """Return the function that scores rows, and the number of scores per row."""
    several = multilabel.label_names(model)
    if several:
        return multilabel.score_function(model), len(several)
    if is_regressor(model):
        return model.predict, 1
    if isinstance(model, IsolationForest):
        return model.score_samples, 1
    classes = getattr(model, "classes_", None) if is_classifier(model) else None
    if not isinstance(classes, np.ndarray) or classes.ndim != 1 or len(classes) < 2:
        raise EngineError(
            f"a {type(model).__name__} is neither a regressor nor a classifier of two or more classes",
            hint="pass a fitted classifier or regressor with one target",
        )
    outputs = 1 if len(classes) == 2 else len(classes)
    if hasattr(model, "predict_proba"):
        return lambda rows: model.predict_proba(rows)[:, 1 if outputs == 1 else 0 :], outputs
    if hasattr(model, "decision_function"):
        return lambda rows: _decision_scores(model.decision_function(rows)), outputs
    raise EngineError(
        f"a {type(model).__name__} has neither predict_proba nor decision_function, so it returns no score",
        hint="voting='soft', or CalibratedClassifierCV around it",
    )


def _thresholds(model: Any) -> tuple[float, ...]:
    """Return the probabilities at which `predict` may change its class, where a model decides by something else.

    An SVC changes it where its decision function is 0; its probability there follows from the intercept of Platt's
    sigmoid. A classifier with a threshold of its own changes it there.
    """
    last = trees.final_step(model)
    found = [getattr(last, name, None) for name in ("best_threshold_", "threshold")]
    if isinstance(last, SVC | NuSVC) and len(last._probB) == 1:
        found += sigmoid(np.array([last._probB[0], -last._probB[0]])).tolist()
    own = [float(value) for value in found if isinstance(value, float)]
    return tuple(value for threshold in own for value in (threshold, 1 - threshold + TIE))


def _decision_scores(decision: Floats) -> Floats:
    """Return the sigmoid [n] of two classes, or the softmax [n, k] of more; the decision stays the same."""
    return sigmoid(decision) if decision.ndim == 1 else softmax(decision)


def _bind_field(field: Field, reading: TextColumn | None) -> Field:
    """Return a column with the categories that the model learned, and its treatment of unseen ones."""
    if reading is not None and reading.categories and not _is_text(field):
        raise DataError(
            f"the model reads strings in column '{field.name}', such as {min(reading.categories)!r}, not numbers",
            hint="pass the column as the model was fitted on it",
        )
    if reading is not None and reading.is_vectorized:
        if not _is_text(field) or reading.categories:
            what = "categories too" if reading.categories else "not strings"
            raise DataError(
                f"a vectorizer reads column '{field.name}', which has {what}",
                hint="give the vectorizer a column of its own, with texts",
            )
        return Field(name=field.name, datatype="BYTES", is_text=True)
    if not _is_text(field):
        return field
    if reading is None:
        return replace(field, unseen="other")
    categories = (
        reading.categories | set(field.categories)
        if reading.reads_text or not reading.categories
        else reading.categories
    )
    if len(categories) > MAX_CATEGORIES and reading.reads_text:
        raise EngineError(
            f"column '{field.name}' is free text ({len(categories):,} strings), and the model reads the strings "
            "themselves",
            hint="convert it to numbers before the model: headway passes a string as its rank among those in the data",
        )
    refused = reading.reads_text or reading.rejects_unseen
    return replace(field, categories=tuple(sorted(categories)), unseen="refused" if refused else "other")


def _row_converter(model: Any, columns: ModelColumns | None) -> Callable[[Floats], Any]:
    """Return a function from rows to the model's input: a dataframe if it selects columns by name, else the array."""
    if reads_sequence(model):
        return lambda rows: text_codes.texts(rows[:, 0])
    has_strings = columns is not None and any(map(_is_text, columns.inputs))
    names = getattr(model, "feature_names_in_", None)
    if not has_strings and (names is None or not _picks_by_name(model)):
        for _, part in walk_objects(model):  # else every call warns about missing feature names
            getattr(part, "__dict__", {}).pop("feature_names_in_", None)
        return lambda rows: rows
    header = pd.Index(range(_width(model)) if names is None else names)
    if columns is None:
        return lambda rows: pd.DataFrame(rows, columns=header)
    with_texts = [index for index, field in enumerate(columns.inputs) if field.is_text]
    lookups = [
        (index, category_values(field, None if index in columns.none_columns else math.nan))
        for index, field in enumerate(columns.inputs)
        if _is_text(field) and not field.is_text
    ]

    def table(rows: Floats) -> pd.DataFrame:
        found = pd.DataFrame(rows, columns=header)
        for index, lookup in lookups:
            found.isetitem(index, pd.Series(_decode_ranks(rows[:, index], lookup), dtype=object))
        for index in with_texts:
            found.isetitem(index, pd.Series(text_codes.texts(rows[:, index]), dtype=object))
        return found

    return table


def _picks_by_name(model: Any) -> bool:
    """Return whether some part of a model may select columns by name."""
    return any(
        isinstance(part, ColumnTransformer | FunctionTransformer) or "_sklearn_output_config" in vars(part)
        for _, part in walk_objects(model)
        if isinstance(part, BaseEstimator)
    )


def _is_text(field: Field) -> bool:
    return field.datatype == "BYTES"


def _weight_argument(model: Any, weights: Floats | None) -> dict[str, Floats]:
    """Return the argument of `fit` that passes sample weights to an estimator, or to the last step of a pipeline."""
    last = trees.final_step(model)
    if weights is None or not has_fit_parameter(last, "sample_weight"):
        return {}
    return {f"{model.steps[-1][0]}__sample_weight" if isinstance(model, Pipeline) else "sample_weight": weights}


def _decode_ranks(ranks: Floats, lookup: NDArray[Any]) -> NDArray[Any]:
    """Return the category of each rank; other numbers become the placeholder for unseen categories."""
    missing, other = len(lookup) - 1, len(lookup) - 2
    known = (ranks >= 0) & (ranks < other) & (ranks == np.trunc(ranks))
    index = np.where(known, ranks, np.where(np.isnan(ranks), missing, other))
    categories: NDArray[Any] = lookup[index.astype(np.intp)]
    return categories


def _set_threads(model: Any, threads: int) -> None:
    for _, part in walk_objects(model) if threads else ():
        if isinstance(part, InnerModel):
            part.set_threads(threads)
        elif isinstance(part, BaseEstimator) and "n_jobs" in vars(part):
            part.n_jobs = threads


plugin = Sklearn
