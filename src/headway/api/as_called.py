"""Time the user's own object and the optimized model that replaces it, both called as the user calls the object."""

from __future__ import annotations

import copy
import time
import warnings
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from headway import pipeline
from headway.api.model import Model
from headway.api.tables import is_pandas_table
from headway.core.errors import NotApplicable
from headway.core.evidence import AS_CALLED, Measurement, TimedCall
from headway.core.search_result import SearchResult
from headway.core.threads import thread_setting
from headway.data.matrix import matrix
from headway.evaluation.benchmark import time_calls
from headway.evaluation.comparison import open_variant
from headway.optimization.screening import answer_changing_steps
from headway.registry.project import Project

ROUNDS, ATTEMPTS, MAX_INPUTS, LIMIT_S, OWN_LIMIT_S = 40, 3, 64, 10.0, 0.5
_IN_PYTHON = "pass the fitted object in Python: headway.optimize(model, X, y)"
_METHODS = ("predict_proba", "inplace_predict", "predict")
"""Methods of the user's object, the first that it has: a Booster of XGBoost reads an array by `inplace_predict`."""


def time_as_called(
    model: Any, optimized: Any, rows: Any, *, names: Sequence[str] = (), threads: int = 0, limit_s: float = LIMIT_S
) -> list[Measurement | NotApplicable]:
    """Time calls of one row, by pairs in turns: the user's object against the optimized model.

    Parameters
    ----------
    model : object
        The user's fitted model.
    optimized : Model
        What replaces it.
    rows : array-like of shape (n, d)
        Rows as the user passes them: a DataFrame, an array or a sparse matrix.
    names : sequence of str
        Columns that the model reads, for a table with others.
    threads : int
        Number of threads that the model's own setting asks for, 0 if it has none.
    limit_s : float
        Longest time for each kind of row, s; a slow model then has fewer rounds.

    Returns
    -------
    list of Measurement or NotApplicable
        `latency.as_called` (us) and `latency.as_called.speedup`, one slice for each kind of row that the model accepts
        (`dataframe_row`, `array_row`), the user's own kind first; see `benchmark.time_calls`. If that one could not be
        timed because the machine was busy, the others are left out.
    """
    method = next((name for name in _METHODS if callable(getattr(model, name, None))), "")
    replacement = getattr(optimized, "predict_proba" if method == "predict_proba" else "predict", None)
    if not method or replacement is None:
        return [NotApplicable(f"a {type(model).__name__} has no method that both it and the optimized model have")]
    found: list[Measurement | NotApplicable] = []
    for kind, inputs in _row_inputs(rows, names).items():
        if not _answers(getattr(model, method), inputs[0]):
            continue
        engine, own = type(model).__name__, threads or thread_setting(getattr(model, "n_jobs", None))
        call = TimedCall(engine=engine, call=method, input=kind, rows=1, threads=own)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of feature names: the user's own call gives them once
            found += time_calls(
                replacement,
                getattr(model, method),
                inputs,
                call=call,
                rounds=ROUNDS,
                limit_s=limit_s,
                attempts=ATTEMPTS,
            )
        if not any(isinstance(seen, Measurement) and seen.name == AS_CALLED for seen in found):
            break  # the user's own kind of row could not be timed: no other kind may stand for it
    return found or [NotApplicable(f"the {type(model).__name__} answers no single row of these data")]


