"""Quality before labels come: covered where the world stays, and a plain refusal where it cannot be known."""

from __future__ import annotations

import numpy as np
import pytest

from headway.core.errors import NotApplicable
from headway.core.evidence import Finding
from headway.core.monitoring import Drift
from headway.core.variant import Field, Signature
from headway.data.context import Window
from headway.evaluation.statistics.tables import exact_auc
from headway.monitoring.performance_estimation import LabeledScores, estimate_performance, require_known_inputs


def month(
    rng: np.random.Generator, *, count: int = 40, rows: int = 100, slope: float = 1.0, base: float = -1.0
) -> LabeledScores:
    """A month whose truth is log-odds = base + slope * log-odds(score) + a shift of the day."""
    day = np.repeat(np.arange(count), rows)
    odds = rng.normal(-1, 1, len(day))
    late = rng.random(len(day)) < 1 / (1 + np.exp(-(base + 1 + slope * odds + 0.4 * rng.normal(size=count)[day])))
    return LabeledScores(scores=1 / (1 + np.exp(-odds)), labels=late.astype(np.float64), groups=day)


def truth(period: LabeledScores) -> tuple[float, float]:
    return exact_auc(period.scores, period.labels), float(np.square(period.scores - period.labels).mean())


def test_a_period_like_the_last_is_estimated_well():
    rng = np.random.default_rng(1)
    last, now = month(rng), month(rng)
    found = estimate_performance([last], now.scores, now.groups)
    assert [estimate.name for estimate in found] == ["roc_auc.estimated", "brier.estimated"]
    for estimate, real in zip(found, truth(now), strict=True):
        assert estimate.low <= real <= estimate.high and estimate.value == pytest.approx(real, abs=0.03)


def test_scores_are_calibrated_on_the_last_labeled_period():
    """The model believes in its ranking twice as much as is true: its own word would be an AUC of .79."""
    rng = np.random.default_rng(1)
    last, now = month(rng, slope=0.5), month(rng, slope=0.5)
    area = estimate_performance([last], now.scores, now.groups)[0]
    assert area.value == pytest.approx(truth(now)[0], abs=0.03)
    assert area.value < 0.68


def test_earlier_errors_widen_the_interval():
    rng = np.random.default_rng(2)
    calm = [month(rng) for _ in range(4)]
    shaken = [month(rng, base=base) for base in (-2.0, 0.0, -2.0)] + [calm[-1]]
    now = month(rng)
    widths = [
        [estimate.high - estimate.low for estimate in estimate_performance(past, now.scores, now.groups)]
        for past in (calm, shaken)
    ]
    assert widths[1][1] > 2 * widths[0][1]


def test_an_error_long_ago_counts_as_well():
    rng = np.random.default_rng(2)
    calm = [month(rng) for _ in range(3)]
    now = month(rng)
    found = [estimate_performance(past, now.scores, now.groups)[1] for past in (calm, [month(rng, base=-2.5), *calm])]
    assert found[1].se > 1.5 * found[0].se


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "beyond"), [(6, True), (4, False)], ids=["beyond it", "within it"])
def test_the_excess_error_of_a_month_is_added(seed, beyond):
    rng = np.random.default_rng(seed)
    before, last, now = month(rng), month(rng), month(rng)
    with_it, without, then = (
        estimate_performance(*arguments)[1]
        for arguments in (
            ([before, last], now.scores, now.groups),
            ([last], now.scores, now.groups),
            ([before], last.scores, last.groups),
        )
    )
    surplus = (then.value - truth(last)[1]) ** 2 - then.se**2
    assert (surplus > 0) == beyond
    assert with_it.se**2 - without.se**2 == pytest.approx(max(surplus, 0), rel=1e-6)


@pytest.mark.slow
def test_the_standard_error_matches_simulations():
    errors, se = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        last, now = month(rng), month(rng)
        found = estimate_performance([last], now.scores, now.groups)
        errors.append([estimate.value - real for estimate, real in zip(found, truth(now), strict=True)])
        se.append([estimate.se for estimate in found])
        assert [estimate.dof for estimate in found] == [39, 39]
    assert np.std(errors, axis=0) == pytest.approx(np.mean(se, axis=0), rel=0.3)


def test_dependent_days_widen_the_interval():
    rng = np.random.default_rng(5)
    last, now = month(rng, count=60), month(rng)
    worse = np.argsort([last.labels[last.groups == day].mean() for day in range(60)])
    in_order = LabeledScores(scores=last.scores, labels=last.labels, groups=np.argsort(worse)[last.groups])
    mixed, leaning = (estimate_performance([period], now.scores, now.groups)[1] for period in (last, in_order))
    assert leaning.value == pytest.approx(mixed.value) and leaning.se > 1.5 * mixed.se


