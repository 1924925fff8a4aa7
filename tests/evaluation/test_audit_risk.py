"""An audit withdraws a certificate that keeps its limit no more often than promised, and finds one that breaks it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.random import Generator, default_rng

from headway.core.arrays import Floats, Ints
from headway.evaluation.selective import audit_risk, audited_rows_needed, is_broken

LIMIT, ALPHA = 0.05, 0.05


def _first_break(errors: Floats, every: int, groups: Ints | None = None) -> int:
    """Return the number of audited rows at the first audit that shows the limit to be broken, 0 if none does."""
    ends = range(every, len(errors) + 1, every) if groups is None else np.flatnonzero(np.diff(groups)) + 1
    for end in ends:
        part = None if groups is None else groups[:end]
        if is_broken(errors[:end], groups=part, limit=LIMIT, alpha=ALPHA):
            return int(end)
    return 0


def _days(days: int, random: Generator, share: float) -> tuple[Floats, Ints]:
    """Return answers of days of 2 to 20; on a bad day, one in ten, four times as many are wrong, else less."""
    groups = np.repeat(np.arange(days), random.integers(2, 21, days))
    factor = np.where(random.random(days) < 0.1, 4.0, 2 / 3)[groups]
    return (random.random(len(groups)) < share * factor).astype(float), groups


def test_answers_within_the_limit_are_seldom_withdrawn_over_a_life_of_audits():
    random = default_rng(1)

    lives = [_first_break((random.random(1_000) < LIMIT).astype(float), 50) for _ in range(200)]

    assert np.count_nonzero(lives) / 200 <= ALPHA


def test_dependent_answers_within_the_limit_are_seldom_withdrawn():
    random = default_rng(2)
    lives = [_days(60, random, LIMIT) for _ in range(200)]

    by_group = [_first_break(errors, 1, groups) for errors, groups in lives]

    assert np.count_nonzero(by_group) / 200 <= ALPHA


def test_answers_that_are_wrong_too_often_are_found_within_the_stated_rows():
    needed = audited_rows_needed(LIMIT, 4 * LIMIT, alpha=ALPHA)
    assert needed is not None
    random = default_rng(3)

    found = [_first_break((random.random(10 * needed) < 4 * LIMIT).astype(float), 1) for _ in range(60)]

    assert min(found) > 0
    assert np.median(found) <= 1.5 * needed


def test_dependent_answers_that_are_wrong_too_often_are_found():
    errors, groups = _days(120, default_rng(4), 4 * LIMIT)

    assert 0 < _first_break(errors, 1, groups) < len(errors)


def test_a_row_without_a_label_is_neither_right_nor_wrong():
    errors = np.array([0.0, 1, 0, 0, 1, 0])

    measured = audit_risk(np.insert(errors, 3, [np.nan] * 5), alpha=ALPHA)

    assert measured == audit_risk(errors, alpha=ALPHA)
    assert (measured.value, measured.n_rows, measured.validity) == (1 / 3, 6, "anytime")


@pytest.mark.parametrize(("errors", "ends"), [([], (0.0, 1.0)), ([np.nan], (0.0, 1.0))])
def test_without_labels_every_share_is_possible(errors, ends):
    measured = audit_risk(np.array(errors, dtype=float), alpha=ALPHA)

    assert (measured.low, measured.high) == ends


def test_the_bounds_close_in_on_the_share():
    measured = audit_risk(np.tile([1.0] + [0.0] * 9, 500), alpha=ALPHA)

    assert 0.08 < measured.low < 0.1 < measured.high < 0.12


def test_all_wrong_and_all_right_have_one_bound():
    assert audit_risk(np.ones(50), alpha=ALPHA).low > 0.8
    assert audit_risk(np.ones(50), alpha=ALPHA).high == 1
    assert audit_risk(np.zeros(50), alpha=ALPHA).high < 0.2
    assert audit_risk(np.zeros(50), alpha=ALPHA).low == 0


def test_a_group_larger_than_all_before_counts_up_to_its_limit():
    """The third group has 9 answers, and 1.5 times the 4 of the largest before count."""
    groups = np.repeat([0, 1, 2], [2, 4, 9])

    assert audit_risk(np.zeros(15), groups=groups, alpha=ALPHA).n_rows == 2 + 3 + 6


def test_a_certificate_is_broken_where_the_low_bound_is_above_the_limit():
    errors, groups = _days(40, default_rng(5), 3 * LIMIT)

    low = audit_risk(errors, groups=groups, alpha=ALPHA).low

    assert is_broken(errors, groups=groups, limit=low - 1e-6, alpha=ALPHA)
    assert not is_broken(errors, groups=groups, limit=low + 1e-6, alpha=ALPHA)
    assert not is_broken(np.array([]), limit=LIMIT, alpha=ALPHA)


def test_a_share_at_the_limit_needs_endless_rows():
    assert audited_rows_needed(0.05, 0.05, alpha=ALPHA) is None
    assert (audited_rows_needed(0.05, 0.1, alpha=ALPHA) or 0) > (audited_rows_needed(0.05, 0.3, alpha=ALPHA) or 0)
