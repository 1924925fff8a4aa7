"""Student's t distribution next to SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from headway.core.student import student_quantile, student_tails


@pytest.mark.slow
@given(st.floats(0.5, 1 - 1e-6), st.integers(3, 1000))
def test_the_student_quantile_is_that_of_scipy(p, dof):
    assert student_quantile(p, dof) == pytest.approx(stats.t.ppf(p, dof), rel=1e-7, abs=1e-9)


def test_the_student_quantile_is_odd():
    assert student_quantile(0.05, 25) == pytest.approx(-student_quantile(0.95, 25), rel=1e-9)


@pytest.mark.parametrize("dof", [13, 85, 360])
def test_tails_of_t_are_those_of_scipy_down_to_tiny_ones(dof):
    t = np.linspace(0, 20, 101)
    assert student_tails(t, dof) == pytest.approx(2 * stats.t.sf(t, dof), rel=0.01)
