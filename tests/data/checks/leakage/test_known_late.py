from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest
from tests.data.tables import message, wide, with_column

from headway.core.dataset import Dataset
from headway.core.errors import NotApplicable
from headway.data.checks.leakage.known_late import plugin
from headway.data.context import CheckContext

AT = wide().table["at"]


def timed(seen: pl.Series, **roles: object) -> CheckContext:
    """A context of rows whose first number was known when it was seen."""
    declared = {"known": {"x0": "seen"}, "ignore": ("seen",), **roles}
    dataset = with_column(wide(), seen=seen)
    return CheckContext(dataset=Dataset(name="timed", table=dataset.table, roles=wide(**declared).roles))


def test_a_column_known_after_the_decision_stops():
    [finding] = plugin(timed(AT + timedelta(minutes=1)))

    assert (finding.severity, finding.measured) == ("stop", 1.0)
    assert finding.message == "'x0' came later than the decision in 2,000 of 2,000 rows (100.0%), by 'seen'"
    assert message(plugin, timed(AT)) == []


def test_a_few_late_rows_are_a_warning():
    late = pl.Series([timedelta(hours=row == 7) for row in range(2000)])
    assert message(plugin, timed(AT + late)) == ["warn column x0"]


def test_the_decision_may_be_hours_before_a_column():
    assert message(plugin, timed(AT - timedelta(hours=1), decision="2h before at")) == ["stop column x0"]
    assert message(plugin, timed(AT - timedelta(hours=2), decision="2h before at")) == []
    assert message(plugin, timed(AT, decision="when the customer calls")) == []


def test_strings_and_dates_are_parsed_as_times():
    assert message(plugin, timed(AT.dt.strftime("%Y-%m-%d"))) == []
    assert message(plugin, timed((AT.dt.date() + timedelta(days=2)).alias("seen"))) == ["stop column x0"]


@pytest.mark.parametrize("seen", [AT.dt.replace_time_zone("UTC"), pl.Series(range(2000))])
def test_times_that_cannot_be_compared_are_undecided(seen):
    assert message(plugin, timed(seen)) == ["undecided column x0"]


def test_it_cannot_judge_without_the_time_of_a_row_or_column():
    with pytest.raises(NotApplicable, match="no feature has a time"):
        plugin(CheckContext(dataset=wide(known={"x0": "request", "x1": "outcome"})))
    with pytest.raises(NotApplicable, match="the time of the decision"):
        plugin(timed(AT, time="", ignore=("seen", "at")))
