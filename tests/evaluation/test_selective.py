"""A certified threshold breaks its limit no more often than promised, for dependent rows too."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.random import Generator, default_rng

from headway.core.arrays import Floats, Ints
from headway.core.errors import DataError
from headway.evaluation.selective import certify_threshold, measure_risk

pytestmark = pytest.mark.slow
LIMIT = 0.1
THRESHOLDS = (0.9, 0.8, 0.7, 0.6, 0.5)
RUNS = 400


def _risk(confidence: Floats) -> Floats:
    """Return the probability of an error: .02 at full confidence, .32 at .5."""
    return 0.02 + 0.6 * (1 - confidence)


def _risk_above(threshold: float) -> float:
    """Return the true share of errors above a threshold, for confidences that are uniform on [.5, 1]."""
    return float(_risk(np.array((threshold + 1) / 2)))


def _rows(n: int, random: Generator) -> tuple[Floats, Floats]:
    confidence = random.uniform(0.5, 1, n)
    return confidence, (random.random(n) < _risk(confidence)).astype(float)


def _days(days: int, random: Generator) -> tuple[Floats, Floats, Ints]:
    """Return rows of days; on a bad day, one in ten, all answers are wrong four times as often, else less often."""
    groups = np.repeat(np.arange(days), random.integers(5, 21, days))
    confidence = random.uniform(0.5, 1, len(groups))
    factor = np.where(random.random(days) < 0.1, 4.0, 2 / 3)[groups]
    return confidence, (random.random(len(groups)) < _risk(confidence) * factor).astype(float), groups


def _upper(broken: int, runs: int) -> float:
    """Return the upper end of a 99 % interval of a share."""
    share = broken / runs
    return share + 2.6 * math.sqrt(max(share * (1 - share), 1 / runs) / runs)


def test_independent_rows_break_the_limit_no_more_often_than_promised() -> None:
    random = default_rng(1)

    found = [certify_threshold(*_rows(1_500, random), thresholds=THRESHOLDS, limit=LIMIT) for _ in range(RUNS)]

    broken = sum(_risk_above(each.threshold) > LIMIT for each in found if each.is_certified)
    assert broken / RUNS <= 0.05
    assert sum(each.is_certified for each in found) / RUNS >= 0.8


def test_dependent_rows_break_the_limit_no_more_often_than_promised() -> None:
    random = default_rng(2)
    ignoring = 0
    found = []
    for _ in range(RUNS):
        confidence, errors, groups = _days(60, random)
        found.append(certify_threshold(confidence, errors, groups=groups, thresholds=THRESHOLDS, limit=LIMIT))
        by_row = certify_threshold(confidence, errors, thresholds=THRESHOLDS, limit=LIMIT)
        ignoring += by_row.is_certified and _risk_above(by_row.threshold) > LIMIT

    broken = sum(_risk_above(each.threshold) > LIMIT for each in found if each.is_certified)
    assert _upper(broken, RUNS) <= 0.05
    assert ignoring / RUNS > 0.05, "rows taken as independent would do as well: the test shows nothing"


def test_many_groups_certify_almost_what_is_true() -> None:
    confidence, errors, groups = _days(4_000, default_rng(3))

    found = certify_threshold(confidence, errors, groups=groups, thresholds=THRESHOLDS, limit=LIMIT)

    assert found.threshold == 0.8
    assert _risk_above(0.8) <= found.risk.high <= LIMIT
    assert found.coverage.low <= 0.4 <= found.coverage.high
    assert (found.coverage.n_groups, found.coverage.n_rows) == (4_000, len(errors))


def test_the_bound_of_the_errors_is_that_of_clopper_and_pearson() -> None:
    errors = np.repeat([1.0, 0.0], [3, 97])

    found = certify_threshold(np.ones(100), errors, thresholds=[1.0], limit=0.2)

    assert found.risk.high == pytest.approx(0.0757, abs=1e-4)  # Beta(4, 97) at .95
    assert (found.risk.value, found.risk.n_rows) == (0.03, 100)


def test_a_threshold_after_one_that_failed_is_not_certified() -> None:
    confidence = np.repeat([0.9, 0.5], [20, 1_000])  # too few rows at .9, and no error below
    errors = np.zeros(1_020)

    found = certify_threshold(confidence, errors, thresholds=(0.9, 0.5), limit=0.05)

    assert not found.is_certified
    assert found.coverage.value == 0
    assert found.groups_needed is not None
    enough = certify_threshold(
        np.full(found.groups_needed, 0.9), np.zeros(found.groups_needed), thresholds=[0.9], limit=0.05
    )
    assert enough.is_certified


def test_few_groups_certify_nothing_whatever_their_rows() -> None:
    groups = np.repeat(np.arange(20), 1_000)

    found = certify_threshold(np.ones(20_000), np.zeros(20_000), groups=groups, thresholds=[1.0], limit=0.05)

    assert not found.is_certified
    assert found.groups_needed is not None
    assert 59 <= found.groups_needed <= 100  # log(20) / .05 = 60 at least


def test_losses_between_0_and_1_are_certified_by_rows() -> None:
    losses = default_rng(4).uniform(0, 0.1, 2_000)

    found = certify_threshold(np.ones(2_000), losses, thresholds=[1.0], limit=0.1)

    assert found.is_certified
    assert 0.05 < found.risk.high < 0.1


@pytest.mark.parametrize(("wrong", "at_most"), [(0, 299), (1, 628), (2, 2_000)])
def test_as_many_rows_as_are_needed_certify_the_limit_and_are_few(wrong: int, at_most: int) -> None:
    errors = np.repeat([1.0, 0.0], [wrong, 449 - wrong]) if wrong else np.zeros(100)
    found = certify_threshold(np.ones(len(errors)), errors, thresholds=[1.0], limit=0.01)
    assert not found.is_certified and found.groups_needed is not None and found.groups_needed <= at_most
    more = np.zeros(found.groups_needed)
    more[: int(np.ceil(wrong / 449 * found.groups_needed))] = 1
    assert certify_threshold(np.ones(len(more)), more, thresholds=[1.0], limit=0.01).is_certified


def test_groups_of_one_row_are_tested_as_rows() -> None:
    confidence, errors = np.ones(142), np.repeat([1.0, 0.0], [2, 140])

    by_group, by_row, twice = (
        certify_threshold(confidence, errors, thresholds=[1.0], limit=0.05, groups=groups)
        for groups in (np.arange(142)[::-1], None, np.arange(142) // 2)
    )

    assert by_group == by_row and by_group.is_certified
    assert not twice.is_certified


def test_more_errors_than_the_limit_need_no_more_groups() -> None:
    found = certify_threshold(np.ones(100), np.ones(100), thresholds=[1.0], limit=0.5, groups=np.arange(100))

    assert not found.is_certified
    assert found.groups_needed is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"confidence": np.ones(2)}, "differ in number"),
        ({"confidence": np.empty(0), "errors": np.empty(0)}, "without held-out rows"),
        ({"confidence": np.array([1.0, np.nan, 1.0])}, "not a number"),
        ({"errors": np.array([0.0, 2.0, 0.0])}, "met 2.0"),
        ({"errors": np.array([0.0, np.nan, 0.0])}, "met nan"),
        ({"thresholds": []}, "finite thresholds"),
        ({"thresholds": [math.inf]}, "finite thresholds"),
        ({"limit": 0.0}, "limit 0 is not in"),
    ],
)
def test_arguments_without_a_certificate_are_refused(changes: dict[str, object], message: str) -> None:
    valid = {"confidence": np.ones(3), "errors": np.zeros(3), "thresholds": [0.5], "limit": 0.1}

    with pytest.raises(DataError, match=message):
        certify_threshold(**(valid | changes))  # type: ignore[arg-type]


def test_the_coverage_of_one_group_has_no_interval() -> None:
    answered = np.arange(100) < 36
    coverage, _ = measure_risk(answered, np.zeros(100), groups=np.zeros(100, dtype=np.int64))
    assert coverage.value == 0.36
    assert (coverage.low, coverage.high, coverage.n_groups) == (0.0, 1.0, 1)
