from __future__ import annotations

from tests.monitoring.assessment.assessments import assessment

from headway.monitoring.assessment.changes import source_finding


def test_another_source_is_reported_with_the_earlier_one():
    [found] = source_finding(assessment(), assessment(source="other.csv"))
    assert found.message == "the source is 'other.csv', and was 'table.parquet' when assessed on 2026-11-01"


def test_the_same_source_is_not_a_change():
    assert source_finding(assessment(), assessment(dataset="sha256:2")) == []
