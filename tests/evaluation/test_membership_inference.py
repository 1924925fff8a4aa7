"""Membership inference: scores of attacks, and rates whose intervals cover the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import rankdata

from headway.core.errors import NotApplicable
from headway.evaluation.membership_inference import (
    Attacked,
    AttackRates,
    Exposure,
    Shadows,
    Signals,
    _skewed_error,
    flag_rows,
    read_signals,
    score_lira,
    score_rmia,
    share_interval,
)


def shadows(confidence, inside):
    values = np.array(confidence, dtype=float)
    return Shadows(signals=Signals(values, values, np.zeros_like(values)), inside=np.array(inside))


def signals(*values):
    array = np.array(values, dtype=float)
    return Signals(array, array, np.zeros(len(array)))


def test_the_confidence_is_the_logit_of_the_label():
    found = read_signals(np.array([[0.8], [0.8]]), np.array([1.0, 0.0]), task="binary", threshold=0.5, scale=1.0)
    np.testing.assert_allclose(found.confidence, [math.log(4), -math.log(4)])
    np.testing.assert_allclose(found.is_right, [1.0, 0.0])
    several = read_signals(np.array([[0.1, 0.2, 0.7]]), np.array([2.0]), task="multiclass", threshold=0.5, scale=1.0)
    np.testing.assert_allclose(several.confidence, [math.log(0.7 / 0.3)])


def test_a_certain_answer_has_a_finite_signal():
    found = read_signals(np.array([[1.0], [0.0]]), np.array([1.0, 1.0]), task="binary", threshold=0.5, scale=1.0)
    assert np.isfinite(found.confidence).all() and found.confidence[0] > 10 > -10 > found.confidence[1]


def test_offline_lira_reads_only_models_without_the_row():
    known = shadows([[0.0], [2.0], [50.0]], [[False], [False], [True]])
    pooled = score_lira(signals(3.0), known, prior_weight=math.inf)
    np.testing.assert_allclose(pooled, (3.0 - 1.0) / math.sqrt(2.0 * 1.5), rtol=1e-9)


def test_rmia_divides_by_the_mean_likelihood():
    known = shadows([[math.log(0.2)], [math.log(0.6)]], [[False], [True]])
    np.testing.assert_allclose(score_rmia(signals(math.log(0.8)), known), math.log(0.8 / 0.4))
    np.testing.assert_allclose(score_rmia(signals(math.log(0.8)), known, is_offline=True), math.log(0.8 / 0.2))


def attacked(rng, members, *, shift=0.0):
    return Attacked(scores=rng.normal(size=len(members)) + shift * members, members=members)


def test_the_area_is_that_of_ranks_with_ties_at_half():
    rng = np.random.default_rng(0)
    members = rng.random(500) < 0.5
    scores = np.round(rng.normal(size=500) + members, 1)
    found = AttackRates([Attacked(scores=scores, members=members)], np.arange(500)).auc("auc")
    n_members, n_others = members.sum(), (~members).sum()
    ranks = rankdata(scores)[members].sum()
    assert found.value == pytest.approx((ranks - n_members * (n_members + 1) / 2) / (n_members * n_others))


@pytest.mark.parametrize("others", [100, 137, 1_000])
def test_a_threshold_flags_new_non_members_at_its_rate(others):
    rng = np.random.default_rng(1)
    members = np.arange(others + 4_000) >= others
    rates = [flag_rows(attacked(rng, members), 0.01)[members].mean() for _ in range(400)]
    assert np.mean(rates) == pytest.approx(0.01, abs=4 * np.std(rates) / 20)


def test_ties_are_flagged_in_part():
    members = np.arange(2_000) >= 1_000
    same = Attacked(scores=np.zeros(2_000), members=members)
    np.testing.assert_allclose(flag_rows(same, 0.05), 0.05)


def test_a_rate_below_one_non_member_is_refused_with_the_number_needed():
    rng = np.random.default_rng(2)
    rates = AttackRates([attacked(rng, np.arange(400) >= 200)], np.arange(400))
    with pytest.raises(NotApplicable, match=r"at 0\.1% false positives needs 2,000 rows .* there are 200 of side=left"):
        rates.true_positive_rate("tpr", 0.001, "side=left")


def test_few_groups_give_no_interval():
    rng = np.random.default_rng(3)
    found = AttackRates([attacked(rng, np.arange(400) >= 200)], np.arange(400) % 12).auc("auc")
    assert found.se is None and (found.low, found.high) == (0.0, 1.0)


def test_a_small_rate_reaches_up_as_far_as_its_score_interval():
    error = math.sqrt(0.004 * 0.996 / 1_000)
    _, high = share_interval(0.004, 1_000, reach=2.0)
    assert _skewed_error(0.004, error, 0, 2.0) == pytest.approx((high - 0.004) / 2.0)
    assert _skewed_error(0.004, error, 0, 2.0) > 1.3 * error
    assert _skewed_error(0.499, 0.01, 0, 2.0) == pytest.approx(0.01, rel=1e-2)
    assert _skewed_error(0.996, error, 0, 2.0) == error


def test_a_rate_of_no_member_is_not_certain():
    scores = np.where(np.arange(2_000) % 2 == 0, 0.0, np.arange(2_000.0))
    one = Attacked(scores=scores, members=np.arange(2_000) % 2 == 0)
    found = AttackRates([one], np.arange(2_000)).true_positive_rate("tpr", 0.01)
    assert found.value == 0 and found.high == pytest.approx(share_interval(0.0, 1_000)[1], rel=0.01)


def test_rows_of_a_group_that_are_alike_widen_the_interval():
    rng = np.random.default_rng(4)
    groups = rng.permutation(np.repeat(np.arange(100), 20))
    scores = rng.normal(size=100)[groups] + 0.1 * rng.normal(size=2_000)
    one = [Attacked(scores=scores, members=groups % 2 == 0)]
    by_group, by_row = (AttackRates(one, codes).auc("auc") for codes in (groups, np.arange(2_000)))
    assert by_group.se > 3 * by_row.se


@pytest.mark.slow
@pytest.mark.parametrize("leak", [0.0, 0.5])
def test_intervals_cover_the_rate_of_the_recipe(leak):
    """Members and non-members change by training, rows are drawn in groups, and the leak differs by row."""

    def measured(rng, n_groups):
        groups = np.repeat(np.arange(n_groups), 4)
        own = rng.normal(size=n_groups)[groups] * 0.5
        strength = leak * np.exp(rng.normal(size=n_groups))[groups]
        found = []
        for _ in range(6):
            first = (rng.permutation(n_groups) < n_groups // 2)[groups]
            for members in (first, ~first):
                scores = own + rng.normal() * 0.1 + rng.normal(size=len(groups)) + strength * members
                found.append(Attacked(scores=scores, members=members))
        rates = AttackRates(found, groups)
        return rates.auc("auc"), rates.true_positive_rate("tpr", 0.01)

    rng = np.random.default_rng(5)
    truth = np.mean([[one.value for one in measured(rng, 4_000)] for _ in range(10)], axis=0)
    found = [measured(rng, 150) for _ in range(130)]
    for index, true in enumerate(truth):
        covered = np.mean([one[index].low <= true <= one[index].high for one in found])
        assert covered >= 0.93


def test_a_difference_on_the_same_models_is_narrower_than_two_rates():
    rng = np.random.default_rng(4)
    members = np.arange(2_000) % 2 == 0
    stronger = [attacked(rng, members, shift=1.5) for _ in range(4)]
    weaker = [Attacked(scores=one.scores - 0.2 * members, members=members) for one in stronger]
    groups = np.arange(2_000)
    before, after = AttackRates(stronger, groups), AttackRates(weaker, groups)
    found = after.auc("auc.difference", minus=before)
    assert found.value == pytest.approx(after.auc("auc").value - before.auc("auc").value)
    assert found.high < 0 and found.bounds == (-1.0, 1.0)
    assert found.high - found.low < (before.auc("auc").high - before.auc("auc").low) / 2
    rate = after.true_positive_rate("tpr.difference", 0.01, minus=before)
    own, other = (rates.true_positive_rate("tpr", 0.01).value for rates in (after, before))
    assert rate.value == pytest.approx(own - other) and rate.low < rate.value < rate.high
    same = before.true_positive_rate("tpr.difference", 0.1, minus=before)
    assert same.value == 0 and same.low <= 0 <= same.high


def test_an_exposed_row_is_flagged_as_member_and_not_otherwise():
    members = [np.arange(8) % 2 == 0, np.arange(8) % 2 == 1] * 2
    scores = [np.where(inside & (np.arange(8) == 2), 9.0, np.arange(8) / 10) for inside in members]
    found = Exposure.of(
        [Attacked(scores=one, members=inside) for one, inside in zip(scores, members, strict=True)], 0.2
    )
    assert found.recognized(at_least=0.5, at_most=0.1, models=2).tolist() == [2]
    assert found.recognized(at_least=0.5, at_most=0.1, models=3).tolist() == []


def test_the_interval_of_a_share_holds_it():
    assert share_interval(1.0, 9) == (pytest.approx(0.7009, abs=1e-4), 1.0)
    low, high = share_interval(0.5, 10)
    assert 0.23 < low < 0.5 < high < 0.77
