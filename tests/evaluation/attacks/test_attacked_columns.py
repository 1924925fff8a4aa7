"""What an attacker may make of a column: nothing that is forbidden, and all that is allowed."""

from __future__ import annotations

import numpy as np
from tests.evaluation.attacks.attackable import Stump, attacked_by

from headway.core.sections.attack import AttackSection
from headway.evaluation.attacks.columns import columns_of


def columns(**limits):
    return {each.name: each for each in columns_of(attacked_by(Stump()), AttackSection(**limits))}


def test_what_is_fixed_or_takes_one_value_alone_is_no_column_to_move():
    assert set(columns(fixed=("wind",), bounds={"seats": (5.0, 5.0)})) == {"fare", "night", "carrier"}


def test_whole_numbers_stay_whole_and_decimals_keep_those_seen():
    found = columns()
    assert (found["seats"].decimals, found["fare"].decimals, found["wind"].decimals) == (0, 1, None)
    assert found["seats"].within(np.array([100.0]), np.array([101.4])).tolist() == [101.0]
    assert found["fare"].within(np.array([10.0]), np.array([10.26])).tolist() == [10.3]


def test_a_number_moves_no_further_than_its_reach_nor_beyond_its_bounds():
    fare = columns(reach=0.2, bounds={"fare": (5.0, 60.05)})["fare"]
    far = fare.within(np.array([30.0, 58.0, 6.0]), np.array([99.0, 99.0, -99.0]))
    assert 30 < far[0] <= 30 + 0.2 * fare.scale and far[1:].tolist() == [60.0, 5.0]
    assert fare.within(np.array([99.0]), np.array([0.0])).tolist() == [99.0]


def test_texts_and_flags_move_among_those_seen_and_what_is_missing_stays_so():
    found = columns()
    assert found["carrier"].within(np.array([0.0, 0.0, np.nan]), np.array([3.0, 9.0, 1.0])).tolist()[:2] == [3.0, 0.0]
    assert np.isnan(found["carrier"].within(np.array([np.nan]), np.array([1.0]))).all()
    assert found["night"].within(np.array([0.0]), np.array([0.5])).tolist() == [0.0]
    assert np.isnan(found["seats"].within(np.array([np.nan]), np.array([70.0]))).all()


def test_steps_reach_from_one_end_of_what_is_allowed_to_the_other():
    fare = columns(bounds={"fare": (0.0, 100.0)})["fare"]
    steps = fare.steps(np.array([50.0]), 5)
    assert steps[0, 0] == max(0.0, np.ceil((50 - fare.scale) * 10) / 10) and steps[0, 2] == 50.0
    assert columns()["carrier"].steps(np.array([1.0]), 8).tolist() == [[0.0, 1.0, 2.0, 3.0]]


def test_a_column_of_one_value_moves_within_bounds_that_are_declared_for_it():
    subject = attacked_by(Stump())
    subject.rows[:, 2] = 30.0
    assert "fare" not in {each.name for each in columns_of(subject, AttackSection())}
    (fare,) = (
        each for each in columns_of(subject, AttackSection(bounds={"fare": (20.0, 40.0)})) if each.name == "fare"
    )
    assert fare.scale == 20.0 and fare.among is None
