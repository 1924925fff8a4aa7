"""LightGBM's own library: the baseline, called as its users call it.

Settings: `threads` (>= 1; by default the library uses every core). The baseline has those of the model's `n_jobs`.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import ClassVar

import lightgbm
import numpy as np

from headway.core.arrays import Floats, Ints
from headway.core.contracts import ImportedModel, ModelFile
from headway.core.errors import EngineError, NotApplicable
from headway.core.record import Settings
from headway.core.threads import thread_setting, threads_of
from headway.engines.formats.lightgbm import LightgbmModel, lightgbm_forest, read_lightgbm
from headway.engines.formats.trees import Forest

_THREADS = ("num_threads", "num_thread", "nthread", "nthreads", "n_jobs")
_TASKS = {
    "binary": "binary",
    "cross_entropy": "binary",
    "multiclass": "multiclass",
    "multiclassova": "multiclass",
    "lambdarank": "ranking",
    "rank_xendcg": "ranking",
    "quantile": "quantile",
    "": "",
}


class Lightgbm:
    """Engine for LightGBM's text format; the library only loads text that was checked (`formats.lightgbm`)."""

    formats: ClassVar[tuple[str, ...]] = ("lightgbm",)
    files: ClassVar[tuple[str, ...]] = (".txt", ".lgb")
    defaults: ClassVar[Settings] = {"threads": 0}

    def __init__(self, content: bytes, settings: Settings) -> None:
        threads = threads_of(settings, engine="lightgbm", default=0)
        self._threads = {"num_threads": threads} if threads else {}  # empty: the library decides
        model = read_lightgbm(content)
        self._width, self._outputs = model.width, model.outputs
        self._booster = _load_booster(model)
        self._leaf_counts = re.search(rb"^leaf_count=([\d ]+)$", content, re.MULTILINE)

    @classmethod
    def import_model(cls, model: object) -> ImportedModel:
        """Import a fitted Booster or LGBMModel as text, truncated at the best iteration of early stopping.

        Those are the trees that its own `predict` uses. Raises EngineError for an LGBMModel that is not fitted, and for
        an incomplete file.
        """
        if isinstance(model, ModelFile):
            return _import_file(model)
        classes: tuple[str, ...] = ()
        n_jobs: object = None
        if isinstance(model, lightgbm.LGBMModel):
            if not model.__sklearn_is_fitted__():
                raise EngineError(f"this {type(model).__name__} is not fitted", hint="model.fit(X, y)")
            classes, n_jobs = tuple(str(name) for name in getattr(model, "classes_", ())), model.n_jobs
            model = model.booster_
        elif isinstance(model, lightgbm.Booster):
            n_jobs = next((model.params[name] for name in _THREADS if name in model.params), None)
        if not isinstance(model, lightgbm.Booster):
            raise NotApplicable(f"a {type(model).__name__} is not a model of LightGBM")
        text: str = model.model_to_string(num_iteration=model.best_iteration)
        found = _describe_model(read_lightgbm(text.encode("utf-8")), text.encode("utf-8"), classes)
        return replace(found, threads=thread_setting(n_jobs))

    @classmethod
    def forest(cls, content: bytes) -> Forest:
        """Return the trees.

        Raise NotApplicable for linear leaves, and if zero is missing in only some splits of a column.
        """
        return lightgbm_forest(read_lightgbm(content))

    @classmethod
    def rounds(cls, content: bytes) -> int:
        """Return the number of iterations; raise NotApplicable for a random forest."""
        model = read_lightgbm(content)
        if model.averages:
            raise NotApplicable("its answer is the mean of its trees, which have no order")
        return model.iterations

    @classmethod
    def truncate(cls, content: bytes, rounds: int) -> bytes:
        """Return the text of the first iterations."""
        return read_lightgbm(content).truncate(rounds).text().encode("utf-8")

    def training_leaves(self) -> Ints:
        """Return the number of training rows in each leaf of the first tree, int64 (leaves,); empty if unknown."""
        found = self._leaf_counts
        return np.array(found[1].split() if found else [], dtype=np.int64)

    def leaves(self, rows: Floats) -> Ints:
        """Return the leaf of the first tree for each row, int64 (n,)."""
        found = np.asarray(self._booster.predict(rows, pred_leaf=True, num_iteration=1, **self._threads))
        return found.reshape(len(rows), -1)[:, 0].astype(np.int64)

    @property
    def native(self) -> object:
        """The library's own object, to time the calls of its users."""
        return self._booster

    def predict(self, rows: Floats) -> Floats:
        """Compute scores float64 [n, k] for rows float64 [n, d]; binary: of the positive class, k = 1.

        Raises EngineError for rows of another width.
        """
        if rows.ndim != 2 or rows.shape[1] != self._width:
            raise EngineError(f"rows of shape {rows.shape}, the model reads [n, {self._width}]")
        if not len(rows):
            return np.empty((0, self._outputs))
        scores: Floats = self._booster.predict(rows, **self._threads)
        return scores.reshape(len(rows), self._outputs)


def _import_file(file: ModelFile) -> ImportedModel:
    if file.suffix not in Lightgbm.files or not file.content.startswith(b"tree"):
        raise NotApplicable(f"a {file.suffix} file that does not start with 'tree' is not a LightGBM model")
    return _describe_model(read_lightgbm(file.content), file.content, ())


def _describe_model(model: LightgbmModel, content: bytes, classes: tuple[str, ...]) -> ImportedModel:
    """Return the model's columns, task and classes; names that the library generated are left out."""
    made_up = [f"Column_{index}" for index in range(model.width)]
    names = model.names if list(model.names) != made_up else ()
    task = _TASKS.get(model.objective[0], "regression")
    return ImportedModel(
        content=content, width=model.width, names=names, task=task, classes=classes, categories=model.categories
    )


def _load_booster(model: LightgbmModel) -> lightgbm.Booster:
    try:
        return lightgbm.Booster(model_str=model.prediction_text())
    except lightgbm.basic.LightGBMError as error:
        raise EngineError(f"LightGBM cannot open the model: {error}") from error


plugin = Lightgbm
