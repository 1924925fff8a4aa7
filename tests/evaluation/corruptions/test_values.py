"""Faults of values, worked by hand: what is altered, and that all else stays."""

from __future__ import annotations

import numpy as np
import pytest
from tests.evaluation.corruptions.made import inputs

from headway.evaluation.corruptions import values

nan = np.nan


def of(faults):
    return {fault.what: fault.rows() for fault in faults(inputs())}


def test_a_missing_part_is_missing_in_every_row_and_nothing_else_is():
    found = of(values.missing)
    assert set(found) == {"temp", "flag", "from + to", "10% of all"}
    np.testing.assert_array_equal(np.isnan(found["from + to"]), [[False, False, True, True]] * 6)


def test_a_tenth_of_all_values_is_missing_alike_in_every_run():
    many = inputs(times=500)
    one, other = ([fault.rows() for fault in values.missing(many)][-1] for _ in range(2))
    np.testing.assert_array_equal(one, other)
    assert np.isnan(one).mean() == pytest.approx(0.1, abs=0.01)


def test_a_text_that_nobody_saw_is_read_as_its_field_says():
    found = of(values.unseen)
    assert set(found) == {"from", "to"}
    assert np.isnan(found["from"][:, 2]).all() and set(found["to"][:, 3]) == {2.0}


def test_a_text_that_is_refused_is_never_answered_so_it_is_no_fault():
    refusing = inputs(unseen="refused")
    assert [fault.what for fault in values.unseen(refusing)] == ["to"]


def test_noise_is_a_share_of_the_spread_of_numbers_and_leaves_flags_and_texts():
    many = inputs(times=2_000)
    (one, *_), rows = [fault.rows() for fault in values.noise(many)], many.rows
    moved = one - rows
    assert moved[:, 0].std() == pytest.approx(0.1 * rows[:, 0].std(), rel=0.03) and not moved[:, 1:].any()


def test_another_unit_is_the_same_quantity():
    found = of(values.unit)
    assert found["temp as F, is C"][:, 0].tolist() == [32.0, 50.0, 68.0, 86.0, 104.0, 212.0]
    assert found["temp as C, is F"][5, 0] == pytest.approx(37.78, abs=0.01)
    assert found["temp x 1000"][1, 0] == 10_000 and found["temp / 60"][5, 0] == pytest.approx(100 / 60)
