"""A model that headway opened, called like the original: the same columns in, the same classes and shape out."""

from __future__ import annotations

import importlib
import io
import re
import warnings
import zipfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, Self

import numpy as np
from numpy.typing import NDArray

from headway.api.tables import SmallTableReader, expect_width, is_pandas_table, to_csr, to_dense, to_polars
from headway.core.arrays import Floats
from headway.core.calibrator import Calibrator
from headway.core.contracts import Decider, Engine, ImportedModel
from headway.core.errors import DataError, EngineError, StoreError
from headway.core.label_sets import decide_labels
from headway.core.plugins import load_engine
from headway.core.record import Record, StoredRecord, digest_of, read, write
from headway.core.texts import text_codes
from headway.core.variant import DECIDES, LIBRARY_THRESHOLD, MULTILABEL, ThresholdRule, Variant
from headway.data.matrix import matrix
from headway.data.refusals import RefusalCheck
from headway.evaluation.calibration.apply import calibration_function
from headway.evaluation.quality.row_errors import decide_class
from headway.serving.protocol.tensors import string_codes
from headway.storage import atomic

CHUNK_ROWS = 65_536
CLASSIFIERS = (*DECIDES, MULTILABEL)
HEADER, ARTIFACT = "model.json", "artifact"
"""Entries of the file that `Model.save` writes."""
REFIT = "fit the original model again, then best = headway.optimize(model, X, y)"


class AnswerForm(Record, frozen=True, kw_only=True):
    """Array types and shapes of the original model's answers, where its library has others than headway.

    `decisions` and `probabilities` are names of NumPy types, such as `float32`; empty: as headway has them. A library
    may answer a column (n, 1), and for several labels a list of arrays (n, 2) instead of one array (n, k).
    """

    decisions: str = ""
    is_column: bool = False
    probabilities: str = ""
    is_list: bool = False
    classes: str = ""
    lists_classes: bool = False


class SavedModel(StoredRecord, frozen=True, kw_only=True):
    """What a saved model is, next to the bytes of its artifact."""

    variant: Variant
    threshold: float | None = None
    threshold_rule: ThresholdRule = "library"
    calibrator: Calibrator = Calibrator()
    form: AnswerForm = AnswerForm()


