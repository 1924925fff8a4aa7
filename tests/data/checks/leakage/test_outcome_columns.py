from __future__ import annotations

from tests.data.tables import message, with_gaps

from headway.data.checks.leakage.outcome_columns import plugin
from headway.data.context import CheckContext


def test_each_column_known_only_after_the_outcome_is_named():
    assert message(plugin, CheckContext(dataset=with_gaps(known={"landed": "outcome"}))) == ["note column landed"]
