"""Tables with one line per group, to which rows are reduced once; intervals and tests work on these alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from headway.core.arrays import Floats, Ints
from headway.core.errors import NotApplicable
from headway.evaluation.context import Comparison

SCORE_BINS = 512
MAX_BLOCKS = 1000
_ROUNDING = 1e-6


class BlockFields(TypedDict):
    """The fields of Blocks."""

    groups: Ints
    blocks: Ints
    n_blocks: int
    n_groups: int
    weights: Floats | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """The block of every row: `groups` and `blocks` int64 (n,), blocks in 0..n_blocks-1.

    A block is one group or, beyond MAX_BLOCKS groups, a run of neighbouring ones: tables stay small, and dependent
    neighbours fall together. `n_groups` counts the groups themselves. `weights` float64 (n,), None for equal weights.
    """

    groups: Ints
    blocks: Ints
    n_blocks: int
    n_groups: int
    weights: Floats | None = None

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.groups)

    @property
    def fields(self) -> BlockFields:
        """The fields of these blocks, to make answers with the same ones."""
        return {
            "groups": self.groups,
            "blocks": self.blocks,
            "n_blocks": self.n_blocks,
            "n_groups": self.n_groups,
            "weights": self.weights,
        }

    def per_block(self, values: Floats) -> Floats:
        """Sum values (n,) by block and weight, float64 (n_blocks,)."""
        return tally(self.blocks, self.n_blocks, weighted(values, self.weights))

    def mean(self, values: Floats) -> float:
        """Return the weighted mean of values (n,)."""
        return float(np.average(values, weights=self.weights))

    @property
    def rows(self) -> Floats:
        """Weight of the rows of each block, or their number without weights, float64 (n_blocks,)."""
        return tally(self.blocks, self.n_blocks, self.weights)


@dataclass(frozen=True, slots=True, kw_only=True)
class BinaryAnswers(Blocks):
    """Labels {0, 1}, and scores of the variant and the baseline in [0, 1], each float64 (n,), with their blocks."""

    labels: Floats
    scores: Floats
    reference: Floats


@dataclass(frozen=True, slots=True)
class ScoreTable:
    """Counts of positives and negatives by block and score bin, both float64 (n_blocks, bins)."""

    positives: Floats
    negatives: Floats


@dataclass(frozen=True, slots=True)
class BinTable:
    """Weights of rows, positives and scores by block and equal-mass score bin, each float64 (n_blocks, bins).

    `counts` are the rows of each bin, float64 (bins,).
    """

    rows: Floats
    positives: Floats
    scores: Floats
    counts: Floats


def binary_answers(subject: Comparison) -> BinaryAnswers:
    """Return the answers of a binary comparison.

    Raises NotApplicable for other tasks, labels other than 0 and 1, no rows, and scores outside [0, 1].
    """
    if subject.variant.task != "binary":
        raise NotApplicable(f"this measure is defined for the task 'binary', not for {subject.variant.task!r}")
    if not len(subject.labels) or not np.isin(subject.labels, (0.0, 1.0)).all():
        raise NotApplicable("labels must be 0 or 1, at least one row", where=f"{len(subject.labels)} labels")
    return BinaryAnswers(
        labels=subject.labels,
        scores=_probabilities(subject.scores, "the variant"),
        reference=_probabilities(subject.reference_scores, "the baseline"),
        **block_fields(subject.groups, subject.weights),
    )


def build_blocks(subject: Comparison) -> Blocks:
    """Build the blocks of a comparison's rows; raises NotApplicable if there is none, or an answer is not finite."""
    if not len(subject.labels):
        raise NotApplicable("there are no labeled rows")
    for scores, whose in ((subject.scores, "the variant"), (subject.reference_scores, "the baseline")):
        wrong = ~np.isfinite(scores).all(axis=1)
        if wrong.any():
            raise NotApplicable(
                f"{int(wrong.sum())} answers of {whose} are not finite", where=f"row {np.argmax(wrong)}"
            )
    return Blocks(**block_fields(subject.groups, subject.weights))


def block_fields(groups: Ints, weights: Floats | None) -> BlockFields:
    """Return the fields of Blocks for groups (n,) and weights (n,)."""
    codes, n_groups = _dense(groups)
    n_blocks = min(n_groups, MAX_BLOCKS)
    return {
        "groups": codes,
        "blocks": codes * n_blocks // n_groups,
        "n_blocks": n_blocks,
        "n_groups": n_groups,
        "weights": weights,
    }


def weighted(values: Floats | None, weights: Floats | None) -> Floats | None:
    """Multiply values (n,) by weights (n,); None stands for ones."""
    if values is None or weights is None:
        return weights if values is None else values
    return values * weights


def tally(codes: Ints, length: int, weights: Floats | None = None) -> Floats:
    """Count each code in 0..length-1, or sum its weights, float64 (length,)."""
    return np.asarray(np.bincount(codes, weights=weights, minlength=length), dtype=np.float64)