class Model:
    """A model with `predict`, and for a classifier `predict_proba` and `classes_`, as scikit-learn calls it.

    A classifier predicts as its library does, or decides by the `threshold` that was chosen from costs. A model
    without classes of its own (a Booster) behaves as in its library: `predict` returns its scores. A multilabel
    classifier returns indicator matrices.

    Attributes
    ----------
    variant : Variant
        What is run: engine, steps, signature, task.
    engine : Engine
        What runs it.
    threshold : float or None
        Decision threshold of a binary classifier: a probability of at least this value is the second class. Without
        costs it is just above 0.5, for a tie goes to the first class, or the model's own. None for other tasks.
    threshold_rule : {"costs", "library"}
        Whether the threshold was chosen from costs, or follows the `predict` of the model's library.
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
        threshold_rule: ThresholdRule = "library",
        calibrator: Calibrator = Calibrator(),  # noqa: B008 - frozen
        content: bytes = b"",
        form: AnswerForm = AnswerForm(),  # noqa: B008 - frozen
    ) -> None:
        self.variant = variant
        self._form = form
        self._content = content
        self._calibrator = calibrator
        self.threshold: float | None = None
        if variant.task == "binary":
            self.threshold = LIBRARY_THRESHOLD if threshold is None else threshold
        self.threshold_rule = threshold_rule
        self._engine = engine
        follows = threshold_rule == "library" and not calibrator
        self._decide = engine.decide if follows and isinstance(engine, Decider) else None
        if variant.task == "binary" and not calibrator and hasattr(engine, "at_least"):
            self._decide = partial(engine.at_least, threshold=self.threshold)
        if variant.task == "multiclass" and not calibrator and hasattr(engine, "most_probable"):
            self._decide = engine.most_probable
        self._calibrate = calibration_function(calibrator)
        self._is_numeric = all(field.datatype != "BYTES" for field in variant.signature.inputs)
        self._is_one_text = [field.is_text for field in variant.signature.inputs] == [True]
        self._absent = np.nan if variant.signature.absent == "missing" else 0.0
        self._predict_sparse = getattr(engine, "predict_sparse", None) if self._is_numeric else None
        self._small_tables = SmallTableReader(variant.signature)
        self._predict_cells = None if self._is_numeric else getattr(engine, "predict_cells", None)
        self._codes = tuple(string_codes(field) for field in variant.signature.inputs)
        self._names = variant.signature.names
        self._is_unnamed = self._names == tuple(f"x{i}" for i in range(len(self._names)))
        self._refusals = RefusalCheck(variant.signature)
        self._check = None if getattr(engine, "refuses_rows", False) or not self._refusals.is_needed else self._refusals
        is_plain = variant.task == "binary" and self._is_numeric and not calibrator and not self._check
        self._class_probabilities = getattr(engine, "class_probabilities", None) if is_plain else None
        self.feature_names_in_ = np.array(variant.signature.names, dtype=object)
        self.n_features_in_ = len(variant.signature.inputs)
        if variant.task in CLASSIFIERS:
            self.classes_: Any = _classes_in_form(variant, form)
        is_named = bool(form.classes) == (variant.task in CLASSIFIERS)
        self._decision_type = form.decisions if is_named else ""
        self._estimator_type = "classifier" if variant.task in CLASSIFIERS else "regressor"

    @property
    def engine(self) -> Engine:
        """The engine that runs the model."""
        return self._engine

    def save(self, path: str | Path) -> Path:
        """Save the model as one file of data, without code; `headway.load(path)` opens it.

        The file is not signed. To serve the model, release it: `best.release()`.

        Parameters
        ----------
        path : str or Path

        Returns
        -------
        Path
            The file that was written.
        """
        return save_model(self, Path(path))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the model by its bytes; the engine is opened again where it is loaded."""
        return load_model_bytes, (save_model_bytes(self),)

    def __sklearn_is_fitted__(self) -> bool:
        """Return True: the model is fitted."""
        return True

    def __sklearn_clone__(self) -> Self:
        """Return the model itself: it has no parameters and cannot be fitted, so a clone is the same model."""
        return self

    def __sklearn_tags__(self) -> Any:
        """Return what scikit-learn asks of an estimator: a classifier or a regressor, already fitted."""
        utils = importlib.import_module("sklearn.utils")
        is_classifier = self._estimator_type == "classifier"
        return utils.Tags(
            estimator_type=self._estimator_type,
            target_tags=utils.TargetTags(required=True, multi_output=self.variant.task == MULTILABEL),
            classifier_tags=utils.ClassifierTags(multi_label=self.variant.task == MULTILABEL)
            if is_classifier
            else None,
            regressor_tags=None if is_classifier else utils.RegressorTags(),
        )

    def get_params(self, deep: bool = True) -> dict[str, object]:
        """Return no parameters: what was fitted is fixed.

        Parameters
        ----------
        deep : bool
            Without effect: there is no nested estimator.

        Returns
        -------
        dict
            Always empty.
        """
        return {}

    def set_params(self, **parameters: object) -> Self:
        """Return the model; raises ValueError for any parameter, as there is none to set.

        Parameters
        ----------
        parameters : object
            None is accepted.
        """
        if parameters:
            raise ValueError(f"an optimized model has no parameter {next(iter(parameters))!r}; {REFIT}")
        return self

    def fit(self, X: object = None, y: object = None, **fit_params: object) -> NoReturn:
        """Raise EngineError: an optimized model is fitted, and is not fitted again.

        Parameters
        ----------
        X : object
        y : object
        fit_params : object
            All are ignored.
        """
        raise EngineError(
            "an optimized model is fitted already, and cannot be fitted again (as in cross_val_score)",
            hint=f"{REFIT}; to measure this one: headway.evaluate(best, X, y); to hold it fixed in scikit-learn: "
            "sklearn.frozen.FrozenEstimator(best)",
        )

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy of a classifier, or R² of a regression, as scikit-learn's `score` does.

        That of a multilabel classifier is the share of rows whose labels are all right.

        Parameters
        ----------
        X : array-like of shape (n, d)
        y : array-like of shape (n,)
        sample_weight : array-like of shape (n,), optional

        Returns
        -------
        float
            Without an interval; `headway.evaluate` gives one.
        """
        known = self.variant.signature.classes if self.variant.task in CLASSIFIERS else True
        if not known or self.variant.task in ("ranking", "embedding"):
            raise AttributeError(
                f"a {self.variant.task} model without classes has no score; headway.evaluate(best, X, y)"
            )
        found, true = self._decisions(X), np.asarray(y)
        true = true if self.variant.task == MULTILABEL else true.reshape(-1)
        if len(found) != len(true):
            raise DataError(f"{len(found):,} rows, but {len(true):,} values of y", hint="pass one for each row")
        if self._estimator_type == "classifier":
            is_right = np.all(found == true, axis=1) if found.ndim == 2 else found == true
            return float(np.average(is_right, weights=sample_weight))
        center = np.average(true, weights=sample_weight)
        error, spread = (np.average(np.square(true - by), weights=sample_weight) for by in (found, center))
        return float(1 - error / spread) if spread else float(not error)

    def as_imported(self) -> ImportedModel:
        """Return the model as one to evaluate or optimize; raises EngineError if a calibrator follows it."""
        if self._calibrator:
            raise EngineError(
                "this release has a calibrator, which belongs to its pointer and not to the model",
                hint="headway evaluate, headway watch",
            )
        signature = self.variant.signature
        return ImportedModel(
            content=self._content,
            width=len(signature.inputs),
            names=signature.names,
            task=self.variant.task,
            classes=signature.classes,
            absent=self._absent,
            engine=self.variant.engine,
            variant=self.variant,
        )

    def scores(self, rows: Any) -> Floats:
        """Return the calibrated output of the model.

        Parameters
        ----------
        rows : array-like of shape (n, d)
            Any table with the columns that the model reads, or a matrix in their order. For trees that read categories,
            a list of rows or an object array, with strings, as well.

        Returns
        -------
        ndarray of shape (n, k)
            k = 1 for binary classification and regression, one column for each class, or each label.

        Raises
        ------
        DataError
            The message names the column.
        RowRefused
            For a value that the model's library refuses, such as a missing one. It is a ValueError as well.
        """
        if self._predict_sparse and hasattr(rows, "tocsr"):
            return self._calibrate(self._run_sparse(self._predict_sparse, rows))
        scores = self._scores_of_cells(rows) if self._predict_cells and not self._check else None
        return self._calibrate(self._run(self._engine.predict, self._matrix(rows)) if scores is None else scores)

    def predict_proba(self, rows: Any) -> Any:
        """Return the probability of each class, or of each label.

        Parameters
        ----------
        rows : array-like of shape (n, d)

        Returns
        -------
        ndarray of shape (n, n_classes), or list of ndarray of shape (n, 2)
            Columns in the order of `classes_`; of several labels, a list where the original model answers one. The
            type is that of the original model's answers.
        """
        found = self._probabilities(rows)
        if self._form.is_list:
            return [np.column_stack([1 - label, label]) for label in found.T]
        return found.astype(self._form.probabilities, copy=False) if self._form.probabilities else found

    def _probabilities(self, rows: Any) -> Floats:
        """Return probabilities, float64 [n, classes], or [n, labels]."""
        if self._class_probabilities:
            found: Floats | None = self._class_probabilities(rows)
            if found is not None:
                return found
        if self.variant.task not in CLASSIFIERS:
            raise AttributeError(f"a model of the task {self.variant.task!r} has no predict_proba")
        scores = self.scores(rows)
        if scores.shape[1] > 1:
            return scores
        both = np.empty((len(scores), 2))  # for one row, a third of the time of np.column_stack
        np.subtract(1, scores, out=both[:, :1])
        both[:, 1:] = scores
        return both

    def predict(self, rows: Any) -> NDArray[Any]:
        """Return the predicted class of each row, or the value of a regression.

        Parameters
        ----------
        rows : array-like of shape (n, d)

        Returns
        -------
        ndarray of shape (n,)
            The indicator matrix (n, k) of a multilabel classifier; scores (n, k) if the model has no classes and more
            than one output; a column (n, 1) where the original model answers one. The type is that of its answers.
        """
        decided = self._decisions(rows)
        if self._decision_type:
            decided = decided.astype(self._decision_type, copy=False)
        return decided[:, None] if self._form.is_column and decided.ndim == 1 else decided

    def _decisions(self, rows: Any) -> NDArray[Any]:
        """Return classes [n], indicators [n, labels], or values, in headway's own types."""
        if self.variant.task not in CLASSIFIERS or not self.variant.signature.classes:
            scores = self.scores(rows)
            return scores[:, 0] if scores.shape[1] == 1 else scores
        keeps_form = self._predict_sparse and hasattr(rows, "tocsr")
        keeps_form = keeps_form or (self._predict_cells and isinstance(rows, list | np.ndarray))
        decides = None if keeps_form else self._decide
        decided = self._run(decides, self._matrix(rows)) if decides else None
        if self.variant.task == MULTILABEL:
            return decide_labels(self.scores(rows)) if decided is None else decided
        if decided is None:
            decided = decide_class(self.scores(rows), self.threshold or 0.0)
        return np.asarray(self.classes_[decided])

    def __repr__(self) -> str:
        return f"<headway model: {self.variant.name}, {self.n_features_in_} columns, {self.variant.task}>"

    def _run(self, function: Callable[[Floats], Any], table: Floats) -> Any:
        """Call the engine on a table in chunks; a row that the model refuses raises RowRefused."""
        if self._check:
            self._check(table)
        try:
            if len(table) <= CHUNK_ROWS:
                return function(table)
            return np.concatenate(
                [function(table[start : start + CHUNK_ROWS]) for start in range(0, len(table), CHUNK_ROWS)]
            )
        except EngineError:
            self._refusals(table)
            raise

    def _scores_of_cells(self, rows: Any) -> Floats | None:
        """Return the scores of rows of numbers and strings; None if the general conversion must read them."""
        cells: Any = rows if isinstance(rows, list | np.ndarray) else None
        if is_pandas_table(rows):
            cells = self._small_tables.cells(rows)
        if cells is None or not len(cells) or self._predict_cells is None:
            return None
        try:
            found: Floats = self._predict_cells(cells, self._codes)
        except (EngineError, LookupError, TypeError, ValueError):
            return None
        return found

    def _run_sparse(self, function: Callable[[Any, float], Floats], rows: Any) -> Floats:
        """Call the engine on a SciPy sparse matrix, which stays sparse; refused rows raise as in `_run`."""
        table = to_csr(rows, self._names, self.n_features_in_)
        if self._check:
            self._check.check_sparse(table, self._absent)
        try:
            return function(table, self._absent)
        except EngineError:
            self._refusals.check_sparse(table, self._absent)
            raise

    def _matrix(self, rows: Any) -> Floats:
        """Return rows as float64 [n, d] in C order; a numeric matrix takes a short path."""
        if not isinstance(rows, np.ndarray) and hasattr(rows, "tocsr"):
            rows = to_dense(to_csr(rows, self._names, self.n_features_in_), self._absent)
        if self._is_numeric and isinstance(rows, np.ndarray):
            if rows.ndim != 2:
                raise DataError(
                    f"rows have shape {rows.shape}, the model reads [n, {self.n_features_in_}]",
                    where=f"columns: {', '.join(self.feature_names_in_)}",
                    hint="X.reshape(1, -1) for a single row",
                )
            if rows.shape[1] != self.n_features_in_:
                expect_width(rows, self._names, self.n_features_in_)
            return np.ascontiguousarray(rows, dtype=np.float64)
        small = self._small_tables.read(rows) if is_pandas_table(rows) else self._text_numbers(rows)
        if small is not None:
            return small
        names = list(self.feature_names_in_)
        table = to_polars(rows, names, absent=self._absent)
        if self._is_unnamed and table.width == len(names) and not set(names) & set(table.columns):
            table = table.rename(dict(zip(table.columns, names, strict=True)))
        for name in names:  # the times of a feature view are numbers, those of a caller's table a mistake
            if name in table.columns and table.schema[name].is_temporal():
                raise DataError(f"column '{name}' is {table.schema[name]}, expected a number")
        return matrix(table, self.variant.signature, keep_texts=False)

    def _text_numbers(self, rows: Any) -> Floats | None:
        """Return the numbers of a list or an array of texts; None if the general conversion must read the rows."""
        texts = rows.tolist() if isinstance(rows, np.ndarray) and rows.ndim == 1 else rows
        if not (self._is_one_text and isinstance(texts, list) and texts and all(type(text) is str for text in texts)):
            return None
        try:
            "".join(texts).encode()  # half of a surrogate pair is refused by the general conversion too
            return np.array([[text_codes[text]] for text in texts])
        except (DataError, UnicodeError):
            return None  # the general conversion says where


