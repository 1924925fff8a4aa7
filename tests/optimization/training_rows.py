"""A world whose truth is known, a booster that learned it, and benches with what it learned from."""

from __future__ import annotations

from pathlib import Path

import lightgbm
import numpy as np

from headway.core.contracts import LabeledData, SliceColumn
from headway.core.plugins import load_blobs
from headway.core.variant import Artifact, Field, Signature, Variant
from headway.optimization.context import TransformContext

THREE = Signature(inputs=tuple(Field(name=name) for name in "abc"))


def labeled_rows(rows: int = 4_000, *, seed: int = 0, shift: float = 0.0) -> LabeledData:
    """Rows of forty days; the chance follows the first two columns, and `shift` moves it by so much."""
    draw = np.random.default_rng(seed)
    cells = draw.normal(size=(rows, 3))
    chance = 1 / (1 + np.exp(-(2 * cells[:, 0] + cells[:, 1] ** 2 - 1 + shift)))
    return LabeledData(
        rows=cells,
        labels=(draw.random(rows) < chance).astype(np.float64),
        groups=np.arange(rows) * 40 // rows,
        slices={"half": SliceColumn(codes=(cells[:, 2] > 0).astype(np.int64), values=("low", "high"))},
    )


def repeat_rows(of: LabeledData, *, times: int) -> LabeledData:
    """The same rows, coming again so many times in an order that chance gave."""
    at = np.random.default_rng(0).permutation(np.repeat(np.arange(len(of.rows)), times))
    return LabeledData(rows=of.rows[at], labels=of.labels[at], groups=of.groups[at])


def context_with(
    folder: Path, choose: LabeledData, train: LabeledData | None = None, *, threshold: float = 0.5
) -> TransformContext:
    """A bench on this choose period; the model is known to have learned from `train`, if that is given."""
    blobs = load_blobs("files")(folder)
    return TransformContext(
        blobs=blobs, sample=choose.rows, validation=choose, train=lambda: train, threshold=threshold
    )


def trained_on(
    context: TransformContext, of: LabeledData, *, trees: int = 60, leaves: int = 31, rate: float = 0.1
) -> Variant:
    """The variant with no steps of a booster that learned this lesson."""
    settings = {"objective": "binary", "num_leaves": leaves, "learning_rate": rate, "verbose": -1, "num_threads": 1}
    booster = lightgbm.train(settings, lightgbm.Dataset(of.rows, of.labels), trees)
    content = booster.model_to_string().encode()
    artifact = Artifact(format="lightgbm", digest=context.blobs.put(content), size_bytes=len(content))
    return Variant(artifact=artifact, engine="lightgbm", signature=THREE)
