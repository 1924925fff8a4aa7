from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from tests.data.tables import small, split_context

from headway.cli.demo import flights
from headway.core.dataset import Dataset, Roles
from headway.data.check import run_checks
from headway.data.context import CheckContext
from headway.data.settings.split import SplitSection
from headway.data.split import split_dataset

pytestmark = pytest.mark.slow

OUTCOME = {"dep_time", "dep_delay", "arr_time", "air_time", "arr_delay"}


def test_a_check_that_cannot_judge_yields_a_finding():
    message = [finding.message for finding in run_checks(CheckContext(dataset=small(groups="")), families=["roles"])]
    assert message == ["check 'few_groups' did not run: no groups are declared: every row counts as independent"]


ODD_COLUMNS = {
    "strings": ["a", "b", "c"] * 40,
    "constant numbers": [1.0] * 120,
    "constant strings": ["a"] * 120,
    "booleans": [True, False, None] * 40,
    "infinite numbers": [float("inf")] * 120,
    "not a number": [float("nan")] * 120,
    "the largest integers": pl.Series([2**64 - 1 - row % 7 for row in range(120)], dtype=pl.UInt64),
    "lists": [[1, 2]] * 120,
    **{
        f"missing {kind}": pl.Series([None] * 120, dtype=kind)
        for kind in (pl.Null, pl.Float64, pl.Int64, pl.String, pl.Categorical, pl.Boolean, pl.Date, pl.Duration)
    },
}


def odd_contexts(dataset: Dataset) -> Iterator[CheckContext]:
    """Yield the dataset unsplit, split, with periods of one row or none, and with no row at all."""
    whole = split_context(dataset)
    yield CheckContext(dataset=dataset)
    yield whole
    for rows, left in ((0, ("test",)), (0, ("train", "validation")), (1, ("train", "validation", "test"))):
        cut = {name: replace(whole.periods[name], table=whole.periods[name].table.head(rows)) for name in left}
        yield replace(whole, periods={**whole.periods, **cut})
    yield CheckContext(dataset=replace(dataset, table=dataset.table.head(0)))


@pytest.mark.parametrize("n_columns", [1, 6])
@pytest.mark.parametrize("name", ODD_COLUMNS)
def test_every_check_judges_a_table_of_odd_columns_or_declines(name: str, n_columns: int):
    """Six columns of strings without a number used to end `headway check` in near_duplicates."""
    draw = np.random.default_rng(0)
    columns = {f"c{index}": ODD_COLUMNS[name] for index in range(n_columns)}
    for target, task in ((draw.integers(0, 2, 120), "binary"), (draw.normal(size=120), "regression")):
        table = pl.DataFrame({**columns, "y": target, "g": [row // 4 for row in range(120)]})
        for groups in ("", "g"):
            dataset = Dataset(name="odd", table=table, roles=Roles(target="y", task=task, groups=groups))
            for context in odd_contexts(dataset):
                run_checks(context)


@pytest.fixture(scope="module")
def all_flights() -> pl.DataFrame:
    """The flights of the demo, joined once."""
    return flights.load()


@pytest.mark.slow
def test_exactly_the_outcome_columns_of_the_flights_are_found(all_flights: pl.DataFrame):
    roles = Roles(target="late", time="departs_at", groups="date")
    dataset = Dataset(name="flights", table=all_flights.gather_every(4), roles=roles)
    stops = [f for f in run_checks(CheckContext(dataset=dataset)) if f.severity == "stop"]

    assert {finding.where.removeprefix("column ") for finding in stops} == OUTCOME


@pytest.mark.slow
def test_routes_that_began_after_the_test_have_no_support(all_flights: pl.DataFrame):
    roles = Roles(target="late", time="departs_at", groups="date", slices=("carrier",))
    table = all_flights.drop(*OUTCOME)
    dataset = Dataset(name="flights", table=table, roles=roles)
    periods = {"train": ("2013-01-01", "2013-05-01"), "validation": ("2013-05-01", "2013-07-01")}
    split = SplitSection(**periods, test=("2013-07-01", "2013-09-01"), live=("2013-09-01", "2014-01-01"))
    found = run_checks(CheckContext(dataset=dataset, periods=split_dataset(dataset, split)), families=["population"])

    message = " | ".join(f"{finding.code} {finding.message}" for finding in found)
    assert "D032" in message and "carrier MQ and dest TPA (" in message and " served, 0 training)" in message
    assert "D031" in message and "OO (" in message and "D030" not in message
