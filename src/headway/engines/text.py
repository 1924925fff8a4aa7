"""headway's kernel for text pipelines: tokens, n-grams, weights and scores in C, without the GIL.

Settings: `level` ("avx512", "avx2", on ARM "neon", or "portable"; by default the best of the machine).
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from headway.core.arrays import Floats
from headway.core.contracts import Engine, ImportedModel
from headway.core.errors import EngineError, NotApplicable
from headway.core.plugins import load_engine
from headway.core.record import Settings
from headway.core.texts import text_codes
from headway.engines.compiled.artifact import load_kernels
from headway.engines.compiled.text import TextModel
from headway.engines.formats.nested import NESTED_MAGIC, REBUILD_HINT, split_models

IMPORTS_MODELS = False  # transforms write its artifacts


class Text:
    """Engine for text pipelines that a transform compiled; it imports no models."""

    formats: ClassVar[tuple[str, ...]] = ("text",)
    files: ClassVar[tuple[str, ...]] = ()
    defaults: ClassVar[Settings] = {"level": ""}
    kernels = load_kernels("text")

    def __init__(self, content: bytes, settings: Settings) -> None:
        self._forest: Engine | None = None
        if content.startswith(NESTED_MAGIC):
            header, (content, forest) = split_models(content, models=2)
            if [model.engine for model in header.models] != ["text", "trees"]:
                raise EngineError("a text program is followed by trees only", hint=REBUILD_HINT)
            self._forest = load_engine("trees")(forest, settings)
        self._model = TextModel(content, settings)

    @classmethod
    def import_model(cls, model: object) -> ImportedModel:
        """Raise NotApplicable: a transform compiles the artifacts from pipelines that other engines imported."""
        raise NotApplicable(f"a {type(model).__name__} is imported by another engine, and compiled by a transform")

    def predict(self, rows: Floats) -> Floats:
        """Compute scores float64 [n, k] for rows float64 [n, d], which have the numbers of texts.

        Binary: of the positive class, k = 1. Raises EngineError for rows of another width, and for a row that the
        pipeline rejects, such as one without a text.
        """
        if rows.ndim != 2 or rows.shape[1] != self._model.width:
            raise EngineError(f"rows of shape {rows.shape}, the model reads [n, {self._model.width}]")
        scores = self._model.score(*(text_codes.texts(rows[:, index]) for index in self._model.texts), rows=rows)
        if self._forest is not None:
            return self._forest.predict(scores)
        if self._model.width > len(self._model.texts) and np.isnan(scores).any():
            raise EngineError("the pipeline rejects a value of this row", hint="impute or drop such rows")
        return scores


plugin = Text
