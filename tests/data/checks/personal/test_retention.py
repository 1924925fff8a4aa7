from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
from tests.data.tables import small

from headway.core.config import Config, ProjectSection
from headway.core.errors import ConfigError, NotApplicable
from headway.core.sections.personal import PersonalSection
from headway.data.checks.personal.retention import plugin
from headway.data.context import CheckContext
from headway.storage import segments

DAY_NS = 86_400 * 10**9


def surveyed(folder: Path, *ages_days: float, retention: str = "90d") -> CheckContext:
    """A project whose log has a segment of each age."""
    for age in ages_days:
        name = f"{time.time_ns() - int(age * DAY_NS):020}-1-0.arrow"
        segments.save(folder / ".headway/log/flights/0123", {"at_us": np.array([1])}, name=name)
    config = Config(folder=str(folder), project=ProjectSection(), personal=PersonalSection(retention=retention))
    return CheckContext(dataset=small(), config=config)


def test_what_is_kept_too_long_is_told_with_the_command_that_ends_it(tmp_path):
    (found,) = plugin(surveyed(tmp_path, 1, 89, 91, 200))
    assert (found.code, found.severity, found.where, found.hint) == ("D053", "warn", "log/flights", "headway erase")
    assert found.message.startswith("log/flights has 2 files older than 90d, the oldest of ")
    assert (round(found.measured), found.limit) == (200, 90)


def test_rows_in_quarantine_are_kept_too_long_as_well(tmp_path):
    context = surveyed(tmp_path)
    for age in (1, 100):
        path = tmp_path / f".headway/quarantine/flights/{age}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        small().table.write_parquet(path)
        os.utime(path, (time.time() - age * 86_400,) * 2)
    (found,) = plugin(context)
    assert (found.where, round(found.measured)) == ("quarantine/flights", 100)
    assert found.message.startswith("quarantine/flights has 1 files older than 90d")


def test_nothing_is_told_where_all_is_young_enough_or_nothing_is_kept(tmp_path):
    assert plugin(surveyed(tmp_path, retention="")) == []
    assert plugin(surveyed(tmp_path, 1, 89)) == []


def test_without_a_limit_it_says_that_it_cannot_judge(tmp_path):
    with pytest.raises(NotApplicable, match="no retention is declared") as reason:
        plugin(surveyed(tmp_path, 1, retention=""))
    assert reason.value.hint == '[personal] retention = "90d"'


@pytest.mark.parametrize("said", ["0d", "90", "9999999999999d"])
def test_a_limit_that_is_no_length_of_time_is_refused(tmp_path, said):
    with pytest.raises(ConfigError, match=r"is not a duration|too long a duration"):
        plugin(surveyed(tmp_path, 1, retention=said))
