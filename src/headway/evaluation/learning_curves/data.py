"""Rows on which a training is evaluated, and the error of a model on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from headway.core.arrays import Floats, Ints
from headway.core.errors import NotApplicable
from headway.core.evidence import Measurement
from headway.evaluation.quality.binary import log_loss
from headway.evaluation.quality.multiclass import brier_scores
from headway.evaluation.statistics.intervals import SHARE, UNBOUNDED, Sample, jackknife_interval
from headway.evaluation.statistics.subsets import MAX_LOG_LOSS, MIN_PROBABILITY, mean_measurement
from headway.evaluation.statistics.tables import (
    BinaryAnswers,
    Blocks,
    block_fields,
    exact_auc,
    leave_one_out_auc,
    leave_one_out_mean,
    score_table,
)

MAX_ROWS = 20_000
"""If there are more rows, every k-th is evaluated, so that an evaluation stays fast."""

Values = dict[str, tuple[Floats, tuple[float, float]]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CurveData:
    """Rows (n, d) as the library reads them, labels (n,) with classes as 0, 1, ..., and their blocks."""

    rows: Any
    labels: Floats
    blocks: Blocks
    task: str

    @property
    def error(self) -> str:
        """Name of the error that the curve shows."""
        return "mse" if self.task == "regression" else "log_loss"

    def evaluate(self, answers: Any) -> tuple[tuple[Measurement, ...], Floats]:
        """Evaluate answers of shape (n,), (n, 1) or (n, k).

        Returns
        -------
        measurements : tuple of Measurement
        sums : ndarray of shape (n_blocks,)
            Sums of the error by block.

        Raises
        ------
        NotApplicable
            If the answers do not fit the task.
        """
        answers = np.asarray(answers, dtype=np.float64).reshape(len(self.labels), -1)
        values = _MEASURES[self.task](self._checked(answers), self.labels)
        found = [
            mean_measurement(name, row_values, self.blocks, bounds) for name, (row_values, bounds) in values.items()
        ]
        if self.task == "binary" and self.labels.min() < self.labels.max():
            found.append(self._ranking(answers[:, -1]))
        return tuple(found), self.blocks.per_block(values[self.error][0])

    def between(self, sums: Floats) -> Measurement:
        """Return the difference of two rounds, with an interval by group, from differences of sums (n_blocks,)."""
        rows = self.blocks.rows
        sample = Sample(n_rows=self.blocks.n_rows, n_groups=self.blocks.n_groups, bounds=UNBOUNDED)
        value = float(sums.sum() / rows.sum())
        return jackknife_interval(f"{self.error}.ahead", value, leave_one_out_mean(sums, rows), sample)

    def _checked(self, answers: Floats) -> Floats:
        if not np.isfinite(answers).all():
            raise NotApplicable("answers are not finite")
        if self.task != "regression" and (answers.min() < -1e-6 or answers.max() > 1 + 1e-6):
            raise NotApplicable(
                f"answers from {answers.min():.3g} to {answers.max():.3g} are not probabilities",
                hint="let the model return probabilities; for torch, pass end=torch.sigmoid",
            )
        if self.task == "multiclass" and self.labels.max() >= answers.shape[1]:
            raise NotApplicable(f"answers for {answers.shape[1]} classes, and labels of {int(self.labels.max()) + 1}")
        return answers

    def _ranking(self, scores: Floats) -> Measurement:
        blocks = self.blocks
        fields = {name: getattr(blocks, name) for name in ("groups", "blocks", "n_blocks", "n_groups", "weights")}
        answers = BinaryAnswers(labels=self.labels, scores=scores, reference=scores, **fields)
        sample = Sample(n_rows=blocks.n_rows, n_groups=blocks.n_groups, bounds=SHARE)
        value = exact_auc(scores, self.labels, blocks.weights)
        return jackknife_interval("roc_auc", value, leave_one_out_auc(score_table(scores, answers)), sample)


def build_curve_data(
    rows: Any, labels: Floats, groups: Ints | None, *, task: str, weights: Floats | None = None
) -> CurveData:
    """Build the data of a curve from rows (n, d), labels, groups in order of time, and weights, each (n,)."""
    step = max(1, -(-len(labels) // MAX_ROWS))
    codes = np.arange(len(labels)) if groups is None else groups
    weights = None if weights is None else weights[::step]
    return CurveData(
        rows=rows[::step], labels=labels[::step], blocks=Blocks(**block_fields(codes[::step], weights)), task=task
    )


def _binary(answers: Floats, labels: Floats) -> Values:
    scores = np.clip(answers[:, -1], 0.0, 1.0)
    return {
        "log_loss": (log_loss(scores, labels), (0.0, MAX_LOG_LOSS)),
        "brier": (np.square(scores - labels), SHARE),
    }


def _multiclass(answers: Floats, labels: Floats) -> Values:
    codes = labels.astype(np.int64)
    of_truth = answers[np.arange(len(codes)), codes]
    return {
        "log_loss": (-np.log(np.maximum(of_truth, MIN_PROBABILITY)), (0.0, MAX_LOG_LOSS)),
        "brier": (brier_scores(answers, codes), (0.0, 2.0)),
    }


def _regression(answers: Floats, labels: Floats) -> Values:
    return {"mse": (np.square(answers[:, 0] - labels), (0.0, UNBOUNDED[1]))}


_MEASURES: dict[str, Callable[[Floats, Floats], Values]] = {
    "binary": _binary,
    "multiclass": _multiclass,
    "regression": _regression,
}
