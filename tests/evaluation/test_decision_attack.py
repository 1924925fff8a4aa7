"""Columns that an attacker may change, and the search for changes that flip decisions."""

from __future__ import annotations

from time import monotonic

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.evaluation.attacked_models import NAMES, Both, Constant, Stump, attacked_by

from headway.core.errors import EngineError, NotApplicable
from headway.evaluation.decision_attack import DecisionOracle, attack_rows, attackable_columns
from headway.evaluation.settings.attack import AttackSection


def columns(**limits):
    return {item.name: item for item in attackable_columns(attacked_by(Stump()), AttackSection(**limits))}


def test_fixed_and_constant_columns_are_not_attacked():
    assert set(columns(fixed=("wind",), bounds={"seats": (5.0, 5.0)})) == {"fare", "night", "carrier"}


def test_integers_stay_integers_and_decimals_keep_their_number():
    found = columns()
    assert (found["seats"].decimals, found["fare"].decimals, found["wind"].decimals) == (0, 1, None)
    assert found["seats"].within(np.array([100.0]), np.array([101.4])).tolist() == [101.0]
    assert found["fare"].within(np.array([10.0]), np.array([10.26])).tolist() == [10.3]


def test_a_number_moves_no_further_than_its_reach_nor_beyond_its_bounds():
    fare = columns(reach=0.2, bounds={"fare": (5.0, 60.05)})["fare"]
    far = fare.within(np.array([30.0, 58.0, 6.0]), np.array([99.0, 99.0, -99.0]))
    assert 30 < far[0] <= 30 + 0.2 * fare.scale and far[1:].tolist() == [60.0, 5.0]
    assert fare.within(np.array([99.0]), np.array([0.0])).tolist() == [99.0]


def test_categories_and_flags_take_observed_values_and_missing_values_stay_missing():
    found = columns()
    assert found["carrier"].within(np.array([0.0, 0.0, np.nan]), np.array([3.0, 9.0, 1.0])).tolist()[:2] == [3.0, 0.0]
    assert np.isnan(found["carrier"].within(np.array([np.nan]), np.array([1.0]))).all()
    assert found["night"].within(np.array([0.0]), np.array([0.5])).tolist() == [0.0]
    assert np.isnan(found["seats"].within(np.array([np.nan]), np.array([70.0]))).all()


def test_steps_cover_the_allowed_range():
    fare = columns(bounds={"fare": (0.0, 100.0)})["fare"]
    steps = fare.steps(np.array([50.0]), 5)
    assert steps[0, 0] == max(0.0, np.ceil((50 - fare.scale) * 10) / 10) and steps[0, 2] == 50.0
    assert columns()["carrier"].steps(np.array([1.0]), 8).tolist() == [[0.0, 1.0, 2.0, 3.0]]


def test_a_column_of_one_value_moves_within_bounds_that_are_declared_for_it():
    subject = attacked_by(Stump())
    subject.rows[:, 2] = 30.0
    assert "fare" not in {item.name for item in attackable_columns(subject, AttackSection())}
    (fare,) = (
        item
        for item in attackable_columns(subject, AttackSection(bounds={"fare": (20.0, 40.0)}))
        if item.name == "fare"
    )
    assert fare.scale == 20.0 and fare.among is None


class Plane:
    """A linear model over all columns with random weights; missing values count as 0."""

    def __init__(self, weights):
        self.weights = np.array(weights)

    def predict(self, rows):
        known = np.nan_to_num(rows / np.array([1.0, 300.0, 100.0, 1.0, 3.0]) - 0.5)
        return 1 / (1 + np.exp(-(known @ self.weights)))[:, None]


class Refuses(Stump):
    def predict(self, rows):
        raise EngineError("no such rows")


def attacked(model, *, count=200, until=None, **limits):
    subject, section = attacked_by(model, count=count), AttackSection(**limits)
    decide = DecisionOracle(model, 0.5, monotonic() + 60 if until is None else until)
    return attack_rows(subject.rows, decide, attackable_columns(subject, section), section)


