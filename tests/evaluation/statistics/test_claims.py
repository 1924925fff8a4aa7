"""Claims about many parts: the side of a limit on which a difference lies, at a shared level, and the data needed."""

from __future__ import annotations

import math

import pytest

from headway.core.evidence import Measurement
from headway.evaluation.statistics.claims import (
    classify_difference,
    describe_needed_data,
    flag_parts,
    groups_needed,
    log_ratio,
    one_sided_bounds,
)


def measured(value, se=0.01, *, unit="", low=-1.0, high=1.0):
    """Return an estimate over 62 groups."""
    return Measurement(
        name="it", value=value, low=low, high=high, method="", n_rows=9, n_groups=62, se=se, dof=61, unit=unit
    )


@pytest.mark.parametrize(
    ("value", "where"), [(0.10, "gained"), (-0.10, "lost"), (0.001, "equivalent"), (0.02, "open"), (-0.02, "open")]
)
def test_a_difference_is_above_below_within_the_margin_or_open(value, where):
    assert classify_difference(measured(value), 0.03, 0.01) == where


def test_a_difference_within_the_margin_is_equivalent_even_if_significant():
    assert one_sided_bounds(measured(0.02, se=0.001), 0.01)[0] > 0
    assert classify_difference(measured(0.02, se=0.001), 0.03, 0.01) == "equivalent"


def test_a_claim_among_twenty_needs_a_larger_effect_than_a_single_claim():
    found = measured(-0.02)
    assert one_sided_bounds(found, 0.05)[1] < 0 < one_sided_bounds(found, 0.05 / 20)[1]


def test_without_an_interval_nothing_is_shown():
    found = Measurement(name="it", value=-0.5, low=-1, high=1, method="", n_rows=9)
    assert one_sided_bounds(found, 0.05) == (-1, 1)
    assert classify_difference(found, 0.03, 0.05) == "open"
    assert math.isinf(groups_needed(found, found.value, 0.05))


def test_a_ratio_is_a_difference_of_logarithms():
    found = log_ratio(measured(2.0, se=0.1, unit="x", low=0.0, high=4.0))
    assert (found.value, found.se) == pytest.approx((math.log(2), 0.05))
    assert (found.low, found.high) == (-math.inf, pytest.approx(math.log(4)))


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (measured(0.025), "it: about 85 groups would decide"),
        (measured(0.002), "it: more than 10 times the 62 groups would decide"),
        (measured(1.03, se=0.02, unit="x"), "it: about 123 rounds would decide"),
    ],
)
def test_needed_data_is_given_in_groups_or_rounds(found, message):
    """By hand: G * ((1.645 + 1.282) * se / gap)^2, with the gap to 0, or to the margin from within it."""
    margin = 0.07 if found.unit else 0.001
    assert describe_needed_data(found, margin, 0.05) == message


def test_a_claim_is_counted_over_all_parts_and_flagged_for_each():
    over_all, of_one = flag_parts("harmful", {"temp": "shown"}, n_rows=9)
    assert (over_all.value, over_all.slice) == (1, "")
    assert (of_one.value, of_one.slice, of_one.method) == (1, "temp", "shown")


def test_the_number_of_parts_may_be_larger_by_those_that_are_undecided():
    over_all, *_ = flag_parts("harmful", {"temp": "shown"}, n_rows=9, undecided=2)
    assert (over_all.low, over_all.value, over_all.high) == (1.0, 1.0, 3.0)
