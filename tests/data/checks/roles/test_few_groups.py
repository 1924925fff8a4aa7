from __future__ import annotations

import pytest
from tests.data.tables import message, small, with_column

from headway.core.errors import NotApplicable
from headway.data.checks.roles.few_groups import plugin
from headway.data.context import CheckContext


def test_fewer_than_twenty_groups_are_undecided():
    assert message(plugin, CheckContext(dataset=with_column(small(), day=[1, 2] * 200))) == ["undecided column day"]
    assert message(plugin, CheckContext(dataset=small())) == []


def test_it_says_that_all_rows_are_one_group_or_each_its_own():
    [one] = plugin(CheckContext(dataset=with_column(small(), day=[1] * 400)))
    [each] = plugin(CheckContext(dataset=with_column(small(), day=list(range(400)))))

    assert one.message == "all rows are one group in 'day': no method gives a valid interval below 20"
    assert each.message == "each of 400 rows is its own group in 'day': groups make no difference"


def test_without_declared_groups_there_is_nothing_to_count():
    with pytest.raises(NotApplicable, match="no groups are declared"):
        plugin(CheckContext(dataset=small(groups="")))
