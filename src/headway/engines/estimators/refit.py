"""Fit a clone of an estimator that holds a model of another library, by its own `fit`."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.utils import _safe_indexing

from headway.core.arrays import Floats, Ints
from headway.core.errors import NotApplicable
from headway.engines.estimators.inner import stays_fitted
from headway.engines.estimators.objects import EXTERNAL_LIBRARIES, root_package, walk_objects


def can_clone(model: object) -> bool:
    """Return whether an estimator holds a model of another library, and all of it would be fitted again.

    A model that was stopped early is not: the rows that stopped it are not known.
    """
    parts = [part for _, part in walk_objects(model)]
    boosters = [part for part in parts if root_package(part) in EXTERNAL_LIBRARIES]
    return bool(boosters) and not any(map(_stopped_early, boosters)) and not any(map(stays_fitted, parts))


def _stopped_early(model: Any) -> bool:
    return any(getattr(model, name, None) for name in ("best_iteration_", "best_iteration", "early_stopping_rounds"))


def fit_clone(model: Any, rows: Any, labels: Any, chosen: Ints, answered: Ints) -> Floats:
    """Fit a clone on the chosen rows, and return its answers (n, k) to others, by their indices.

    Raises NotApplicable if the library fails.
    """
    try:
        fitted = clone(model).fit(_safe_indexing(rows, chosen), _safe_indexing(labels, chosen))
        predict = getattr(fitted, "predict_proba", fitted.predict)
        answers = np.asarray(predict(_safe_indexing(rows, answered)), dtype=np.float64).reshape(len(answered), -1)
    except Exception as error:  # of any library
        raise NotApplicable(f"a {type(model).__name__} cannot be fitted again: {error}") from error
    return answers[:, 1:] if answers.shape[1] == 2 else answers
