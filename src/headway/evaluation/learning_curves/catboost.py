"""Learning curve of CatBoost: its callback takes the time of each round; the fitted model is evaluated afterwards."""

from __future__ import annotations

from math import nan
from typing import Any

from headway.evaluation.learning_curves.recorder import Recorder, to_numpy


class CatBoost:
    """Callback for `fit(callbacks=[...])`; call it with the fitted model to evaluate its earlier rounds."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._seconds: list[float] = []
        recorder.begin()

    def after_iteration(self, info: Any) -> bool:
        """Record the time of a round; return True, so that training goes on."""
        self._seconds.append(self._recorder.now)
        return True

    def __call__(self, model: Any) -> None:
        """Evaluate the rounds of a fitted model that are due."""
        self._recorder.set_recipe("catboost", sorted(model.get_params().items()))
        for number in range(1, model.tree_count_ + 1):
            if self._recorder.due(number, final=number == model.tree_count_):
                seconds = self._seconds[number - 1] if number <= len(self._seconds) else nan
                self._recorder.evaluate(number, _after(model, number), seconds=seconds)


def _after(model: Any, number: int) -> Any:
    ask = getattr(model, "predict_proba", model.predict)
    return lambda rows: ask(to_numpy(rows), ntree_end=number)
