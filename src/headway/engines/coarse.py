"""A model whose answers say less: rounded, flattened, or of the top classes alone. Decisions stay the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import numpy as np

from headway.core.arrays import Floats, sigmoid
from headway.core.contracts import ImportedModel
from headway.core.errors import EngineError, NotApplicable
from headway.core.record import Settings
from headway.engines.formats.nested import REBUILD_HINT, open_models

DECIMALS, TOP, TEMPERATURE, THRESHOLD = "decimals", "top", "temperature", "threshold"
_KINDS = (DECIMALS, TOP, TEMPERATURE)
_TINY = 1e-12


class Coarse:
    """Engine for the artifacts of transforms `round`, `top` and `temperature`: one of them, after the model."""

    formats: ClassVar[tuple[str, ...]] = ("coarse",)
    files: ClassVar[tuple[str, ...]] = ()

    def __init__(self, content: bytes, settings: Settings) -> None:
        if settings:
            raise EngineError(f"engine 'coarse' has no setting {min(settings)!r}", hint="remove it")
        header, (self._model,) = open_models(content, models=1)
        kinds = [name for name in _KINDS if name in header.numbers]
        self._numbers = dict(header.numbers)
        if len(kinds) != 1 or THRESHOLD not in self._numbers or not self._numbers[kinds[0]] > 0:
            raise EngineError("the artifact does not say what becomes of the answers", hint=REBUILD_HINT)
        self._kind = kinds[0]

    @classmethod
    def import_model(cls, model: object) -> ImportedModel:
        """Raise NotApplicable: it is built around a model that another engine imported."""
        raise NotApplicable(f"a {type(model).__name__} is not a model with coarse answers")

    def predict(self, rows: Floats) -> Floats:
        """Compute coarse scores float64 [n, k] for rows float64 [n, d]; raise EngineError as the model does."""
        scores, amount, threshold = self._model.predict(rows), self._numbers[self._kind], self._numbers[THRESHOLD]
        if self._kind == DECIMALS:
            return round_scores(scores, int(amount), threshold=threshold)
        if self._kind == TOP:
            return top_classes(scores, int(amount))
        return flatten_scores(scores, amount, threshold=threshold)


def round_scores(scores: Floats, decimals: int, *, threshold: float) -> Floats:
    """Round scores (n, k) to so many decimals, and let no score cross the threshold, nor a class overtake the first.

    >>> round_scores(np.array([[0.249], [0.25], [0.951]]), 1, threshold=0.25).ravel().tolist()
    [0.2, 0.3, 1.0]
    """
    unit = 10.0**-decimals
    found: Floats = np.round(scores, decimals)
    if scores.shape[1] == 1:
        near = np.round((np.floor(threshold / unit) + np.arange(-1, 3)) * unit, decimals)
        below, above = near[near < threshold].max(), near[near >= threshold].min()
        found = np.where((scores < threshold) & (found >= threshold), below, found)
        return np.where((scores >= threshold) & (found < threshold), above, found)
    return _keep_first(found, scores, lambda largest: np.round(largest + unit, decimals))


def top_classes(scores: Floats, count: int) -> Floats:
    """Keep the `count` largest of the scores of each row (n, k); the other classes share the rest equally."""
    if count >= scores.shape[1]:
        return scores
    order = np.argsort(-scores, axis=1, kind="stable")
    others = order[:, count:]
    found: Floats = scores.copy()
    np.put_along_axis(found, others, np.take_along_axis(scores, others, axis=1).mean(axis=1, keepdims=True), axis=1)
    return _keep_first(found, scores, _next_float)


def flatten_scores(scores: Floats, temperature: float, *, threshold: float) -> Floats:
    """Divide the log-odds of probabilities (n, k) by a temperature: those of two classes from that of the threshold.

    >>> flatten_scores(np.array([[0.2, 0.8]]), 2.0, threshold=0.5).round(3).tolist()
    [[0.333, 0.667]]
    """
    if scores.shape[1] == 1:
        odds, middle = (_log_odds(np.asarray(values)) for values in (scores, threshold))
        found: Floats = sigmoid(middle + (odds - middle) / temperature)
        decided = scores >= threshold
        return np.where(decided, np.maximum(found, threshold), np.minimum(found, np.nextafter(threshold, 0.0)))
    powers = np.power(np.clip(scores, _TINY, None), 1 / temperature)
    return _keep_first(powers / powers.sum(axis=1, keepdims=True), scores, _next_float)


def _keep_first(found: Floats, scores: Floats, above: Callable[[Floats], Floats]) -> Floats:
    """Raise the most probable class of `scores` (n, k) `above` the largest of `found` where another leads."""
    rows, first = np.arange(len(scores)), scores.argmax(axis=1)
    overtaken = found.argmax(axis=1) != first
    found[rows[overtaken], first[overtaken]] = above(found.max(axis=1)[overtaken])
    return found


def _next_float(values: Floats) -> Floats:
    larger: Floats = np.nextafter(values, np.inf)
    return larger


def _log_odds(probabilities: Floats) -> Floats:
    clipped = np.clip(probabilities, _TINY, 1 - _TINY)
    found: Floats = np.log(clipped) - np.log1p(-clipped)
    return found


plugin = Coarse
