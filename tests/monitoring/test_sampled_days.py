"""A log that kept a quarter of half of the days: estimates stay within their intervals, which cover the truth.

The days that are sampled are the busy ones: they have more rows, other inputs and another base rate, so that estimates
that ignore the rates are wrong.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl
import pytest
from tests.monitoring.test_windows import deployed

from headway.core.evidence import Measurement
from headway.core.variant import Field, Signature
from headway.data.context import Windows
from headway.data.settings.model import Costs
from headway.evaluation.measure import measure
from headway.monitoring.degradation import expected_loss, split_ece
from headway.monitoring.drift import rank_drift_costs, thinned
from headway.monitoring.input_drift import judge_inputs, overall_p
from headway.monitoring.performance_estimation import estimate_performance
from headway.monitoring.scored_rows import ScoredRows, release_comparison

RATE, COSTS, THRESHOLD = 0.25, Costs(false_positive=1.0, false_negative=4.0), 0.5
SIGNATURE = Signature(inputs=(Field(name="a"), Field(name="b")))
REPEATS = [(20, 16), pytest.param(200, 181, marks=pytest.mark.long)]
"""Numbers of worlds, and how many of that many intervals of 95 % cover the truth with a probability of 99.7 %."""
QUIET = [(12, 3), pytest.param(100, 11, marks=pytest.mark.long)]
"""Numbers of worlds, and that many false alarms at most at a level of 5 %, with a probability of 99.5 % or more."""


def is_busy(day: np.ndarray) -> np.ndarray:
    """Return whether a day is busy: four of seven weekdays are."""
    return day % 7 < 4


def days(rng: np.random.Generator, *, count: int = 40, first: int = 0, quiet: int = 60) -> ScoredRows:
    """Return rows of days of a binary model; some weekdays are busy."""
    number = np.arange(first, first + count)
    busy = is_busy(number)
    day = np.repeat(number, np.where(busy, 2 * quiet, quiet))
    shift, leaning = rng.normal(size=(2, count)) * 0.2
    x = rng.normal(size=(len(day), 2)) + (0.6 * busy + shift)[day - first, None]
    odds = 1.5 * (x[:, 0] - 1)
    labels = rng.random(len(day)) < 1 / (1 + np.exp(-(0.8 * odds + (0.7 * busy + leaning)[day - first])))
    times = day.astype("datetime64[D]").astype("datetime64[us]")
    return ScoredRows(
        name="log",
        table=pl.DataFrame({"day": day}),
        times=times,
        rows=x,
        scores=1 / (1 + np.exp(-odds)),
        labels=labels.astype(np.float64),
        labeled_at=times,
        groups=day,
        run=7,
    )


def sampled(rows: ScoredRows, rng: np.random.Generator) -> ScoredRows:
    """Return the rows that a log keeps which samples on busy days."""
    rates = np.where(is_busy(rows.groups), RATE, 1.0)
    kept = rng.random(len(rows)) < rates
    return dataclasses.replace(rows, weights=1 / rates).subset(kept)


def quality(rows: ScoredRows) -> dict[str, Measurement]:
    """Return what a watch measures with labels, and the mean cost of a decision."""
    subject = release_comparison(deployed("binary"), rows)
    found = measure(subject, ("quality", "calibration"), dataset_digest="", period="log").measurements
    return {one.name: one for one in (*found, split_ece(subject, run=rows.run)) if not one.slice}


def cost(now: ScoredRows, judged: ScoredRows) -> Measurement:
    parts = (rows.decision_costs(threshold=THRESHOLD, costs=COSTS) for rows in (now, judged))
    return expected_loss(*parts, rows_a_month=1000.0)


def covers(found: Measurement, truth: float) -> bool:
    return found.low <= truth <= found.high


NAMES = ("roc_auc", "brier", "base_rate")


def test_sampling_moves_no_estimate_beyond_its_interval():
    rng = np.random.default_rng(3)
    rows, judged = days(rng, count=90), days(rng, count=60, first=-60)
    kept = sampled(rows, rng)
    assert kept.n_sent == pytest.approx(len(rows), rel=0.05) and len(kept) < 0.55 * len(rows)
    complete, found = quality(rows), quality(kept)
    for name in (*NAMES, "ece", "ece.split"):
        assert covers(found[name], complete[name].value) and covers(complete[name], found[name].value), name
    assert covers(cost(kept, judged), cost(rows, judged).value)
    windows = [
        Windows(before=judged.detector_window(), after=part.detector_window(), signature=SIGNATURE)
        for part in (rows, kept)
    ]
    losses = judged.decision_costs(threshold=THRESHOLD, costs=COSTS).costs
    full, of_log = ({one.slice: one for one in rank_drift_costs(pair, losses)} for pair in windows)
    assert all(covers(of_log[name], full[name].value) for name in "ab")


@pytest.mark.slow
@pytest.mark.parametrize(("worlds", "enough"), REPEATS)
def test_intervals_of_weighted_estimates_cover_the_truth_and_unweighted_ones_do_not(worlds, enough):
    rng = np.random.default_rng(4)
    truth = quality(days(rng, count=2000))
    covered = dict.fromkeys((*NAMES, "unweighted"), 0)
    for _ in range(worlds):
        kept = sampled(days(rng, count=70), rng)
        found, unweighted = quality(kept), quality(dataclasses.replace(kept, weights=None))
        for name in NAMES:
            covered[name] += covers(found[name], truth[name].value)
        covered["unweighted"] += covers(unweighted["base_rate"], truth["base_rate"].value)
    assert min(covered[name] for name in NAMES) >= enough, covered
    assert covered["unweighted"] < worlds / 2, covered


@pytest.mark.slow
@pytest.mark.parametrize(("worlds", "enough"), REPEATS)
def test_the_cost_of_a_sampled_period_covers_that_of_all_requests(worlds, enough):
    rng = np.random.default_rng(5)
    many = [days(rng, count=2000) for _ in range(2)]
    truth, covered = cost(*many).value, 0
    for _ in range(worlds):
        covered += covers(cost(sampled(days(rng), rng), days(rng)), truth)
    assert covered >= enough


@pytest.mark.slow
@pytest.mark.parametrize("of", ["now", "last", "both"])
@pytest.mark.parametrize(("worlds", "enough"), REPEATS)
def test_quality_without_labels_covers_that_of_all_requests(of, worlds, enough):
    rng = np.random.default_rng(6)
    covered = np.zeros(2)
    for _ in range(worlds):
        last, now = days(rng), days(rng)
        real = quality(now)
        last, now = (
            sampled(rows, rng) if of in (name, "both") else rows for name, rows in (("last", last), ("now", now))
        )
        found = estimate_performance([last.labeled_scores()], now.scores, now.groups, now.weights)
        covered += [covers(one, real[name].value) for one, name in zip(found, ("roc_auc", "brier"), strict=True)]
    assert covered.min() >= enough, covered


@pytest.mark.slow
@pytest.mark.parametrize(("worlds", "most"), QUIET)
def test_sampled_days_without_a_change_are_no_drift_and_a_change_is_found(worlds, most):
    rng = np.random.default_rng(7)
    p, moved = [], []
    for _ in range(worlds):
        judged, now = days(rng, count=84, quiet=20), days(rng, count=28, first=84, quiet=20)
        kept = sampled(now, rng)
        for rows, into in ((kept, p), (dataclasses.replace(kept, rows=kept.rows + 0.5), moved)):
            windows = Windows(before=judged.detector_window(), after=rows.detector_window(), signature=SIGNATURE)
            into.append(overall_p(judge_inputs(windows, year_alpha=0.05)))
    assert sum(value <= 0.05 for value in p) <= most, p
    assert all(value <= 0.05 for value in moved), moved


def test_thinning_leaves_equal_weights_within_a_day_and_unweighted_rows_as_they_are():
    rows = days(np.random.default_rng(8), count=2)
    assert thinned(rows.detector_window()).rows is rows.rows
    weights = np.where(np.arange(len(rows)) % 2, 1.0, 4.0)
    kept = thinned(dataclasses.replace(rows, weights=weights).detector_window())
    assert kept.weights is None and 0.5 * len(rows) < len(kept.rows) < 0.75 * len(rows)
    again = thinned(dataclasses.replace(rows, weights=weights).detector_window())
    np.testing.assert_array_equal(kept.rows, again.rows)
