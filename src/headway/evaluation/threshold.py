"""Decision threshold: that of the model's own `predict`, or chosen on the validation period from costs of errors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headway.core.arrays import Bools, Floats, Ints
from headway.core.errors import DataError
from headway.core.student import student_quantile
from headway.core.variant import LIBRARY_THRESHOLD
from headway.evaluation.statistics.intervals import LEVEL, MIN_GROUPS, jackknife_error
from headway.evaluation.statistics.tables import BinaryAnswers, leave_one_out_mean, quantile_edges, tally, weighted

CANDIDATES = 200
HALF = 0.5


def choose_threshold(
    labels: Floats, scores: Floats, *, costs: tuple[float, float] = (1.0, 1.0), weights: Floats | None = None
) -> float:
    """Choose the threshold with the lowest cost; a score >= threshold is a positive decision.

    It lies half-way between two distinct scores, so that rounding by a conversion flips no decision, and outside [0, 1]
    if only that decides all rows alike. The lowest of equally good thresholds is taken.

    Parameters
    ----------
    labels, scores : ndarray of shape (n,)
        Labels 0 or 1, and scores.
    costs : tuple of float
        Costs of a false positive and of a false negative, times the weight of the row.
    weights : ndarray of shape (n,), optional
        Sample weights.

    Raises
    ------
    DataError
        Without rows, or if a cost is not positive.

    >>> choose_threshold(np.array([0., 1., 0., 1.]), np.array([.1, .2, .3, .4]), costs=(1, 4))
    0.15000000000000002
    """
    if not len(labels) or len(labels) != len(scores):
        raise DataError(
            "a threshold needs at least one row, and one label per row",
            where=f"{len(labels)} labels, {len(scores)} scores",
        )
    false_positive, false_negative = costs
    if not (false_positive > 0 and false_negative > 0):
        raise DataError(
            f"costs must be positive, not false_positive = {false_positive:g}, false_negative = {false_negative:g}",
            where="headway.toml [model] costs",
            hint="costs = { false_positive = 1, false_negative = 4 }",
        )
    distinct, codes = np.unique(scores, return_inverse=True)
    positives = tally(codes, len(distinct), weighted(labels, weights))
    negatives = tally(codes, len(distinct), weights) - positives
    missed = np.concatenate([[0.0], np.cumsum(positives)])
    alarmed = negatives.sum() - np.concatenate([[0.0], np.cumsum(negatives)])
    best = int(np.argmin(false_positive * alarmed + false_negative * missed))
    below = 0.0 if distinct[0] > 0 else distinct[0] - 1
    above = 1.0 if distinct[-1] < 1 else distinct[-1] + 1
    ends = np.concatenate([[below], distinct, [above]])
    return float((ends[best] + ends[best + 1]) / 2)


def library_threshold(scores: Floats, decided: Ints | None, thresholds: Sequence[float] = ()) -> float:
    """Return the threshold on scores (n,) that decides as the library of a binary model does.

    It is one half, above which a tie lies with the first class, unless the library's own decisions say otherwise. The
    first of the candidates with the fewest differences is taken, and one between two scores if that has fewer still.

    Parameters
    ----------
    decided : ndarray of shape (n,), optional
        Decisions 0 or 1 of the library; by default those at one half.
    thresholds : sequence of float
        Other candidates, such as the threshold that a model was tuned to.

    >>> library_threshold(np.array([.1, .3, .6]), np.array([0, 1, 1]), [.25])
    0.25
    """
    if decided is None or not len(decided):
        return LIBRARY_THRESHOLD
    candidates = [LIBRARY_THRESHOLD, HALF, *thresholds]
    differences = [int(((scores >= threshold) != decided).sum()) for threshold in candidates]
    best = int(np.argmin(differences))
    between = choose_threshold(decided.astype(np.float64), scores) if differences[best] else HALF
    fewer = int(((scores >= between) != decided).sum()) < differences[best]
    return between if fewer else candidates[best]


def decision_costs(labels: Floats, decided: Bools, costs: tuple[float, float]) -> Floats:
    """Return the cost of each row's decision, float64 (n,).

    >>> decision_costs(np.array([0., 1.]), np.array([True, False]), (1.0, 4.0)).tolist()
    [1.0, 4.0]
    """
    false_positive, false_negative = costs
    found: Floats = np.where(decided, (labels == 0) * false_positive, (labels == 1) * false_negative)
    return found


def threshold_confidence_set(
    answers: BinaryAnswers, threshold: float, costs: tuple[float, float]
) -> tuple[float, float]:
    """Return the smallest and largest threshold whose cost on these rows does not differ significantly from this one's.

    A confidence set of the best threshold by inverting paired tests by group (after Hansen, Lunde and Nason 2011, with
    Bonferroni): 200 quantiles of the scores share the 5 %. It is [0, 1] without enough groups, and the threshold alone
    if all scores are equal.
    """
    if answers.n_blocks < MIN_GROUPS:
        return 0.0, 1.0
    edges = quantile_edges(answers.scores, CANDIDATES)
    if not len(edges):
        return threshold, threshold
    own = answers.per_block(decision_costs(answers.labels, answers.scores >= threshold, costs))
    worse = _significantly_above(_cost_table(answers, edges, costs) - own[:, None], answers.rows)
    equivalent = edges[~worse]
    return min([threshold, *equivalent[:1].tolist()]), max([threshold, *equivalent[-1:].tolist()])


def _cost_table(answers: BinaryAnswers, edges: Floats, costs: tuple[float, float]) -> Floats:
    """Return the cost of each block with each edge as the threshold, float64 (n_blocks, edges)."""
    false_positive, false_negative = costs
    bins = len(edges) + 1
    cells = answers.blocks * bins + np.searchsorted(edges, answers.scores, side="right")
    positives, rows = (
        tally(cells, answers.n_blocks * bins, weighted(values, answers.weights)).reshape(-1, bins)
        for values in (answers.labels, None)
    )
    missed = np.cumsum(positives, 1)[:, :-1]
    alarms = (rows - positives)[:, ::-1].cumsum(1)[:, ::-1][:, 1:]
    found: Floats = false_negative * missed + false_positive * alarms
    return found


def _significantly_above(differences: Floats, rows: Floats) -> Bools:
    """Return which columns of block sums (n_blocks, k) have a mean above 0, by tests that share the 5 %."""
    without = np.stack([leave_one_out_mean(column, rows) for column in differences.T])
    values = differences.sum(0) / rows.sum()
    critical = student_quantile(1 - (1 - LEVEL) / len(values), len(rows) - 1)
    shown: Bools = values - critical * jackknife_error(without) > 0
    return shown
