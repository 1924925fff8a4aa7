"""Rows reduced once to tables with a line a group; every interval and test works on these, never on rows again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from headway.core.arrays import Floats, Ints
from headway.core.contracts import Comparison
from headway.core.errors import NotApplicable

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
    """The block of every row, all of length n: `groups` and `blocks` int64, blocks in 0..n_blocks-1.

    A block is one group, or, beyond MOST_BLOCKS groups, a run of neighbouring ones: tables stay small, and neighbours
    that lean on each other fall together. `n_groups` counts the groups themselves. `weights` float64, or None for rows
    that count alike.
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

    def per_block(self, values: Floats) -> Floats:
        """Sums of values [n] by block, each times the weight of its row -> [n_blocks]."""
        return tally(self.blocks, self.n_blocks, weighted(values, self.weights))

    def mean(self, values: Floats) -> float:
        """The mean of values [n] over rows, by weight."""
        return float(np.average(values, weights=self.weights))

    @property
    def rows(self) -> Floats:
        """The weight of the rows of each block, which is their number where all count alike, float64 [n_blocks]."""
        return tally(self.blocks, self.n_blocks, self.weights)


@dataclass(frozen=True, slots=True, kw_only=True)
class BinaryAnswers(Blocks):
    """Labels, scores of the variant and of the model as it came, with their blocks; all of length n.

    `labels` {0, 1}, `scores` and `reference` in [0, 1], float64.
    """

    labels: Floats
    scores: Floats
    reference: Floats


@dataclass(frozen=True, slots=True)
class ScoreTable:
    """Counts of positives and of negatives by block and score bin, both float64 [n_blocks, bins]."""

    positives: Floats
    negatives: Floats


@dataclass(frozen=True, slots=True)
class BinTable:
    """Weight of rows, of positives, and of scores by block and equal-mass score bin, each float64 [n_blocks, bins].

    `counts` are the rows of a bin themselves, float64 [bins].
    """

    rows: Floats
    positives: Floats
    scores: Floats
    counts: Floats


def binary_answers(subject: Comparison) -> BinaryAnswers:
    """The answers of a binary subject, ready for tables.

    Raises NotApplicable for other tasks, labels other than 0 and 1, no rows, and scores that are no probabilities.
    """
    if subject.variant.task != "binary":
        raise NotApplicable(f"this measure is defined for the task 'binary', not for {subject.variant.task!r}")
    if not len(subject.labels) or not np.isin(subject.labels, (0.0, 1.0)).all():
        raise NotApplicable("labels must be 0 or 1, at least one row", where=f"{len(subject.labels)} labels")
    return BinaryAnswers(
        labels=subject.labels,
        scores=_probabilities(subject.scores, "the variant"),
        reference=_probabilities(subject.reference_scores, "the model as it came"),
        **block_fields(subject.groups, subject.weights),
    )


def build_blocks(subject: Comparison) -> Blocks:
    """The blocks of a subject's rows; raises NotApplicable where there is none, or an answer is no number."""
    if not len(subject.labels):
        raise NotApplicable("there are no labelled rows")
    for scores, whose in ((subject.scores, "the variant"), (subject.reference_scores, "the model as it came")):
        wrong = ~np.isfinite(scores).all(axis=1)
        if wrong.any():
            raise NotApplicable(
                f"{int(wrong.sum())} answers of {whose} are no numbers", where=f"row {np.argmax(wrong)}"
            )
    return Blocks(**block_fields(subject.groups, subject.weights))


def block_fields(groups: Ints, weights: Floats | None) -> BlockFields:
    """The fields of the Blocks of rows by their groups [n] and weights [n]."""
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
    """Values [n] times weights [n]; None stands for ones."""
    if values is None or weights is None:
        return weights if values is None else values
    return values * weights


def tally(codes: Ints, length: int, weights: Floats | None = None) -> Floats:
    """How often each code in 0..length-1 occurs in codes [n], or the sums of its weights [n] -> float64 [length]."""
    return np.asarray(np.bincount(codes, weights=weights, minlength=length), dtype=np.float64)


