"""Learning curve of LightGBM, which calls back after every round."""

from __future__ import annotations

from typing import Any

from headway.evaluation.learning_curves.recorder import Recorder, to_numpy


class LightGBM:
    """Callback for `callbacks=[...]` of `lightgbm.train` and of `fit`."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        recorder.begin()

    def __call__(self, env: Any) -> None:
        """Evaluate the booster if the round is due, or the last one."""
        number = env.iteration + 1
        if self._recorder.due(number, final=number == env.end_iteration):
            self._recorder.set_recipe("lightgbm", sorted(env.params.items()))
            self._recorder.evaluate(number, lambda rows: env.model.predict(to_numpy(rows), num_iteration=-1))