BATCH_SIZES = (1, 32, 256, 1_000, 3_000)
_PAIRS, _MIN_PAIRS, _FAR = 15, 3, 2.0
_SHOWN, _TIED = 0.95, 1.05
"""Ratios of CPU time below which the library's call is used: instead of another form, and of the original itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryCalls:
    """The library's own object of a model, and for each method the sizes of batches where it is the faster way.

    A size stands for all batches up to the next of `BATCH_SIZES`. It reads rows of `kind` alone, with these `columns`
    if they are a DataFrame.
    """

    model: Any
    kind: type
    columns: tuple[str, ...]
    sizes: dict[str, tuple[int, ...]]

    def find(self, method: str, rows: Any) -> Callable[[Any], Any] | None:
        """Return the library's method if it answers these rows faster."""
        sizes, kind = self.sizes.get(method), type(rows)
        if not sizes or kind is not self.kind or not len(rows):
            return None
        if BATCH_SIZES[bisect_right(BATCH_SIZES, len(rows)) - 1] not in sizes:
            return None
        if kind is list:
            is_read = isinstance(rows[0], str)
        else:
            is_matrix = not self.columns and rows.ndim == 2 and rows.dtype.kind in "fiub"
            is_read = is_matrix or (bool(self.columns) and tuple(rows.columns) == self.columns)
        call: Callable[[Any], Any] | None = getattr(self.model, method) if is_read else None
        return call


def library_calls(model: Any, optimized: Model, rows: Any) -> LibraryCalls | None:
    """Return the library's own calls for the batches that they answer in less CPU time than the optimized model.

    Both answer batches of 1, 32, 256, 1,000 and 3,000 rows in turns. None if the library never is faster, if the
    optimized model changes answers, or if its threshold is its own.

    Parameters
    ----------
    model : object
        The user's fitted model, of which a copy is kept: it may be fitted again.
    optimized : Model
        What replaces it.
    rows : array-like of shape (n, d)
        Rows as the user passes them; only arrays, DataFrames of pandas and lists of texts are measured.
    """
    keeps = optimized.threshold_rule == "library" and not answer_changing_steps(optimized.variant)
    batches = _batches_of(optimized, rows) if keeps else None
    if batches is None:
        return None
    native = getattr(optimized.engine, "native", None)  # of a winner that is the baseline; it knows no names of columns
    try:
        own = native if type(native) is type(model) and not is_pandas_table(rows) else copy.deepcopy(model)
    except Exception:  # noqa: BLE001 - a model that cannot be copied is not kept
        return None
    methods = [name for name in ("predict_proba", "predict") if hasattr(own, name) and hasattr(optimized, name)]
    measured = {
        name: _faster_sizes(getattr(own, name), getattr(optimized, name), batches, optimized) for name in methods
    }
    sizes = {name: of_method for name, of_method in measured.items() if of_method}
    columns = tuple(map(str, rows.columns)) if is_pandas_table(rows) else ()
    return LibraryCalls(model=own, kind=type(rows), columns=columns, sizes=sizes) if sizes else None


def _batches_of(optimized: Model, rows: Any) -> list[Any] | None:
    """Return a batch of each size of `BATCH_SIZES`, of the user's own type; None for other types than are measured."""
    is_list = isinstance(rows, list) and bool(optimized.variant.signature.texts)
    if not (is_list or is_pandas_table(rows) or type(rows) is np.ndarray) or not len(rows):
        return None
    indices = [np.arange(size) % len(rows) for size in BATCH_SIZES]
    if is_list:
        return [[rows[index] for index in batch] for batch in indices]
    return [(rows.iloc if is_pandas_table(rows) else rows)[batch] for batch in indices]


def _faster_sizes(
    own: Callable[[Any], Any], optimized: Callable[[Any], Any], batches: Sequence[Any], model: Model
) -> tuple[int, ...]:
    """Return the sizes of batches for which the library's call is the faster one, until `OWN_LIMIT_S` are over."""
    until, is_faster, sizes = time.monotonic() + OWN_LIMIT_S, False, list[int]()
    limit = _SHOWN if model.variant.steps else _TIED
    for size, batch in zip(BATCH_SIZES, batches, strict=True):
        if time.monotonic() < until:
            is_faster = _is_faster(own, optimized, batch, limit=limit, until=until)
        else:  # larger batches of the original itself go the way of the last size that was measured
            is_faster = is_faster and not model.variant.steps
        sizes += [size] if is_faster else []
    return tuple(sizes)


