"""The first number that passes a threshold, exact to the last bit of what scikit-learn's steps compute."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.engines.estimators.pipelines.features import first_above, first_at_least

NUMBERS = st.floats(-1e12, 1e12)
SCALES = st.floats(1e-9, 1e9)


@pytest.mark.slow
@given(values=st.lists(NUMBERS, min_size=1, max_size=6), mean=NUMBERS, scale=SCALES, single=st.booleans())
def test_the_threshold_passes_and_the_number_before_it_does_not(
    values: list[float], mean: float, scale: float, single: bool
) -> None:
    def image(x: np.ndarray) -> np.ndarray:
        found = (x - mean) / scale
        return found.astype(np.float32).astype(np.float64) if single else found

    wanted = np.array(values)
    at, above = first_at_least(image, wanted), first_above(image, wanted)
    assert (image(at) >= wanted).all() and (image(np.nextafter(at, -np.inf)) < wanted).all()
    assert (image(above) > wanted).all() and (image(np.nextafter(above, -np.inf)) <= wanted).all()


def test_a_threshold_that_no_number_passes_is_infinite() -> None:
    assert first_at_least(np.tanh, np.array([2.0, 1.0])).tolist()[0] == np.inf
    assert np.isfinite(first_at_least(np.tanh, np.array([1.0])))


@pytest.mark.parametrize("value", [0.0, -0.0, 5e-324, -5e-324, 1e308, -1e308, 2.0**53])
def test_the_identity_passes_each_threshold_at_itself(value: float) -> None:
    assert first_at_least(lambda x: x, np.array([value])) == value
    assert first_above(lambda x: x, np.array([value])) == np.nextafter(value, np.inf)
