from __future__ import annotations

from tests.monitoring.assessment.assessments import LEAK, LOOKED, SILENT, assessment

from headway.core.assessment import CheckRun
from headway.monitoring.assessment.history import new_findings, resolved_findings, unverified_findings


def test_a_finding_at_a_new_location_is_new_and_a_gone_one_is_resolved():
    before, now = assessment(findings=(LEAK,)), assessment(findings=(SILENT,))
    assert (new_findings(before, now), resolved_findings(before, now), unverified_findings(before, now)) == (
        [SILENT],
        [LEAK],
        [],
    )


def test_the_first_assessment_has_no_new_findings():
    assert new_findings(None, assessment(findings=(LEAK,))) == []


def test_a_finding_with_another_number_is_the_same_finding():
    other = LEAK.__class__(
        code=LEAK.code, severity="warn", message="'x' alone predicts the target", where=LEAK.where, measured=0.9
    )
    before, now = assessment(findings=(LEAK,)), assessment(findings=(other,))
    assert (new_findings(before, now), resolved_findings(before, now)) == ([], [])


def test_a_finding_is_not_resolved_by_a_check_that_could_not_judge():
    blind = (CheckRun(name="target_leak", code="D003", unjudged="no target"), LOOKED[1])
    before, now = assessment(findings=(LEAK,)), assessment(check_runs=blind)
    assert (resolved_findings(before, now), unverified_findings(before, now)) == ([], [LEAK])
