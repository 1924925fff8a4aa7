"""Changes since the last assessment, and the trend over all stored ones."""

from __future__ import annotations

from dataclasses import replace

from tests.reporting.assessed import FIRST, SECOND, STORED, assessed, first

from headway.monitoring.assessment.assess import AssessmentResult
from headway.reporting.gates.check import describe_changes, tabulate_assessments


def cells(row: int) -> list[str]:
    return [" / ".join(line.text for line in cell) for cell in tabulate_assessments(STORED).rows[row]]


def test_an_unchanged_table_gives_one_sentence():
    [line] = describe_changes(replace(assessed(), same=True))
    assert line.startswith("no change since 2026-11-02T10:00:00+00:00: the data, the settings and all findings")


def test_the_first_assessment_is_named_as_the_first():
    assert describe_changes(first())[0].endswith("by ada: the first")


def test_a_new_assessment_gives_the_reason_and_the_new_findings():
    lines = describe_changes(assessed())
    assert lines[0].endswith("opened because:") and lines[1].startswith("  D060 the data moved")
    assert lines[2] == "new: D003 stop column air_time"


def test_a_repetition_of_an_assessment_gives_the_new_findings():
    lines = describe_changes(AssessmentResult(now=SECOND, before=FIRST))
    assert lines == [
        "assessment 1 of flight-delays, 336,776 rows, by ada: again, after 2026-09-01T10:00:00+00:00",
        "new: D005 undecided [data.known]",
    ]


def test_the_history_counts_findings_by_severity_and_lists_changes():
    not_run = "1 of 6 checks did not run"
    assert cells(0)[1:] == ["1", "336,776", "0", "0", "1", "1", f"the first / {not_run}"]
    assert cells(2)[:2] == ["2026-11-02 10:00 / by ada", "2"] and cells(2)[3:7] == ["1", "1", "1", "1"]
    moved = "D060 the data moved since the assessment of 2026-10-01"
    assert cells(2)[-1] == f"{moved} / new: D003 stop column air_time / {not_run}"
