"""Refit an estimator that holds a model of LightGBM, XGBoost or CatBoost on some of its training rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from headway.core.arrays import Floats, Ints
from headway.core.plugins import load_engine
from headway.optimization.context import Refit


def refit_of(model: Any, rows: Any, labels: Any, trained_on: Any) -> Refit | None:
    """Return a function that fits a clone of an estimator on some training rows, and its answers (n, k) to others.

    None for a model that is not an estimator, has a part that stays fitted, or was stopped early on rows that are not
    known here. None as well for one of scikit-learn alone: it is refitted from its artifact, in a process of its own.
    """
    if not (hasattr(model, "get_params") and hasattr(model, "fit")):
        return None
    engine: Any = load_engine("sklearn")
    if not engine.can_clone(model):
        return None
    learned = np.flatnonzero(np.asarray(trained_on))

    def refit(chosen: Ints, answered: Ints) -> Floats:
        answers: Floats = engine.fit_clone(model, rows, labels, learned[chosen], learned[answered])
        return answers

    return refit
