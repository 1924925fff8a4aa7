"""Performance estimation without labels: scores of a period, calibrated on the last labeled period.

A logistic calibration of the log-odds of the score, a + b * log-odds, is fitted on the last labeled period. Applied to
the unlabeled scores it gives the ROC AUC and the Brier score that they would have. The variance has three parts, each
from labeled periods alone:
- of the calibration: a leave-one-group-out jackknife of the last labeled period;
- of the future labels, which vary by group around any calibration: the jackknife of (realized - estimated) on the last
  labeled period, scaled to the number of groups of the new one;
- between periods: each earlier labeled period is estimated from the one before it; the mean excess of the squared
  errors over the two parts above, at least 0, is added (moment estimator of DerSimonian and Laird 1986).
Only out-of-sample periods may be passed: metrics on training rows are optimistic.

The estimate is refused, with the reason, if the inputs left the region of the labeled rows, where the calibration is
not known and the scores need not show it: if a rule found an input out of its range, or if more than 30 % of the rows
lie, by one feature, where there are more than 4 times as many of them as labeled rows. A change of season moves up to
27 % of the flights of a month there, and the intervals hold.

It is also refused if the labeled period has fewer than 20 groups or a single class, if its score is not shown to rank
(the interval of the slope reaches 0), if the scores moved so far that the effective sample size of the labeled ones
(Kish) is below half, or if the interval of the AUC is wider than 0.2. These limits were fixed before the first interval
was computed, those on the inputs later; no constant of the interval was fitted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from headway.core.arrays import Floats, Ints, logit, sigmoid
from headway.core.errors import NotApplicable
from headway.core.evidence import Measurement
from headway.core.monitoring import Drift
from headway.core.student import student_quantile
from headway.core.variant import Signature
from headway.data.context import Window
from headway.evaluation.statistics.intervals import (
    MIN_GROUPS,
    SHARE,
    Estimate,
    Sample,
    autocorrelation_factor,
    t_interval,
)
from headway.evaluation.statistics.tables import auc, quantile_edges, tally, weighted
from headway.monitoring.daily_values import feature_readers

METHOD = "rolling calibration; jackknife of calibrator and of labels to come, and month-to-month errors before, t"
MIN_OVERLAP = 0.5
MAX_RATIO, MAX_UNKNOWN = 4.0, 0.3
ESTIMATED_MEASURES = ("roc_auc", "brier")
MAX_WIDTH = 0.2
BINS = 256
OVERLAP_BINS = 20
_SMALLEST = 1e-6
_STEPS = 30
_RIDGE = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class LabeledScores:
    """Scores in [0, 1] and labels {0, 1}, float64 [n], of one period; `groups` int64 [n] in order of time.

    `weights` float64 [n] are the numbers of requests that the rows of a log that samples stand for.
    """

    scores: Floats
    labels: Floats
    groups: Ints
    weights: Floats | None = None


class _NewScores(NamedTuple):
    """Scores of a period without labels, its number of groups, and the weights of its rows."""

    scores: Floats
    n_groups: int
    weights: Floats | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Estimate:
    """Estimate of one period from the one before: AUC and Brier score [2], and the variance of their errors [2]."""

    values: Floats
    variance: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tables:
    """Labeled counts by group and bin [G, B], and rows, sums and sums of squares of scores: new [B], labeled [G, B]."""

    positives: Floats
    negatives: Floats
    odds: Floats
    new: tuple[Floats, Floats, Floats]
    labeled: tuple[Floats, Floats, Floats]


def estimate_performance(
    labeled: Sequence[LabeledScores], scores: Floats, groups: Ints, weights: Floats | None = None
) -> list[Measurement]:
    """Estimate `roc_auc.estimated` and `brier.estimated` of a period without labels.

    The interval covers the metrics that the labels will give once they arrive.

    Parameters
    ----------
    labeled : sequence of LabeledScores
        Periods of similar length in order of time, the last one just before the new one.
    scores : ndarray of shape (n,)
        Scores of the new period in [0, 1].
    groups : ndarray of shape (n,)
        Groups of the new period, int64.
    weights : ndarray of shape (n,), optional
        Number of requests that each row of a log that samples stands for.

    Raises
    ------
    NotApplicable
        If no reliable estimate is possible, with the reason.
    """
    if not labeled:
        raise NotApplicable("no labeled period to calibrate the scores on", hint="headway labels add")
    roll = _estimate_from(labeled[-1], _NewScores(scores, len(np.unique(groups)), weights))
    variance = roll.variance + _between_period_variance(labeled)
    n_groups = len(np.unique(labeled[-1].groups))
    sample = Sample(n_rows=len(scores), n_groups=n_groups, bounds=SHARE)
    found = [
        t_interval(
            name, Estimate(value=float(value), se=math.sqrt(error_variance), dof=n_groups - 1, method=METHOD), sample
        )
        for name, value, error_variance in zip(
            (f"{name}.estimated" for name in ESTIMATED_MEASURES), roll.values, variance, strict=True
        )
    ]
    if found[0].high - found[0].low > MAX_WIDTH:
        raise NotApplicable(
            f"the estimate is too uncertain: AUC {found[0].low:.3f} to {found[0].high:.3f}",
            where=f"a width of at most {MAX_WIDTH:g} is required",
            hint="wait for the labels",
        )
    return found


def require_known_inputs(before: Window, now: Window, signature: Signature, *, drift: Drift | None = None) -> None:
    """Raise NotApplicable if the inputs of a period left the region of the labeled rows.

    Parameters
    ----------
    before, now : Window
        The last labeled period, and the period without labels.
    signature : Signature
    drift : Drift, optional
        What was found of the inputs of the period: one that is out of its range is not known.
    """
    broken = sorted({column for column, _ in drift.broken_cells}) if drift else []
    if broken:
        raise NotApplicable(
            f"inputs are out of their range: {', '.join(broken)}", hint="label some rows of this period"
        )
    for number, reader in enumerate(feature_readers(before, signature)):
        old, new = (reader.shares(part.rows[:, number], part.weights) for part in (before, now))
        unknown = float(np.maximum(new - MAX_RATIO * old, 0).sum())
        if unknown > MAX_UNKNOWN:
            raise NotApplicable(
                f"{signature.names[number]} left the region of the labeled rows: by it, {unknown:.0%} of the rows lie "
                "where few or none are labeled",
                where=f"at most {MAX_UNKNOWN:.0%}",
                hint="label some rows of this period",
            )


def _between_period_variance(labeled: Sequence[LabeledScores]) -> Floats:
    """Return the mean excess of squared errors over their expected variance, over pairs of labeled periods -> [2]."""
    surplus = [np.zeros(2)]
    for before, period in pairwise(labeled):
        try:
            roll = _estimate_from(before, _NewScores(period.scores, len(np.unique(period.groups)), period.weights))
        except NotApplicable:
            continue
        surplus.append(np.square(roll.values - _realised_metrics(period)) - roll.variance)
    mean: Floats = np.sum(surplus, axis=0) / max(len(surplus) - 1, 1)
    return np.maximum(mean, 0.0)


def _realised_metrics(period: LabeledScores) -> Floats:
    """Compute AUC and Brier score of a labeled period -> [2]."""
    edges = quantile_edges(period.scores, BINS)
    codes, size = np.searchsorted(edges, period.scores, side="right"), len(edges) + 1
    positives = tally(codes, size, weighted(period.labels, period.weights))
    area = auc(positives, tally(codes, size, period.weights) - positives)
    errors = np.square(period.scores - period.labels)
    return np.array([float(area), float(np.average(errors, weights=period.weights))])


def _estimate_from(last: LabeledScores, new: _NewScores) -> _Estimate:
    _require_usable(last, new)
    tables = _tables(last, new)
    count = len(tables.positives)
    fitted = _fit(tables.positives.sum(0), tables.negatives.sum(0), tables.odds)
    without = _fit(tables.positives.sum(0) - tables.positives, tables.negatives.sum(0) - tables.negatives, tables.odds)
    _require_positive_slope(fitted[..., 1], without[..., 1])
    calibrator = _jackknife(_implied_metrics(without, tables.odds, tables.new))
    to_come = _jackknife(_gaps(tables, fitted)) * count / new.n_groups * _sampling_factor(last, new)
    return _Estimate(values=_implied_metrics(fitted, tables.odds, tables.new), variance=calibrator + to_come)


def _sampling_factor(last: LabeledScores, new: _NewScores) -> float:
    """Bound how much more the labels of a group vary than in the last labeled period, because the log left rows out."""
    if last.weights is None and new.weights is None:
        return 1.0
    rows = _effective_rows(last.scores, last.weights) / len(np.unique(last.groups))
    return max(1.0, rows / (_effective_rows(new.scores, new.weights) / new.n_groups))


def _effective_rows(scores: Floats, weights: Floats | None) -> float:
    """Return Kish's effective sample size."""
    return float(len(scores) if weights is None else np.square(weights.sum()) / np.square(weights).sum())


