"""Data with a known probability, a booster trained on it, and contexts with its training rows."""

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
    """Rows of forty days; the probability depends on the first two columns, and `shift` is added to its logit."""
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
    """The same rows, repeated that many times in random order."""
    at = np.random.default_rng(0).permutation(np.repeat(np.arange(len(of.rows)), times))
    return LabeledData(rows=of.rows[at], labels=of.labels[at], groups=of.groups[at])


def context_with(
    folder: Path, validation: LabeledData, train: LabeledData | None = None, *, threshold: float = 0.5
) -> TransformContext:
    """A context on this validation period; `train` holds the training rows, if they are known."""
    blobs = load_blobs("files")(folder)
    return TransformContext(
        blobs=blobs, sample=validation.rows, validation=validation, train=lambda: train, threshold=threshold
    )


def trained_on(
    context: TransformContext, of: LabeledData, *, trees: int = 60, leaves: int = 31, rate: float = 0.1
) -> Variant:
    """The baseline of a booster trained on these rows."""
    settings = {"objective": "binary", "num_leaves": leaves, "learning_rate": rate, "verbose": -1, "num_threads": 1}
    booster = lightgbm.train(settings, lightgbm.Dataset(of.rows, of.labels), trees)
    content = booster.model_to_string().encode()
    artifact = Artifact(format="lightgbm", digest=context.blobs.put(content), size_bytes=len(content))
    return Variant(artifact=artifact, engine="lightgbm", signature=THREE)
