"""Faults of places, worked by hand: columns that took each other's place, and values of the group before."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from tests.evaluation.corruptions.made import inputs

from headway.core.variant import Field
from headway.evaluation.corruptions import places

nan = np.nan


def test_swapped_texts_are_read_by_their_words_and_not_by_their_ranks():
    """`jfk` is rank 1 of `from` and rank 0 of `to`; `ewr` is other to `to`, and `lax` is missing to `from`."""
    (fault,) = places.swapped(inputs())
    rows = fault.rows()
    assert fault.what == "from <-> to"
    np.testing.assert_array_equal(rows[:3, 2:], [[nan, 2.0], [nan, 0.0], [1.0, 2.0]])
    np.testing.assert_array_equal(rows[:, :2], inputs().rows[:, :2])


def test_a_missing_text_stays_missing_in_its_new_place():
    made = inputs()
    rows = made.rows.copy()
    rows[0, 2:] = nan, 2.0
    (fault,) = places.swapped(replace(made, rows=rows))
    np.testing.assert_array_equal(fault.rows()[0, 2:], [nan, nan])


def test_a_number_takes_the_place_of_the_one_that_is_most_like_it():
    rows = np.array([[1.0, 500, 3], [2, 600, 2], [3, 700, 1]])
    fields = tuple(Field(name=name) for name in ("hour", "distance", "month"))
    made = replace(inputs(), rows=rows, fields=fields, parts={})
    found = {fault.what: fault.rows() for fault in places.swapped(made)}
    assert set(found) == {"hour <-> month", "hour <-> distance"}
    np.testing.assert_array_equal(found["hour <-> month"], rows[:, [2, 1, 0]])


def test_what_is_stale_stands_as_it_did_at_the_same_place_of_the_group_before():
    found = {fault.what: fault.rows() for fault in places.stale(inputs())}
    assert found["temp"][:, 0].tolist() == [0, 10, 0, 10, 20, 30]
    np.testing.assert_array_equal(found["temp"][:, 1:], inputs().rows[:, 1:])
    np.testing.assert_array_equal(found["from + to"][2:, 2:], inputs().rows[:4, 2:])


def test_without_time_no_group_is_before_another():
    assert not list(places.stale(inputs(ordered=False)))