def save_model(model: Model, path: Path) -> Path:
    """Write a model to a file, completely or not at all, and return the path."""
    atomic.write(path, save_model_bytes(model))
    return path


def save_model_bytes(model: Model) -> bytes:
    """Return a model as the bytes of its file: a zip of its record and its artifact, both data."""
    if not model._content:
        raise EngineError("this model was opened without its bytes", hint="headway.load(...) or headway.optimize(...)")
    record = SavedModel(
        variant=model.variant,
        threshold=model.threshold,
        threshold_rule=model.threshold_rule,
        calibrator=model._calibrator,
        form=model._form,
    )
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr(zipfile.ZipInfo(HEADER), write(record))
        file.writestr(zipfile.ZipInfo(ARTIFACT), model._content)
    return content.getvalue()


def load_model(path: Path) -> Model:
    """Open a file that `Model.save` wrote; raises StoreError for any other."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StoreError(f"the model cannot be read: {error.strerror}", where=str(path)) from error
    return load_model_bytes(content, where=str(path))


def load_model_bytes(content: bytes, *, where: str = "") -> Model:
    """Open the bytes of a saved model; a file that is not one, or was changed, raises StoreError."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            if sum(entry.file_size for entry in file.infolist()) > len(content):
                raise KeyError("an entry is larger than the file: best.save compresses nothing")
            header, artifact = file.read(HEADER), file.read(ARTIFACT)
    except (zipfile.BadZipFile, KeyError, EOFError, NotImplementedError, RuntimeError) as error:
        raise StoreError(
            "this is not a file that best.save wrote",
            where=where,
            hint="headway.optimize(path, X, y) opens a model file of a library; joblib.load one of joblib.dump",
        ) from error
    saved = read(SavedModel, header)
    if digest_of(artifact) != saved.variant.artifact.digest:
        raise StoreError("the model's bytes were changed after it was saved", where=where, hint="copy the file again")
    return Model(
        saved.variant,
        load_engine(saved.variant.engine)(artifact, saved.variant.settings),
        threshold=saved.threshold,
        threshold_rule=saved.threshold_rule,
        calibrator=saved.calibrator,
        content=artifact,
        form=saved.form,
    )


