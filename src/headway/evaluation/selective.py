"""Selective answering: where a model may answer alone, certified by exact tests on held-out groups.

A cheap model answers where it is confident, and a dear one, a person or a large model answers the rest. A threshold is
certified if the share of errors among the rows that are answered is within a limit, at a level. The thresholds are
tested one after the other, from the most cautious, until one fails (fixed sequence; Angelopoulos et al. 2021, "Learn
then Test"). All tests share one alpha, and no loss has to be monotone in the threshold.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from headway.core.arrays import Bools, Floats, Ints
from headway.core.errors import DataError
from headway.core.evidence import Measurement
from headway.core.selective import SelectiveCertificate
from headway.evaluation.statistics.intervals import Sample
from headway.evaluation.statistics.proportions import chance_of_at_most, groups_share, upper_share
from headway.evaluation.statistics.sequential import BETS, bet_returns, log_wealth

_STEPS = 50
_MAX_NEEDED = 2**21  # answers
_BY_ROW, _BY_GROUP = "exact binomial test, fixed sequence", "betting test of whole groups, fixed sequence"


def certify_threshold(
    confidence: Floats,
    errors: Floats,
    *,
    thresholds: Sequence[float],
    limit: float,
    groups: Ints | None = None,
    level: float = 0.95,
) -> SelectiveCertificate:
    """Find the lowest threshold of confidence above which the share of errors is within a limit.

    Parameters
    ----------
    confidence : ndarray of shape (n,)
        Confidence of the model in its answer to each held-out row, in any unit.
    errors : ndarray of shape (n,)
        Loss of each answer in [0, 1]: 1 if it is wrong.
    thresholds : sequence of float
        Thresholds to test, taken from other rows than these.
    limit : float
        Largest share of errors among the answered rows, in (0, 1).
    groups : ndarray of shape (n,), optional
        Group of each row; rows of one group are dependent. Without it every row is independent of the others.
    level : float
        Probability, at least, with which a certified threshold is within the limit.

    Returns
    -------
    SelectiveCertificate
        It holds for data whose groups are drawn as these, and are no larger than the largest of them.

    Raises
    ------
    DataError
        If the lengths differ, a value is outside its range or not a number, or rows or thresholds are missing.

    Notes
    -----
    With losses of 0 and 1, and no group of several rows, the number of errors among the answered rows is binomial.
    Otherwise whole groups are drawn: with D errors and A answered rows of at most M in a group, D - limit A has a mean
    above 0 if the limit is broken. Bets against it make money with probability at most 1 - level (Waudby-Smith and
    Ramdas 2024). No exact test of groups can certify a limit with fewer than log(1 / (1 - level)) / limit of them.
    """
    _expect_valid(confidence, errors, groups, thresholds, limit, level)
    alpha = 1 - level
    index = np.arange(len(errors)) if groups is None else np.unique(groups, return_inverse=True)[1]
    is_binomial = _is_binomial(errors, index)
    certified, needed = math.inf, None
    for threshold in sorted(set(map(float, thresholds)), reverse=True):
        tested = RiskTest.of(confidence >= threshold, errors, index, is_binomial=is_binomial)
        if not tested.rejects(limit, alpha):
            needed = tested.groups_needed(limit, alpha)
            break
        certified = threshold
    answered = confidence >= certified
    return SelectiveCertificate(
        threshold=certified,
        coverage=_coverage(answered, index),
        risk=RiskTest.of(answered, errors, index, is_binomial=is_binomial).risk(alpha),
        limit=limit,
        groups_needed=needed,
    )


def measure_risk(
    answered: Bools, errors: Floats, *, groups: Ints | None = None, level: float = 0.95
) -> tuple[Measurement, Measurement]:
    """Return the share of rows that are answered, and the share of errors among them with its exact upper bound.

    Parameters
    ----------
    answered : ndarray of shape (n,)
        Which rows are answered, as it was decided on other rows.
    errors, groups, level
        As in `certify_threshold`.
    """
    index = np.arange(len(errors)) if groups is None else np.unique(groups, return_inverse=True)[1]
    return _coverage(answered, index), risk_test(answered, errors, groups=groups).risk(1 - level)


def risk_test(answered: Bools, errors: Floats, *, groups: Ints | None = None) -> RiskTest:
    """Return the test of the share of errors among answered rows; parameters as in `measure_risk`."""
    index = np.arange(len(errors)) if groups is None else np.unique(groups, return_inverse=True)[1]
    is_binomial = _is_binomial(errors, index)
    return RiskTest.of(answered, errors, index, is_binomial=is_binomial)


def audit_risk(errors: Floats, *, groups: Ints | None = None, alpha: float) -> Measurement:
    """Return the share of errors among audited answers, with bounds that hold for any number of audits.

    Parameters
    ----------
    errors : ndarray of shape (n,)
        1 for a wrong answer, 0 for a right one, NaN without a label, in the order of time, drawn at random.
    groups : ndarray of shape (n,), optional
        Group of each answer, ascending; rows of one group are dependent, in random order, and all there. Without it
        every answer is independent of the others.
    alpha : float
        Probability, at most, with which the low bound is ever above the share; the same for the high bound.

    Notes
    -----
    Bets as in `certify_threshold`, in both directions. Their product does not depend on the order of the groups, so
    labels may arrive in any. A group counts by its errors D and labeled answers A over M, which is known before it: 1.5
    times the answers drawn of the largest group before, those of the first group itself, and 1 without groups. Answers
    beyond M are left out.
    """
    audited = _Audited.of(errors, np.arange(len(errors)) if groups is None else groups)
    n, wrong = int(audited.answered.sum()), float(audited.errors.sum())
    value = wrong / n if n else 0.0
    threshold = -math.log(alpha)
    low = _last_rejected(audited.log_wealth_above, 0.0, value, threshold) if wrong else 0.0
    high = _last_rejected(audited.log_wealth_below, 1.0, value, threshold) if n > wrong else 1.0
    return Measurement(
        name="answer.audited_risk",
        value=value,
        low=low,
        high=high,
        method="betting test of audited answers"
        if groups is None
        else "betting test of audited answers, by whole groups",
        level=1 - 2 * alpha,
        n_rows=n,
        n_groups=0 if groups is None else int((audited.answered > 0).sum()),
        validity="anytime",
        bounds=(0.0, 1.0),
    )


def is_broken(errors: Floats, *, groups: Ints | None = None, limit: float, alpha: float) -> bool:
    """Return True if audited answers show that more than `limit` of them are wrong: the low bound is above it."""
    audited = _Audited.of(errors, np.arange(len(errors)) if groups is None else groups)
    return audited.log_wealth_above(limit) >= -math.log(alpha)


def audited_rows_needed(limit: float, risk: float, *, alpha: float) -> int | None:
    """Return about how many independent audited answers show that a share of errors above the limit breaks it.

    None if the bets do not grow at that share, since it is too close to the limit.
    """
    growth: Floats = risk * np.log1p(BETS * (1 - limit) / limit) + (1 - risk) * np.log1p(-BETS)
    return _steps_needed(growth, alpha)


def _steps_needed(growth: Floats, alpha: float) -> int | None:
    """Return after how many steps the wealth of bets that grow so much a step reaches 1 / alpha; None if never."""
    if growth.max() <= 0:
        return None
    low, high = 0, 1  # the wealth is the mean over bets, so it grows slower at first than the best of them
    while float(log_wealth(growth * high)) < -math.log(alpha):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if float(log_wealth(growth * middle)) >= -math.log(alpha) else (middle, high)
    return high


def _answers_needed(risk: float, limit: float, alpha: float) -> int | None:
    """Return about how many answers with this share of errors show by the binomial test that it is below the limit."""
    if risk >= limit:
        return None

    def shows(answers: int) -> bool:
        return chance_of_at_most(math.ceil(risk * answers), answers, limit) <= alpha

    low, high = 0, 1
    while (is_short := not shows(high)) and high < _MAX_NEEDED:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if shows(middle) else (middle, high)
    return None if is_short else high


def _last_rejected(log_wealth_at: Callable[[float], float], end: float, value: float, threshold: float) -> float:
    """Return the share closest to the value that is rejected, by bisection from an end of [0, 1]; else that end."""
    for _ in range(_STEPS):
        middle = (end + value) / 2
        if log_wealth_at(middle) < threshold:
            value = middle
        else:
            end = middle
    return end


_GROWTH = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class _Audited:
    """Errors and labeled answers of each audited group, and the most answers that it may count."""

    errors: Floats
    answered: Floats
    largest: Floats

    @classmethod
    def of(cls, errors: Floats, groups: Ints) -> _Audited:
        """Add up the rows of each group, up to its limit."""
        _, first, index, sizes = np.unique(groups, return_index=True, return_inverse=True, return_counts=True)
        before = np.maximum.accumulate(sizes)
        largest = np.maximum(1.0, np.floor(_GROWTH * np.concatenate([sizes[:1] / _GROWTH, before[:-1]]) + 1e-9))
        counted = (np.arange(len(errors)) - first[index] < largest[index]) & ~np.isnan(errors)
        count = len(sizes)
        return cls(
            errors=np.bincount(index[counted], weights=errors[counted], minlength=count).astype(np.float64),
            answered=np.bincount(index[counted], minlength=count).astype(np.float64),
            largest=largest,
        )

    def log_wealth_above(self, share: float) -> float:
        """Return the log wealth of bets against "at most this share is wrong"."""
        return self._log_wealth((self.errors - share * self.answered) / (share * self.largest))

    def log_wealth_below(self, share: float) -> float:
        """Return the log wealth of bets against "at least this share is wrong"."""
        return self._log_wealth((share * self.answered - self.errors) / ((1 - share) * self.largest))

    def _log_wealth(self, gains: Floats) -> float:
        return float(log_wealth(np.log1p(np.multiply.outer(gains, BETS)).sum(axis=0)))


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskTest:
    """Test of the share of errors: errors and answered rows of each group, and the rows of the largest group."""

    errors: Floats
    answered: Floats
    largest: int
    is_binomial: bool

    @classmethod
    def of(cls, answered: Bools, errors: Floats, index: Ints, *, is_binomial: bool) -> RiskTest:
        """Add up the rows of each group."""
        return cls(
            errors=np.bincount(index, weights=errors * answered).astype(np.float64),
            answered=np.bincount(index, weights=answered).astype(np.float64),
            largest=int(np.bincount(index).max()),
            is_binomial=is_binomial,
        )

    def rejects(self, limit: float, alpha: float) -> bool:
        """Return True if "the share of errors is at least the limit" is rejected."""
        return self.p_value(limit) <= alpha

    def p_value(self, limit: float) -> float:
        """Return the p-value of "the share of errors is at least the limit"; 1 without answered rows."""
        if not self.answered.any():
            return 1.0
        if self.is_binomial:
            return chance_of_at_most(int(self.errors.sum()), int(self.answered.sum()), limit)
        return math.exp(-max(float(log_wealth(self._logs(limit))), 0.0))

    @property
    def n_answered(self) -> int:
        """Number of groups with answered rows, or of answered rows without groups."""
        return int((self.answered > 0).sum())

    def groups_needed(self, limit: float, alpha: float) -> int | None:
        """Return how many groups, or rows, would reject if they were like these; None if none would."""
        if not self.answered.any():
            return None
        if self.is_binomial:
            share = len(self.answered) / float(self.answered.sum())
            answered = _answers_needed(float(self.errors.sum() / self.answered.sum()), limit, alpha)
            return None if answered is None else math.ceil(answered * share)
        return _steps_needed(self._logs(limit) / len(self.answered), alpha)

    def risk(self, alpha: float) -> Measurement:
        """Return the share of errors with its upper bound."""
        n, wrong = int(self.answered.sum()), float(self.errors.sum())
        low, high = (wrong / n if n else 0.0), 1.0
        if self.is_binomial and n:
            high = upper_share(low, n, alpha)  # the largest that is not rejected
        for _ in range(_STEPS if n and not self.is_binomial else 0):
            middle = (low + high) / 2
            low, high = (low, middle) if self.rejects(middle, alpha) else (middle, high)
        return Measurement(
            name="selective.risk",
            value=wrong / n if n else 0.0,
            low=0.0,
            high=high,
            method=_BY_ROW if self.is_binomial else _BY_GROUP,
            level=1 - alpha,
            n_rows=n,
            n_groups=0 if self.is_binomial else int((self.answered > 0).sum()),
            bounds=(0.0, 1.0),
        )

    def _logs(self, limit: float) -> Floats:
        """Return the logarithm of each bet's wealth (bets,) after all groups."""
        gains = 1 - limit - (self.errors - limit * self.answered) / self.largest  # in [0, 1], on average 1 - limit
        logs: Floats = np.log(bet_returns(gains, 1 - limit)).sum(axis=0)
        assert logs.shape == BETS.shape
        return logs


