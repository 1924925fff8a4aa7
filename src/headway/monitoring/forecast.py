"""Forecast of daily values: how far a stretch of days may be from the reference without a change.

The days of the reference give each daily number a weekday pattern, a spread from day to day, and a correlation of
neighboring days: a part `h` of the variance fades as rho^lag. Rho and h cannot be known from a few weeks, so all cells
of a grid are kept, weighted by their restricted likelihood. The mean of later days, less what the reference forecasts,
is divided by the error of that forecast; its p-value is the weighted mean of Student's t tails, which has no smallest
value, unlike that of a permutation of a few runs of days.

P-values are combined by their harmonic mean (Good 1958, Wilson 2019): one small p-value counts as with Bonferroni, and
many small ones add up. In the tail it keeps its level for correlated normal statistics; for the worst dependence the
level grows by at most about log K. The measured false alarms are in docs/decisions.

For slow shifts there is a sequential form: a Bayes factor of "all days since the reference are shifted" for each
number (right-Haar prior of location and scale). The mean of the factors is an e-value whatever their dependence, so
that it may be evaluated after every period: without a change it reaches 1 / alpha with probability at most alpha.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from headway.core.arrays import Bools, Floats, Ints
from headway.core.errors import NotApplicable
from headway.core.student import student_tails
from headway.data.context import Window, Windows
from headway.evaluation.statistics.intervals import MIN_GROUPS
from headway.evaluation.statistics.tables import tally
from headway.monitoring.daily_values import DailySeries, DailyValues

WEEK = 7
RUN_LENGTHS = (5, 7, 10, 14, 21, 31, 46)
MAX_RUN = 0.75
"""Length of the longest run of days inside a period, as a share of the period."""
LONGER_DAYS = (91, 365)
MIN_LONGER = 1.5
"""A longer stretch has at least this many times as many days as the period."""
MAX_DEVIATION, MAX_DEVIATION_RUNS = 5.0, 3.0
"""Days are clipped at this many robust standard deviations: one odd day is not drift."""
MAX_NOW = 0.25
"""A longer stretch counts only for a number that has not returned to its old level in the period itself."""
GUARD = 1.5
"""A run must deviate by this factor more than the most deviating run of that length within the reference."""
MIN_EACH_WEEKDAY = 3
MIN_WEEKS = 4
"""Fewest weeks of a reference that show how much the shares of weeks differ."""
_GRID = [(0.0, 0.0)] + [(rho, h) for rho in (0.2, 0.4, 0.6, 0.8) for h in (1.0, 0.7, 0.4)]
_SHIFTS = (0.5, 2.0)
"""Standard deviations of the shifts that the sequential form expects, in those of a day."""
_SMALLEST = 1e-300
_FLOOR_SHARE, _FLOOR_OTHER = 0.1, 0.05
_ROW_VARIANCE = {"level": 1.0, "spread": 0.5}
_SHARE_VARIANCE = 0.25
"""Variance of a daily number by its independent rows, times their number: of a normal score, of the logarithm of its
standard deviation, and of the angle of a share."""

Span = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class FormResult:
    """The p-value of a form over all features, and that of each feature by itself [F]."""

    p: float
    by_feature: Floats


def forecast_forms(
    reference: DailyValues, later: DailyValues, series: Sequence[DailySeries], *, n_days: int
) -> dict[str, FormResult]:
    """Judge the last `n_days` days of `later`, all days since the reference, by the forecast of the reference.

    Forms: the `period`; `longer` stretches that end with it; `runs` of days inside it; `sequential`, all days since the
    reference, whose p-value is good for any number of periods. A form without a stretch is left out.

    Raises NotApplicable if the reference has fewer than 20 days or the period has none.
    """
    if len(reference) < MIN_GROUPS or not n_days:
        raise NotApplicable(
            f"{len(reference)} days of reference and {n_days} days are too few groups to show a change",
            where=f"a reference of {MIN_GROUPS} days is needed",
            hint="evaluate the release on more days",
        )
    row_variance = np.array([_ROW_VARIANCE.get(daily.kind, _SHARE_VARIANCE) for daily in series])
    fit = Forecast(reference, np.array([daily.is_share for daily in series]), row_variance)
    tested = np.array([daily.kind != "outside" for daily in series])
    features = np.array([daily.feature for daily in series])[tested]
    end = len(later)
    begins = {int(np.searchsorted(later.days, later.days[-1] - days, side="right")) for days in LONGER_DAYS}
    longer = [(begin, end) for begin in sorted(begins) if end - begin > MIN_LONGER * n_days]
    runs = [
        (begin, begin + length)
        for length in RUN_LENGTHS
        if length <= MAX_RUN * n_days
        for begin in range(end - n_days, end - length + 1)
    ]
    found: dict[str, Floats] = {"period": fit.p_values(later, [(end - n_days, end)])}
    over = found["period"] > MAX_NOW
    if longer:
        found["longer"] = np.where(over, 1.0, fit.p_values(later, longer))
    if runs:
        found["runs"] = fit.p_values(later, runs, guard=GUARD, max_deviation=MAX_DEVIATION_RUNS)
    found["sequential"] = np.where(over, 1.0, 1 / np.maximum(fit.bayes_factors(later)[None], _SMALLEST))
    return {form: _combined(p[:, tested], features) for form, p in found.items()}


def distances_of_shares(windows: Windows) -> FormResult | None:
    """Judge derived categories by the distance of all their shares, week by week; None without any or 4 weeks.

    The distance is the root of chi-squared over its mean for independent rows. Each week of the reference is compared
    with the other weeks; these distances show by how much weeks differ, at least as independent rows do. A period
    shorter than a week is compared with as many days.
    """
    numbers = [number for number, field in enumerate(windows.signature.inputs) if field.name in windows.derived]
    numbers = [number for number in numbers if windows.signature.inputs[number].categories]
    days = [np.unique(part.groups, return_inverse=True) for part in (windows.before, windows.after)]
    length = min(WEEK, *(len(known) for known, _ in days))
    if not numbers or not length or len(days[0][0]) < MIN_WEEKS * length:
        return None
    by_feature = np.ones(len(windows.signature.inputs))
    for number in numbers:
        size = len(windows.signature.inputs[number].categories)
        before, after = (
            _counts_of_weeks(part, known[1], number, size, length)
            for part, known in zip((windows.before, windows.after), days, strict=True)
        )
        others = before.sum(0) - before
        usual = _distances(before, others)
        now = _distances(after, np.broadcast_to(before.sum(0), after.shape))
        spread = max(float(usual.std(ddof=1)), float(np.sqrt(0.5 / max(int(np.count_nonzero(before.sum(0))) - 1, 1))))
        t = (now.mean() - usual.mean()) / (spread * np.sqrt(1 / len(usual) + 1 / len(now)))
        by_feature[number] = student_tails(np.array([max(t, 0.0)]), len(usual) - 1)[0]
    return FormResult(p=float(harmonic_mean(by_feature[numbers])), by_feature=by_feature)


def _counts_of_weeks(part: Window, day: Ints, number: int, size: int, length: int) -> Floats:
    """Count the categories of a feature by stretch of `length` days that ends with the last one [weeks, size].

    Rows of a log that samples count as their effective number.
    """
    count = (int(day.max()) + 1) // length
    week = (day - day.max() - 1) // length + count
    chosen = (week >= 0) & (part.rows[:, number] >= 0) & (part.rows[:, number] < size)
    cells = week[chosen] * size + part.rows[chosen, number].astype(np.int64)
    if part.weights is None:
        return tally(cells, count * size).reshape(count, size)
    weights = part.weights[chosen]
    sums, squares = tally(week[chosen], count, weights), tally(week[chosen], count, np.square(weights))
    effective = sums / np.maximum(squares, _SMALLEST)
    return tally(cells, count * size, weights).reshape(count, size) * effective[:, None]


def _distances(counts: Floats, others: Floats) -> Floats:
    """Return the distance of the shares of each row of counts from those of the other rows, both [W, K] -> [W]."""
    rows, n_others = counts.sum(1, keepdims=True), np.maximum(others.sum(1, keepdims=True), 1)
    together = (others + counts) / np.maximum(n_others + rows, 1)
    apart = np.square(counts - rows * others / n_others)
    expected = np.maximum(rows * together * (1 + rows / n_others), _SMALLEST)
    found: Floats = np.sqrt((apart / expected).sum(1) / np.maximum((1 - together).sum(1, where=together > 0), 1))
    return found


def harmonic_mean(p: Floats) -> Floats:
    """Return the harmonic mean of p-values [n, ...] -> [...], at most 1."""
    mean: Floats = np.minimum(1.0, 1 / np.mean(1 / np.maximum(p, _SMALLEST), axis=0))
    return mean


def _combined(p: Floats, features: Ints) -> FormResult:
    """Combine the p-values of stretches and series [S, K]: every feature has the same weight."""
    of_series = harmonic_mean(p)
    by_feature = np.array([harmonic_mean(of_series[features == number]) for number in range(features.max() + 1)])
    return FormResult(p=float(harmonic_mean(by_feature)), by_feature=by_feature)


class Forecast:
    """What the days of a reference say of normal days; numbers [K] that are shares are read as angles."""

    def __init__(self, reference: DailyValues, is_share: Bools, row_variance: Floats) -> None:
        self.is_share, self.row_variance, self.n_rows = is_share, row_variance, float(reference.rows.sum())
        self.counts = np.nan_to_num(reference.values * reference.rows[:, None]).sum(0)
        weekday = reference.days % WEEK
        self.has_weeks = bool(np.bincount(weekday, minlength=WEEK).min() >= MIN_EACH_WEEKDAY)
        values = self._angles(reference)
        values = np.where(np.isnan(values), np.nan_to_num(_median(values)), values)
        parts = [values[weekday == day] if self.has_weeks else values for day in range(WEEK)]
        self.base = np.stack([_median(part) for part in parts])
        floor = np.where(is_share, _FLOOR_SHARE, _FLOOR_OTHER) / reference.rows.mean()
        robust = 1.4826 * np.median(np.abs(values - self.base[weekday]), axis=0)
        self.scale = np.sqrt(np.maximum(np.square(robust), floor))
        self._fit(reference.days, self._clipped(values, weekday, MAX_DEVIATION), floor)

    def _fit(self, days: Ints, values: Floats, floor: Floats) -> None:
        """Fit the weekday pattern by generalized least squares for each cell of the grid, and weigh the cells."""
        pattern = self._pattern(days)
        self.dof = len(days) - pattern.shape[1]
        likelihood, coefficients, covariances, variances = [], [], [], []
        for rho, h in _GRID:
            lower = np.linalg.cholesky(_correlation(days, rho, h))
            q, r = np.linalg.qr(np.linalg.solve(lower, pattern))
            white = np.linalg.solve(lower, values)
            residual = np.maximum(np.square(white).sum(0) - np.square(q.T @ white).sum(0), 0) + 1e-12
            logdet = np.log(np.diag(lower)).sum() + np.log(np.abs(np.diag(r))).sum()
            slow = np.log(30 * float(_mean_variance(np.arange(30), rho, h, [(0, 30)])[0]))
            likelihood.append(-logdet - self.dof / 2 * np.log(residual / self.dof) - slow)
            inverse = np.linalg.inv(r)
            coefficients.append(inverse @ q.T @ white)
            covariances.append(inverse @ inverse.T)
            variances.append(np.maximum(residual / self.dof, floor))
        weight = np.exp(np.array(likelihood) - np.max(likelihood, axis=0))
        self.weight = weight / weight.sum(0)
        self.coefficients, self.covariances, self.variances = map(np.stack, (coefficients, covariances, variances))
        self.best = self.coefficients[self.weight.argmax(0), :, np.arange(values.shape[1])].T
        self.off = _sums(values - pattern @ self.best)

    def p_values(
        self, later: DailyValues, spans: Sequence[Span], *, guard: float = 0.0, max_deviation: float = MAX_DEVIATION
    ) -> Floats:
        """Return the two-sided p-value of each stretch and number [S, K]."""
        t, off, _ = self._deviations(later, spans, max_deviation)
        p = np.ones(off.shape)
        tested = off >= guard * self._farthest(spans) if guard else np.ones(off.shape, np.bool_)
        i, j = np.nonzero(tested)
        p[i, j] = (self.weight[:, j] * student_tails(t[:, i, j], self.dof)).sum(0)
        i, j = np.nonzero((p < 0.01) & self.is_share)
        if len(i):
            p[i, j] = np.maximum(p[i, j], self._count_bound(later, np.array(spans)[i], j))
        return p

    def bayes_factors(self, later: DailyValues) -> Floats:
        """Return the Bayes factor of a shift of all later days against none, for each number [K].

        The cells of the grid are reweighted by how likely they make the later days without a shift.
        """
        t, _, variance = self._deviations(later, [(0, len(later))], MAX_DEVIATION)
        t2, own = np.square(t[:, 0]), variance[:, 0]
        logs = np.log(self.weight + _SMALLEST) - 0.5 * np.log(own * self.variances)
        logs -= (self.dof + 1) / 2 * np.log1p(t2 / self.dof)
        weight = np.exp(logs - logs.max(0))
        weight /= weight.sum(0)
        found = np.zeros(t.shape[2])
        for shift in _SHIFTS:
            ratio = own / (own + shift**2)
            log = 0.5 * np.log(ratio) + (self.dof + 1) / 2 * np.log((1 + t2 / self.dof) / (1 + t2 * ratio / self.dof))
            found += (weight * np.exp(np.minimum(log, 300))).sum(0) / len(_SHIFTS)
        return found

    def _deviations(
        self, later: DailyValues, spans: Sequence[Span], max_deviation: float
    ) -> tuple[Floats, Floats, Floats]:
        """Return |t| [G, S, K], the distance from the best forecast [S, K], and the forecast's variance [G, S, K].

        Later days vary as those of the reference, and by as many rows as a log that samples left out.
        """
        begins, ends = np.array(spans).T
        length = (ends - begins)[:, None]
        weekday = later.days % WEEK
        values, pattern = self._clipped(self._angles(later), weekday, max_deviation), self._pattern(later.days)
        mean, mix = ((_sums(part)[ends] - _sums(part)[begins]) / length for part in (values, pattern))
        variance = np.einsum("sd,gde,se->gs", mix, self.covariances, mix)
        variance += np.stack([_mean_variance(later.days, rho, h, spans) for rho, h in _GRID])
        noise = _sums(later.sampling_noise)
        of_sampling = (noise[ends] - noise[begins])[:, None] / np.square(length) * self.row_variance
        total = variance[:, :, None] + of_sampling / self.variances[:, None, :]
        error = np.sqrt(total * self.variances[:, None, :])
        t = np.abs(mean - np.einsum("sd,gdk->gsk", mix, self.coefficients)) / error
        return t, np.abs(mean - mix @ self.best), total

    def _farthest(self, spans: Sequence[Span]) -> Floats:
        """Return how far the mean of a stretch of that length went within the reference [S, K]."""
        lengths = [end - begin for begin, end in spans]
        of_length = {
            n: np.abs(self.off[n:] - self.off[:-n]).max(0) / n if n < len(self.off) else np.zeros(len(self.scale))
            for n in set(lengths)
        }
        return np.stack([of_length[n] for n in lengths])

    def _count_bound(self, later: DailyValues, spans: Ints, j: Ints) -> Floats:
        """Bound the p-value of a count against that of the reference, rows taken as independent (Chernoff)."""
        counts, rows = _sums(np.nan_to_num(later.values) * later.rows[:, None]), _sums(later.rows)
        begins, ends = spans.T
        now, n = counts[ends, j] - counts[begins, j], rows[ends] - rows[begins]
        before, rare = self.counts[j], self.counts[j] <= self.n_rows / 2
        count, total = np.where(rare, now, n - now), np.where(rare, before + now, self.n_rows + n - before - now)
        expected = n / (n + self.n_rows)
        share = np.divide(count, total, out=expected.copy(), where=total > 0)
        bound: Floats = np.minimum(2 * np.exp(-total * _divergence(share, expected)), 1.0)
        return bound

    def _angles(self, daily: DailyValues) -> Floats:
        """Return shares as angles, whose variance does not depend on the share; other numbers as they are."""
        rows = daily.rows[:, None]
        share = np.clip((np.nan_to_num(daily.values) * rows + 0.375) / (rows + 0.75), 0, 1)
        return np.where(self.is_share, np.arcsin(np.sqrt(share)), daily.values)

    def _clipped(self, values: Floats, weekday: Ints, max_deviation: float) -> Floats:
        base, limit = self.base[weekday], max_deviation * self.scale
        clipped: Floats = base + np.clip(np.where(np.isnan(values), 0, values - base), -limit, limit)
        return clipped

    def _pattern(self, days: Ints) -> Floats:
        return np.eye(WEEK)[days % WEEK] if self.has_weeks else np.ones((len(days), 1))


def _median(values: Floats) -> Floats:
    """Return the median over days; NaN counts as 0 where no day has a value."""
    empty = np.isnan(values).all(0)
    found: Floats = np.nanmedian(np.where(empty, 0.0, values), axis=0)
    return found


def _sums(values: Floats) -> Floats:
    """Return cumulative sums over days, beginning with 0."""
    return np.concatenate([np.zeros((1, *values.shape[1:])), np.cumsum(values, axis=0)])


def _divergence(one: Floats, two: Floats) -> Floats:
    """Return the Kullback-Leibler divergence of two shares."""
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = [np.where(a > 0, a * np.log(a / b), 0.0) for a, b in ((one, two), (1 - one, 1 - two))]
    return parts[0] + parts[1]


def _correlation(days: Ints, rho: float, h: float) -> Floats:
    return h * rho ** np.abs(np.subtract.outer(days, days)) + (1 - h) * np.eye(len(days))


def _mean_variance(days: Ints, rho: float, h: float, spans: Sequence[Span]) -> Floats:
    """Return the variance of the mean of each stretch of days, whose own variance is 1 -> [S]."""
    sums = _pair_sums(tuple((days - days[0]).tolist()), rho) if h else np.zeros((len(days) + 1, len(days) + 1))
    begins, ends = np.array(spans).T
    length = ends - begins
    pairs = sums[ends, ends] - sums[begins, ends] - sums[ends, begins] + sums[begins, begins]
    variance: Floats = (h * pairs + (1 - h) * length) / length**2
    return variance


@lru_cache(maxsize=64)
def _pair_sums(days: tuple[int, ...], rho: float) -> Floats:
    """Return the cumulative sums of rho^|lag| over pairs of days [T + 1, T + 1]."""
    numbers = np.array(days)
    return _sums(_sums(rho ** np.abs(np.subtract.outer(numbers, numbers)).astype(np.float64)).T)
