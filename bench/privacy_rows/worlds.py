"""Tables and recipes that the privacy audits attack, and what an audit concludes from its measurements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from headway.core.arrays import Floats, Ints
from headway.core.contracts import LabeledData
from headway.core.evidence import Measurement
from headway.core.training import TrainingTask
from headway.core.variant import Artifact, Field, Signature, Variant
from headway.core.workers import HERE
from headway.data.split import half_of_groups
from headway.evaluation.audits import membership
from headway.evaluation.context import SHADOW_MODELS, AuditContext, Comparison
from headway.evaluation.statistics.claims import one_sided_bounds
from headway.storage.in_memory import InMemoryBlobs

Fit = Callable[[Floats, Floats, int], Any]
"""Trains on rows, labels and a seed; returns a model with `predict`, the probability (n, 1)."""

MODELS = SHADOW_MODELS
FEW_MODELS = 24
"""Models of an audit where hundreds are run: fewer give wider intervals."""
AUC, RATE = "privacy.membership.auc", "privacy.membership.tpr_1pct"


class Probabilities:
    """The probability of the positive class of a scikit-learn model or a booster."""

    def __init__(self, model: Any) -> None:
        self._predict = getattr(model, "predict_proba", None) or model.predict

    def predict(self, rows: Floats) -> Floats:
        """Return the probabilities (n, 1)."""
        found = np.asarray(self._predict(rows))
        return found[:, -1:] if found.ndim == 2 else found[:, None]


def draw(count: int, width: int, rng: np.random.Generator, *, noise: float = 1.0) -> tuple[Floats, Floats]:
    """Return rows and labels with a few useful columns; `noise` scales how random the labels are."""
    rows = rng.normal(size=(count, width))
    logit = 1.5 * rows[:, 0] + rows[:, 1] * rows[:, 2 % width]
    labels = (rng.random(count) < 1 / (1 + np.exp(-logit / noise))).astype(np.float64)
    return rows, labels


def audited(
    fit: Fit,
    rows: Floats,
    labels: Floats,
    others: tuple[Floats, Floats],
    *,
    groups: Ints | None = None,
    recipe: bool = True,
    fitted: Any = None,
    budget_s: float = 60.0,
    models: int = MODELS,
    shown: Callable[[Any], Any] = lambda model: model,
) -> list[Any]:
    """Run the audit on a recipe; `others` are rows of the evaluation, `shown` makes what callers see of a model."""
    groups = np.arange(len(rows)) if groups is None else groups
    data = LabeledData(rows=rows, labels=labels, groups=groups)

    def learn(_: None, task: TrainingTask) -> Any:
        inside = half_of_groups(groups, task.half or 0)
        return shown(fit(rows[inside], labels[inside], task.seed or 0))

    model = shown(fit(rows, labels, 0) if fitted is None else fitted)
    scores = model.predict(others[0])
    variant = Variant(
        artifact=Artifact(format="none", digest="sha256:0", size_bytes=1),
        engine="none",
        signature=Signature(inputs=tuple(Field(name=f"c{index}") for index in range(rows.shape[1]))),
        task="binary",
    )
    subject = Comparison(
        variant=variant,
        model=model,
        reference=model,
        rows=others[0],
        labels=others[1],
        scores=scores,
        reference_scores=scores,
        groups=np.arange(len(others[0])),
        slices={},
        threshold=0.5,
    )
    context = AuditContext(
        blobs=InMemoryBlobs(),
        budget_s=budget_s,
        train=lambda: data,
        retrain=(lambda tasks, proceed: HERE.map(learn, None, tasks, proceed=proceed)) if recipe else None,
        halves=range(models),
    )
    return list(membership.plugin(subject, context))


def measured(results: list[Any], name: str, slice: str = "") -> Measurement | None:
    """Return a measurement of an audit."""
    return next(
        (one for one in results if isinstance(one, Measurement) and (one.name, one.slice) == (name, slice)), None
    )


def is_accused(results: list[Any]) -> bool:
    """Return whether an audit shows a leak: its area is above 0.5, or its rate at 1 % above that; 5 % for both."""
    alpha = 0.025
    found = ((measured(results, AUC), 0.5), (measured(results, RATE), 0.01))
    return any(one is not None and one_sided_bounds(one, alpha)[0] > limit for one, limit in found)
