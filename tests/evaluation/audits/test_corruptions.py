"""Corrupted inputs: missing, unseen, noisy, converted, swapped and stale values."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from headway.core.variant import Field
from headway.evaluation.audits import robustness
from headway.evaluation.audits.robustness import CorruptionInputs


def inputs(*, times: int = 1, unseen: str = "missing", ordered: bool = True) -> CorruptionInputs:
    """Return the rows repeated `times` times, in three groups."""
    rows = np.array([[0, 0, 0, 1], [10, 1, 1, 1], [20, 0, 0, 0], [30, 1, 1, 0], [40, 0, 0, 1], [100, 1, 1, 0]], float)
    return CorruptionInputs(
        rows=np.tile(rows, (times, 1)),
        groups=np.repeat([0, 1, 2], 2 * times),
        fields=(
            Field(name="temp"),
            Field(name="flag"),
            Field(name="from", datatype="BYTES", categories=("ewr", "jfk"), unseen=unseen),
            Field(name="to", datatype="BYTES", categories=("jfk", "lax"), unseen="other"),
        ),
        parts={"from + to": [2, 3], "temp": [0], "flag": [1]},
        ordered=ordered,
    )


nan = np.nan


def of(faults):
    return {fault.what: fault.rows() for fault in faults(inputs())}


def test_a_missing_part_is_missing_in_every_row_and_nothing_else_is():
    found = of(robustness.remove_values)
    assert set(found) == {"temp", "flag", "from + to", "10% of all"}
    np.testing.assert_array_equal(np.isnan(found["from + to"]), [[False, False, True, True]] * 6)


def test_the_same_tenth_of_all_values_is_missing_in_every_run():
    many = inputs(times=500)
    one, other = ([fault.rows() for fault in robustness.remove_values(many)][-1] for _ in range(2))
    np.testing.assert_array_equal(one, other)
    assert np.isnan(one).mean() == pytest.approx(0.1, abs=0.01)


def test_an_unseen_category_is_read_as_its_field_declares():
    found = of(robustness.use_unseen_categories)
    assert set(found) == {"from", "to"}
    assert np.isnan(found["from"][:, 2]).all() and set(found["to"][:, 3]) == {2.0}


def test_a_refused_category_is_not_a_corruption():
    refusing = inputs(unseen="refused")
    assert [fault.what for fault in robustness.use_unseen_categories(refusing)] == ["to"]


def test_noise_is_a_share_of_the_spread_of_numbers_and_leaves_flags_and_texts():
    many = inputs(times=2_000)
    (one, *_), rows = [fault.rows() for fault in robustness.add_noise(many)], many.rows
    moved = one - rows
    assert moved[:, 0].std() == pytest.approx(0.1 * rows[:, 0].std(), rel=0.03) and not moved[:, 1:].any()


def test_another_unit_is_the_same_quantity():
    found = of(robustness.convert_units)
    assert found["temp as F, is C"][:, 0].tolist() == [32.0, 50.0, 68.0, 86.0, 104.0, 212.0]
    assert found["temp as C, is F"][5, 0] == pytest.approx(37.78, abs=0.01)
    assert found["temp x 1000"][1, 0] == 10_000 and found["temp / 60"][5, 0] == pytest.approx(100 / 60)


nan = np.nan


def test_swapped_texts_are_read_by_their_words_and_not_by_their_ranks():
    """`jfk` has rank 1 in `from` and rank 0 in `to`; `ewr` is read as other by `to`, and `lax` as missing by `from`."""
    (fault,) = robustness.swap_columns(inputs())
    rows = fault.rows()
    assert fault.what == "from <-> to"
    np.testing.assert_array_equal(rows[:3, 2:], [[nan, 2.0], [nan, 0.0], [1.0, 2.0]])
    np.testing.assert_array_equal(rows[:, :2], inputs().rows[:, :2])


def test_a_missing_text_stays_missing_in_its_new_place():
    made = inputs()
    rows = made.rows.copy()
    rows[0, 2:] = nan, 2.0
    (fault,) = robustness.swap_columns(replace(made, rows=rows))
    np.testing.assert_array_equal(fault.rows()[0, 2:], [nan, nan])


def test_a_numeric_column_is_swapped_with_the_most_similar_one():
    rows = np.array([[1.0, 500, 3], [2, 600, 2], [3, 700, 1]])
    fields = tuple(Field(name=name) for name in ("hour", "distance", "month"))
    made = replace(inputs(), rows=rows, fields=fields, parts={})
    found = {fault.what: fault.rows() for fault in robustness.swap_columns(made)}
    assert set(found) == {"hour <-> month", "hour <-> distance"}
    np.testing.assert_array_equal(found["hour <-> month"], rows[:, [2, 1, 0]])


def test_stale_values_come_from_the_same_position_of_the_previous_group():
    found = {fault.what: fault.rows() for fault in robustness.use_stale_values(inputs())}
    assert found["temp"][:, 0].tolist() == [0, 10, 0, 10, 20, 30]
    np.testing.assert_array_equal(found["temp"][:, 1:], inputs().rows[:, 1:])
    np.testing.assert_array_equal(found["from + to"][2:, 2:], inputs().rows[:4, 2:])


def test_without_time_no_group_is_before_another():
    assert not list(robustness.use_stale_values(inputs(ordered=False)))
