"""State of windowed aggregations in an online store against the filter of all events, at times that move on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.core.errors import DataError, StoreError
from headway.core.feature_view import DAY_S, HOUR_S, Aggregation
from headway.features import window_state
from headway.features.window_state import WindowPlan, head_key

FUNCTIONS = ("count", "sum", "mean", "min", "max", "last", "distinct")
STEP_US = 600_000_000
PLAN = WindowPlan(
    [
        Aggregation(function="count", window_s=3 * HOUR_S),
        *(
            Aggregation(function=function, window_s=hours * HOUR_S, column=column)
            for function in FUNCTIONS
            for column in ("number", "real")
            for hours in (1, 3)
        ),
    ],
    integers=["number"],
)
Event = tuple[int, int, Any, Any]

steps = st.integers(-20, 20)
events = st.tuples(
    steps,
    st.integers(0, 2),
    st.none() | st.integers(-2, 2) | st.just(2**53 + 1),
    st.none() | st.sampled_from((0.1, 1e300, -1e300, math.nan, 7.0)),
)
pushes = st.lists(st.tuples(st.integers(0, 9), st.lists(events, max_size=6), st.booleans()), max_size=8)


@pytest.fixture(autouse=True)
def small_limits(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(window_state, "MAX_INLINE", 24)
    yield


class Store:
    """A store of bytes that gives and takes only what a plan names."""

    def __init__(self, plan: WindowPlan) -> None:
        self.plan = plan
        self.content: dict[str, bytes] = {}

    def read(self, keys: tuple[str, ...]) -> dict[str, bytes | None]:
        return {key: self.content.get(key) for key in keys}

    def push(self, rows: list[Event], now_us: int, *, entity: str = "A") -> None:
        packed = self.plan.events(
            [event for event, *_ in rows],
            {"number": [row[2] for row in rows], "real": [row[3] for row in rows]},
            created_us=[event + late for event, late, *_ in rows],
        )
        changes = self.plan.merge(entity, self.read(self.plan.keys_to_merge(entity, packed)), packed, now_us=now_us)
        for key, content in changes.items():
            self.content.pop(key, None)
            if content is not None:
                self.content[key] = content

    def answer(self, at_us: int, *, entity: str = "A") -> list[Any]:
        return self.plan.answer(entity, self.read(self.plan.keys_at(entity, at_us)), at_us)


def brute_force(rows: list[Event], at_us: int, one: Aggregation) -> Any:
    """Filter events that are each there once, and aggregate them with exact arithmetic."""
    index = {"number": 2, "real": 3, "": 0}[one.column]
    seen = sorted(
        (row for row in rows if at_us - one.window_s * 1_000_000 < row[0] <= at_us), key=lambda row: row[:2]
    )  # the sort is stable: of equal times, the order in which they came
    values = [row[index] for row in seen if row[index] is not None]
    if one.function in ("count", "distinct"):
        return len(values) if one.function == "count" else len(set(values))
    if not values:
        return None
    total = sum(map(Fraction, values))
    exact = {"sum": total, "mean": total / len(values), "min": min(values), "max": max(values), "last": values[-1]}
    return exact[one.function]


def expect_exact(found: list[Any], rows: list[Event], at_us: int) -> None:
    for value, one in zip(found, PLAN.aggregations, strict=True):
        expected = brute_force(rows, at_us, one)
        if isinstance(expected, Fraction) and isinstance(value, float):
            assert value == pytest.approx(float(expected), rel=1e-15), one
        else:
            assert value == expected, (one, at_us)


def simulate(history: list[tuple[int, list[tuple[int, int, Any, Any]], bool]]) -> Store:
    """Push events around a time that moves on, some of them twice, and compare the answers after each push."""
    store, now_us, known = Store(PLAN), 10**9 * STEP_US, {}
    for ahead, batch, again in history:
        now_us += ahead * STEP_US
        rows: list[Event] = [
            (now_us + step * STEP_US, late, number, None if real is None or real != real else real)
            for step, late, number, real in batch
        ]
        if again:
            rows += [*list(known)[-3:], *rows]
        store.push(rows, now_us)
        known.update(dict.fromkeys(rows))
        for at_us in (now_us, now_us + 1, now_us + 7 * STEP_US - 1):
            expect_exact(store.answer(at_us), list(known), at_us)
    return store


@pytest.mark.slow
@given(pushes)
def test_answers_are_exact_while_all_events_are_in_the_head(history):
    simulate(history)


@pytest.mark.slow
@given(pushes)
def test_answers_are_exact_when_events_lie_in_segments(history):
    many = [(0, [(step // 3 - 15, step % 3, step, 0.1 * step) for step in range(45)], False), *history]
    assert len(simulate(many[:1]).content) > 1
    simulate(many)


def test_old_tiles_and_their_segments_are_deleted_after_the_longest_window():
    store, now_us = Store(PLAN), 10**9 * STEP_US
    for hour in range(60):
        for minute in range(12):
            store.push([(now_us + minute * 300_000_000, 0, minute, 1.0)], now_us + hour)
        now_us += HOUR_S * 1_000_000
    assert len(store.content) <= 1 + 5 * 12
    head = store.content[head_key("A")]
    assert set(PLAN.keys_of("A", head)) == set(store.content)


@pytest.mark.slow
def test_an_entity_with_a_million_events_is_read_in_some_kilobytes():
    plan = WindowPlan([Aggregation(function="sum", window_s=90 * DAY_S, column="v")])
    tile = [plan.tile_us * index for index in range(1_024)]
    content: dict[str, bytes | None] = {}
    for start in tile:
        events_us = np.linspace(start, start + plan.tile_us - 1, 977).astype(np.int64)
        packed = plan.events(events_us, {"v": np.ones(977)})
        read = {key: content.get(key) for key in plan.keys_to_merge("A", packed)}
        content.update(plan.merge("A", read, packed, now_us=int(events_us[-1])))
    at_us = tile[-1] + plan.tile_us - 1
    read = {key: content.get(key) for key in plan.keys_at("A", at_us)}

    assert sum(len(value or b"") for value in read.values()) < 200_000
    assert max(len(value or b"") for value in content.values()) < 100_000
    assert plan.answer("A", read, at_us) == [1_000_448.0]


def test_different_values_beyond_the_bound_are_missing_for_the_long_window_only(monkeypatch):
    monkeypatch.setattr(window_state, "MAX_DISTINCT", 40)
    plan = WindowPlan(
        [Aggregation(function="distinct", window_s=hours * HOUR_S, column="v") for hours in (1, 24)], integers=["v"]
    )
    now_us = 10**6 * HOUR_S * 1_000_000
    packed = plan.events([now_us - index * 120_000_000 for index in range(60)], {"v": list(range(60))})
    content = plan.merge("A", {}, packed, now_us=now_us)
    assert plan.answer("A", content, now_us) == [30, None]


def test_too_many_events_of_one_tile_are_refused_with_the_entity(monkeypatch):
    monkeypatch.setattr(window_state, "MAX_TILE_EVENTS", 30)
    store, now_us = Store(PLAN), 10**9 * STEP_US
    with pytest.raises(DataError, match="more than 30 events") as caught:
        store.push([(now_us, late, 0, 0.0) for late in range(31)], now_us)
    assert "'A'" in caught.value.where
    assert store.content == {}


def test_events_of_the_future_wait_and_too_many_are_refused():
    store, now_us = Store(PLAN), 10**9 * STEP_US
    with pytest.raises(DataError, match="more than 24 events in the future"):
        store.push([(now_us + 1 + late, 0, 0, 0.0) for late in range(25)], now_us)


def test_an_event_that_waited_is_the_last_of_its_tile_once_its_time_has_come():
    store, start = Store(PLAN), 10**9 * PLAN.tile_us
    rows: list[Event] = [(start, late, 1, 0.0) for late in range(30)]
    later: Event = (start + 2_000_000, 0, 2, 3.0)
    store.push([*rows, later], start)
    other: Event = (start + 40 * PLAN.tile_us, 0, None, None)
    store.push([other], start + 40 * PLAN.tile_us)
    expect_exact(store.answer(start + 50 * PLAN.tile_us), [*rows, later, other], start + 50 * PLAN.tile_us)


def test_equal_events_with_different_ids_are_different():
    packed = PLAN.events([5, 5, 5], {"number": [1, 1, 1], "real": [1.0] * 3}, ids=[0, 1, 1])
    content = PLAN.merge("A", {}, packed, now_us=5)
    assert PLAN.answer("A", content, 5)[0] == 2


def test_no_key_of_one_entity_is_a_key_of_another():
    assert not set(PLAN.keys_at("A", 5)) & set(PLAN.keys_at("0\x1fA", 5))
    assert head_key("A") not in PLAN.keys_at("\x1fA", 5)


def test_an_entity_without_state_has_no_rows():
    assert PLAN.answer("A", {}, 5)[:3] == [0, 0, 0]
    assert set(PLAN.answer("A", {}, 5)) == {0, None}


@pytest.mark.parametrize("size", [0, 5, 40, -1])
def test_damaged_bytes_are_an_error_of_the_store(size):
    store = Store(PLAN)
    store.push([(5, 0, 1, 1.0)], 5)
    head = store.content[head_key("A")]
    store.content[head_key("A")] = head[:size]
    with pytest.raises(StoreError, match="damaged"):
        store.answer(5)


def test_state_of_another_definition_is_refused():
    store = Store(PLAN)
    store.push([(5, 0, 1, 1.0)], 5)
    other = WindowPlan([Aggregation(function="sum", window_s=HOUR_S, column="real")])
    with pytest.raises(StoreError, match="another definition"):
        other.answer("A", store.content, 5)


def test_a_segment_that_is_not_there_is_an_error_not_a_smaller_answer():
    store, now_us = Store(PLAN), 10**9 * STEP_US
    store.push([(now_us, late, 0, 0.0) for late in range(30)], now_us)
    store.content = {head_key("A"): store.content[head_key("A")]}
    with pytest.raises(StoreError, match="not in the online store"):
        store.answer(now_us)


@pytest.mark.parametrize("value", ["text", 2**64])
def test_a_value_other_than_a_number_is_refused_with_its_column(value):
    with pytest.raises(DataError, match="'number'"):
        PLAN.events([1], {"number": [value], "real": [1.0]})
    with pytest.raises(DataError, match="no value of 'real'"):
        PLAN.events([1], {"number": [1]})


def test_infinite_sums_are_as_floats_add():
    for values, expected in (
        ([math.inf, 1.0], math.inf),
        ([1.7e308, 1.7e308], math.inf),
        ([1.7e308, 1.7e308, -1.7e308], 1.7e308),
    ):
        packed = PLAN.events(range(len(values)), {"number": [1] * len(values), "real": values})
        content = PLAN.merge("A", {}, packed, now_us=5)
        index = PLAN.aggregations.index(Aggregation(function="sum", window_s=HOUR_S, column="real"))
        assert PLAN.answer("A", content, 5)[index] == expected
