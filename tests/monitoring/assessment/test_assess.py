"""Assessments repeat: the same data are the same one, what changed opens another, and findings come and go."""

from __future__ import annotations

import polars as pl
import pytest
from tests.monitoring.assessment.assessments import months_of, project_of
from tests.pipeline.projects import TOML

from headway.monitoring.assessment.assess import assess
from headway.monitoring.assessment.history import assessment_history, last_assessment, new_findings, resolved_findings

pytestmark = pytest.mark.slow


def test_checking_an_unchanged_table_again_saves_nothing(tmp_path):
    project, dataset = project_of(tmp_path, months_of(4))
    first, again = (assess(project, dataset, who=who) for who in ("ada", "bob"))
    assert (first.same, again.same) == (False, True)
    assert again.now == first.now == last_assessment(project)
    assert len(assessment_history(project)) == 1


def test_more_rows_of_the_same_distribution_keep_the_assessment_number(tmp_path):
    project, dataset = project_of(tmp_path, months_of(3))
    assess(project, dataset, who="ada")
    _, grown = project_of(tmp_path, months_of(4))
    found = assess(project, grown, who="ada")
    assert (found.now.number, found.now.why, found.now.n_rows > dataset.table.height) == (1, (), True)


def test_a_new_column_opens_a_new_assessment_with_reason_and_findings(tmp_path):
    project, dataset = project_of(tmp_path, months_of(4))
    before = assess(project, dataset, who="ada").now
    _, leaking = project_of(tmp_path, months_of(4).with_columns(leak=pl.col("late")))
    now = assess(project, leaking, who="ada").now
    assert now.number == 2 and [finding.code for finding in now.why] == ["D059"]
    assert "D003" in {finding.code for finding in new_findings(before, now)}
    _, repaired = project_of(tmp_path, months_of(4))
    again = assess(project, repaired, who="ada").now
    assert again.number == 3 and "D003" in {finding.code for finding in resolved_findings(now, again)}


def test_settings_of_the_checks_open_a_new_assessment(tmp_path):
    project, dataset = project_of(tmp_path, months_of(4))
    assess(project, dataset, who="ada")
    other, ungrouped = project_of(tmp_path, months_of(4), TOML.replace('groups = "day"', ""))
    now = assess(other, ungrouped, who="ada").now
    assert now.number == 2 and [finding.code for finding in now.why] == ["D061"]
    assert {run.name for run in now.unjudged} >= {"few_groups"}


def test_a_check_that_could_not_judge_is_saved_with_the_reason(tmp_path):
    project, dataset = project_of(tmp_path, months_of(4))
    now = assess(project, dataset, who="ada").now
    assert all(run.unjudged for run in now.unjudged) and len(now.unjudged) < len(now.check_runs)
    assert all(finding.code != "D000" for finding in now.judged)
