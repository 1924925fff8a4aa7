"""Quality of a period that has no labels yet: its scores, read as the last labelled period taught to read them.

Rolling calibration: log-odds(late) = a + b * log-odds(score) is fitted on the last labelled period, and what it says of
the unlabelled scores gives the area under the ROC curve and the Brier score they would have. The interval has three
parts, each from labelled periods alone:
- the calibrator's: leave-one-group-out jackknife of the last labelled period;
- that of the labels to come, which vary by group about any calibrator: the jackknife of (realised - estimated) on the
  last labelled period, scaled to the number of groups of the new one;
- the world's: in labelled periods before, each was estimated from the one before it; what those errors squared have
  beyond the two parts above, on average and at least 0, is added (the moment estimate of DerSimonian and Laird 1986).
Only a model's out-of-sample periods may be given: on its training rows it looks better than it is.

It does not answer, and says so, where the labelled period cannot teach: fewer than 20 groups, one class only, a score
that does not rank for sure there (the slope's interval reaches 0), scores so far from the labelled ones that those are
worth less than half of their number (Kish's effective sample size), or an interval of AUC wider than 0.2. These limits
are plain ones (half of a sample, a width that is of use), written down before the first interval was computed and kept
since; the interval's width has no constant that was fitted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from headway.core.arrays import Floats, Ints
from headway.core.errors import NotApplicable
from headway.core.evidence import Measurement
from headway.evaluation.statistics.intervals import (
    MIN_GROUPS,
    SHARE,
    Estimate,
    Sample,
    autocorrelation_factor,
    student_quantile,
    t_interval,
)
from headway.evaluation.statistics.tables import auc, quantile_edges, tally

METHOD = "rolling calibration; jackknife of calibrator and of labels to come, and month-to-month errors before, t"
MIN_OVERLAP = 0.5
MAX_WIDTH = 0.2
BINS = 256
OVERLAP_BINS = 20
_SMALLEST = 1e-6
_STEPS = 30
_RIDGE = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class LabeledScores:
    """Scores in [0, 1] and labels {0, 1}, float64 [n], of one period; `groups` int64 [n] in order of time."""

    scores: Floats
    labels: Floats
    groups: Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class _Estimate:
    """One period estimated from the one before: AUC and Brier score [2], and the variance of their errors [2]."""

    values: Floats
    variance: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tables:
    """Labelled counts [G, B]; rows, sums and sums of squares of scores: `moments` new [B], `own` labelled [G, B]."""

    positives: Floats
    negatives: Floats
    odds: Floats
    moments: tuple[Floats, Floats, Floats]
    own: tuple[Floats, Floats, Floats]


def estimate_performance(labelled: Sequence[LabeledScores], scores: Floats, groups: Ints) -> list[Measurement]:
    """`roc_auc.estimated` and `brier.estimated` of scores [n] in [0, 1] whose labels are not known; `groups` int64 [n].

    `labelled` are periods of like length in order of time, the last one just before the new one. The interval is for
    what the labels will say once they come. Raises NotApplicable, with the reason, where no honest number can be given.
    """
    if not labelled:
        raise NotApplicable("no labelled period is known from which to read scores", hint="headway labels add")
    roll = _estimate_from(labelled[-1], scores, len(np.unique(groups)))
    variance = roll.variance + _between_period_variance(labelled)
    n_groups = len(np.unique(labelled[-1].groups))
    sample = Sample(n_rows=len(scores), n_groups=n_groups, bounds=SHARE)
    found = [
        t_interval(name, Estimate(value=float(value), se=math.sqrt(each), dof=n_groups - 1, method=METHOD), sample)
        for name, value, each in zip(("roc_auc.estimated", "brier.estimated"), roll.values, variance, strict=True)
    ]
    if found[0].high - found[0].low > MAX_WIDTH:
        raise NotApplicable(
            f"the estimate is too uncertain to be of use: AUC {found[0].low:.3f} to {found[0].high:.3f}",
            where=f"a width of at most {MAX_WIDTH:g} is asked",
            hint="wait for the labels",
        )
    return found


def _between_period_variance(labelled: Sequence[LabeledScores]) -> Floats:
    """The mean of squared errors beyond their expected variance, over labelled periods with one before them -> [2]."""
    surplus = [np.zeros(2)]
    for before, period in pairwise(labelled):
        try:
            roll = _estimate_from(before, period.scores, len(np.unique(period.groups)))
        except NotApplicable:
            continue
        surplus.append(np.square(roll.values - _realised_metrics(period)) - roll.variance)
    mean: Floats = np.sum(surplus, axis=0) / max(len(surplus) - 1, 1)
    return np.maximum(mean, 0.0)


def _realised_metrics(period: LabeledScores) -> Floats:
    """AUC and Brier score of a labelled period -> [2]."""
    edges = quantile_edges(period.scores, BINS)
    codes, size = np.searchsorted(edges, period.scores, side="right"), len(edges) + 1
    positives = tally(codes, size, period.labels)
    area = auc(positives, tally(codes, size) - positives)
    return np.array([float(area), float(np.square(period.scores - period.labels).mean())])


def _estimate_from(last: LabeledScores, scores: Floats, n_groups: int) -> _Estimate:
    _require_usable(last, scores)
    tables = _tables(last, scores)
    count = len(tables.positives)
    whole = _fit(tables.positives.sum(0), tables.negatives.sum(0), tables.odds)
    without = _fit(tables.positives.sum(0) - tables.positives, tables.negatives.sum(0) - tables.negatives, tables.odds)
    _require_positive_slope(whole[..., 1], without[..., 1])
    calibrator = _jackknife(_implied_metrics(without, tables.odds, tables.moments))
    to_come = _jackknife(_gaps(tables, whole)) * count / n_groups
    return _Estimate(values=_implied_metrics(whole, tables.odds, tables.moments), variance=calibrator + to_come)


def _require_usable(last: LabeledScores, scores: Floats) -> None:
    count = len(np.unique(last.groups))
    if count < MIN_GROUPS:
        raise NotApplicable(f"{count} labelled groups are too few", where=f"at least {MIN_GROUPS}")
    if not len(scores) or last.labels.min() == last.labels.max():
        raise NotApplicable("scores, and labels of both classes, are needed")
    overlap = _overlap(last.scores, scores)
    if overlap < MIN_OVERLAP:
        raise NotApplicable(
            f"the scores are too far from the labelled ones: those are worth {overlap:.0%} of their number here",
            where=f"at least {MIN_OVERLAP:.0%}",
            hint="label some rows of this period",
        )


def _overlap(before: Floats, now: Floats) -> float:
    """Kish's effective share of the labelled rows, weighted to the scores of now: 1 / sum(new share^2 / old share)."""
    edges = quantile_edges(before, OVERLAP_BINS)
    size = len(edges) + 1
    old, new = (tally(np.searchsorted(edges, each, side="right"), size) / len(each) for each in (before, now))
    return float(1 / np.sum(np.square(new) / old))