def _is_faster(
    own: Callable[[Any], Any], optimized: Callable[[Any], Any], batch: Any, *, limit: float, until: float
) -> bool:
    """Return whether the library's call has the same answer without a warning, at below `limit` times the CPU time.

    Few pairs are timed after `until` (`time.monotonic`), and one if it takes far longer.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            answers, expected = own(batch), optimized(batch)
            if isinstance(answers, list) or answers.dtype != expected.dtype or answers.shape != expected.shape:
                return False
            is_equal = np.allclose(answers, expected, atol=1e-6) if answers.dtype.kind == "f" else answers == expected
            if not np.all(is_equal):
                return False
            ratios = list[float]()
            while (
                len(ratios) < (_PAIRS if time.monotonic() < until else _MIN_PAIRS) and max(ratios[:1], default=0) < _FAR
            ):
                ratios.append(_cpu_ns(own, batch) / max(_cpu_ns(optimized, batch), 1))
    except Exception:  # noqa: BLE001 - what a model raises for rows that it does not read is its own affair
        return False
    return float(np.median(ratios)) < limit


def _cpu_ns(call: Callable[[Any], Any], batch: Any) -> int:
    began = time.process_time_ns()
    call(batch)
    return time.process_time_ns() - began


def native_calls(
    project: Project, rows: pl.DataFrame, *, limit_s: float = LIMIT_S
) -> Callable[[SearchResult], list[Measurement | NotApplicable]]:
    """Return a function that times the library's own object of a baseline that was opened from a file.

    Both get array rows; a model that reads categories is left out.
    """

    def measure(search: SearchResult) -> list[Measurement | NotApplicable]:
        baseline = search.baseline.model
        native = getattr(open_variant(baseline, project.blobs), "native", None)
        if native is None or any(field.datatype == "BYTES" for field in baseline.signature.inputs):
            why = "reads categories" if native is not None else "does not come from a library object"
            return [NotApplicable(f"latency.as_called: the original model {why}", hint=_IN_PYTHON)]
        if search.winner.variant.signature.names != baseline.signature.names:
            why = "latency.as_called: the original model reads features that the winner does without"
            return [NotApplicable(why)]
        optimized = Model(search.winner.variant, pipeline.open_winner(project, search))
        threads, some = int(baseline.settings.get("threads", 0)), rows.gather_every(max(len(rows) // MAX_INPUTS, 1))
        return time_as_called(native, optimized, matrix(some, baseline.signature), threads=threads, limit_s=limit_s)

    return measure


def _row_inputs(rows: Any, names: Sequence[str]) -> dict[str, list[Any]]:
    """Return single rows, up to 64 spread over the table, in each form that they may be passed in."""
    if hasattr(rows, "tocsr"):
        table = rows.tocsr()
        return {"sparse_row": [table[at : at + 1] for at in _spread(table.shape[0])]}
    if not hasattr(rows, "columns"):
        array = np.asarray(rows)
        return {"array_row": [array[at : at + 1] for at in _spread(len(array))]}
    if names and set(names) <= set(rows.columns):
        rows = rows[list(names)]
    cut = rows.iloc if hasattr(rows, "iloc") else rows
    inputs = {"dataframe_row": [cut[at : at + 1] for at in _spread(len(rows))]}
    array = rows.to_numpy() if hasattr(rows, "to_numpy") else np.empty(0, dtype=object)
    if array.ndim == 2 and array.dtype.kind in "fiub":
        inputs["array_row"] = [np.ascontiguousarray(array[at : at + 1]) for at in _spread(len(array))]
    return inputs


def _spread(count: int) -> list[int]:
    return [int(at) for at in np.unique(np.linspace(0, count - 1, min(count, MAX_INPUTS)).astype(np.int64))]


def _answers(call: Callable[[Any], Any], row: Any) -> bool:
    """Return whether the user's object answers this kind of row; libraries refuse by errors of many kinds."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            call(row)
    except Exception:  # noqa: BLE001 - what a model raises for a row that it does not read is its own affair
        return False
    return True
