"""Distributions since an assessment: what moved is found, what did not is left alone, and looks are paid for."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from tests.flow.projects import TOML
from tests.observe.assessment.assessments import months_of, project_of

from headway.core.assessment import Tested
from headway.observe.assessment.assess import assess
from headway.observe.assessment.moved import ALPHA, finding, look


def told(folder: Path, later: pl.DataFrame, last: Tested | None = None) -> tuple[Tested, list[str]]:
    """What a test says of a table after January and February were assessed."""
    project, dataset = project_of(folder, months_of(2))
    opening = assess(project, dataset, who="ada").now
    _, after = project_of(folder, later)
    found = look(opening, last or Tested(), after, project.blobs)
    return found, [each.says for each in finding(opening, found)]


def test_later_days_that_are_like_those_before_are_no_change(tmp_path):
    found, says = told(tmp_path, months_of(4))
    assert says == [] and found.count == 1 and found.says.startswith("no change is shown")
    assert found.level == ALPHA / 2


def test_a_column_that_broke_in_later_days_is_found_and_named_with_its_bins(tmp_path):
    broken = pl.when(pl.col("at").dt.month() > 2).then(pl.col("wind") * 3).otherwise(pl.col("wind"))
    found, says = told(tmp_path, months_of(4).with_columns(broken))
    assert len(says) == 1 and "shown of wind" in says[0]
    [shift] = found.shifts
    assert shift.column == "wind" and abs(sum(shift.now) - 1) < 1e-9 and len(shift.bins) == len(shift.before)


def test_the_next_test_waits_until_groups_have_grown_by_half(tmp_path):
    found, says = told(tmp_path, months_of(4), Tested(count=1, n_groups=50))
    assert (found.count, found.p, says) == (1, None, [])
    assert found.says == "the next test is due at 75 groups of later rows; there are 61"


def test_few_later_days_cannot_be_told_and_spend_nothing(tmp_path):
    later = months_of(3).filter(pl.col("at") < pl.datetime(2013, 3, 2))
    project, dataset = project_of(tmp_path, months_of(2).filter(pl.col("at") > pl.datetime(2013, 2, 25)))
    opening = assess(project, dataset, who="ada").now
    _, after = project_of(tmp_path, later, TOML)
    found = look(opening, Tested(), after, project.blobs)
    assert found.count == 0 and found.says.startswith("cannot be told")
