"""Two models: the quick one answers alone where it is sure, and asks the other where a score is near the threshold."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from headway.core.contracts import ImportedModel
from headway.core.errors import EngineError, NotApplicable
from headway.core.record import Settings
from headway.engines.formats.nested import REBUILD_HINT, open_models

Floats = NDArray[np.float64]


class Cascade:
    """Opens what transform `cascade` made: scores in [low, high] of the quick model are the other's to answer."""

    formats: ClassVar[tuple[str, ...]] = ("cascade",)
    files: ClassVar[tuple[str, ...]] = ()

    def __init__(self, content: bytes, settings: Settings) -> None:
        if settings:
            raise EngineError(f"engine 'cascade' has no setting {min(settings)!r}", hint="leave it out")
        header, (self._quick, self._whole) = open_models(content, models=2)
        if not {"low", "high"} <= set(header.numbers):
            raise EngineError("the cascade does not say from when it asks its second model", hint=REBUILD_HINT)
        self._low, self._high = header.numbers["low"], header.numbers["high"]

    @classmethod
    def import_model(cls, model: object) -> ImportedModel:
        """Never: it is made of two models that other engines took."""
        raise NotApplicable(f"a {type(model).__name__} is no cascade")

    def predict(self, rows: Floats) -> Floats:
        """rows: float64 [n, d] -> float64 [n, 1]; raises EngineError as the two models do."""
        scores = self._quick.predict(rows)
        asked = np.flatnonzero((scores[:, 0] >= self._low) & (scores[:, 0] <= self._high))
        if not len(asked):
            return scores
        scores = scores.copy()
        scores[asked] = self._whole.predict(np.ascontiguousarray(rows[asked]))
        return scores


plugin = Cascade
