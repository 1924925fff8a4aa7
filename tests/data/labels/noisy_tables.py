"""Tables with predictable labels, some of them flipped on purpose."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import polars as pl

from headway.core.arrays import Floats, Ints
from headway.core.dataset import Dataset, Roles
from headway.data.labels.out_of_fold import OutOfFold


def flipped(rows: int = 3000, share: float = 0.1, classes: int = 2, seed: int = 0) -> tuple[Dataset, Floats]:
    """Return a dataset of 60 days with separable classes, and which labels were flipped, shape (n,)."""
    draw = np.random.default_rng(seed)
    true = draw.integers(0, classes, rows)
    wrong = draw.random(rows) < share
    labels = np.where(wrong, (true + draw.integers(1, classes, rows)) % classes, true)
    table = pl.DataFrame(
        {
            "at": [datetime(2024, 1, 1) + timedelta(days=row * 60 // rows) for row in range(rows)],
            "day": [row * 60 // rows for row in range(rows)],
            "x": true * 3 + draw.normal(size=rows),
            "z": draw.normal(size=rows),
            "kind": draw.choice(["a", "b"], rows).tolist(),
            "label": labels,
        }
    )
    task = "binary" if classes == 2 else "multiclass"
    roles = Roles(target="label", task=task, time="at", groups="day", slices=("kind",))
    return Dataset(name="flipped", table=table, roles=roles, digest="sha256:0"), wrong


def predictions(labels: Ints, probabilities: Floats, groups: Ints | None = None) -> OutOfFold:
    """Return these probabilities, shape (n, k), as out-of-fold predictions of rows with these labels."""
    indices = np.arange(len(labels))
    classes = tuple(map(str, range(probabilities.shape[1])))
    named = indices if groups is None else groups
    return OutOfFold(
        rows=indices,
        labels=labels,
        probabilities=probabilities,
        groups=named,
        classes=classes,
        confidence=probabilities,
    )
