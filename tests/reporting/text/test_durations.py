"""Durations are parsed as people write them; an invalid one is rejected with examples."""

from __future__ import annotations

import pytest

from headway.core.errors import ConfigError
from headway.reporting.text.formatting import parse_duration


@pytest.mark.parametrize(("text", "found"), [("60s", 60), ("90", 90), ("1.5m", 90), (" 2 h ", 7200)])
def test_a_length_of_time_is_read_in_seconds(text, found):
    assert parse_duration(text) == found


@pytest.mark.parametrize("text", ["", "soon", "-5s", "5 days", "1e3"])
def test_an_invalid_duration_is_rejected_with_examples(text):
    with pytest.raises(ConfigError, match="is not a duration") as refusal:
        parse_duration(text)
    assert refusal.value.hint == "60s, 5m, or 1h"
