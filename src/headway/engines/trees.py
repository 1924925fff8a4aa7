"""headway's kernels for tree ensembles: exact, in C, without the GIL, for one row or a batch.

Settings: `level` ("avx512", "avx2", on ARM "neon", or "portable"; by default the best of the machine).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from headway.core.arrays import Floats, Ints, sparse_to_dense
from headway.core.errors import EngineError
from headway.core.record import Settings
from headway.engines.compiled.artifact import KernelEngine, load_kernels
from headway.engines.compiled.categories import is_category_forest, read_category_forest
from headway.engines.compiled.forest import read_forest

IMPORTS_MODELS = False  # transforms write its artifacts


class Trees(KernelEngine):
    """Engine for forests that a transform compiled; it imports no models."""

    formats: ClassVar[tuple[str, ...]] = ("forest",)
    name = "trees"
    kernels = load_kernels("trees")
    artifact = "compiled forest"
    reads_columns = True
    rejection = (
        "the model rejects infinite values, missing values in columns that had none when it was fitted, and numbers "
        "that are not categories in categorical columns"
    )

    def __init__(self, content: bytes, settings: Settings) -> None:
        has_categories = is_category_forest(content)
        (numbers, *arrays), more = read_category_forest(content) if has_categories else (read_forest(content), [])
        super().__init__(numbers, [*arrays, *more], settings, outputs=len(arrays[1]))
        self._has_categories = has_categories
        self._scores, self._decided = self.kernels.scores, self.kernels.decisions
        self._probabilities = self.kernels.class_probabilities
        if more:
            self._width = int(more[0][0])

    def predict(self, rows: Floats) -> Floats:
        """Compute scores float64 [n, k] for rows float64 [n, d]; see `KernelEngine.predict`.

        Arrays that need no conversion are checked in C: for one row that takes less time than in Python.
        """
        scores: Floats | None = self._scores(self._model, rows)
        if scores is NotImplemented:
            return super().predict(rows)
        if scores is None:
            raise EngineError(self.rejection, hint="impute or drop such rows")
        return scores

    def class_probabilities(self, rows: object) -> Floats | None:
        """Compute the probabilities of two classes, (n, 2), of which `predict` returns the second.

        None for rows that are not a float64 array of this width in one piece, for rows that the model rejects, and for
        forests of several outputs.
        """
        found: Floats | None = self._probabilities(self._model, rows)
        return found

    def predict_cells(self, rows: Any, codes: tuple[Mapping[object, float] | None, ...]) -> Floats:
        """Compute the scores of `predict` for rows of Python objects, without an array of numbers in between.

        Parameters
        ----------
        rows : list of lists, or object array of shape (n, d)
            Numbers, and strings in categorical columns.
        codes : tuple of (dict or None), of length d
            For each categorical column, what a row holds for a string; a `__missing__` may give it for others.

        Raises
        ------
        EngineError
            For rows that the kernels reject.
        TypeError, KeyError, ValueError
            For a cell that is neither a number nor a known string, and for rows of another width.
        """
        scores: Floats | None = self.kernels.answer_cells(self._model, rows, codes)
        if scores is None:
            raise EngineError(self.rejection, hint="impute or drop such rows")
        return scores

    def predict_sparse(self, rows: Any, absent: float) -> Floats:
        """Compute the scores of `predict` for a SciPy matrix (n, d) in CSR form; see `KernelEngine.predict_sparse`.

        It is made dense if the model reads categories, which no sparse matrix has.
        """
        if self._has_categories:
            return self.predict(sparse_to_dense(rows, absent))
        return super().predict_sparse(rows, absent)

    def at_least(self, rows: Floats, threshold: float) -> Ints:
        """Return 1 for each row whose score is at least the threshold, else 0: ints (n,), for forests of one output.

        The decisions are those of `predict`. For few rows a large forest stops as soon as the trees that are left
        cannot change them.
        """
        if self._outputs > 1:
            raise EngineError(f"the forest has {self._outputs} outputs, a threshold is for one", hint="most_probable")
        decided: Ints | None = self._decided(self._model, rows, threshold)
        if decided is None or decided is NotImplemented:
            return self._decide_others(rows, threshold, decided)
        return decided

    def most_probable(self, rows: Floats) -> Ints:
        """Return the class with the highest score of each row, the first of equal ones: ints (n,).

        That is the argmax of `predict`, for forests of several outputs. For few rows a large forest stops as soon as
        the trees that are left cannot change it.
        """
        if self._outputs == 1:
            raise EngineError("the forest has one output, which has no classes", hint="at_least")
        decided: Ints | None = self._decided(self._model, rows, 0.0)
        if decided is None or decided is NotImplemented:
            return self._decide_others(rows, 0.0, decided)
        return decided

    def _decide_others(self, rows: Floats, threshold: float, decided: Ints | None) -> Ints:
        """Decide rows for which C returned NotImplemented, as they must be converted, or None, as it rejects them."""
        if decided is None:
            raise EngineError(self.rejection, hint="impute or drop such rows")
        found = np.empty(len(rows), np.int64)
        self._run(self.kernels.decide, rows, found, threshold)
        return found


plugin = Trees