def quantile_edges(scores: Floats, bins: int) -> Floats:
    """Return inner edges that cut scores (n,) into at most `bins` bins of equal mass; ties share a bin."""
    ordered = np.sort(scores)
    edges: Floats = np.unique(ordered[np.arange(1, bins) * len(ordered) // bins])
    above: Floats = edges[edges > ordered[0]]
    return above


def score_table(scores: Floats, answers: BinaryAnswers, edges: Floats | None = None) -> ScoreTable:
    """Count the rows of `answers` by their scores (n,) between edges, by default SCORE_BINS quantiles."""
    edges = quantile_edges(scores, SCORE_BINS) if edges is None else edges
    bins = len(edges) + 1
    cells = (answers.blocks * 2 + answers.labels.astype(np.int64)) * bins + np.searchsorted(edges, scores, side="right")
    counts = tally(cells, answers.n_blocks * 2 * bins, answers.weights).reshape(answers.n_blocks, 2, bins)
    return ScoreTable(counts[:, 1], counts[:, 0])


def bin_table(answers: BinaryAnswers, bins: int) -> BinTable:
    """Sum the variant's scores over `bins` bins of equal mass, fewer if many scores are tied."""
    edges = quantile_edges(answers.scores, bins)
    found = len(edges) + 1
    cells = answers.blocks * found + np.searchsorted(edges, answers.scores, side="right")
    sums = (weighted(values, answers.weights) for values in (None, answers.labels, answers.scores))
    rows, positives, scores = (tally(cells, answers.n_blocks * found, total).reshape(-1, found) for total in sums)
    return BinTable(rows=rows, positives=positives, scores=scores, counts=tally(cells % found, found))


def expected_calibration_error(surplus: Floats, rows: Floats) -> Floats:
    """Compute the expected calibration error, in [0, 1], with equal-mass bins.

    The mean distance of a bin's observed rate from its mean score, weighted by rows (Naeini, Cooper and Hauskrecht
    2015). It is not debiased: noise makes it too large near 0, so a limit on it is conservative (decision 0005).

    Parameters
    ----------
    surplus : ndarray of shape (..., bins)
        Positives minus the sum of scores.
    rows : ndarray of shape (..., bins)
        Rows by weight.

    >>> float(expected_calibration_error(np.array([5.0, -5.0]), np.array([10.0, 10.0])))
    0.5
    """
    error: Floats = np.abs(surplus).sum(-1) / np.maximum(rows.sum(-1), 1)
    return error


def auc(positives: Floats, negatives: Floats) -> Floats:
    """Compute the area under the ROC curve from counts (..., bins) in order of score.

    Ties count half, NaN for one class.
    """
    below = np.cumsum(negatives, -1) - 0.5 * negatives
    with np.errstate(invalid="ignore", divide="ignore"):
        areas: Floats = (positives * below).sum(-1) / (positives.sum(-1) * negatives.sum(-1))
    return areas


def exact_auc(scores: Floats, labels: Floats, weights: Floats | None = None) -> float:
    """Compute the area under the ROC curve of scores (n,) and labels {0, 1} (n,).

    With `weights` (n,), a pair counts by the product of its rows' weights.

    >>> exact_auc(np.array([.1, .4, .35, .8]), np.array([0., 0., 1., 1.]))
    0.75
    """
    distinct, codes = np.unique(scores, return_inverse=True)
    positives = tally(codes, len(distinct), weighted(labels, weights))
    return float(auc(positives, tally(codes, len(distinct), weights) - positives))


def leave_one_out_auc(table: ScoreTable) -> Floats:
    """Return the area under the ROC curve with each block left out, (n_blocks,)."""
    return auc(table.positives.sum(0) - table.positives, table.negatives.sum(0) - table.negatives)


def leave_one_out_mean(sums: Floats, rows: Floats) -> Floats:
    """Return the mean over rows with each block left out, (n_blocks,); NaN if none is left."""
    with np.errstate(invalid="ignore"):
        means: Floats = (sums.sum() - sums) / (rows.sum() - rows)
    return means


def _dense(groups: Ints) -> tuple[Ints, int]:
    """Return codes 0..G-1 in the same order, without unused numbers."""
    present = np.bincount(groups) > 0
    return (np.cumsum(present) - 1)[groups], int(present.sum())


def _probabilities(scores: Floats, whose: str) -> Floats:
    """Return the column of scores (n, 1), clipped to [0, 1] within rounding."""
    column = scores[:, 0]
    wrong = ~((column >= -_ROUNDING) & (column <= 1 + _ROUNDING))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise NotApplicable(
            f"{int(wrong.sum())} answers of {whose} are not probabilities", where=f"row {row}: {column[row]!r}"
        )
    return np.clip(column, 0.0, 1.0)
