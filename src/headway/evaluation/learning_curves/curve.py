"""Learning curve of a training: a callback for each library, in the form in which that library calls back."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import cached_property
from math import nan
from typing import Any

import numpy as np

from headway.core.dataset import Dataset
from headway.core.training import LearningCurve
from headway.core.variant import Signature
from headway.data.matrix import group_codes, sample_weights, target_values, training_frame
from headway.data.provenance.fingerprint import table_digest
from headway.data.split import labeled_rows
from headway.evaluation.learning_curves.data import CurveData, build_curve_data
from headway.evaluation.learning_curves.recorder import Recorder, to_numpy


class LightGBMCallback:
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


class CatBoostCallback:
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


class SklearnCallback:
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


class TorchCallback:
    """Evaluates a module after each epoch; `end` turns its answers into probabilities (`torch.sigmoid`)."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def __call__(self, module: Any, *, end: Callable[[Any], Any] = lambda answers: answers) -> None:
        """Evaluate the module in evaluation mode, and restore its mode."""
        torch = sys.modules["torch"]
        self._recorder.set_recipe("torch", module)
        learns, first = module.training, next(iter(module.parameters()))

        def ask(rows: Any) -> Any:
            with torch.no_grad():
                inputs = torch.as_tensor(to_numpy(rows)).to(first.device, first.dtype)
                return end(module(inputs)).cpu().double().numpy()

        module.eval()
        try:
            self._recorder.evaluate(self._recorder.last + 1, ask)
        finally:
            module.train(learns)


class XGBoostCallback:
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


class Curve(Recorder):
    """Learning curve that a training function receives as `curve`, and that `hw.learning_curve` returns."""

    @cached_property
    def lightgbm(self) -> LightGBMCallback:
        """`callbacks=[curve.lightgbm]`."""
        return LightGBMCallback(self)

    @cached_property
    def xgboost(self) -> XGBoostCallback:
        """`callbacks=[curve.xgboost]`."""
        return XGBoostCallback(self)

    @cached_property
    def catboost(self) -> CatBoostCallback:
        """`fit(X, y, callbacks=[curve.catboost])`, then `curve.catboost(model)`."""
        return CatBoostCallback(self)

    @cached_property
    def sklearn(self) -> SklearnCallback:
        """`curve.sklearn(model)`: after `fit` where the model has stages, else after each step."""
        return SklearnCallback(self)

    @cached_property
    def torch(self) -> TorchCallback:
        """`curve.torch(module)` after each epoch."""
        return TorchCallback(self)


class ProjectCurve:
    """Learning curve of a project's own training, once its columns are known: `validation` held out, `test` unread."""

    def __init__(self, learned: Dataset, held_out: Dataset) -> None:
        self._learned, self._held_out = learned, held_out
        self._curve: Curve | None = None

    def begin(self, signature: Signature) -> Curve:
        """Return the curve for a training that reads these columns."""
        self._curve = Curve(_curve_data(self._held_out, signature), _curve_data(self._learned, signature))
        datasets = {"held_out": self._held_out, "learned": self._learned}
        self._curve.digests |= {name: table_digest(dataset.table) for name, dataset in datasets.items()}
        return self._curve

    @property
    def spent(self) -> float:
        """Seconds that the evaluations took."""
        return self._curve.spent if self._curve else 0.0

    def record(self) -> LearningCurve | None:
        """Return the curve; None if the training function took none, or did not use it."""
        return self._curve.record() if self._curve and self._curve.library else None


def _curve_data(dataset: Dataset, signature: Signature) -> CurveData:
    known = labeled_rows(dataset)
    rows = training_frame(known.table, signature)
    return build_curve_data(
        rows, target_values(known), group_codes(known), task=known.roles.task, weights=sample_weights(known)
    )