def answer_form(model: Any, rows: Any, names: Sequence[str] = ()) -> AnswerForm:
    """Return the form of a fitted model's answers, as it answers its own first rows.

    It is headway's own for the path of a file, and for a method that does not answer.

    Parameters
    ----------
    model : object
        The user's own model, or one that headway made.
    rows : array-like of shape (n, d)
    names : sequence of str
        Columns that the model reads, for a table with others.
    """
    if isinstance(model, Model):
        return model._form
    if isinstance(model, str | Path):
        return AnswerForm()
    if names and hasattr(rows, "columns") and set(names) <= set(rows.columns):
        rows = rows[list(names)]
    decisions, probabilities = (_first_answers(model, name, rows) for name in ("predict", "predict_proba"))
    classes = getattr(model, "classes_", ())
    lists_classes = isinstance(classes, list)
    types = {str(np.asarray(some).dtype) for some in (classes if lists_classes else [classes]) if len(some)}
    is_array = isinstance(decisions, np.ndarray)
    if is_array and types:  # the class CatBoost answers sums of leaves instead of classes
        named = np.concatenate([np.ravel(some) for some in ([0, 1], *(classes if lists_classes else [classes]))])
        is_array = bool(np.isin(decisions, named).all())
    elif is_array:
        is_array = decisions.dtype.kind == "f"
    return AnswerForm(
        decisions=str(decisions.dtype) if is_array else "",
        is_column=is_array and decisions.ndim == 2 and decisions.shape[1] == 1,
        probabilities=str(probabilities.dtype) if isinstance(probabilities, np.ndarray) else "",
        is_list=isinstance(probabilities, list),
        classes=types.pop() if len(types) == 1 else "",
        lists_classes=lists_classes,
    )


def _first_answers(model: Any, method: str, rows: Any) -> Any:
    """Return what a method of the user's own model answers to two rows, None if it does not answer them."""
    some = rows.iloc[:2] if hasattr(rows, "iloc") else rows[:2]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return getattr(model, method)(some)
    except Exception:  # noqa: BLE001 - what a library raises for rows that it does not read is its own affair
        return None


def _classes_in_form(variant: Variant, form: AnswerForm) -> NDArray[Any] | list[NDArray[Any]]:
    """Return the classes as the original model has them; labels that the columns of `y` named keep their names."""
    names = variant.signature.classes
    classes = parse_classes(names) if names else np.array([0, 1])
    is_named = variant.task == MULTILABEL and names != tuple(map(str, range(len(names))))
    if not form.classes or is_named:
        return classes
    if form.lists_classes:
        return [np.array([0, 1], dtype=form.classes) for _ in names]
    return classes.astype(form.classes)


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
