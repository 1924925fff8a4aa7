from __future__ import annotations

import pytest
from tests.data.tables import message, small, split_context, wide

from headway.core.errors import NotApplicable
from headway.data.checks.split.no_test import plugin
from headway.data.context import CheckContext


def test_missing_and_short_periods_are_named():
    assert message(plugin, split_context(wide())) == []
    assert message(plugin, split_context(small())) == ["warn [split] validation", "warn [split] test"]
    assert message(plugin, CheckContext(dataset=wide(), periods={"test": wide()})) == ["warn [split] validation"]


def test_unsplit_rows_cannot_be_checked():
    with pytest.raises(NotApplicable, match="not split"):
        plugin(CheckContext(dataset=small()))
