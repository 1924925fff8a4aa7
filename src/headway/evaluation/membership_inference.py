"""Membership inference: scores of rows that a model was trained on, and how well they distinguish them.

A score is high for a row that looks like a member. All rates are of a threshold that flags a given share of the
non-members; intervals are by group, and over the models that were attacked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from headway.core.arrays import Bools, Floats, Ints
from headway.core.errors import NotApplicable
from headway.core.evidence import Measurement
from headway.core.student import student_quantile
from headway.evaluation.quality.row_errors import decide_class
from headway.evaluation.statistics.intervals import CHANGE, LEVEL, SHARE, autocorrelation_factor
from headway.evaluation.statistics.tables import block_fields, tally

_LEAST = 1e-6
"""Probabilities are kept this far from 0 and 1: their logarithms are finite, and a rounded 0 is not certain."""
_PRIOR_WEIGHT = 4.0
"""Number of shadow models that the variance over all rows counts for, next to those of a row."""
_THRESHOLD_BIAS = 0.125
"""Largest relative bias of a true-positive rate by the spread of its threshold, where one non-member is flagged.

For a curve TPR = c FPR^k it is k (1 - k) / 2 divided by the number of non-members that are flagged, at most 1/8.
"""
MIN_GROUPS, MIN_DOF, MIN_FLAGGED = 20, 3, 2


class Signals(NamedTuple):
    """What the answer of a model says of a row with its label, each float64 (n,).

    `confidence` is the logit of the probability of the label, or the negative logarithm of the error of a number.
    `likelihood` is the logarithm of that probability. `is_right` is 1 if the decision is the label; 0 for numbers.
    """

    confidence: Floats
    likelihood: Floats
    is_right: Floats


def read_signals(answers: Floats, labels: Floats, *, task: str, threshold: float, scale: float) -> Signals:
    """Return the signals of answers (n, k) to rows with these labels (n,).

    Parameters
    ----------
    task : str
        `binary`, `multiclass` or `regression`.
    threshold : float
        A score of at least this value is a decision for the positive class.
    scale : float
        Standard deviation of the labels, for a regression.
    """
    if task == "regression":
        error = np.abs(answers[:, 0] - labels) / scale
        return Signals(-np.log(error + 1e-3), -np.square(error) / 2, np.zeros(len(labels)))
    classes = labels.astype(np.int64)
    if answers.shape[1] == 1:
        own = np.where(classes == 1, answers[:, 0], 1 - answers[:, 0])
    else:
        own = answers[np.arange(len(labels)), classes]
    own = np.clip(own, _LEAST, 1 - _LEAST)
    is_right = (decide_class(answers, threshold) == classes).astype(np.float64)
    return Signals(np.log(own) - np.log1p(-own), np.log(own), is_right)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shadows:
    """Signals of shadow models, float64 (models, n) each, and which rows each was trained on, bool (models, n)."""

    signals: Signals
    inside: Bools

    def some(self, models: Sequence[int]) -> Shadows:
        """Return some of the models."""
        which = list(models)
        return Shadows(signals=Signals(*(values[which] for values in self.signals)), inside=self.inside[which])

    @classmethod
    def of(cls, signals: Sequence[Signals], inside: Sequence[Bools]) -> Shadows:
        """Put models together."""
        return cls(
            signals=Signals(*(np.stack(values) for values in zip(*signals, strict=True))), inside=np.stack(inside)
        )


def score_lira(target: Signals, shadows: Shadows, *, prior_weight: float = _PRIOR_WEIGHT) -> Floats:
    """Score rows by offline LiRA (Carlini et al. 2022): the confidence against that of models trained without the row.

    The variance of a row is drawn towards that of all rows, which counts as `prior_weight` models: with few shadow
    models that is what works (BaVarIA, arXiv 2603.11799). An infinite weight leaves the mean variance alone.
    """
    without = ~shadows.inside
    count = without.sum(0)
    values = np.where(without, shadows.signals.confidence, 0.0)
    mean = values.sum(0) / np.maximum(count, 1)
    squares = np.where(without, np.square(shadows.signals.confidence - mean), 0.0).sum(0)
    pooled = float(squares.sum() / max((count - 1).clip(0).sum(), 1)) + 1e-12
    if math.isinf(prior_weight):
        variance = np.full(len(mean), pooled)
    else:
        variance = (prior_weight * pooled + squares) / (prior_weight + (count - 1).clip(0))
    scores: Floats = (target.confidence - mean) / np.sqrt(variance * (1 + 1 / np.maximum(count, 1)))
    return scores


def score_rmia(target: Signals, shadows: Shadows, *, is_offline: bool = False) -> Floats:
    """Score rows by RMIA (Zarifzadeh et al. 2024): the likelihood divided by its mean over shadow models.

    Its comparison with rows of the population orders the rows of one model as this ratio does. `is_offline` leaves out
    the shadow models that were trained on the row.
    """
    counted = ~shadows.inside if is_offline else np.ones_like(shadows.inside)
    highest = shadows.signals.likelihood.max(0)
    sums = np.where(counted, np.exp(shadows.signals.likelihood - highest), 0.0).sum(0)
    scores: Floats = target.likelihood - highest - np.log(sums / counted.sum(0))
    return scores


def score_labels(target: Signals, shadows: Shadows | None) -> Floats:
    """Score rows by whether their decision is right, against the share of shadow models without them that are."""
    if shadows is None:
        return target.is_right
    without = ~shadows.inside
    expected = np.where(without, shadows.signals.is_right, 0.0).sum(0) / np.maximum(without.sum(0), 1)
    scores: Floats = target.is_right - expected
    return scores


LIRA, FEW, RMIA, POPULATION, LABELS = "lira", "few shadows", "rmia", "population", "label only"
_FEW_MODELS = 4


def score_all(target: Signals, shadows: Shadows | None, *, has_labels: bool) -> dict[str, Floats]:
    """Return the scores (n,) of each attack on one model; without shadow models of those that need none."""
    found = {POPULATION: target.confidence}
    if shadows is not None:
        few = shadows.some(range(min(_FEW_MODELS, len(shadows.inside))))
        found |= {
            LIRA: score_lira(target, shadows),
            RMIA: score_rmia(target, shadows),
            FEW: score_lira(target, few, prior_weight=math.inf),
        }
    return found | ({LABELS: score_labels(target, shadows)} if has_labels else {})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Attacked:
    """Scores of one attack on one model, float64 (n,), and the members, bool (n,)."""

    scores: Floats
    members: Bools


class _Rate(NamedTuple):
    """A value with the influence of each block on it, float64 (blocks,)."""

    value: float
    influence: Floats


class AttackRates:
    """Rates of one attack on several models, over the same rows and groups.

    Parameters
    ----------
    attacked : sequence of Attacked
        One for each model. Neighbours 2k and 2k + 1 were trained on complementary halves, and count as one training.
    groups : ndarray of shape (n,), int64
        Rows of one group are dependent.
    """

    def __init__(self, attacked: Sequence[Attacked], groups: Ints) -> None:
        fields = block_fields(groups, None)
        self._blocks, self._n_blocks, self.n_groups = fields["blocks"], fields["n_blocks"], fields["n_groups"]
        self.attacked = attacked
        self.n_rows = len(groups)
        self.n_members = min(int(one.members.sum()) for one in attacked)
        self.n_others = min(int((~one.members).sum()) for one in attacked)

    def auc(self, name: str, slice: str = "", *, minus: AttackRates | None = None) -> Measurement:
        """Measure the area under the ROC curve of members against non-members, or the difference to other rates.

        `minus` are the rates of an attack on other models that were trained on the same rows.
        """
        found = [self._auc(one) for one in self.attacked]
        if minus is None:
            return self._measured(name, found, slice)
        return self._difference(name, found, [minus._auc(one) for one in minus.attacked], slice)

    def true_positive_rate(
        self, name: str, rate: float, slice: str = "", *, minus: AttackRates | None = None
    ) -> Measurement:
        """Measure the share of members above the threshold that flags this share of the non-members.

        With `minus`, it is the difference to these rates, as for `auc`.

        Raises
        ------
        NotApplicable
            If the share is less than two non-members of a model: the interval would not hold.
        """
        if rate * self.n_others < MIN_FLAGGED:
            raise NotApplicable(
                f"the true-positive rate at {rate:.1%} false positives needs {math.ceil(MIN_FLAGGED / rate):,} rows "
                f"that the model was not trained on; there are {self.n_others:,}" + (f" of {slice}" if slice else "")
            )
        shares = [self._share(one, rate) for one in self.attacked]
        bias = _THRESHOLD_BIAS * float(np.mean([share.value for share in shares])) / (rate * self.n_others)
        if minus is None:
            return self._measured(name, shares, slice, bias=bias, trials=self.n_members)
        others = [minus._share(one, rate) for one in minus.attacked]
        bias += _THRESHOLD_BIAS * float(np.mean([share.value for share in others])) / (rate * self.n_others)
        return self._difference(name, shares, others, slice, bias=bias)

    def _difference(
        self, name: str, own: Sequence[_Rate], others: Sequence[_Rate], slice: str, *, bias: float = 0.0
    ) -> Measurement:
        """Return the mean difference between models of the same training rows, whose variances are paired."""
        pairs = zip(own, others, strict=True)
        rates = [_Rate(one.value - other.value, one.influence - other.influence) for one, other in pairs]
        return self._measured(name, rates, slice, bias=bias, bounds=CHANGE)

    def _auc(self, one: Attacked) -> _Rate:
        yes, no = np.sort(one.scores[one.members]), np.sort(one.scores[~one.members])
        below, above = _share_below(no, one.scores), 1 - _share_below(yes, one.scores)
        value = float(below[one.members].mean())
        influence = np.where(one.members, (below - value) / len(yes), (above - value) / len(no))
        return _Rate(value, tally(self._blocks, self._n_blocks, influence))

    def _share(self, one: Attacked, rate: float) -> _Rate:
        members = one.members
        yes, no = one.scores[members], -np.sort(-one.scores[~members])
        hits = _flagged(one.scores, no, rate)
        value = float(hits[members].mean())
        low, high = max(rate / 2, 1 / (len(no) + 1)), min(1.5 * rate, (1 + rate) / 2)
        slope = (_flagged(yes, no, high).mean() - _flagged(yes, no, low).mean()) / (high - low)
        influence = np.where(members, (hits - value) / len(yes), -slope * (hits - rate) / len(no))
        return _Rate(value, tally(self._blocks, self._n_blocks, influence))

    def _measured(
        self,
        name: str,
        rates: Sequence[_Rate],
        slice: str,
        *,
        bias: float = 0.0,
        trials: int = 0,
        bounds: tuple[float, float] = SHARE,
    ) -> Measurement:
        """Return the mean over models; its variance is that between groups, and that between trainings.

        A share of so many `trials` has a standard error that allows for its skewness.
        """
        value = float(np.mean([rate.value for rate in rates]))
        influence = np.mean([rate.influence for rate in rates], axis=0)
        count = self._n_blocks
        by_group = float(np.square(influence).sum() * autocorrelation_factor(influence) * count / max(count - 1, 1))
        by_group += bias**2
        trainings = _trainings([rate.value for rate in rates])
        by_training = float(trainings.var(ddof=1) / len(trainings)) if len(trainings) > 1 else 0.0
        total = by_group + by_training
        dof = float(count - 1)
        if total and by_training:
            dof = total**2 / (by_group**2 / (count - 1) + by_training**2 / (len(trainings) - 1))
        known = self.n_groups >= MIN_GROUPS and dof >= MIN_DOF
        reach = student_quantile(0.5 + LEVEL / 2, dof) if known else math.inf
        se = math.sqrt(total)
        if known and trials:
            se = math.hypot(_skewed_error(value, math.sqrt(max(total - bias**2, 0.0)), trials, reach), bias)
        half = reach * se if known else math.inf
        method = "ratio of sums linearised by group, t" + ("; score interval" if trials else "")
        models = f"; mean over {len(rates)} models with their variance" if len(rates) > 1 else ""
        return Measurement(
            name=name,
            slice=slice,
            value=value,
            low=max(value - half, bounds[0]),
            high=min(value + half, bounds[1]),
            method=method + models,
            n_rows=self.n_rows,
            n_groups=self.n_groups,
            level=LEVEL,
            se=se if known else None,
            dof=dof if known else None,
            bounds=bounds,
        )


def _skewed_error(share: float, error: float, trials: int, reach: float) -> float:
    """Return the standard error whose interval reaches up as far as the score interval of a small share.

    A share that is too small by chance has a standard error that is too small as well, so that its interval misses the
    truth above. The score interval (Wilson; Brown, Cai and DasGupta 2001) has the variance of each share that it holds.
    It is that of as many independent trials as give this error; of `trials`, if none succeeded.

    Parameters
    ----------
    reach : float
        Standard errors from the share to the ends of its interval.
    """
    if share >= 0.5:
        return error
    count = share * (1 - share) / error**2 if share > 0 and error > 0 else float(trials)
    return max(error, (share_interval(share, count, reach=reach)[1] - share) / reach)


def _trainings(values: Sequence[float]) -> Floats:
    """Return the mean of each pair of complementary halves: one draw of the training rows."""
    if len(values) % 2:
        return np.array(values)
    pairs: Floats = np.array(values).reshape(-1, 2).mean(1)
    return pairs


def _share_below(ordered: Floats, scores: Floats) -> Floats:
    """Return the share of ordered values below each score; ties count half."""
    both = np.searchsorted(ordered, scores, side="left") + np.searchsorted(ordered, scores, side="right")
    share: Floats = both / (2 * len(ordered))
    return share


def _flagged(scores: Floats, falling: Floats, rate: float) -> Floats:
    """Return by how much each score is flagged, in [0, 1], so that a new non-member is with probability `rate`.

    A new value exceeds the j-th largest of n non-members with probability j / (n + 1), ties broken at random. Between
    two ranks the flags are interpolated. `falling` are the non-members in falling order.
    """
    rank = min(max(rate * (len(falling) + 1) - 1, 0.0), len(falling) - 1.0)
    first, part = int(rank), rank % 1.0
    flags = (1 - part) * _ahead(scores, falling, first)
    return flags + part * _ahead(scores, falling, first + 1) if part else flags


def _ahead(scores: Floats, falling: Floats, rank: int) -> Floats:
    """Return the probability that each score comes before the value of this rank, counted from 0."""
    at = falling[rank]
    above = int(np.searchsorted(-falling, -at, side="left"))
    ties = int(np.searchsorted(-falling, -at, side="right")) - above
    found: Floats = (scores > at) + (rank - above + 1) / (ties + 1) * (scores == at)
    return found


def flag_rows(one: Attacked, rate: float) -> Floats:
    """Return by how much each row is flagged at a rate of false positives, float64 (n,) in [0, 1]; ties share."""
    return _flagged(one.scores, -np.sort(-one.scores[~one.members]), rate)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Exposure:
    """How often each row is flagged, float64 (n,): by models that were trained on it, and by others."""

    as_member: Floats
    as_other: Floats
    n_member: Ints
    n_other: Ints

    @classmethod
    def of(cls, attacked: Sequence[Attacked], rate: float) -> Exposure:
        """Count over attacked models, each at a threshold that flags this share of its non-members."""
        flags, members = (
            np.stack([flag_rows(one, rate) for one in attacked]),
            np.stack([one.members for one in attacked]),
        )
        n_member, n_other = members.sum(0), (~members).sum(0)
        return cls(
            as_member=np.where(members, flags, 0.0).sum(0) / np.maximum(n_member, 1),
            as_other=np.where(members, 0.0, flags).sum(0) / np.maximum(n_other, 1),
            n_member=n_member,
            n_other=n_other,
        )

    def recognized(self, *, at_least: float, at_most: float, models: int) -> Ints:
        """Return the rows that are flagged often as members and rarely as others, the most exposed first.

        Only rows that were members of at least `models` models, and no members of as many others, can be.
        """
        often = (self.as_member >= at_least) & (self.as_other <= at_most)
        often &= (self.n_member >= models) & (self.n_other >= models)
        gap = np.where(often, self.as_member - self.as_other, -np.inf)
        order: Ints = np.argsort(-gap, kind="stable")[: int(often.sum())]
        return order


def share_interval(share: float, count: float, *, reach: float = 1.959964) -> tuple[float, float]:
    """Return the Wilson interval of a share of `count` trials, at so many standard errors."""
    z = reach
    centre, spread = share + z * z / (2 * count), z * math.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2)
    scale = 1 + z * z / count
    return min((centre - spread) / scale, share), max((centre + spread) / scale, share)
