"""Distributions since an assessment: what moved is found, what did not is left alone, and looks are paid for."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.monitoring.assessment.assessments import assessment, months_of, project_of
from tests.pipeline.projects import TOML

from headway.core.assessment import DriftTest
from headway.core.dataset import Dataset, Roles
from headway.monitoring.assessment.assess import assess
from headway.monitoring.assessment.changes import (
    ALPHA,
    compare_distributions,
    distribution_finding,
    draw_sample,
    encode_sample,
    last_time,
)
from headway.registry.project import Project

pytestmark = pytest.mark.slow


def compare(folder: Path, later: pl.DataFrame, last: DriftTest | None = None) -> tuple[DriftTest, list[str]]:
    """Test a table after January and February were assessed; return the test and its messages."""
    project, dataset = project_of(folder, months_of(2))
    opening = assess(project, dataset, who="ada").now
    _, after = project_of(folder, later)
    found = compare_distributions(opening, last or DriftTest(), after, project.blobs)
    return found, [finding.message for finding in distribution_finding(opening, found)]


def test_later_days_like_the_earlier_ones_are_not_a_change(tmp_path):
    found, message = compare(tmp_path, months_of(4))
    assert message == [] and found.count == 1 and found.message.startswith("no change is shown")
    assert found.level == ALPHA / 2


def test_a_column_that_broke_later_is_named_with_its_bins(tmp_path):
    broken = pl.when(pl.col("at").dt.month() > 2).then(pl.col("wind") * 3).otherwise(pl.col("wind"))
    found, message = compare(tmp_path, months_of(4).with_columns(broken))
    assert len(message) == 1 and "shown for wind" in message[0]
    [shift] = found.shifts
    assert shift.column == "wind" and abs(sum(shift.now) - 1) < 1e-9 and len(shift.bins) == len(shift.before)


def test_the_next_test_waits_until_groups_have_grown_by_half(tmp_path):
    found, message = compare(tmp_path, months_of(4), DriftTest(count=1, n_groups=50))
    assert (found.count, found.p, message) == (1, None, [])
    assert found.message == "the next test is due at 75 groups of later rows; there are 61"


def test_few_later_days_are_not_tested_and_spend_no_error_rate(tmp_path):
    later = months_of(3).filter(pl.col("at") < pl.datetime(2013, 3, 2))
    project, dataset = project_of(tmp_path, months_of(2).filter(pl.col("at") > pl.datetime(2013, 2, 25)))
    opening = assess(project, dataset, who="ada").now
    _, after = project_of(tmp_path, later, TOML)
    found = compare_distributions(opening, DriftTest(), after, project.blobs)
    assert found.count == 0 and found.message.startswith("not tested")


@pytest.mark.slow
def test_a_rare_class_in_few_later_days_is_not_a_change(tmp_path):
    """A class of 2 % has 48 rows of 60 days and 6 of a week; where only the later ones were called rare, it moved."""
    project, _ = project_of(tmp_path, months_of(2))
    alarms = sum(any(weekly_alarms(project, seed)) for seed in range(1000, 1020))
    assert alarms <= 2


def weekly_alarms(project: Project, seed: int) -> Iterator[bool]:
    """Yield whether each weekly test of 200 equal days raises an alarm, after 60 of them were assessed."""
    draw = np.random.default_rng(seed)
    day = np.repeat(np.arange(200), 40)
    kinds = draw.choice(["a", "b", "c", "d"], len(day), p=[0.6, 0.3, 0.08, 0.02])
    late = (draw.random(len(day)) < 0.2).astype(np.int8)
    at = pl.Series([datetime(2013, 1, 1) + timedelta(days=int(number)) for number in day])
    table = pl.DataFrame({"at": at, "day": day, "kind": kinds, "late": late})
    roles = Roles(target="late", time="at", groups="day")
    begun = Dataset(name="world", table=table.filter(pl.col("day") < 60), roles=roles)
    opening = assessment(sample=project.blobs.put(encode_sample(draw_sample(begun))), until=last_time(begun))
    last = DriftTest()
    for until in range(67, 201, 7):
        later = Dataset(name="world", table=table.filter(pl.col("day") < until), roles=roles)
        last = compare_distributions(opening, last, later, project.blobs)
        yield bool(distribution_finding(opening, last))
