from __future__ import annotations

import pytest
from tests.data.tables import message, served, surveyed, wide, with_column

from headway.core.errors import NotApplicable
from headway.data.checks.split.unrepresentative_test import plugin
from headway.data.context import CheckContext

LONG = wide(6000)


def test_a_test_of_the_rows_that_are_served_is_no_finding():
    assert message(plugin, served(LONG, 6000)) == []


def test_a_test_of_others_is_a_warning_that_names_the_columns():
    [finding] = plugin(served(LONG, 6000, x4=LONG.table["x4"] * 3.0))

    assert (finding.severity, finding.where, finding.limit) == ("warn", "[split] test", 0.05)
    assert finding.message.startswith("1,200 test rows differ in distribution from 6,000 requests; most of all x4")


def test_rows_without_a_time_are_compared_by_their_groups():
    dated = LONG.table["at"].dt.date().cast(str)
    dataset = with_column(wide(6000, time="", groups="day", ignore=("at",)), day=dated)
    assert message(plugin, served(dataset, 6000, x4=LONG.table["x4"] * 3.0)) == ["warn [split] test"]


def test_without_a_test_or_groups_enough_it_cannot_judge():
    with pytest.raises(NotApplicable, match="no rows are held out"):
        plugin(CheckContext(dataset=LONG))
    with pytest.raises(NotApplicable, match="too few to show a change"):
        plugin(served(LONG, 120))
    with pytest.raises(NotApplicable, match="the log has 0 requests"):
        plugin(surveyed(LONG))
    with pytest.raises(NotApplicable, match="no feature of the table"):
        plugin(served(with_column(wide(6000, ignore=tuple(f"x{each}" for each in range(6))), carrier=CODES), 6000))


CODES = [f"code {row}" for row in range(6000)]
