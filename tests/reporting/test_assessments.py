"""What a check says beside its findings, and the trend over all that were kept."""

from __future__ import annotations

from dataclasses import replace

from tests.reporting.assessed import FIRST, KEPT, SECOND, assessed, first

from headway.monitoring.assessment.assess import AssessmentResult
from headway.reporting.gates.check import describe_changes, tabulate_assessments


def cells(row: int) -> list[str]:
    return [" / ".join(line.text for line in cell) for cell in tabulate_assessments(KEPT).rows[row]]


def test_an_unchanged_table_is_told_as_the_same_in_one_sentence():
    [line] = describe_changes(replace(assessed(), same=True))
    assert line.startswith("the same as of 2026-11-02T10:00:00+00:00: the data, the settings and all findings")


def test_the_first_is_told_as_the_first():
    assert describe_changes(first())[0].endswith("by ada: the first")


def test_a_new_assessment_tells_why_it_was_opened_and_what_was_found_since():
    lines = describe_changes(assessed())
    assert lines[0].endswith("opened because:") and lines[1].startswith("  D060 the data moved")
    assert lines[2] == "opened: D003 stop column air_time"


def test_a_look_at_the_same_assessment_tells_what_was_opened():
    lines = describe_changes(AssessmentResult(now=SECOND, before=FIRST))
    assert lines == [
        "assessment 1 of flight-delays, 336,776 rows, by ada: again, after 2026-09-01T10:00:00+00:00",
        "opened: D005 undecided [data.known]",
    ]


def test_the_history_counts_findings_by_severity_and_tells_what_changed():
    blind = "1 of 6 checks could not judge"
    assert cells(0)[1:] == ["1", "336,776", "0", "0", "1", "1", f"the first / {blind}"]
    assert cells(2)[:2] == ["2026-11-02 10:00 / by ada", "2"] and cells(2)[3:7] == ["1", "1", "1", "1"]
    moved = "D060 the data moved since the assessment of 2026-10-01"
    assert cells(2)[-1] == f"{moved} / opened: D003 stop column air_time / {blind}"
