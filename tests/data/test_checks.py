from __future__ import annotations

import pytest
from tests.data.tables import small

from headway.core.contracts import Survey
from headway.core.dataset import Dataset, Roles
from headway.data.check import check
from headway.face.demo import flights

OUTCOME = {"dep_time", "dep_delay", "arr_time", "air_time", "arr_delay"}


def test_a_check_that_could_not_judge_says_so():
    says = [finding.says for finding in check(Survey(dataset=small(groups="")), families=["roles"])]
    assert says == ["check 'few_groups' did not run: no groups are declared: every row counts as independent"]


@pytest.mark.slow
def test_every_outcome_column_of_the_flights_is_found_without_being_declared_and_no_other():
    roles = Roles(target="late", time="departs_at", groups="date")
    dataset = Dataset(name="flights", table=flights.load(), roles=roles)
    stops = [f for f in check(Survey(dataset=dataset)) if f.severity == "stop"]

    assert {finding.where.removeprefix("column ") for finding in stops} == OUTCOME
