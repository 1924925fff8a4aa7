"""Intervals of shares: exact bounds near 0 and 1, effective rows of dependent rows; the benchmark tests coverage."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from headway.evaluation.statistics.claims import groups_needed, one_sided_bounds
from headway.evaluation.statistics.intervals import SHARE, Sample
from headway.evaluation.statistics.proportions import (
    chance_of_at_most,
    lower_share,
    rows_below,
    share_measurement,
    upper_share,
)
from headway.evaluation.statistics.subsets import (
    RowStatistic,
    mean_measurement,
    subset_mean,
    subset_minus_rest,
    unseen_error,
)
from headway.evaluation.statistics.tables import Blocks, block_fields


def blocks_of(groups, weights=None):
    return Blocks(**block_fields(np.asarray(groups), weights))


def share_of(values, groups, *, related=None, weights=None):
    """Measure a share with the same groups."""
    blocks = blocks_of(groups, weights)
    return mean_measurement("share", np.asarray(values, dtype=np.float64), blocks, SHARE, related=related)


@given(
    rows=st.one_of(st.integers(1, 50), st.integers(1, 2**21)),
    share=st.floats(1e-6, 1 - 1e-6),
    errors=st.one_of(st.none(), st.floats(-6, 6)),
)
def test_the_chance_of_at_most_so_many_events_is_that_of_scipy(rows, share, errors):
    spread = np.sqrt(rows * share * (1 - share))
    events = 0 if errors is None else int(np.clip(rows * share + errors * spread, 0, rows))
    assert chance_of_at_most(events, rows, share) == pytest.approx(stats.binom.cdf(events, rows, share), rel=1e-6)


@given(
    rows=st.floats(1.5, 1e5),
    share=st.one_of(st.sampled_from([0.0, 1.0]), st.floats(1e-5, 1 - 1e-5)),
    alpha=st.sampled_from([0.025, 0.05, 1e-4]),
)
def test_the_bounds_are_those_of_clopper_and_pearson_for_any_number_of_rows(rows, share, alpha):
    events = share * rows
    upper = 1.0 if share == 1 else stats.beta.ppf(1 - alpha, events + 1, rows - events)
    lower = 0.0 if share == 0 else stats.beta.ppf(alpha, events, rows - events + 1)
    assert upper_share(share, rows, alpha) == pytest.approx(upper, rel=1e-6, abs=1e-9)
    assert lower_share(share, rows, alpha) == pytest.approx(lower, rel=1e-5, abs=1e-6)


def test_none_of_143_rows_allows_two_percent_and_299_decide_on_one():
    found = share_of(np.zeros(143), np.arange(143), related=np.random.default_rng(0).random(143))
    assert (found.value, found.low, found.effective_rows) == (0.0, 0.0, 143.0)
    assert one_sided_bounds(found, 0.05)[1] == pytest.approx(0.0207, abs=1e-4)
    assert groups_needed(found, 0.01, 0.05) == rows_below(0.0, 0.01, 0.05) == 299
    assert upper_share(0.0, 299, 0.05) < 0.01 < upper_share(0.0, 298, 0.05)


def test_more_rows_decide_on_a_share_that_is_nearer_to_its_limit_on_either_side():
    below, above = (
        share_measurement("share", share, 900.0, Sample(n_rows=900, n_groups=90)) for share in (0.004, 0.996)
    )
    assert groups_needed(below, 0.01 - 0.004, 0.05) == groups_needed(above, 0.99 - 0.996, 0.05)
    assert 91 <= groups_needed(below, 0.01 - 0.004, 0.05) < groups_needed(below, 0.007 - 0.004, 0.05)
    assert np.isinf(groups_needed(below, 0.0041 - 0.004, 0.05)) and np.isinf(rows_below(0.01, 0.01, 0.05))


def test_groups_whose_rows_agree_count_as_one_row_each():
    groups = np.repeat(np.arange(40), 25)
    agree = np.repeat(np.arange(40) % 8 == 0, 25).astype(np.float64)
    assert share_of(agree, groups).effective_rows == pytest.approx(40)
    assert share_of(np.zeros(1000), groups).effective_rows == pytest.approx(40)


def test_without_an_event_the_design_effect_is_that_of_a_continuous_quantity():
    rng, groups = np.random.default_rng(1), np.repeat(np.arange(60), 50)
    alone, together = rng.normal(size=3000), np.repeat(rng.normal(size=60), 50)
    found = {
        name: share_of(np.zeros(3000), groups, related=related).effective_rows
        for name, related in {"alone": alone, "half": alone + together, "together": together}.items()
    }
    assert found["alone"] > 2000 > 200 > found["half"] > found["together"]
    assert found["together"] == pytest.approx(60)


def test_neighbours_in_time_that_agree_carry_less_than_their_groups():
    slow = np.sin(np.arange(400) / 20)
    assert share_of(slow > 0.5, np.arange(400), related=slow).effective_rows < 200


def test_weights_leave_fewer_effective_rows():
    weights = np.where(np.arange(500) < 100, 9.0, 1.0)
    found = share_of(np.zeros(500), np.arange(500), related=np.random.default_rng(3).random(500), weights=weights)
    assert found.effective_rows == pytest.approx(weights.sum() ** 2 / np.square(weights).sum())


def test_a_share_of_few_groups_has_no_interval():
    found = share_of(np.zeros(190), np.repeat(np.arange(19), 10))
    assert (found.low, found.high, found.se) == (0.0, 1.0, None) and not isinstance(found.effective_rows, float)


def test_values_between_zero_and_one_are_no_share():
    assert "jackknife" in share_of(np.linspace(0, 1, 100), np.arange(100)).method


def test_a_gap_of_shares_without_an_event_has_a_width():
    values, inside = np.zeros(400), np.arange(400) < 200
    share = RowStatistic(
        name="gap", values=values, among=np.ones(400, bool), bounds=SHARE, blocks=blocks_of(np.arange(400))
    )
    gap = subset_minus_rest(share, inside)
    assert gap.low < -0.015 < 0 == gap.value < 0.015 < gap.high


def test_a_paired_difference_without_a_change_has_the_width_of_what_was_not_seen():
    blocks, none, everywhere = blocks_of(np.arange(400)), np.zeros(400, dtype=np.bool_), np.ones(400, dtype=np.bool_)
    paired = RowStatistic(
        name="drop", values=np.zeros(400), among=everywhere, bounds=(-1.0, 1.0), blocks=blocks, is_paired=True
    )
    found = subset_mean(paired, everywhere)
    high = one_sided_bounds(found, 0.05)[1]
    assert upper_share(0.0, 400, 0.05) < high < 1.2 * upper_share(0.0, 400, 0.05)
    assert subset_mean(replace(paired, exact="it is the baseline"), everywhere).high == 0
    assert unseen_error(none, none, blocks) == 0


@pytest.mark.parametrize(("days", "rows"), [(30, 5), (60, 5)])
def test_a_share_at_its_limit_is_rarely_shown_to_be_above_it(days, rows):
    """Of 400 worlds with a share of .95, a judge that passes 12 of 100 of them passes more than 36 in 97 of 100 seeds.

    A jackknife passes 21 % with 30 groups.
    """
    rng, groups = np.random.default_rng(0), np.repeat(np.arange(days), rows)
    hits = rng.random((400, days * rows)) < 0.95
    found = [share_of(own, groups, related=own * 0.3 + rng.random(days * rows)) for own in hits]
    assert sum(one_sided_bounds(share, 0.05)[0] >= 0.95 for share in found) <= 36
    assert np.mean([share.low <= 0.95 <= share.high for share in found]) >= 0.93