def _is_binomial(errors: Floats, index: Ints) -> bool:
    """Return whether losses are 0 or 1, and each row is a group of its own."""
    return bool(np.isin(errors, (0.0, 1.0)).all()) and len(np.unique(index)) == len(index)


def _coverage(answered: Bools, index: Ints) -> Measurement:
    """Return the share of answered rows, with an interval by group."""
    rows, of_group = np.bincount(index), np.bincount(index, weights=answered.astype(np.float64))
    value, sample = float(answered.mean()), Sample(n_rows=len(answered), n_groups=len(rows), bounds=(0.0, 1.0))
    if len(rows) == 1:
        return Measurement(
            name="selective.coverage",
            value=value,
            low=0.0,
            high=1.0,
            method="share of one group",
            n_rows=len(answered),
            n_groups=1,
            bounds=sample.bounds,
        )
    return groups_share("selective.coverage", of_group.astype(np.float64), rows.astype(np.float64), sample)


def _expect_valid(
    confidence: Floats, errors: Floats, groups: Ints | None, thresholds: Sequence[float], limit: float, level: float
) -> None:
    """Raise DataError for arguments that give no certificate."""
    if not len(confidence) == len(errors) == (len(errors) if groups is None else len(groups)):
        raise DataError(f"{len(confidence)} confidences, {len(errors)} errors and the groups differ in number")
    if not len(errors):
        raise DataError("a threshold cannot be certified without held-out rows")
    if np.isnan(confidence).any():
        row = int(np.argmax(np.isnan(confidence)))
        raise DataError("a confidence is not a number", where=f"row {row}", hint="give such rows the confidence -inf")
    if not ((errors >= 0) & (errors <= 1)).all():
        row = int(np.argmin((errors >= 0) & (errors <= 1)))
        raise DataError(f"expected a loss from 0 to 1, met {float(errors[row])!r}", where=f"row {row}")
    if not len(thresholds) or not all(map(math.isfinite, thresholds)):
        raise DataError("a certificate needs finite thresholds", hint="take quantiles of the confidence on other rows")
    if not 0 < limit < 1 or not 0.5 <= level < 1:
        raise DataError(f"limit {limit:g} is not in (0, 1), or level {level:g} not in [0.5, 1)")
