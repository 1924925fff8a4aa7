"""Rows cut by shares where no period is declared: groups stay whole, and time goes one way."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.core.dataset import Dataset, Roles
from headway.core.errors import DataError
from headway.data.settings.split import SplitSection
from headway.data.split import split_by_shares, split_dataset, time_span

START = datetime(2013, 1, 1)


def dataset(groups: list[int], *, time: bool = False, grouped: bool = True) -> Dataset:
    rows = pl.DataFrame({"row": range(len(groups)), "day": groups, "y": [0.0] * len(groups)})
    rows = rows.with_columns(at=pl.Series([START + timedelta(days=day) for day in groups]))
    roles = Roles(target="y", groups="day" if grouped else "", time="at" if time else "")
    return Dataset(name="rows", table=rows, roles=roles)


@pytest.mark.slow
@given(st.integers(10, 30).flatmap(lambda count: st.permutations([day for day in range(count) for _ in range(5)])))
def test_every_row_is_in_one_period_and_no_group_in_two(groups):
    parts = split_dataset(dataset(groups), SplitSection())
    rows = [row for part in parts.values() for row in part.table["row"]]
    days = [set(part.table["day"]) for part in parts.values()]
    assert sorted(rows) == list(range(len(groups)))
    assert sum(map(len, days)) == len(set.union(*days))


def test_periods_have_about_the_requested_shares():
    parts = split_dataset(dataset([row // 10 for row in range(1000)]), SplitSection(shares=(0.5, 0.3, 0.2)))
    assert {name: len(part.table) for name, part in parts.items()} == {"train": 500, "validation": 300, "test": 200}


def test_a_fitted_model_needs_no_train_period():
    parts = split_dataset(dataset([row // 10 for row in range(1000)]), SplitSection(), fitted=True)
    assert {name: len(part.table) for name, part in parts.items()} == {"validation": 500, "test": 500}


def test_with_a_time_periods_are_in_time_order():
    parts = split_dataset(dataset([day * 7 % 50 for day in range(200)], time=True), SplitSection())
    ends = [(part.table["at"].min(), part.table["at"].max()) for part in parts.values()]
    assert ends[0][1] < ends[1][0] and ends[1][1] < ends[2][0]


def test_without_a_time_groups_are_drawn_reproducibly():
    table = dataset([row // 10 for row in range(1000)])
    days = list(split_by_shares(table, {"validation": 1, "test": 1})["validation"].table["day"].unique().sort())
    assert days == list(split_by_shares(table, {"validation": 1, "test": 1})["validation"].table["day"].unique().sort())
    assert days != list(range(50))


def test_without_groups_each_row_is_its_own():
    parts = split_by_shares(dataset([0] * 100, grouped=False), {"validation": 1, "test": 1})
    assert [len(part.table) for part in parts.values()] == [50, 50]


@pytest.mark.parametrize("groups", [[0] * 100, [0] * 98 + [1, 2]])
def test_too_few_or_too_large_groups_are_refused(groups):
    with pytest.raises(
        DataError, match=r"split into train, validation, test: one of them would be empty\n  at: rows: 100 rows"
    ):
        split_by_shares(dataset(groups, time=True), {"train": 1, "validation": 1, "test": 1})


def test_the_span_of_rows_ends_just_after_the_last():
    assert time_span(dataset([0, 3], time=True)) == ("2013-01-01T00:00:00", "2013-01-04T00:00:00.000001")
