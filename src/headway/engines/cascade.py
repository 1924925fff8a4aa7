"""A cascade of two models: the fast one answers, and defers the rows that it is unsure of to the other.

Of two classes, these are scores in a band around the threshold; of several, rows whose two most probable classes are
close.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from headway.core.arrays import Bools, Floats
from headway.core.contracts import ImportedModel
from headway.core.errors import EngineError, NotApplicable
from headway.core.record import Settings
from headway.engines.formats.nested import REBUILD_HINT, open_models

_SLACK = 1e-9
MARGIN = "margin"
_KINDS = ({"low", "high"}, {MARGIN})


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
        if not any(names <= set(header.numbers) for names in _KINDS):
            raise EngineError("the cascade has no score band for its second model", hint=REBUILD_HINT)
        self._limits = dict(header.numbers)
        self.columns, self.certificate = header.columns, header.certificate

    @classmethod
    def import_model(cls, model: object) -> ImportedModel:
        """Raise NotApplicable: a cascade is built from two models that other engines imported."""
        raise NotApplicable(f"a {type(model).__name__} is not a cascade")

    def predict(self, rows: Floats) -> Floats:
        """Compute scores float64 [n, k] for rows float64 [n, d]; raise EngineError as the two models do."""
        scores = self._quick.predict(rows)
        deferred = np.flatnonzero(is_deferred(scores, self._limits))
        if not len(deferred):
            return scores
        scores = scores.copy()
        scores[deferred] = self.full.predict(np.ascontiguousarray(rows[deferred]))
        return scores

    def undecided(self, rows: Floats) -> Bools:
        """Return which rows, of which only `columns` are read, the first model leaves to the full one, bool [n].

        Scores at an end of the band count as inside, as they may differ in the last digit in another batch.
        """
        return is_deferred(self._quick.predict(rows), self._limits, slack=_SLACK)


def is_deferred(scores: Floats, limits: Mapping[str, float], *, slack: float = 0.0) -> Bools:
    """Return which rows the first model leaves to the full one; a score that is not a number is left.

    Parameters
    ----------
    scores : ndarray of shape (n, k)
        Scores of the first model.
    limits : mapping of str to float
        `low` and `high`, the ends of the band of two classes, or `margin`, the largest difference of the two largest
        probabilities of a row that is left.
    slack : float
        By how much each limit is wider.
    """
    if MARGIN in limits:
        return ~(top_margins(scores) > limits[MARGIN] + slack)
    first = scores[:, 0]
    return ~((first < limits["low"] - slack) | (first > limits["high"] + slack))


def top_margins(scores: Floats) -> Floats:
    """Return by how much the largest score of each row (n, k) is above the second, float64 (n,).

    Raises EngineError if a row has one score alone.
    """
    if scores.shape[1] < 2:
        raise EngineError("the cascade has a margin of classes, and its model has one score", hint=REBUILD_HINT)
    largest = np.partition(scores, -2, axis=1)[:, -2:]
    margins: Floats = largest[:, 1] - largest[:, 0]
    return margins


def is_changed(quick: Floats, full: Floats, threshold: float) -> Bools:
    """Return which rows two models decide differently, by scores (n, k): the largest, or `threshold` of two classes."""
    if quick.shape[1] > 1:
        return np.asarray(quick.argmax(axis=1) != full.argmax(axis=1))
    return np.asarray((quick[:, 0] >= threshold) != (full[:, 0] >= threshold))


plugin = Cascade
