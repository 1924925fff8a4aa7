from __future__ import annotations

from datetime import datetime

import polars as pl
from tests.data.tables import small
from tests.monitoring.assessment.assessments import assessment

from headway.monitoring.assessment.history import unassessed_finding


def test_unchecked_data_are_reported_with_a_hint():
    found = unassessed_finding(None, small())
    assert found is not None and (found.code, found.hint) == ("D057", "headway check")
    assert "never checked" in found.message


def test_checked_data_have_no_finding():
    dataset = small()
    assert unassessed_finding(assessment(dataset=dataset.digest), dataset) is None


def test_rows_later_than_the_last_check_are_counted():
    dataset = small()
    late = dataset.table.filter(pl.col("at") > datetime(2013, 1, 31, 12))
    found = unassessed_finding(assessment(), dataset)
    assert found is not None and found.measured == len(late) / 400
    assert (
        found.message == f"{len(late)} of 400 rows ({len(late) / 400:.1%}) are later than the last check, of 2026-11-01"
    )


def test_other_data_without_later_rows_are_reported():
    found = unassessed_finding(assessment(until="2014-01-01T00:00:00"), small())
    assert found is not None and "not those that were checked" in found.message