limited = st.fixed_dictionaries(
    {
        "fixed": st.lists(st.sampled_from(NAMES), max_size=4, unique=True).map(tuple),
        "columns": st.integers(1, 4),
        "reach": st.floats(0.05, 3.0),
        "queries": st.integers(20, 400),
    }
)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(
    weights=st.lists(st.floats(-4, 4), min_size=5, max_size=5),
    limits=limited,
    low=st.floats(0, 60),
    wide=st.floats(0, 60),
)
def test_no_constraint_is_broken_and_flipped_rows_are_flipped(weights, limits, low, wide):
    bounds = {} if "fare" in limits["fixed"] else {"fare": (low, low + wide)}
    model = Plane(weights)
    found = attacked(model, count=60, bounds=bounds, **limits)
    moved = (found.flipped_rows != found.rows) & ~np.isnan(found.rows)
    assert np.array_equal(np.isnan(found.flipped_rows), np.isnan(found.rows))
    assert not moved[:, [NAMES.index(name) for name in limits["fixed"]]].any()
    assert (moved.sum(1) == found.changed).all() and found.changed.max() <= limits["columns"]
    now = (model.predict(found.flipped_rows)[:, 0] >= 0.5).astype(int)
    assert ((now != found.decisions) == ~found.robust).all()
    counts, fare, flag, text = (found.flipped_rows[moved[:, at], at] for at in (1, 2, 3, 4))
    assert (counts == np.round(counts)).all() and np.array_equal(fare, np.round(fare, 1))
    assert ((fare >= low) & (fare <= low + wide)).all() or not bounds
    assert np.isin(flag, (0, 1)).all() and np.isin(text, (0, 1, 2, 3)).all()
    assert (found.moved <= limits["reach"] + 1e-6).all()


@pytest.mark.slow
def test_the_only_column_a_model_reads_flips_every_row_within_reach():
    found = attacked(Stump(), fixed=("night",), reach=1.0)
    near = np.abs(found.rows[:, 0] - 0.5) < 0.4
    assert not found.robust[near].any() and (found.changed[near] == 1).all()
    assert found.alone[near, 0].all() and not found.alone[:, 1:].any()


@pytest.mark.slow
def test_the_found_change_is_nearly_the_shortest():
    found = attacked(Stump())
    needed = np.abs(found.rows[:, 0] - 0.5) / 0.5
    assert np.median(found.moved[~found.robust] - needed[~found.robust]) < 0.05


@pytest.mark.slow
def test_decisions_that_need_two_columns_are_flipped_with_two_and_not_with_one():
    two, one = attacked(Both(), columns=2, reach=3.0), attacked(Both(), columns=1, reach=3.0)
    low = (two.rows[:, 0] < 0.5) & (two.rows[:, 2] <= 50)
    assert (two.changed[low] == 2).mean() > 0.95 and one.robust[low].all()


def test_a_constant_model_holds_every_row_within_its_query_limit():
    found = attacked(Constant(), queries=100)
    assert found.robust.all() and not found.alone.any() and found.queries <= 100


@pytest.mark.slow
def test_no_row_takes_more_queries_than_allowed():
    for queries in (60, 200, 1000):
        assert attacked(Both(), reach=0.3, queries=queries).queries <= queries


@pytest.mark.slow
def test_models_with_equal_decisions_are_flipped_equally():
    class Doubled(Both):
        def predict(self, rows):
            return 0.4 + 0.3 * super().predict(rows)

    one, other = attacked(Both()), attacked(Doubled())
    np.testing.assert_array_equal(one.flipped_rows, other.flipped_rows)


def test_without_time_or_with_a_refusal_the_attack_does_not_apply():
    with pytest.raises(NotApplicable, match="time ran out"):
        attacked(Stump(), until=monotonic() - 1)
    with pytest.raises(NotApplicable, match="rejects an altered row: no such rows"):
        subject = attacked_by(Stump(), count=60)
        attack_rows(subject.rows, DecisionOracle(Refuses(), 0.5, monotonic() + 60), [], AttackSection())


def test_nothing_is_flipped_if_no_column_may_change():
    found = attacked(Stump(), fixed=tuple(NAMES))
    assert found.robust.all() and np.array_equal(found.flipped_rows, found.rows, equal_nan=True)
