"""A comparison for metrics and audits: the echo engine against itself, with answers that differ slightly."""

from __future__ import annotations

import numpy as np

from headway.core import plugins
from headway.core.contracts import SliceColumn
from headway.core.variant import Artifact, Field, Signature, Variant
from headway.evaluation.context import Comparison
from headway.evaluation.settings.cost import CostSection


def echo_comparison(*, groups: int, task: str = "binary") -> Comparison:
    """Return a comparison on 40 rows per group, a third of a column missing.

    The variant's answers are off by up to 0.05.
    """
    rng = np.random.default_rng(7)
    group = np.repeat(np.arange(groups), 40)
    rows = rng.random((len(group), 3))
    scores = rows.mean(1, keepdims=True)
    rows[::3, 1] = np.nan
    column = SliceColumn(codes=(group + np.arange(len(group))) % 2, values=("left", "right"))
    variant = Variant(
        artifact=Artifact(format="echo", digest="sha256:0", size_bytes=4),
        engine="echo",
        signature=Signature(inputs=tuple(Field(name=name) for name in "abc")),
        task=task,
    )
    engine = plugins.load_engine("echo")
    return Comparison(
        variant=variant,
        model=engine(b"echo", {}),
        reference=engine(b"echo", {}),
        rows=rows,
        labels=(rng.random(len(group)) < scores[:, 0]).astype(np.float64),
        scores=classes(np.clip(scores + rng.uniform(-0.05, 0.05, scores.shape), 0, 1), task),
        reference_scores=classes(scores, task),
        groups=group,
        slices={"side": column},
        sensitive_features={"side": column},
        threshold=0.5,
        price=CostSection(core_hour=0.04),
    )


def classes(scores: np.ndarray, task: str) -> np.ndarray:
    """Return scores (n, 1) as the answers of a task: probabilities of two classes (n, 2) if it has several."""
    return np.hstack([1 - scores, scores]) if task == "multiclass" else scores
