"""A calibrator: a shift of the log-odds that keeps order, ends and the unshifted as they are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.core.calibrator import Calibrator

SHIFTS = st.floats(-5, 5)


@given(SHIFTS, st.lists(st.floats(0, 1), min_size=2))
def test_the_order_and_the_ends_stay(shift, scores):
    found = Calibrator(shift=shift)(np.array([0.0, *sorted(scores), 1.0]))
    assert (np.diff(found) >= -1e-15).all()
    assert (found[0], found[-1]) == (0.0, 1.0)


@given(SHIFTS, st.floats(0.01, 0.99))
def test_it_adds_to_the_log_odds(shift, score):
    found = float(Calibrator(shift=shift)(np.array(score)))
    assert np.log(found / (1 - found)) == pytest.approx(np.log(score / (1 - score)) + shift, abs=1e-9)


def test_no_shift_changes_nothing():
    scores = np.linspace(0, 1, 11)
    assert Calibrator()(scores).tolist() == scores.tolist()
