"""The nearest flip of each row, from decisions alone: never nearer than possible, and never outside of its limits."""

from __future__ import annotations

from dataclasses import replace
from time import monotonic

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.evaluation.attacked_models import Both, Constant, Stump, attacked_by

from headway.evaluation.decision_attack import DecisionOracle, attackable_columns
from headway.evaluation.nearest_flip import find_nearest_flips
from headway.evaluation.settings.attack import AttackSection


class Linear:
    """Decides by the side of a plane over the first and the third column."""

    def predict(self, rows):
        return (rows[:, [0]] + rows[:, [2]] / 100 > 1.0).astype(float)


def flips_of(model, *, count=120, queries=200, plausible=None, pool=None, **limits):
    subject = attacked_by(model, count=count)
    columns = attackable_columns(subject, AttackSection(reach=1e3, **limits))
    decide = DecisionOracle(model, 0.5, monotonic() + 60)
    pool = subject.rows if pool is None else pool
    return columns, find_nearest_flips(subject.rows, decide, columns, pool=pool, queries=queries, plausible=plausible)


def test_one_column_moves_no_further_than_it_must():
    columns, found = flips_of(Stump())
    needed = np.abs(found.rows[:, 0] - 0.5) / columns[0].scale
    assert (found.distances >= needed - 1e-12).all()
    assert np.quantile(found.distances - needed, 0.9) < 0.1
    assert (found.flipped_rows[:, 1:] == found.rows[:, 1:])[~np.isnan(found.rows[:, 1:])].all()


def test_two_columns_share_a_move_towards_a_plane():
    columns, found = flips_of(Linear(), queries=600)
    w = np.array([columns[0].scale, columns[2].scale / 100])
    needed = np.abs(found.rows[:, 0] + found.rows[:, 2] / 100 - 1) / np.linalg.norm(w)
    assert (found.distances >= needed - 1e-9).all() and np.median(found.distances / np.maximum(needed, 0.05)) < 1.45


def test_the_cost_of_a_column_sends_the_search_to_the_other():
    _, found = flips_of(Both(), cost={"wind": 100.0})
    high = (found.rows[:, 0] > 0.5) & (found.rows[:, 2] > 50.0)
    moved = found.flipped_rows != found.rows
    assert moved[high, 2].all() and not moved[high, 0].any()


def test_a_constant_model_is_never_flipped():
    _, found = flips_of(Constant())
    assert np.isinf(found.distances).all() and np.array_equal(found.flipped_rows, found.rows, equal_nan=True)


def test_without_columns_or_without_a_row_decided_otherwise_nothing_is_found():
    assert np.isinf(flips_of(Stump(), fixed=("wind", "seats", "fare", "night", "carrier"))[1].distances).all()
    rows = attacked_by(Stump(), count=120).rows
    _, found = flips_of(Stump(), pool=rows[rows[:, 0] > 0.5])
    assert np.isinf(found.distances[rows[:, 0] > 0.5]).all() and np.isfinite(found.distances[rows[:, 0] <= 0.5]).all()


@settings(max_examples=15, deadline=None)
@given(queries=st.integers(20, 150), low=st.floats(0, 40), fixed=st.sampled_from([(), ("wind",), ("carrier", "seats")]))
def test_no_limit_is_broken_and_flips_are_flips(queries, low, fixed):
    model = Both()

    def plausible(rows):
        return rows[:, 0] * 100 >= rows[:, 2] - 60

    columns, found = flips_of(
        model, count=60, queries=queries, fixed=fixed, bounds={"fare": (low, low + 50)}, plausible=plausible
    )
    turned = np.isfinite(found.distances)
    now = (model.predict(found.flipped_rows)[:, 0] >= 0.5).astype(int)
    assert ((now != found.decisions) == turned).all() and (found.queries <= queries).all()
    moved = (found.flipped_rows != found.rows) & ~np.isnan(found.rows)
    assert not moved[:, [at for at in range(5) if at not in {column.at for column in columns}]].any()
    assert (found.flipped_rows[moved[:, 1], 1] % 1 == 0).all()
    assert ((found.flipped_rows[moved[:, 2], 2] >= low) & (found.flipped_rows[moved[:, 2], 2] <= low + 50)).all()
    assert plausible(found.flipped_rows[turned]).all()


def test_more_queries_find_nearer_flips_and_the_same_ones_twice():
    few, more, again = (flips_of(Linear(), queries=queries)[1].distances for queries in (40, 400, 400))
    assert more.sum() < few.sum() and np.array_equal(more, again)


@pytest.mark.parametrize("cost", [2.0, 0.5])
def test_a_distance_is_multiplied_by_the_cost(cost):
    column = attackable_columns(attacked_by(Stump()), AttackSection())[0]
    was, now = np.array([0.1, np.nan]), np.array([0.4, np.nan])
    assert replace(column, cost=cost).distance(was, now).tolist() == pytest.approx([0.3 / column.scale * cost, 0.0])
