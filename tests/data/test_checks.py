from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
from tests.data.tables import small, with_column

from headway.core.contracts import Survey
from headway.core.dataset import Dataset, Roles
from headway.core.errors import NotApplicable
from headway.core.evidence import Finding
from headway.core.plugins import load_check
from headway.data.check import check
from headway.face.demo import flights

OUTCOME = {"dep_time", "dep_delay", "arr_time", "air_time", "arr_delay"}


def said(name: str, dataset: Dataset) -> Sequence[Finding]:
    return load_check(name)(Survey(dataset=dataset))


def found(name: str, dataset: Dataset) -> list[str]:
    return [f"{finding.severity} {finding.where}" for finding in said(name, dataset)]


def with_gaps(**roles: object) -> Dataset:
    """`landed` is missing wherever `late` is; `hour` is not."""
    dataset = small(**roles)
    return with_column(dataset, landed=dataset.table["late"].cast(pl.Float64) * 0 + 5)


def test_d001_names_each_column_known_only_after_the_outcome():
    assert found("known_after", with_gaps(known={"landed": "outcome"})) == ["note column landed"]


def test_d002_stops_at_a_column_whose_gaps_follow_those_of_the_target():
    assert found("missing_with_outcome", with_gaps()) == ["stop column landed"]


def test_d002_warns_where_somebody_says_that_the_column_is_known_at_request():
    assert found("missing_with_outcome", with_gaps(known={"landed": "request"})) == ["warn column landed"]


def test_d002_says_that_it_cannot_judge_without_rows_that_lack_an_outcome():
    with pytest.raises(NotApplicable, match="only 0 rows have no outcome"):
        said("missing_with_outcome", with_column(small(), late=[0, 1] * 200))


def test_d003_stops_at_a_column_that_predicts_the_target_on_its_own():
    dataset = small()
    leak = dataset.table["late"].fill_null(0) * -2 + pl.Series(np.random.default_rng(1).random(400))
    assert found("target_leak", with_column(dataset, leak=leak)) == ["stop column leak"]


def test_d003_does_not_apply_to_a_regression_or_a_single_class():
    with pytest.raises(NotApplicable, match="task 'regression'"):
        said("target_leak", small(task="regression"))
    with pytest.raises(NotApplicable, match="one class only"):
        said("target_leak", with_column(small(), late=[1] * 400))


def test_d004_counts_the_rows_without_an_outcome_and_names_the_worst_group():
    finding = said("selection", small())[0]

    assert finding.says.startswith("20 of 400 rows (5.0%) have no outcome")
    assert "by day the share runs up to 10%" in finding.says


def test_d004_is_a_note_below_one_percent_and_silent_without_gaps():
    late = [None, *[0, 1] * 199, 1]
    assert found("selection", with_column(small(groups=""), late=late)) == ["note column late"]
    assert found("selection", with_column(small(), late=[0, 1] * 200)) == []


def test_d005_is_undecided_about_features_of_which_nobody_said_when_they_are_known():
    assert found("undeclared", small(known={"hour": "request"})) == ["undecided [data.known]"]
    assert found("undeclared", small(known={"hour": "request", "carrier": "request"})) == []


def test_d006_is_undecided_below_twenty_groups():
    assert found("few_groups", with_column(small(), day=[1, 2] * 200)) == ["undecided column day"]
    assert found("few_groups", small()) == []


def test_d006_says_that_all_rows_are_one_group_or_each_its_own():
    [one] = said("few_groups", with_column(small(), day=[1] * 400))
    [each] = said("few_groups", with_column(small(), day=list(range(400))))

    assert one.says == "all rows are one group in 'day': no method gives an honest interval below 20"
    assert each.says == "every one of 400 rows is a group of its own in 'day': groups make no difference"


def test_a_check_that_could_not_judge_says_so():
    says = [finding.says for finding in check(Survey(dataset=small(groups=""))) if finding.code == "D000"]
    assert says == ["check 'few_groups' did not run: no groups are declared: every row counts as independent"]


@pytest.mark.slow
def test_every_outcome_column_of_the_flights_is_found_without_being_declared_and_no_other():
    roles = Roles(target="late", time="departs_at", groups="date")
    dataset = Dataset(name="flights", table=flights.load(), roles=roles)
    stops = [f for f in check(Survey(dataset=dataset)) if f.severity == "stop"]

    assert {finding.where.removeprefix("column ") for finding in stops} == OUTCOME
