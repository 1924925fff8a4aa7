"""Layers for int8: the least sensitive first, as many as a limit allows, each set measured once."""

from __future__ import annotations

import numpy as np
import pytest

from headway.optimization.quantization.int8 import AnswerShift, Layers, answer_shift, select_layers
from headway.optimization.quantization.networks import calibration_rows

COST = {"a": 0.002, "b": 0.3, "c": 0.001, "d": 0.02}


class Adds:
    """Changes that add up, and the sets that were measured."""

    def __init__(self, cost: dict[str, float]) -> None:
        self.cost, self.seen = cost, list[Layers]()

    def __call__(self, layers: Layers) -> AnswerShift:
        self.seen.append(layers)
        total = sum(self.cost[name] for name in layers)
        return AnswerShift(max=total, tail=total)


def test_all_layers_come_first_then_the_largest_set_for_each_limit_in_graph_order():
    assert select_layers(tuple(COST), Adds(COST), (0.05, 0.01)) == [("a", "b", "c", "d"), ("a", "c", "d"), ("a", "c")]


def test_equal_sets_come_once_and_none_is_empty():
    assert select_layers(("a", "c"), Adds(COST), (0.05, 0.01)) == [("a", "c")]
    assert select_layers(("b",), Adds(COST), (0.05,)) == [("b",)]


def test_no_set_is_measured_twice():
    moved = Adds(COST)
    select_layers(tuple(COST), moved, (0.05, 0.01, 0.0015))
    assert len(moved.seen) == len(set(moved.seen))


def test_the_shorter_tail_comes_first_among_equal_changes():
    tails = {("a",): 0.04, ("b",): 0.001}
    found = select_layers(
        ("a", "b"), lambda some: AnswerShift(max=0.045 * len(some), tail=tails.get(some, 0.05)), (0.05,)
    )
    assert found == [("a", "b"), ("b",)]


def test_neighbours_among_many_layers_are_grouped_to_bound_the_measurements():
    cost = {f"layer {number}": 0.001 if number < 50 else 1.0 for number in range(100)}
    moved = Adds(cost)
    sets = select_layers(tuple(cost), moved, (0.05,))
    assert len(moved.seen) <= 30
    assert sets[0] == tuple(cost) and 40 <= len(sets[1]) < 50 and set(sets[1]) <= set(list(cost)[:50])


def test_an_answer_that_becomes_nan_is_an_infinite_change():
    expected = np.array([[0.5], [np.nan], [np.inf], [0.25]])
    assert answer_shift(expected, expected).max == 0
    assert answer_shift(expected, np.where(np.isnan(expected), 0.0, expected)).max > 1e300
    assert answer_shift(expected[:1], np.array([[np.nan]])).max > 1e300


def test_changes_are_shares_of_the_scale():
    assert answer_shift(np.array([[1.0], [2.0]]), np.array([[1.0], [2.5]]), scale=10).max == pytest.approx(0.05)


def test_calibration_rows_include_the_extremes_of_every_column():
    sample = np.random.default_rng(0).normal(size=(20_000, 3))
    sample[7777, 1], sample[8888, 2], sample[9999, 0] = 99, -99, np.nan
    found = calibration_rows(sample, work=1)
    assert 5_000 <= len(found) <= 5_006
    assert found[:, 1].max() == 99 and found[:, 2].min() == -99


def test_a_costly_network_is_calibrated_on_fewer_rows_and_a_short_sample_is_used_in_full():
    sample = np.random.default_rng(0).normal(size=(20_000, 3))
    assert 32 <= len(calibration_rows(sample, work=10**9)) <= 38
    assert len(calibration_rows(sample[:20], work=10**9)) == 20