def _require_usable(last: LabeledScores, new: _NewScores) -> None:
    count = len(np.unique(last.groups))
    if count < MIN_GROUPS:
        raise NotApplicable(f"{count} labeled groups are too few", where=f"at least {MIN_GROUPS}")
    if not len(new.scores) or last.labels.min() == last.labels.max():
        raise NotApplicable("scores, and labels of both classes, are needed")
    overlap = _overlap(last, new)
    if overlap < MIN_OVERLAP:
        raise NotApplicable(
            f"the scores are too far from the labeled ones, whose effective sample size is {overlap:.0%} of their "
            "number",
            where=f"at least {MIN_OVERLAP:.0%}",
            hint="label some rows of this period",
        )


def _overlap(before: LabeledScores, now: _NewScores) -> float:
    """Return Kish's effective share of the labeled rows, weighted to new scores: 1 / sum(new share^2 / old share)."""
    edges = quantile_edges(before.scores, OVERLAP_BINS)
    counts = (
        tally(np.searchsorted(edges, part.scores, side="right"), len(edges) + 1, part.weights) for part in (before, now)
    )
    old, new = (count / count.sum() for count in counts)
    return float(1 / np.sum(np.square(new) / old))


def _tables(last: LabeledScores, new: _NewScores) -> _Tables:
    edges = quantile_edges(np.concatenate([last.scores, new.scores]), BINS)
    size = len(edges) + 1
    numbers, groups = np.unique(last.groups, return_inverse=True)
    codes, codes_new = (np.searchsorted(edges, part.scores, side="right") for part in (last, new))
    cells = groups * size + codes
    rows, positives, sums, squares = (
        tally(cells, len(numbers) * size, weighted(values, last.weights)).reshape(-1, size)
        for values in (None, last.labels, last.scores, np.square(last.scores))
    )
    counts, sums_new, squares_new = (
        tally(codes_new, size, weighted(values, new.weights)) for values in (None, new.scores, np.square(new.scores))
    )
    mean = (sums.sum(0) + sums_new) / np.maximum(rows.sum(0) + counts, 1)
    return _Tables(
        positives=positives,
        negatives=rows - positives,
        odds=logit(mean, epsilon=_SMALLEST),
        new=(counts, sums_new, squares_new),
        labeled=(rows, sums, squares),
    )


