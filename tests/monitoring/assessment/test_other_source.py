from __future__ import annotations

from tests.monitoring.assessment.assessments import assessment

from headway.monitoring.assessment.changes import source_finding


def test_another_source_is_told_with_the_one_before():
    [found] = source_finding(assessment(), assessment(source="other.csv"))
    assert found.message == "the source is 'other.csv', and was 'table.parquet' when assessed on 2026-11-01"


def test_the_same_source_is_no_change():
    assert source_finding(assessment(), assessment(dataset="sha256:2")) == []
