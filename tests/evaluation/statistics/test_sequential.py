"""Bounds that are valid at any time: their coverage on simulated keys, and independence of batches."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.core.errors import DataError
from headway.evaluation.statistics import sequential
from headway.evaluation.statistics.sequential import (
    BET_WEIGHTS,
    PAIRED_LOSS,
    PAIRED_PROPORTION,
    PROPORTION,
    UNIT_LOSS,
    Observations,
    ValueGrid,
    bet_returns,
    highest_rejected_limit,
    log_wealth,
    long_alpha_share,
    long_beta_share,
    measure_sequence,
    measure_worst_window,
    recent_alpha_share,
    start_sequence,
    unpaired_difference,
    update_sequence,
)

pytestmark = pytest.mark.slow

FORMS = (
    PROPORTION,
    UNIT_LOSS,
    PAIRED_PROPORTION,
    PAIRED_LOSS,
    unpaired_difference(0.25),
    ValueGrid(share=0.1, cells=4),
)


def seen(values, *, keys=None, canary=None):
    """Return observations of these values, by default with a key each."""
    values = np.asarray(values, dtype=np.float64)
    keys = np.arange(len(values)) if keys is None else np.asarray(keys)
    arms = None if canary is None else np.asarray(canary, dtype=np.bool_)
    return Observations(keys=keys.astype(np.uint64), values=values, canary=arms)


def part(observations, start, stop):
    return seen(
        observations.values[start:stop],
        keys=observations.keys[start:stop],
        canary=None if observations.canary is None else observations.canary[start:stop],
    )


def followed(form, observations, *, step, alpha=0.05, measure=measure_sequence):
    """Return the measurement after each `step` requests."""
    track, found = start_sequence(form, alpha=alpha), []
    for start in range(0, len(observations.values), step):
        track = update_sequence(track, part(observations, start, start + step))
        found.append(measure(track, "measure"))
    return found


def missed(found, truth):
    """Check whether the truth was outside the bounds at any time."""
    return any(not measurement.low <= truth <= measurement.high for measurement in found)


def two_sides(rng, count, *, share, live, release):
    ours = rng.random(count) < share
    return seen(rng.random(count) < np.where(ours, release, live), canary=ours)


# What is promised


@pytest.mark.slow
@pytest.mark.parametrize("mean", [0.05, 0.5])
def test_a_true_limit_is_refuted_at_any_time_in_at_most_five_percent_of_runs(mean):
    rng, limit = np.random.default_rng(1), math.log(20)
    logs = np.log(bet_returns(np.array([0.0, 1.0]), mean))
    refuted_once = [
        log_wealth(np.cumsum(logs[(rng.random(3000) < mean).astype(int)], 0)).max() > limit for _ in range(1000)
    ]
    assert 0.01 < np.mean(refuted_once) < 0.05


@pytest.mark.slow
def test_a_mean_that_swings_is_safe_while_its_running_average_is_within_the_limit():
    rng, limit = np.random.default_rng(2), math.log(20)
    rates = np.tile(np.repeat([0.0, 0.1], 100), 15)
    logs = np.log(bet_returns(np.array([0.0, 1.0]), 0.05))
    refuted_once = [
        log_wealth(np.cumsum(logs[(rng.random(3000) < rates).astype(int)], 0)).max() > limit for _ in range(1000)
    ]
    assert np.mean(refuted_once) < 0.05


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "n_runs"),
    [
        (PROPORTION, 80),
        *(
            pytest.param(form, 300, marks=pytest.mark.long)
            for form in (PROPORTION, PAIRED_LOSS, unpaired_difference(0.2))
        ),
    ],
)
def test_the_truth_is_outside_the_bounds_at_any_time_in_at_most_ten_percent_of_runs(form, n_runs):
    """Of 80 runs, bounds that miss in 20 of 100 would miss at most 8 in 1 of 100 seeds."""
    rng, outside = np.random.default_rng(3), 0
    for _ in range(n_runs):
        if form.share:
            observations, truth = two_sides(rng, 1500, share=0.2, live=0.3, release=0.4), 0.1
        elif form is PROPORTION:
            observations, truth = seen(rng.random(1500) < 0.2), 0.2
        else:
            observations, truth = seen(rng.normal(0.01, 0.1, 1500).clip(-1, 1)), 0.01
        outside += missed(followed(form, observations, step=50), truth)
    assert outside / n_runs <= 0.10


@pytest.mark.slow
def test_repeated_keys_are_not_counted_as_evidence():
    """Thirty equal requests per key: counted by key the level holds, counted by request it would not."""
    rng, by_key, by_request = np.random.default_rng(4), 0, 0
    for _ in range(50):
        keys = rng.integers(0, 60, 1800)
        values = (rng.random(60) < 0.3)[keys]
        by_key += missed(followed(PROPORTION, seen(values, keys=keys), step=100), 0.3)
        by_request += missed(followed(PROPORTION, seen(values), step=100), 0.3)
    assert by_key / 50 <= 0.10
    assert by_request / 50 > 0.3


@pytest.mark.slow
def test_errors_that_rise_from_two_to_ten_percent_are_found_within_120_requests_of_the_release():
    rng, needed = np.random.default_rng(5), []
    for _ in range(15):
        observations = two_sides(rng, 8000, share=0.05, live=0.02, release=0.1)
        found = followed(unpaired_difference(0.05), observations, step=100, alpha=0.05 / 8)
        needed.append(
            next(
                (100 * number * 0.05 for number, measurement in enumerate(found, 1) if measurement.low > 0.005),
                math.inf,
            )
        )
    assert np.median(needed) <= 120


def test_harm_that_begins_late_on_keys_counted_before_is_found():
    keys = np.tile(np.arange(400), 10)
    values = (np.arange(4000) >= 2200) & (keys % 3 == 0)
    observations = seen(values, keys=keys)
    found = followed(PROPORTION, observations, step=100)
    windows = followed(PROPORTION, observations, step=100, measure=measure_worst_window)
    assert found[21].high < 0.05 and windows[21] is None
    assert windows[-1].low > 0.05 and windows[-1].n_groups == 400 and windows[-1].n_rows <= sequential.RECENT_LENGTH


def test_a_round_that_ended_within_one_batch_still_shows_harm():
    values = np.zeros(3000)
    values[1000:1500] = 1
    track = update_sequence(start_sequence(PROPORTION, alpha=0.05), seen(values))
    window = measure_worst_window(track, "share")
    assert (window.low > 0.9, window.slice) == (True, "one window of 500 requests")


def test_one_bad_window_does_not_replace_the_whole_stream():
    """A release better by 0.04 over 20,000 requests, with one window in which it was not."""
    rng = np.random.default_rng(7)
    values = rng.normal(-0.04, 0.2, 20_000).clip(-1, 1)
    values[1000:1500] = rng.normal(0.1, 0.2, 500).clip(-1, 1)
    track = update_sequence(start_sequence(PAIRED_LOSS, alpha=0.01), seen(values))
    whole, window = measure_sequence(track, "brier.drop"), measure_worst_window(track, "brier.drop")
    assert (whole.n_rows, whole.slice, whole.high < -0.02) == (20_000, "", True)
    assert whole.low < window.low <= window.value and (window.n_rows, window.high) == (500, PAIRED_LOSS.bounds[1])


# What is computed


@given(st.lists(st.integers(0, 40), min_size=3, max_size=3), st.floats(1, 9))
def test_the_refuted_limit_is_where_wealth_crosses_the_threshold(counts, threshold):
    values, often = np.array([0.0, 1.0, 7.5]), np.array(counts)
    limit = highest_rejected_limit(values, often, threshold)
    if limit:
        below, above = (
            float(log_wealth(often @ np.log(bet_returns(values, limit * by)))) for by in (1 - 1e-6, 1 + 1e-6)
        )
        assert above <= threshold <= below
    else:
        assert log_wealth(often @ np.log(bet_returns(values, 1e-9))) <= threshold


def test_the_parts_of_alpha_do_not_exceed_it():
    assert BET_WEIGHTS.sum() == pytest.approx(1)
    assert sum(long_alpha_share(number) + recent_alpha_share(number) for number in range(1, 10_000)) == pytest.approx(
        1, abs=1e-3
    )
    assert sum(map(long_beta_share, range(1, 10_000))) == pytest.approx(1, abs=1e-3)


@settings(deadline=None)
@given(st.data())
def test_many_batches_are_as_one(data):
    form = data.draw(st.sampled_from(FORMS))
    n = data.draw(st.integers(1, 120))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    cells = rng.integers(0, form.cells + 1, n)
    observations = seen(form.lattice[cells], keys=rng.integers(0, 30, n), canary=rng.random(n) < 0.3)
    cuts = sorted(data.draw(st.lists(st.integers(0, n), max_size=6)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sequential, "RECENT_LENGTH", 7)
        patch.setattr(sequential, "LONG_LENGTH", 50)
        at_once = track = start_sequence(form, alpha=0.2)
        for start, stop in zip([0, *cuts], [*cuts, n], strict=True):
            track = update_sequence(track, part(observations, start, stop))
        at_once = update_sequence(at_once, observations)
        assert measure_sequence(track, "m") == measure_sequence(at_once, "m")
        assert measure_worst_window(track, "m") == measure_worst_window(at_once, "m")
    for one, other in ((track.long, at_once.long), (track.recent, at_once.recent)):
        assert (one.number, one.rows, one.counts.tolist()) == (other.number, other.rows, other.counts.tolist())
        assert sorted(np.concatenate([*one.met, [0]])) == sorted(np.concatenate([*other.met, [0]]))


@given(st.integers(0, 2**32), st.sampled_from(FORMS))
def test_the_value_is_within_its_bounds_and_these_within_the_range(seed, form):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 60))
    observations = seen(form.lattice[rng.integers(0, form.cells + 1, n)], canary=rng.random(n) < 0.3)
    found = measure_sequence(update_sequence(start_sequence(form, alpha=0.05), observations), "m")
    assert form.bounds[0] <= found.low <= found.value <= found.high <= form.bounds[1]


def test_a_measurement_has_its_requests_keys_and_level():
    found = measure_sequence(
        update_sequence(start_sequence(PROPORTION, alpha=0.01), seen([1, 0, 1, 0], keys=[7, 8, 7, 9])), "error_rate"
    )
    assert (found.name, found.n_rows, found.n_groups, found.validity) == ("error_rate", 4, 3, "anytime")
    assert found.level == pytest.approx(0.94) and found.value == pytest.approx(1 / 3)


def test_a_difference_is_weighed_by_the_chance_of_assignment():
    found = measure_sequence(
        update_sequence(start_sequence(unpaired_difference(0.25), alpha=0.05), seen([1, 1, 0, 1], canary=[1, 0, 0, 0])),
        "loss",
    )
    assert found.value == pytest.approx((1 / 0.25 - 2 / 0.75) / 4)
    assert found.method.endswith("weighted by assignment probability")


def test_the_lattice_widens_the_bounds_by_as_much_as_it_rounds():
    fine, coarse = ValueGrid(cells=1000), ValueGrid(cells=10)
    values = np.full(200, 0.449)
    bounds = [
        measure_sequence(update_sequence(start_sequence(form, alpha=0.05), seen(values)), "m")
        for form in (fine, coarse)
    ]
    assert bounds[1].low <= bounds[0].low <= 0.449 <= bounds[0].high <= bounds[1].high


def test_without_observations_nothing_is_measured():
    track = start_sequence(PROPORTION, alpha=0.05)
    for nothing in (track, update_sequence(track, seen([]))):
        assert measure_sequence(nothing, "m") is measure_worst_window(nothing, "m") is None


@pytest.mark.parametrize(
    ("form", "values", "message"),
    [
        (PROPORTION, [0, 0.5], "expected whole numbers from 0 to 1, met 0.5\n  at: row 1"),
        (UNIT_LOSS, [1.5], "expected numbers from 0 to 1, met 1.5\n  at: row 0"),
        (PAIRED_LOSS, [0, math.nan], "expected numbers from -1 to 1, met nan"),
        (unpaired_difference(0.1), [1], "the arm that answered each request"),
    ],
)
def test_a_value_of_another_form_is_an_error_that_names_it(form, values, message):
    with pytest.raises(DataError) as caught:
        update_sequence(start_sequence(form, alpha=0.05), seen(values))
    assert message in str(caught.value)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_arms_are_not_compared_if_one_answers_all(share):
    with pytest.raises(DataError, match="both must answer callers"):
        unpaired_difference(share)


@pytest.mark.parametrize(("alpha", "beta"), [(0, 0.05), (0.05, 1)])
def test_a_chance_of_error_is_a_chance(alpha, beta):
    with pytest.raises(DataError, match="between 0 and 1"):
        start_sequence(PROPORTION, alpha=alpha, beta=beta)
