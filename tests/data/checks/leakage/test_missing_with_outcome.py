from __future__ import annotations

import pytest
from tests.data.tables import message, small, with_column, with_gaps

from headway.core.errors import NotApplicable
from headway.data.checks.leakage.missing_with_outcome import plugin
from headway.data.context import CheckContext


def test_a_column_missing_with_the_target_stops():
    assert message(plugin, CheckContext(dataset=with_gaps())) == ["stop column landed"]


def test_a_column_declared_as_known_at_the_request_warns():
    assert message(plugin, CheckContext(dataset=with_gaps(known={"landed": "request"}))) == ["warn column landed"]


@pytest.mark.parametrize(
    ("late", "why"),
    [
        ([0, 1] * 200, "every row has an outcome"),
        ([None] + [0] * 399, "only 1 rows have no"),
        ([None] * 400, "no row has"),
    ],
)
def test_it_cannot_judge_unless_some_rows_have_an_outcome_and_some_have_none(late, why):
    with pytest.raises(NotApplicable, match=why):
        plugin(CheckContext(dataset=with_column(small(), late=late)))
