"""The compiled passes of windowed aggregations: the same bits as numpy, and no array that does not fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.features.test_windowed_aggregations import (
    COMPILED,
    FUNCTIONS,
    drawn_tables,
    events_of,
    events_table,
    requests_of,
    requests_table,
)

from headway.core.feature_view import DAY_S, HOUR_S, Aggregation
from headway.features import windows
from headway.features.windows import aggregate

pytestmark = pytest.mark.kernels


def both_ways(*arguments: Any, **options: Any) -> list[pl.DataFrame]:
    """Aggregate with the compiled passes and with those of numpy."""
    found = list[pl.DataFrame]()
    try:
        for windows.kernel in (COMPILED, None):
            found.append(aggregate(*arguments, **options))
    finally:
        windows.kernel = COMPILED
    return found


@pytest.mark.slow
@given(events_of, requests_of, st.sampled_from((1, 5, 24)))
def test_the_compiled_passes_find_the_same_bits_as_numpy(events, requests, hours):
    table, at = events_table(events), requests_table(requests)
    wanted = {
        f"{function} {column}": Aggregation(function=function, window_s=hours * HOUR_S, column=column)
        for function in FUNCTIONS
        for column in ("number", "real")
    }
    compiled, plain = both_ways(table, at, wanted, entities=["who"], time="time")
    assert compiled.equals(plain, null_equal=True)


@pytest.mark.slow
@pytest.mark.parametrize("order", ["sorted", "shuffled", "late"])
@pytest.mark.parametrize("digits", [(0, 1), (-20, 20), (-300, 300)])
def test_floats_of_all_sizes_are_added_to_the_same_bits_as_by_numpy(order, digits):
    table, at = drawn_tables(7, pl.Int64, order)
    draw = np.random.default_rng(3)
    exponents = draw.integers(*digits, len(table))
    for values in (draw.normal(size=len(table)), draw.integers(-9, 9, len(table)) / 8):
        some = table.with_columns(real=pl.Series(values * 10.0**exponents))
        wanted = {"sum": Aggregation(function="sum", window_s=DAY_S, column="real")}
        compiled, plain = both_ways(some, at, wanted, entities=["who"], time="time")
        assert compiled["sum"].to_numpy().tobytes() == plain["sum"].to_numpy().tobytes()


@pytest.mark.parametrize("change", ["", "entity", "key", "table", "starts", "counts", "short"])
def test_compiled_ranges_refuse_arrays_that_do_not_fit_together(change):
    assert COMPILED
    int64, uint32 = (lambda *of: np.array(of, dtype=np.int64)), (lambda *of: np.array(of, dtype=np.uint32))
    table = {"table": uint32(0, 9, 9), "short": uint32(0)}.get(change, uint32(0, 1, 1))
    keys = uint32(1 if change == "entity" else 0) if change != "key" else int64(5)
    steps = int64(0) if change == "counts" else int64(0, 0)
    starts = int64(0) if change == "starts" else int64(0, 1)
    codes, smallest = (uint32(7), 5) if change == "key" else (uint32(), None)
    begins, ends = uint32(0), uint32(0)
    arrays = int64(0), int64(0), starts, table, int64(0), keys, int64(0), int64(0), begins, ends, steps, codes
    if change:
        with pytest.raises(ValueError, match="arrays do not fit together"):
            COMPILED.ranges(*arrays, 1, 0, -9, smallest)
    else:
        assert COMPILED.ranges(*arrays, 1, 0, -9, smallest) == 1
        assert (begins[0], ends[0], *steps) == (0, 1, 1, -1)


@pytest.mark.parametrize("change", ["", "row", "begins", "steps", "values", "unaligned"])
def test_compiled_sums_refuse_arrays_that_do_not_fit_together(change):
    assert COMPILED
    rows, begins, ends = (np.array([number], dtype=np.uint32) for number in (0, 0, 1))
    rows[0] += 9 * (change == "row")
    begins[0] += 2 * (change == "begins")
    steps = np.zeros((1 if change == "steps" else 2, 2))
    values = np.ones(0 if change == "values" else 1)
    if change == "unaligned":
        values = np.zeros(24, dtype=np.uint8)[1:17].view(np.float64)
    some = rows if change == "row" else rows[:0]
    calls: list[Callable[[], object]] = [
        lambda: COMPILED.add_floats(values, some, begins, ends, np.array([3.0, 0.0]), steps),
        lambda: COMPILED.add_integers(values.view(np.int64), some, begins, ends, steps.view(np.int64), False),
    ]
    for call in calls:
        if change:
            with pytest.raises(ValueError, match=r"arrays do not fit together|aligned items"):
                call()
        else:
            call()