def quantile_edges(scores: Floats, bins: int) -> Floats:
    """Inner edges that cut scores [n] into at most `bins` bins of equal mass; equal scores always share a bin."""
    ordered = np.sort(scores)
    edges: Floats = np.unique(ordered[np.arange(1, bins) * len(ordered) // bins])
    above: Floats = edges[edges > ordered[0]]
    return above


def score_table(scores: Floats, answers: BinaryAnswers, edges: Floats | None = None) -> ScoreTable:
    """The table of scores [n] of the rows of `answers` between edges, which else are their SCORE_BINS quantiles."""
    edges = quantile_edges(scores, SCORE_BINS) if edges is None else edges
    bins = len(edges) + 1
    cells = (answers.blocks * 2 + answers.labels.astype(np.int64)) * bins + np.searchsorted(edges, scores, side="right")
    counts = tally(cells, answers.n_blocks * 2 * bins, answers.weights).reshape(answers.n_blocks, 2, bins)
    return ScoreTable(counts[:, 1], counts[:, 0])


def bin_table(answers: BinaryAnswers, bins: int) -> BinTable:
    """The table of the variant's scores over `bins` bins of equal mass (fewer where many scores are equal)."""
    edges = quantile_edges(answers.scores, bins)
    found = len(edges) + 1
    cells = answers.blocks * found + np.searchsorted(edges, answers.scores, side="right")
    sums = (weighted(each, answers.weights) for each in (None, answers.labels, answers.scores))
    rows, positives, scores = (tally(cells, answers.n_blocks * found, each).reshape(-1, found) for each in sums)
    return BinTable(rows=rows, positives=positives, scores=scores, counts=tally(cells % found, found))


def expected_calibration_error(surplus: Floats, rows: Floats) -> Floats:
    """Expected calibration error in [0, 1]; surplus (positives less sum of scores) and rows, both [..., bins].

    The mean distance of a bin's observed rate from its mean score, weighted by its rows (Naeini, Cooper and Hauskrecht
    2015), not debiased: near 0 noise makes it too large, so a limit on it is kept on the safe side (decision 0005).

    >>> float(expected_calibration_error(np.array([5.0, -5.0]), np.array([10.0, 10.0])))
    0.5
    """
    error: Floats = np.abs(surplus).sum(-1) / np.maximum(rows.sum(-1), 1)
    return error


def auc(positives: Floats, negatives: Floats) -> Floats:
    """Area under the ROC curve from counts [..., bins] in order of score; ties count half; NaN with one class."""
    below = np.cumsum(negatives, -1) - 0.5 * negatives
    with np.errstate(invalid="ignore", divide="ignore"):
        areas: Floats = (positives * below).sum(-1) / (positives.sum(-1) * negatives.sum(-1))
    return areas


def exact_auc(scores: Floats, labels: Floats, weights: Floats | None = None) -> float:
    """Area under the ROC curve of scores [n] and labels {0, 1} [n], every distinct score a bin of its own.

    With `weights` [n], a pair counts by the product of its rows' weights.

    >>> exact_auc(np.array([.1, .4, .35, .8]), np.array([0., 0., 1., 1.]))
    0.75
    """
    distinct, codes = np.unique(scores, return_inverse=True)
    positives = tally(codes, len(distinct), weighted(labels, weights))
    return float(auc(positives, tally(codes, len(distinct), weights) - positives))


def leave_one_out_auc(table: ScoreTable) -> Floats:
    """The area under the ROC curve with each block left out in turn -> [n_blocks]."""
    return auc(table.positives.sum(0) - table.positives, table.negatives.sum(0) - table.negatives)


def leave_one_out_mean(sums: Floats, rows: Floats) -> Floats:
    """The mean over rows with each block left out in turn, all [n_blocks]; NaN where none is left."""
    with np.errstate(invalid="ignore"):
        means: Floats = (sums.sum() - sums) / (rows.sum() - rows)
    return means


def _dense(groups: Ints) -> tuple[Ints, int]:
    """Codes 0..G-1 in the same order, without the numbers that no row has."""
    present = np.bincount(groups) > 0
    return (np.cumsum(present) - 1)[groups], int(present.sum())


def _probabilities(scores: Floats, whose: str) -> Floats:
    """The one column of scores [n, 1], with rounding beyond [0, 1] taken back."""
    column = scores[:, 0]
    wrong = ~((column >= -_ROUNDING) & (column <= 1 + _ROUNDING))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise NotApplicable(
            f"{int(wrong.sum())} answers of {whose} are no probabilities", where=f"row {row}: {column[row]!r}"
        )
    return np.clip(column, 0.0, 1.0)
