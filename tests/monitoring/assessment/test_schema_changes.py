from __future__ import annotations

from tests.monitoring.assessment.assessments import assessment

from headway.monitoring.assessment.changes import schema_finding


def test_added_removed_and_retyped_columns_are_named():
    [found] = schema_finding(assessment(), assessment(columns={"late": "Boolean", "wind": "Float64"}))
    assert found.message == (
        "columns changed since 2026-11-01: 'hour' is gone, 'wind' is new, 'late' was Int8 and is Boolean"
    )
    assert found.measured == 3


def test_the_order_of_columns_is_not_a_change():
    assert schema_finding(assessment(), assessment(columns={"late": "Int8", "hour": "Int64"})) == []
