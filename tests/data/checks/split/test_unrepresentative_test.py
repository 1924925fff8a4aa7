from __future__ import annotations

import pytest
from tests.data.tables import message, served_context, split_context, wide, with_column

from headway.core.errors import NotApplicable
from headway.data.checks.split.unrepresentative_test import plugin
from headway.data.context import CheckContext

LONG = wide(6000)


def test_a_test_with_the_distribution_of_the_requests_has_no_finding():
    assert message(plugin, served_context(LONG, 6000)) == []


def test_a_test_of_another_distribution_is_a_warning_that_names_the_columns():
    [finding] = plugin(served_context(LONG, 6000, x4=LONG.table["x4"] * 3.0))

    assert (finding.severity, finding.where, finding.limit) == ("warn", "[split] test", 0.05)
    assert finding.message.startswith("1,200 test rows differ in distribution from 6,000 requests; most of all x4")


def test_rows_without_a_time_are_compared_by_their_groups():
    dated = LONG.table["at"].dt.date().cast(str)
    dataset = with_column(wide(6000, time="", groups="day", ignore=("at",)), day=dated)
    assert message(plugin, served_context(dataset, 6000, x4=LONG.table["x4"] * 3.0)) == ["warn [split] test"]


def test_it_cannot_judge_without_a_test_or_enough_groups():
    with pytest.raises(NotApplicable, match="no rows are held out"):
        plugin(CheckContext(dataset=LONG))
    with pytest.raises(NotApplicable, match="too few to show a change"):
        plugin(served_context(LONG, 120))
    with pytest.raises(NotApplicable, match="the log has 0 requests"):
        plugin(split_context(LONG))
    with pytest.raises(NotApplicable, match="no feature of the table"):
        plugin(
            served_context(
                with_column(wide(6000, ignore=tuple(f"x{index}" for index in range(6))), carrier=CODES), 6000
            )
        )


CODES = [f"code {row}" for row in range(6000)]
