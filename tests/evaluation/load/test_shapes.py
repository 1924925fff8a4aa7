"""Shapes of load: the same requests, spread over time in other ways."""

from __future__ import annotations

import numpy as np
import pytest

from headway.evaluation.load.shapes import SHAPES, due


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_has_the_mean_rate_and_its_requests_in_order(shape):
    times = due(shape, rate_per_s=500, seconds=8)
    assert len(times) == 4000 and (np.diff(times) >= 0).all() and times[0] >= 0 and times[-1] < 8


def test_bursts_come_in_the_first_tenth_of_a_second_and_a_ramp_goes_to_twice_the_rate():
    assert (due("bursts", rate_per_s=500, seconds=8) % 1.0 <= 0.1 + 1e-9).all()
    ramp = due("ramp", rate_per_s=500, seconds=8)
    assert (ramp < 4).mean() == pytest.approx(0.25, abs=0.03)
