"""Values as bins: equal mass, ties together, missing last, and words for each."""

from __future__ import annotations

import numpy as np
import pytest

from headway.core.variant import Field
from headway.monitoring.drift import make_bins

NUMBER = Field(name="x")
LETTER = Field(name="letter", datatype="BYTES", categories=("a", "b"))


def test_numbers_fall_into_bins_of_equal_mass():
    values = np.arange(1000.0)
    bins = make_bins(NUMBER, values, max_bins=10)
    assert np.bincount(bins.codes(values), minlength=bins.size).tolist() == [100] * 10 + [0]


def test_the_last_bin_holds_missing_values():
    bins = make_bins(NUMBER, np.array([1.0, 2.0, np.nan, 3.0]), max_bins=2)
    assert bins.codes(np.array([np.nan, -np.inf, np.inf])).tolist() == [bins.size - 1, 0, bins.size - 2]
    assert bins.label(bins.size - 1) == "missing"


def test_equal_values_share_a_bin():
    values = np.repeat([1.0, 2.0], [900, 100])
    bins = make_bins(NUMBER, values, max_bins=10)
    assert (bins.size, bins.codes(np.array([1.0, 2.0])).tolist()) == (3, [0, 1])


@pytest.mark.parametrize("values", [np.full(5, 7.0), np.full(5, np.nan)], ids=["one value", "none"])
def test_a_constant_feature_has_one_bin_and_the_missing_one(values):
    bins = make_bins(NUMBER, values)
    assert (bins.size, bins.label(0)) == (2, "any")
    assert set(bins.codes(values).tolist()) <= {0, 1}


def test_a_category_is_a_bin_and_an_unknown_one_is_missing():
    codes = make_bins(LETTER, np.empty(0)).codes(np.array([0.0, 1.0, np.nan, 2.0, -1.0, np.inf]))
    assert codes.tolist() == [0, 1, 2, 2, 2, 2]


def test_bins_have_labels():
    bins = make_bins(NUMBER, np.array([0.0, 1.0, 2.0]), max_bins=3)
    assert [bins.label(bin) for bin in range(4)] == ["below 1", "1 to 2", "2 or more", "missing"]
    assert make_bins(LETTER, np.empty(0)).label(1) == "b"


def test_bins_of_many_values_come_from_a_sample():
    values = np.random.default_rng(0).normal(size=100_000)
    shares = np.bincount(make_bins(NUMBER, values).codes(values), minlength=41)[:40] / len(values)
    assert np.abs(shares - 1 / 40).max() < 0.01
