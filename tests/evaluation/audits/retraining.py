"""How an audit retrains a model in the tests: by a function of the training task."""

from __future__ import annotations

from collections.abc import Callable

from headway.core.contracts import Engine
from headway.core.training import TrainingTask
from headway.core.workers import HERE
from headway.evaluation.context import Retrain


def retrained_by(learn: Callable[[TrainingTask], Engine]) -> Retrain:
    return lambda tasks, proceed: HERE.map(lambda _, task: learn(task), None, tasks, proceed=proceed)
