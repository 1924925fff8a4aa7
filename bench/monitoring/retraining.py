"""Retraining by policy against retraining every month, over May to December; `loop.py` prints the rows.

Both start from January to April. The predictions of the policy are recalibrated day by day; the rival trains every
month, and is shown with the same recalibration as well. Every figure is the mean of 3 seeds, and its interval includes
their variance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np

from harness import Row, shown
from headway.core.arrays import Floats
from headway.core.evidence import Measurement
from headway.core.student import student_quantile
from headway.evaluation.calibration.apply import calibration_function
from headway.evaluation.metrics.calibration import BINS
from headway.evaluation.statistics.intervals import SHARE, Sample, jackknife_interval, ratio_of_sums
from headway.evaluation.statistics.tables import BinaryAnswers, bin_table, expected_calibration_error, tally
from headway.monitoring.retraining.recalibration import fit_rolling_calibrator
from headway.monitoring.settings.retrain import RetrainSection
from headway.monitoring.status import propose_retraining
from monitoring.flight_year import FIRST_TRAINED_TO, Year

POLICY = RetrainSection()
SEEDS = range(POLICY.seeds)
LIVE = range(FIRST_TRAINED_TO + 1, 13)
LATE_DAYS = 1  # labels of a day are known after the day that follows it
Schedule = dict[int, int]
TINY = {"SEEDS": range(2)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A difference of Brier scores, and its one-sided 95 % upper bound by day and seed."""

    value: float
    upper: float


def rows(year: Year) -> list[Row]:
    """All rows on retraining."""
    replay = Replay(year)
    policy, monthly = replay.schedule(), {month: month - 1 for month in LIVE}
    ours, rival = replay.losses(policy, shifted=True), replay.losses(monthly, shifted=False)
    equal = replay.losses(monthly, shifted=True)
    found = replay.compare(ours, rival)
    count, of_monthly = _trainings(policy), _trainings(monthly)
    means = " and ".join(f"{np.nanmean(briers):.4f}" for briers in (ours, rival))
    return [
        Row(
            name="retrain.brier_over_monthly",
            measured=found.upper,
            unit="Brier",
            target="at most 0.002",
            ok=found.upper <= 0.002,
            against=f"upper bound of {found.value:+.4f}; Brier {means}, 3 seeds each",
        ),
        Row(
            name="retrain.count",
            measured=count,
            unit="trainings",
            target="at most half of retrain.monthly_count",
            ok=count <= of_monthly / 2,
            against=f"after months {', '.join(str(month) for month in sorted(set(policy.values()))[1:])}",
        ),
        shown("retrain.monthly_count", of_monthly, "trainings"),
        *_compared(replay, ours=ours, rival=rival, equal=equal),
        shown(
            "retrain.cpu_seconds",
            float(np.median(year.seconds)),
            "CPU s",
            f"median of {len(year.seconds)} trainings: the price in a ticket",
        ),
    ]


def _compared(replay: Replay, *, ours: Floats, rival: Floats, equal: Floats) -> list[Row]:
    """Compare the rival with the same recalibration with the policy and with itself without recalibration."""
    found, gained = replay.compare(ours, equal), replay.compare(equal, rival)
    return [
        shown(
            "retrain.brier_over_monthly_recalibrated",
            found.upper,
            "Brier",
            f"upper bound of {found.value:+.4f}: the rival every month with the same recalibration",
        ),
        shown(
            "retrain.monthly_gain_of_recalibration",
            gained.value,
            "Brier",
            f"every month, recalibrated less not; upper bound {gained.upper:+.4f}",
        ),
    ]


