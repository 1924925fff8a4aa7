from __future__ import annotations

import pytest
from tests.data.tables import small

from headway.cli.demo import flights
from headway.core.dataset import Dataset, Roles
from headway.core.sections import SplitSection
from headway.data.check import run_checks
from headway.data.context import CheckContext
from headway.data.split import split_dataset

pytestmark = pytest.mark.slow

OUTCOME = {"dep_time", "dep_delay", "arr_time", "air_time", "arr_delay"}


def test_a_check_that_cannot_judge_yields_a_finding():
    message = [finding.message for finding in run_checks(CheckContext(dataset=small(groups="")), families=["roles"])]
    assert message == ["check 'few_groups' did not run: no groups are declared: every row counts as independent"]


@pytest.mark.slow
def test_exactly_the_outcome_columns_of_the_flights_are_found():
    roles = Roles(target="late", time="departs_at", groups="date")
    dataset = Dataset(name="flights", table=flights.load(), roles=roles)
    stops = [f for f in run_checks(CheckContext(dataset=dataset)) if f.severity == "stop"]

    assert {finding.where.removeprefix("column ") for finding in stops} == OUTCOME


@pytest.mark.slow
def test_routes_that_began_after_the_test_have_no_support():
    roles = Roles(target="late", time="departs_at", groups="date", slices=("carrier",))
    table = flights.load().drop(*OUTCOME)
    dataset = Dataset(name="flights", table=table, roles=roles)
    periods = {"train": ("2013-01-01", "2013-05-01"), "validation": ("2013-05-01", "2013-07-01")}
    split = SplitSection(**periods, test=("2013-07-01", "2013-09-01"), live=("2013-09-01", "2014-01-01"))
    found = run_checks(CheckContext(dataset=dataset, periods=split_dataset(dataset, split)), families=["population"])

    message = " | ".join(f"{finding.code} {finding.message}" for finding in found)
    assert "D032" in message and "carrier MQ and dest TPA (" in message and " served, 0 training)" in message
    assert "D031" in message and "OO (" in message and "D030" not in message
