from __future__ import annotations

import pytest
from tests.data.tables import message, small, with_column

from headway.core.errors import NotApplicable
from headway.data.checks.roles.few_groups import plugin
from headway.data.context import CheckContext


def test_fewer_than_twenty_groups_are_undecided():
    assert message(plugin, CheckContext(dataset=with_column(small(), day=[1, 2] * 200))) == ["undecided column day"]
    assert message(plugin, CheckContext(dataset=small())) == []


def test_the_message_distinguishes_one_group_and_a_group_per_row():
    [one] = plugin(CheckContext(dataset=with_column(small(), day=[1] * 400)))
    [distinct] = plugin(CheckContext(dataset=with_column(small(), day=list(range(400)))))

    assert one.message == "all rows are one group in 'day': no method gives a valid interval below 20"
    assert distinct.message == "each of 400 rows is its own group in 'day': groups make no difference"


def test_a_group_with_half_of_the_rows_is_undecided():
    countries = ["UK"] * 216 + [f"C{row % 30}" for row in range(184)]
    [finding] = plugin(CheckContext(dataset=with_column(small(), day=countries)))
    assert finding.severity == "undecided" and finding.message == (
        "the largest of 31 groups in 'day' has 54.0% of the rows: they are worth 3.3 groups of equal size, and no "
        "method gives a valid interval below 20"
    )


def test_it_cannot_judge_without_declared_groups():
    with pytest.raises(NotApplicable, match="no groups are declared"):
        plugin(CheckContext(dataset=small(groups="")))
