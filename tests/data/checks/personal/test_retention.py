from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
from tests.data.tables import small

from headway.core.config import Config
from headway.core.errors import ConfigError, NotApplicable
from headway.core.settings.project import ProjectSection
from headway.data.checks.personal.retention import plugin
from headway.data.context import CheckContext
from headway.data.settings.personal import PersonalSection
from headway.storage import segments

DAY_NS = 86_400 * 10**9


def context_of_logs(folder: Path, *ages_days: float, retention: str = "90d") -> CheckContext:
    """A project whose log has a segment of each age."""
    for age in ages_days:
        name = f"{time.time_ns() - int(age * DAY_NS):020}-1-0.arrow"
        segments.save(folder / ".headway/log/flights/0123", {"at_us": np.array([1])}, name=name)
    config = Config(ProjectSection(), PersonalSection(retention=retention), folder=str(folder))
    return CheckContext(dataset=small(), config=config)


def test_logs_older_than_the_retention_warn_with_the_command_to_erase_them(tmp_path):
    (found,) = plugin(context_of_logs(tmp_path, 1, 89, 91, 200))
    assert (found.code, found.severity, found.where, found.hint) == ("D053", "warn", "log/flights", "headway erase")
    assert found.message.startswith("log/flights has 2 files older than 90d, the oldest of ")
    assert (round(found.measured), found.limit) == (200, 90)


def test_rows_in_quarantine_older_than_the_retention_warn(tmp_path):
    context = context_of_logs(tmp_path)
    for age in (1, 100):
        path = tmp_path / f".headway/quarantine/flights/{age}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        small().table.write_parquet(path)
        os.utime(path, (time.time() - age * 86_400,) * 2)
    (found,) = plugin(context)
    assert (found.where, round(found.measured)) == ("quarantine/flights", 100)
    assert found.message.startswith("quarantine/flights has 1 files older than 90d")


def test_young_or_absent_files_have_no_finding(tmp_path):
    assert plugin(context_of_logs(tmp_path, retention="")) == []
    assert plugin(context_of_logs(tmp_path, 1, 89)) == []


def test_it_cannot_judge_without_a_limit(tmp_path):
    with pytest.raises(NotApplicable, match="no retention is declared") as reason:
        plugin(context_of_logs(tmp_path, 1, retention=""))
    assert reason.value.hint == '[personal] retention = "90d"'


@pytest.mark.parametrize("duration", ["0d", "90", "9999999999999d"])
def test_a_limit_that_is_not_a_duration_is_refused(tmp_path, duration):
    with pytest.raises(ConfigError, match=r"is not a duration|too long a duration"):
        plugin(context_of_logs(tmp_path, 1, retention=duration))