@pytest.mark.parametrize("scale", [0.05, 1.0, 8.0], ids=["scores close together", "as they are", "all but sure"])
def test_the_estimate_of_a_strong_model_does_not_depend_on_its_confidence(scale):
    """The odds of the two classes are 2 standard deviations apart: an area of .92 under the curve."""
    rng = np.random.default_rng(0)

    def strong() -> LabeledScores:
        labels = (rng.random(3000) < 0.3).astype(np.float64)
        odds = scale * (2 * (labels - 0.5) + rng.normal(size=3000))
        sure = rng.random(3000) < 0.05
        scores = np.where(sure, labels, 1 / (1 + np.exp(-odds))) if scale > 1 else 1 / (1 + np.exp(-odds))
        return LabeledScores(scores=scores, labels=labels, groups=np.arange(3000) // 100)

    last, now = strong(), strong()
    area, brier = estimate_performance([last], now.scores, now.groups)
    assert area.value == pytest.approx(truth(now)[0], abs=0.02) and brier.low < truth(now)[1] < brier.high


def test_an_unusable_earlier_month_is_skipped():
    rng = np.random.default_rng(3)
    short, last, now = month(rng, count=5), month(rng), month(rng)
    assert estimate_performance([short, last], now.scores, now.groups) == estimate_performance(
        [last], now.scores, now.groups
    )


def test_a_short_period_has_a_wider_interval_than_a_long_one():
    rng = np.random.default_rng(4)
    last, long, short = month(rng), month(rng, count=40), month(rng, count=5)
    wide, narrow = (estimate_performance([last], now.scores, now.groups)[0] for now in (short, long))
    assert wide.high - wide.low > 1.3 * (narrow.high - narrow.low)


@pytest.mark.parametrize(
    ("last", "message"),
    [
        (lambda rng: month(rng, count=10), "10 labeled groups"),
        (lambda rng: month(rng, base=-60.0), "both classes"),
        (lambda rng: month(rng, slope=0.0, rows=20), "do not rank for sure"),
        (lambda rng: month(rng, count=20, rows=8), "too uncertain"),
    ],
    ids=["few groups", "one class", "no ranking", "too little"],
)
def test_an_unusable_last_period_raises_not_applicable(last, message):
    rng = np.random.default_rng(0)
    now = month(rng)
    with pytest.raises(NotApplicable, match=message):
        estimate_performance([last(rng)], now.scores, now.groups)


def test_scores_far_from_the_labeled_ones_raise_not_applicable():
    rng = np.random.default_rng(0)
    last, now = month(rng), month(rng)
    with pytest.raises(NotApplicable, match="too far from the labeled ones"):
        estimate_performance([last], now.scores**0.2, now.groups)
    high = np.tile(np.sort(last.scores)[-400:], 10)  # half of the new ones lie in the highest tenth
    with pytest.raises(
        NotApplicable, match=r"effective sample size is 3[01]% of their number"
    ):  # 1 / (.55**2 / .1 + .45**2 / .9)
        estimate_performance([last], np.concatenate([last.scores, high]), np.tile(last.groups, 2))


def test_without_a_labeled_period_or_scores_it_raises_not_applicable():
    last = month(np.random.default_rng(0))
    with pytest.raises(NotApplicable, match="no labeled period"):
        estimate_performance([], last.scores, last.groups)
    with pytest.raises(NotApplicable, match="scores, and labels"):
        estimate_performance([last], np.empty(0), np.empty(0, np.int64))


@pytest.mark.slow
@pytest.mark.parametrize(("n_runs", "least"), [(150, 0.91), pytest.param(300, 0.92, marks=pytest.mark.long)])
def test_the_intervals_cover_the_true_metrics_in_about_95_of_100_simulations(n_runs, least):
    """Of 150 runs, intervals that cover 85 of 100 would cover 91 in 2 of 100 seeds."""
    covered = np.zeros(2)
    for seed in range(n_runs):
        rng = np.random.default_rng(seed)
        last, now = month(rng), month(rng)
        found = estimate_performance([last], now.scores, now.groups)
        covered += [estimate.low <= real <= estimate.high for estimate, real in zip(found, truth(now), strict=True)]
    assert (covered / n_runs >= least).all() and (covered / n_runs <= 0.995).all()


INPUTS = Signature(
    inputs=(Field(name="x"), Field(name="amount"), Field(name="kind", datatype="BYTES", categories=("a", "b", "c")))
)


def inputs(seed: int, *, shift: float = 0.0) -> Window:
    rng = np.random.default_rng(seed)
    columns = (rng.normal(shift, 1, 3000), rng.uniform(0, 100, 3000), rng.choice(3, 3000, p=(0.6, 0.35, 0.05)))
    return Window(rows=np.column_stack(columns), groups=np.repeat(np.arange(30), 100))


def test_inputs_of_the_labeled_region_are_accepted_and_a_season_as_well():
    require_known_inputs(inputs(0), inputs(1), INPUTS)
    require_known_inputs(inputs(0), inputs(1, shift=1.2), INPUTS)


@pytest.mark.parametrize(
    ("name", "number", "change", "share"),
    [
        ("x", 0, lambda values: values * np.nan, 0.34),
        ("x", 0, lambda values: values + 50, 0.34),
        ("amount", 1, lambda values: values / 10, 1.0),
        ("kind", 2, lambda values: np.full_like(values, 2), 0.6),
    ],
    ids=["missing", "far", "a tenth", "a rare category"],
)
def test_inputs_that_left_the_region_of_the_labeled_rows_are_refused(name, number, change, share):
    now = inputs(1)
    some = now.groups < 30 * share
    now.rows[some, number] = change(now.rows[some, number])
    with pytest.raises(NotApplicable, match=f"{name} left the region of the labeled rows"):
        require_known_inputs(inputs(0), now, INPUTS)


def test_an_input_that_a_rule_found_broken_is_refused():
    found = Finding(code="O006", severity="warn", message="", where="amount")
    drift = Drift(alarm=True, measurements=(), findings=(found,))
    with pytest.raises(NotApplicable, match="inputs are out of their range: amount"):
        require_known_inputs(inputs(0), inputs(1), INPUTS, drift=drift)
    moved = Drift(alarm=True, measurements=(), findings=(Finding(code="O001", severity="warn", message="", where="x"),))
    require_known_inputs(inputs(0), inputs(1), INPUTS, drift=moved)
