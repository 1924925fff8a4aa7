"""Hand-made worlds for privacy audits: models that memorise, or know nothing of, the rows that they are trained on."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from msgspec.structs import replace as changed
from tests.evaluation.audits.retraining import retrained_by
from tests.evaluation.conftest import subject_from

from headway.core.contracts import LabeledData, SliceColumn
from headway.core.variant import Field, Signature
from headway.data.split import half_of_groups
from headway.evaluation.context import AuditContext, Comparison
from headway.storage.in_memory import InMemoryBlobs

NAMES = ("id", "x")


class Memorises:
    """Answers by x, and more surely for rows that it was trained on, by their id: `leak` is added to the logit."""

    def __init__(self, ids, labels, *, leak, noise=0.0, seed=0):
        self._sign = dict(zip(ids.tolist(), (2 * labels - 1).tolist(), strict=True))
        self._leak, self._noise, self._seed = leak, noise, seed

    def predict(self, rows):
        noise = np.random.default_rng([self._seed, len(rows)]).normal(size=len(rows)) * self._noise
        known = np.array([self._sign.get(row, 0.0) for row in rows[:, 0].tolist()])
        leak = self._leak(rows) if callable(self._leak) else self._leak
        return 1 / (1 + np.exp(-(2 * rows[:, 1] + noise + leak * known)))[:, None]


@dataclass(kw_only=True)
class World:
    """Rows of `train` and others like them, in groups of five."""

    subject: Comparison
    context: AuditContext
    data: LabeledData


def world(leak, *, groups=100, others=60, noise=0.5, leaks_itself=None, recipe=True, seed=0) -> World:
    """Return a world whose recipe makes models with this leak, and whose own model has `leaks_itself`."""
    rng = np.random.default_rng(seed)

    def rows_of(count, first):
        x = rng.normal(size=count * 5)
        labels = (rng.random(count * 5) < 1 / (1 + np.exp(-2 * x))).astype(float)
        return np.column_stack([np.arange(first, first + count * 5, dtype=float), x]), labels

    rows, labels = rows_of(groups, 0)
    test, test_labels = rows_of(others, groups * 5)
    codes = np.repeat(np.arange(groups), 5)
    side = SliceColumn(codes=(rows[:, 1] > 0).astype(np.int64), values=("left", "right"))
    data = LabeledData(rows=rows, labels=labels, groups=codes, slices={"side": side})
    model = Memorises(rows[:, 0], labels, leak=leak if leaks_itself is None else leaks_itself, noise=noise)
    scores = model.predict(test)[:, 0]
    found = subject_from(test_labels, scores, scores, np.repeat(np.arange(others), 5))
    variant = changed(found.variant, signature=Signature(inputs=tuple(Field(name=name) for name in NAMES)))
    subject = replace(found, variant=variant, model=model, reference=model, rows=test, threshold=0.5)

    def learn(task):
        inside = half_of_groups(codes, task.half)
        return Memorises(rows[inside, 0], labels[inside], leak=leak, noise=noise, seed=task.seed)

    context = AuditContext(
        blobs=InMemoryBlobs(),
        budget_s=60.0,
        train=lambda: data,
        retrain=retrained_by(learn) if recipe else None,
    )
    return World(subject=subject, context=context, data=data)
