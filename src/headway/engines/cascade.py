"""A cascade of two models: the fast one answers, and defers scores near the threshold to the other."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from headway.core.arrays import Floats
from headway.core.contracts import ImportedModel
from headway.core.errors import EngineError, NotApplicable
from headway.core.record import Settings
from headway.engines.formats.nested import REBUILD_HINT, open_models


class Cascade:
    """Engine for artifacts of transform `cascade`: the other model answers scores of the fast one in [low, high]."""

    formats: ClassVar[tuple[str, ...]] = ("cascade",)
    files: ClassVar[tuple[str, ...]] = ()

    def __init__(self, content: bytes, settings: Settings) -> None:
        if settings:
            raise EngineError(f"engine 'cascade' has no setting {min(settings)!r}", hint="remove it")
        header, (self._quick, self._full) = open_models(content, models=2)
        if not {"low", "high"} <= set(header.numbers):
            raise EngineError("the cascade has no score band for its second model", hint=REBUILD_HINT)
        self._low, self._high = header.numbers["low"], header.numbers["high"]

    @classmethod
    def import_model(cls, model: object) -> ImportedModel:
        """Raise NotApplicable: a cascade is built from two models that other engines imported."""
        raise NotApplicable(f"a {type(model).__name__} is not a cascade")

    def predict(self, rows: Floats) -> Floats:
        """Compute scores float64 [n, 1] for rows float64 [n, d]; raise EngineError as the two models do."""
        scores = self._quick.predict(rows)
        deferred = np.flatnonzero((scores[:, 0] >= self._low) & (scores[:, 0] <= self._high))
        if not len(deferred):
            return scores
        scores = scores.copy()
        scores[deferred] = self._full.predict(np.ascontiguousarray(rows[deferred]))
        return scores


plugin = Cascade
