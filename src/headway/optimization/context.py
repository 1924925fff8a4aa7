"""What a transform is, and the context that it works with."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from headway.core import plugins
from headway.core.arrays import Floats, Ints
from headway.core.contracts import Blobs, Engine, LabeledData, no_training_rows
from headway.core.plugins import load_engine
from headway.core.selective import SelectiveCertificate
from headway.core.variant import Artifact, Variant
from headway.engines.formats.columns import column_indices

Refit = Callable[[Ints, Ints], Floats]
"""Trains the baseline on some of the training rows, by their indices, and returns its answers (n, k) to others."""
Certify = Callable[[Floats, Floats, Floats, float, Ints], SelectiveCertificate]


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformContext:
    """Artifacts and data that a transform works with.

    Attributes
    ----------
    blobs
        Store of artifacts.
    sample
        Rows of the `validation` period, float64 of shape (n, d).
    validation
        The same rows with their labels; None where they have none.
    train
        Function that returns the rows the model was trained on, or None where they are unknown.
    threshold
        A score of at least this value is a decision for the positive class.
    model_families
        Model families to train as alternatives to the baseline.
    opened
        Models that are open already, by the digest of their variant.
    columns
        Names of the columns of the rows; empty if every variant reads all of them.
    without
        Features that the variants are to do without.
    retrain
        Trains the baseline on some of its features; None without a training function.
    refit
        Trains the baseline on some of the training rows; None without a training function or an estimator.
    ordered
        Whether rows have a time: folds are then blocks of groups in the order of their values.
    limit_s
        Seconds that are left for a transform.
    deferred
        Features that are looked up only where a model without them does not decide.
    max_changed
        Largest share of the rows that this model answers which the full model may decide otherwise.
    certify
        Certifies thresholds of confidence: `evaluation.selective.certify_threshold` for confidence, errors, thresholds,
        limit and groups.
    baseline
        The baseline.
    private
        Whether variants are wanted whose answers say less about the model and its training rows.
    """

    blobs: Blobs
    sample: Floats
    validation: LabeledData | None = None
    train: Callable[[], LabeledData | None] = no_training_rows
    threshold: float = 0.5
    model_families: tuple[str, ...] = ()
    opened: Mapping[str, Engine] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    retrain: Callable[[Sequence[str]], Variant] | None = None
    refit: Refit | None = None
    ordered: bool = False
    limit_s: float = math.inf
    deferred: tuple[str, ...] = ()
    max_changed: float = 0.01
    certify: Certify | None = None
    baseline: Variant | None = None
    private: bool = False

    def for_variant(self, variant: Variant) -> TransformContext:
        """Return the context with the columns that a variant reads, which may be fewer than those of the rows."""
        names = variant.signature.names
        if not self.columns or names == self.columns:
            return self
        columns = column_indices(names, self.columns)

        def select(data: LabeledData | None) -> LabeledData | None:
            return None if data is None else replace(data, rows=data.rows.take(columns, axis=1))

        return replace(
            self,
            sample=self.sample.take(columns, axis=1),
            validation=select(self.validation),
            train=lambda: select(self.train()),
            columns=names,
        )

    def read(self, variant: Variant) -> bytes:
        """Return the bytes of a variant's artifact."""
        return self.blobs.get(variant.artifact.digest)

    def open(self, variant: Variant) -> Engine:
        """Open the model of a variant, if it is not open already: a large one takes seconds."""
        known = self.opened.get(variant.digest)
        return load_engine(variant.engine)(self.read(variant), variant.settings) if known is None else known

    def save(self, content: bytes, format: str) -> Artifact:
        """Store the bytes of a new artifact."""
        return Artifact(format=format, digest=self.blobs.put(content), size_bytes=len(content))


class Transform(Protocol):
    """Make new variants from one variant.

    The module of a transform declares four literals, which the search reads without an import: STAGE (when the search
    applies it), KEEPS_ANSWERS (True if the new variants answer as the old one), COST (how long it takes) and REQUIRES
    (fields of the context that must be set for it to take part).
    """

    def __call__(self, variant: Variant, context: TransformContext) -> Sequence[Variant]:
        """Return new variants, each with one step more than `variant`.

        Raises
        ------
        NotApplicable
            If the transform does not apply to this variant.
        EngineError
            If it applies and failed.
        """
        ...


def median_seconds(call: Callable[[Floats], object], rows: Floats, count: int) -> float:
    """Return the median time of a call on one row, float64 (1, d), over the first `count` rows."""
    times = []
    for row in rows[:count]:
        one = np.ascontiguousarray(row[None, :])
        began = time.perf_counter()
        call(one)
        times.append(time.perf_counter() - began)
    return float(np.median(times))


def load_transform(name: str) -> Transform:
    """Return the transform of that name; raises PluginError if there is none or its library is absent."""
    transform: Transform = plugins.load("transform", name)
    return transform
