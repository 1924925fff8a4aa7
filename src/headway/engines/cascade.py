"""A cascade of two models: the fast one answers, and defers scores near the threshold to the other."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from headway.core.arrays import Bools, Floats
from headway.core.contracts import ImportedModel
from headway.core.errors import EngineError, NotApplicable
from headway.core.record import Settings
from headway.engines.formats.nested import REBUILD_HINT, open_models

_MARGIN = 1e-9


class Cascade:
    """Engine for artifacts of transforms `cascade` and `defer`: the full model answers where the first does not.

    Attributes
    ----------
    full : Engine
        The full model.
    columns : tuple of int
        Columns that the first model reads; empty: all.
    certificate : SelectiveCertificate, optional
        Of the rows that the first model answers, if look-ups are deferred.
    """

    formats: ClassVar[tuple[str, ...]] = ("cascade",)
    files: ClassVar[tuple[str, ...]] = ()

    def __init__(self, content: bytes, settings: Settings) -> None:
        if settings:
            raise EngineError(f"engine 'cascade' has no setting {min(settings)!r}", hint="remove it")
        header, (self._quick, self.full) = open_models(content, models=2)
        if not {"low", "high"} <= set(header.numbers):
            raise EngineError("the cascade has no score band for its second model", hint=REBUILD_HINT)
        self._band = header.numbers["low"], header.numbers["high"]
        self.columns, self.certificate = header.columns, header.certificate

    @classmethod
    def import_model(cls, model: object) -> ImportedModel:
        """Raise NotApplicable: a cascade is built from two models that other engines imported."""
        raise NotApplicable(f"a {type(model).__name__} is not a cascade")

    def predict(self, rows: Floats) -> Floats:
        """Compute scores float64 [n, 1] for rows float64 [n, d]; raise EngineError as the two models do."""
        scores = self._quick.predict(rows)
        deferred = np.flatnonzero(is_inside(scores[:, 0], self._band))
        if not len(deferred):
            return scores
        scores = scores.copy()
        scores[deferred] = self.full.predict(np.ascontiguousarray(rows[deferred]))
        return scores

    def undecided(self, rows: Floats) -> Bools:
        """Return which rows, of which only `columns` are read, the first model leaves to the full one, bool [n].

        Scores at an end of the band count as inside, as they may differ in the last digit in another batch.
        """
        low, high = self._band
        return is_inside(self._quick.predict(rows)[:, 0], (low - _MARGIN, high + _MARGIN))


def is_inside(scores: Floats, band: tuple[float, float]) -> Bools:
    """Return which scores are in a band, its ends included; one that is not a number is."""
    return ~((scores < band[0]) | (scores > band[1]))


plugin = Cascade
