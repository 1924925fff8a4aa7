"""The curve of a project's own training: rows of `choose` held out, those of `train` learned from, `test` never."""

from __future__ import annotations

import polars as pl

from headway.core.dataset import Dataset
from headway.core.learning import LearningCurve
from headway.core.variant import Signature
from headway.data.matrix import group_codes, matrix, sample_weights, target_values
from headway.data.provenance.digest import table_digest
from headway.data.split import labeled_rows
from headway.evaluation.learning_curves.curve import Curve
from headway.evaluation.learning_curves.part import Part, part_of


class ProjectCurve:
    """A curve that is made when the columns that the model reads are known, if the training function takes one."""

    def __init__(self, learned: Dataset, held_out: Dataset) -> None:
        self._learned, self._held_out = learned, held_out
        self._curve: Curve | None = None

    def begin(self, signature: Signature) -> Curve:
        """The curve for a training that reads these columns."""
        self._curve = Curve(_part(self._held_out, signature), _part(self._learned, signature))
        datasets = {"held_out": self._held_out, "learned": self._learned}
        self._curve.digests |= {name: table_digest(each.table) for name, each in datasets.items()}
        return self._curve

    @property
    def spent(self) -> float:
        """Seconds that the looks took."""
        return self._curve.spent if self._curve else 0.0

    def record(self) -> LearningCurve | None:
        """What was seen; None where the training function took no curve, or did not use it."""
        return self._curve.record() if self._curve and self._curve.library else None


def _part(dataset: Dataset, signature: Signature) -> Part:
    known = labeled_rows(dataset)
    rows = pl.DataFrame(matrix(known.table, signature), schema=list(signature.names))
    return part_of(rows, target_values(known), group_codes(known), task=known.roles.task, weights=sample_weights(known))
