"""A calibrator: a shift of the log-odds that keeps the order and the ends, and changes nothing without a shift."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.core.calibrator import Calibrator
from headway.evaluation.calibration.apply import calibration_function

SHIFTS = st.floats(-5, 5)


@given(SHIFTS, st.lists(st.floats(0, 1), min_size=2))
def test_the_order_and_the_ends_stay(shift, scores):
    found = calibration_function(Calibrator(shift=shift))(np.array([0.0, *sorted(scores), 1.0]))
    assert (np.diff(found) >= -1e-15).all()
    assert (found[0], found[-1]) == (0.0, 1.0)


@given(SHIFTS, st.floats(0.01, 0.99))
def test_it_adds_to_the_log_odds(shift, score):
    found = float(calibration_function(Calibrator(shift=shift))(np.array(score)))
    assert np.log(found / (1 - found)) == pytest.approx(np.log(score / (1 - score)) + shift, abs=1e-9)


def test_no_shift_changes_nothing():
    scores = np.linspace(0, 1, 11)
    assert calibration_function(Calibrator())(scores).tolist() == scores.tolist()


@pytest.mark.parametrize(
    ("calibrator", "words"),
    [
        (Calibrator(), "nothing"),
        (Calibrator(shift=0.25), "log-odds shifted by +0.25"),
        (Calibrator(kind="platt", up=0.5, down=0.5), "platt: 0.5 ln p - 0.5 ln(1 - p) +0"),
        (Calibrator(kind="isotonic", knots=(0.2, 0.4), values=(0.1, 0.9)), "isotonic of 2 scores"),
    ],
)
def test_it_says_what_it_does(calibrator, words):
    assert str(calibrator) == words
    assert bool(calibrator) == (words != "nothing")


@pytest.mark.parametrize(
    "wrong",
    [{"up": -1.0}, {"knots": (0.5,), "values": ()}, {"knots": (0.5, 0.1), "values": (0.1, 0.2)}, {"values": (0.1,)}],
)
def test_a_calibrator_that_reverses_the_order_is_refused(wrong):
    with pytest.raises(ValueError, match="calibrator"):
        Calibrator(**wrong)
