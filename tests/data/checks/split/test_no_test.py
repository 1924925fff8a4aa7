from __future__ import annotations

import pytest
from tests.data.tables import message, small, surveyed, wide

from headway.core.errors import NotApplicable
from headway.data.checks.split.no_test import plugin
from headway.data.context import CheckContext


def test_periods_that_are_absent_or_too_short_to_judge_a_model_are_named():
    assert message(plugin, surveyed(wide())) == []
    assert message(plugin, surveyed(small())) == ["warn [split] validation", "warn [split] test"]
    assert message(plugin, CheckContext(dataset=wide(), periods={"test": wide()})) == ["warn [split] validation"]


def test_rows_that_are_not_cut_have_no_test():
    with pytest.raises(NotApplicable, match="not split"):
        plugin(CheckContext(dataset=small()))