def _tables(last: LabeledScores, scores: Floats) -> _Tables:
    edges = quantile_edges(np.concatenate([last.scores, scores]), BINS)
    size = len(edges) + 1
    numbers, groups = np.unique(last.groups, return_inverse=True)
    codes, new = (np.searchsorted(edges, each, side="right") for each in (last.scores, scores))
    cells = groups * size + codes
    rows, positives, sums, squares = (
        tally(cells, len(numbers) * size, weights).reshape(-1, size)
        for weights in (None, last.labels, last.scores, np.square(last.scores))
    )
    moments = tuple(tally(new, size, weights) for weights in (None, scores, np.square(scores)))
    mean = (sums.sum(0) + moments[1]) / np.maximum(rows.sum(0) + moments[0], 1)
    return _Tables(
        positives=positives,
        negatives=rows - positives,
        odds=_log_odds(mean),
        moments=(moments[0], moments[1], moments[2]),
        own=(rows, sums, squares),
    )


def _log_odds(scores: Floats) -> Floats:
    inside = np.clip(scores, _SMALLEST, 1 - _SMALLEST)
    odds: Floats = np.log(inside / (1 - inside))
    return odds


def _fit(positives: Floats, negatives: Floats, odds: Floats) -> Floats:
    """Intercept and slope [..., 2] of a logistic regression of counts [..., B] on log-odds [B].

    By Newton's method on log-odds of mean 0 and spread 1, each step held in [-1, 1]: whole steps run away where a model
    separates the classes well, and held ones would not arrive where its scores lie close together.
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
    rates: Floats = 1 / (1 + np.exp(-(calibrator[..., :1] + calibrator[..., 1:] * odds)))
    return rates


def _implied_metrics(calibrator: Floats, odds: Floats, moments: tuple[Floats, Floats, Floats]) -> Floats:
    """AUC and Brier score [..., 2] that scores have if the calibrator is right; moments [..., B] of scores by bin."""
    rows, sums, squares = moments
    rates = _rates(calibrator, odds)
    brier = (rates * (rows - 2 * sums) + squares).sum(-1) / rows.sum(-1)
    return np.stack([auc(rows * rates, rows * (1 - rates)), brier], axis=-1)


def _gaps(tables: _Tables, calibrator: Floats) -> Floats:
    """Realised less implied AUC and Brier score of the labelled period with each group left out -> [G, 2]."""
    rows, sums, squares = (each.sum(0) - each for each in tables.own)
    positives, negatives = (each.sum(0) - each for each in (tables.positives, tables.negatives))
    brier = (squares - 2 * _sums_of_positives(tables) + positives).sum(-1) / rows.sum(-1)
    realised = np.stack([auc(positives, negatives), brier], axis=-1)
    return realised - _implied_metrics(calibrator, tables.odds, (rows, sums, squares))


def _sums_of_positives(tables: _Tables) -> Floats:
    """Sums of the scores of positives without each group, each score taken as the mean of its group and bin."""
    rows, sums, _ = tables.own
    part = tables.positives * sums / np.maximum(rows, 1)
    left: Floats = part.sum(0) - part
    return left


def _jackknife(without_each: Floats) -> Floats:
    """The jackknife variance over groups in order of time, [G, 2] -> [2]."""
    count, influence = len(without_each), without_each - without_each.mean(0)
    variance: Floats = (count - 1) / count * np.square(influence).sum(0) * autocorrelation_factor(influence.T)
    return variance


def _require_positive_slope(slope: Floats, without: Floats) -> None:
    se = math.sqrt(float(_jackknife(without[:, None])[0]))
    low = float(slope) - student_quantile(0.975, len(without) - 1) * se
    if not low > 0:
        raise NotApplicable(
            f"the last labelled period does not tell how its score ranks: slope {float(slope):.2f}, at least {low:.2f}",
            where="above 0 is asked",
            hint="wait for the labels",
        )
