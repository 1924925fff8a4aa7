"""Learning curve of scikit-learn, which has no callbacks: call it with the fitted model, or after each step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import nan
from typing import Any

import numpy as np

from headway.evaluation.learning_curves.recorder import Recorder


class Sklearn:
    """Evaluates a fitted estimator.

    An estimator with `staged_predict` gives all its rounds at once, without times. For any other, each call is a round:
    after `partial_fit`, or after `fit` with `warm_start`.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def __call__(self, model: Any) -> None:
        """Evaluate the rounds that were not evaluated yet."""
        self._recorder.set_recipe(type(model).__name__, sorted(model.get_params().items(), key=str))
        staged = getattr(model, "staged_predict_proba", None) or getattr(model, "staged_predict", None)
        if staged is None:
            ask = getattr(model, "predict_proba", model.predict)
            return self._recorder.evaluate(self._recorder.last + 1, lambda rows: ask(_as_fitted(model, rows)))
        parts = [part for part in (self._recorder.held_out, self._recorder.learned) if part]
        stages = [np.stack(list(staged(_as_fitted(model, part.rows)))) for part in parts]
        for number in range(1, len(stages[0]) + 1):
            if self._recorder.due(number, final=number == len(stages[0])):
                answers = iter([stage[number - 1] for stage in stages])
                self._recorder.evaluate(number, _in_turn(answers), seconds=nan)
        return None


def _in_turn(answers: Iterator[Any]) -> Callable[[Any], Any]:
    """Return a function that gives these answers in turn, the held-out rows first."""
    return lambda rows: next(answers)


def _as_fitted(model: Any, rows: Any) -> Any:
    """Return rows with names for a model that was fitted with names, else without."""
    return rows if hasattr(model, "feature_names_in_") else np.asarray(rows)
