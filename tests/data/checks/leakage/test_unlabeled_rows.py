from __future__ import annotations

from tests.data.tables import message, small, with_column

from headway.data.checks.leakage.unlabeled_rows import plugin
from headway.data.context import CheckContext


def test_rows_without_an_outcome_are_counted_and_the_worst_group_named():
    [finding] = plugin(CheckContext(dataset=small()))

    assert finding.message.startswith("20 of 400 rows (5.0%) have no outcome")
    assert "by day the share runs up to 10%" in finding.message


def test_it_is_a_note_below_one_percent_and_nothing_without_missing_outcomes():
    late = [None, *[0, 1] * 199, 1]
    assert message(plugin, CheckContext(dataset=with_column(small(groups=""), late=late))) == ["note column late"]
    assert message(plugin, CheckContext(dataset=with_column(small(), late=[0, 1] * 200))) == []