class Replay:
    """The months from May on, predicted by the training that a schedule names; scores are reused between schedules."""

    def __init__(self, year: Year) -> None:
        self.year = year
        self.known = ~np.isnan(year.late)
        self.live = self.known & (year.month > FIRST_TRAINED_TO)
        self.days, self.codes = np.unique(year.day[self.live], return_inverse=True)
        self.scores = cache(lambda trained_to, seed: year.scores(trained_to, seed, 12))

    def schedule(self) -> Schedule:
        """Return which training predicts each month if the policy decides at each month's end; it uses seed 0 only."""
        plan = {LIVE[0]: FIRST_TRAINED_TO}
        for month in LIVE[:-1]:
            ticket = propose_retraining(
                POLICY,
                name="flights",
                release=f"trained to {plan[month]}",
                rows_trained=int((self.known & (self.year.month <= plan[month])).sum()),
                rows_labeled=int((self.known & (self.year.month <= month)).sum()),
                calibration=self.calibration(plan, month),
            )
            plan[month + 1] = month if ticket else plan[month]
        return plan

    def calibration(self, plan: Schedule, month: int) -> Measurement:
        """Return `ece` of the predictions in a month."""
        here = self.known & (self.year.month == month)
        answers = self.answers(plan[month], month, 0, shifted=True)[here]
        days, codes = np.unique(self.year.day[here], return_inverse=True)
        table = bin_table(
            BinaryAnswers(
                labels=self.year.late[here],
                scores=answers,
                reference=answers,
                groups=codes,
                blocks=codes,
                n_blocks=len(days),
                n_groups=len(days),
            ),
            BINS,
        )
        surplus, rows = table.positives - table.scores, table.rows
        without = expected_calibration_error(surplus.sum(0) - surplus, rows.sum(0) - rows)
        sample = Sample(n_rows=len(answers), n_groups=len(days), bounds=SHARE)
        return jackknife_interval(
            "ece", float(expected_calibration_error(surplus.sum(0), rows.sum(0))), without, sample
        )

    def answers(self, trained_to: int, month: int, seed: int, *, shifted: bool) -> Floats:
        """Return the probabilities of a month [n], NaN elsewhere; if shifted, recalibrated each day on known labels."""
        scores = self.scores(trained_to, seed)
        adjusted = np.where(self.year.month == month, scores, np.nan)
        for day in np.unique(self.year.day[self.year.month == month]) if shifted else ():
            taught = self.known & (self.year.month > trained_to) & (self.year.day < day - LATE_DAYS)
            taught &= self.year.day >= day - LATE_DAYS - POLICY.recalibrate_days
            days = POLICY.recalibrate_days
            calibrator = fit_rolling_calibrator(
                scores[taught], self.year.late[taught], self.year.day[taught], days=days
            )
            today = self.year.day == day
            adjusted[today] = calibration_function(calibrator)(adjusted[today])
        return adjusted

    def losses(self, plan: Schedule, *, shifted: bool) -> Floats:
        """Return squared errors [seeds, n], NaN before May and without a label."""
        found = []
        for seed in SEEDS:
            adjusted = np.full(len(self.year.late), np.nan)
            for month, trained_to in plan.items():
                here = self.year.month == month
                adjusted[here] = self.answers(trained_to, month, seed, shifted=shifted)[here]
            found.append(np.square(adjusted - self.year.late))
        return np.stack(found)

    def compare(self, one: Floats, other: Floats) -> Compared:
        """Return the mean difference over rows, with the variance by day and by seed (Satterthwaite 1946)."""
        difference = (one - other)[:, self.live]
        sums = tally(self.codes, len(self.days), difference.mean(0))
        by_day = ratio_of_sums(sums[None], tally(self.codes, len(self.days))[None])[0]
        by_seed = float(difference.mean(1).std(ddof=1)) / math.sqrt(len(SEEDS))
        se = math.hypot(by_day.se, by_seed)
        dof = se**4 / (by_day.se**4 / by_day.dof + by_seed**4 / (len(SEEDS) - 1))
        return Compared(value=by_day.value, upper=by_day.value + student_quantile(0.95, dof) * se)


def _trainings(plan: Schedule) -> int:
    return len(set(plan.values())) - 1