def _fit(positives: Floats, negatives: Floats, odds: Floats) -> Floats:
    """Fit intercept and slope [..., 2] of a logistic regression of counts [..., B] on log-odds [B].

    Newton's method on standardized log-odds, with steps clipped to [-1, 1]: full steps diverge if a model separates the
    classes well, and clipped steps on the raw scale would not arrive if its scores lie close together.
    """
    rows = positives + negatives
    weights = rows.sum(tuple(range(rows.ndim - 1)))
    centre = np.average(odds, weights=weights)
    spread = max(math.sqrt(np.average(np.square(odds - centre), weights=weights)), _SMALLEST)
    scaled = (odds - centre) / spread
    found = np.broadcast_to(np.array([centre, spread]), (*positives.shape[:-1], 2))
    design = np.stack([np.ones_like(scaled), scaled])
    for _ in range(_STEPS):
        rates = _rates(found, scaled)
        slope = (positives - rows * rates) @ design.T
        weights = rows * rates * (1 - rates)
        curve = np.einsum("...b,ib,jb->...ij", weights, design, design) + _RIDGE * np.eye(2)
        found = found + np.clip(np.linalg.solve(curve, slope[..., None])[..., 0], -1, 1)
    slopes = found[..., 1] / spread
    return np.stack([found[..., 0] - slopes * centre, slopes], axis=-1)


def _rates(calibrator: Floats, odds: Floats) -> Floats:
    return sigmoid(calibrator[..., :1] + calibrator[..., 1:] * odds)


def _implied_metrics(calibrator: Floats, odds: Floats, sums_by_bin: tuple[Floats, Floats, Floats]) -> Floats:
    """Return AUC and Brier score [..., 2] of scores if the calibration is right.

    `sums_by_bin` are rows, sums and sums of squares of scores [..., B].
    """
    rows, sums, squares = sums_by_bin
    rates = _rates(calibrator, odds)
    brier = (rates * (rows - 2 * sums) + squares).sum(-1) / rows.sum(-1)
    return np.stack([auc(rows * rates, rows * (1 - rates)), brier], axis=-1)


def _gaps(tables: _Tables, calibrator: Floats) -> Floats:
    """Return realized less implied metrics of the labeled period with each group left out -> [G, 2]."""
    rows, sums, squares = (part.sum(0) - part for part in tables.labeled)
    positives, negatives = (part.sum(0) - part for part in (tables.positives, tables.negatives))
    brier = (squares - 2 * _sums_of_positives(tables) + positives).sum(-1) / rows.sum(-1)
    realised = np.stack([auc(positives, negatives), brier], axis=-1)
    return realised - _implied_metrics(calibrator, tables.odds, (rows, sums, squares))


def _sums_of_positives(tables: _Tables) -> Floats:
    """Sum the scores of positives without each group, each score taken as the mean of its group and bin."""
    rows, sums, _ = tables.labeled
    part = tables.positives * sums / np.maximum(rows, 1)
    without_group: Floats = part.sum(0) - part
    return without_group


def _jackknife(without_group: Floats) -> Floats:
    """Compute the jackknife variance over groups in order of time, [G, 2] -> [2]."""
    count, influence = len(without_group), without_group - without_group.mean(0)
    variance: Floats = (count - 1) / count * np.square(influence).sum(0) * autocorrelation_factor(influence.T)
    return variance


def _require_positive_slope(slope: Floats, without: Floats) -> None:
    se = math.sqrt(float(_jackknife(without[:, None])[0]))
    low = float(slope) - student_quantile(0.975, len(without) - 1) * se
    if not low > 0:
        raise NotApplicable(
            f"the scores do not rank for sure in the last labeled period: slope {float(slope):.2f}, at least {low:.2f}",
            where="above 0 is required",
            hint="wait for the labels",
        )
