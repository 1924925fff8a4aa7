"""Learning curve of XGBoost, which calls back before and after training and every round."""

from __future__ import annotations

import sys
from typing import Any

from headway.evaluation.learning_curves.recorder import Recorder, to_numpy


class XGBoost:
    """Callback for `callbacks=[...]` of `xgboost.train` and of an estimator.

    XGBoost takes subclasses of its TrainingCallback alone: this class is registered as one if XGBoost is imported.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        if (own := sys.modules.get("xgboost.callback")) is not None:
            own.TrainingCallback.register(type(self))

    def before_training(self, model: Any) -> Any:
        """Start the clock of training."""
        self._recorder.begin()
        return model

    def before_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        """Return False, so that training goes on."""
        return False

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        """Evaluate the booster if the round is due; return False, so that training goes on."""
        if self._recorder.due(epoch + 1):
            self._evaluate(model, epoch + 1)
        return False

    def after_training(self, model: Any) -> Any:
        """Evaluate the last round if that was not done."""
        number = model.num_boosted_rounds()
        self._recorder.set_recipe("xgboost", model.save_config())
        if self._recorder.due(number, final=True):
            self._evaluate(model, number)
        return model

    def _evaluate(self, model: Any, number: int) -> None:
        self._recorder.evaluate(number, lambda rows: model.inplace_predict(to_numpy(rows), iteration_range=(0, number)))
