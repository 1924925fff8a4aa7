"""Assessments of threats repeat: what opens a new one, what a gap that was none before is, and accepted risks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.monitoring import rollouts
from tests.monitoring.test_overview import watched

from headway.core.errors import ConfigError, Refused
from headway.core.threats import AcceptedRisk, ThreatAssessment, ThreatResult
from headway.registry.project import Project, open_project
from headway.reporting.text.threats import threats_lines
from headway.security.threats.assessment import accept_risk, assess_threats, withdraw_risk

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
UNTIL = date(2027, 1, 31)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    opened = rollouts.project(tmp_path)
    yield opened
    opened.state.close()


def assess(project: Project, days: float = 0) -> ThreatResult:
    return assess_threats(project, who="ada", now=NOW + timedelta(days=days))


def test_the_same_is_saved_again_only_after_a_quarter_of_its_time(project):
    rollouts.live(project, rollouts.release())
    assert assess(project).now.number == 1
    assert assess(project, 1).now.number == 1
    assert project.count(ThreatAssessment) == 1
    result = assess(project, 30)
    assert (result.now.number, project.count(ThreatAssessment)) == (1, 2)
    assert result.now.due == "2027-03-29"


def test_another_model_another_exposure_and_time_open_a_new_one(project, tmp_path):
    assert assess(project).now.why == ()
    rollouts.live(project, rollouts.release())
    assert assess(project).now.why == ("model",)
    (tmp_path / "headway.toml").write_text(rollouts.TOML + '[ui]\nhost = "0.0.0.0"\n')
    reopened = assess(open_project(tmp_path), 1)
    assert (reopened.now.why, reopened.now.number) == (("exposure",), 3)
    assert assess(open_project(tmp_path), 100).now.why == ("time",)
    lines = threats_lines(reopened)
    assert "  opened   assessment 3, because others can reach it, or in another way" in lines
    assert lines[-1].startswith("  trend    covered")


def test_a_gap_that_was_none_before_is_named_until_it_is_covered_again(project):
    digest = rollouts.live(project, rollouts.release())
    project.save(watched(digest, at=NOW.isoformat()))
    assert assess(project).now.opened == ()
    opened = assess(project, 89.5).now.opened
    assert opened == ()
    for days in (91, 92):
        result = assess(project, days)
        assert {"AML.T0031", "v1.0-C12.3.1"} <= set(result.now.opened)
    assert any(line.startswith("  new      a gap now, and none before: AML.T0031") for line in threats_lines(result))
    project.save(watched(digest, at=(NOW + timedelta(days=93)).isoformat()))
    assert "AML.T0031" not in assess(project, 93).now.opened


def test_an_accepted_risk_ends_on_its_day_and_with_its_exposure(project, tmp_path):
    rollouts.live(project, rollouts.release())
    risk = accept_risk(project, "aml.t0024.002", until=UNTIL, who="ada", reason="one caller", now=NOW)
    assert risk.requirement == "AML.T0024.002"

    def is_open(opened: Project, days: float) -> bool:
        rows = {row.id: row for row in assess(opened, days).now.requirements}
        return rows["AML.T0024.002"].is_open

    assert not is_open(project, 0)
    assert "  accepted AML.T0024.002 until 2027-01-31 by ada: one caller" in threats_lines(assess(project))
    assert not is_open(project, 63)
    assert is_open(project, 64)
    assert "AML.T0024.002" in assess(project, 64).now.opened
    (tmp_path / "headway.toml").write_text(rollouts.TOML + '[ui]\nhost = "0.0.0.0"\n')
    assert is_open(open_project(tmp_path), 1)


def test_an_accepted_risk_can_be_withdrawn(project):
    rollouts.live(project, rollouts.release())
    with pytest.raises(ConfigError, match=r"the risk of AML\.T0024\.002 is not accepted"):
        withdraw_risk(project, "AML.T0024.002", who="ada", reason="", now=NOW)
    accept_risk(project, "AML.T0024.002", until=UNTIL, who="ada", reason="one caller", now=NOW)
    withdraw_risk(project, "AML.T0024.002", who="bob", reason="two callers now", now=NOW)
    assert assess(project).accepted == {}
    assert [risk.who for risk in project.records(AcceptedRisk)] == ["ada", "bob"]
    with pytest.raises(ConfigError):
        withdraw_risk(project, "AML.T0024.002", who="bob", reason="", now=NOW)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"reason": " "}, "who and why"),
        ({"who": ""}, "who and why"),
        ({"until": date(2026, 11, 28)}, "from today to 2027-11-30"),
        ({"until": date(2028, 1, 1)}, "from today to 2027-11-30"),
        ({"requirement": "AML.T9999"}, "no requirement 'AML.T9999'"),
    ],
)
def test_a_risk_needs_a_person_a_reason_a_day_and_a_requirement(project, changes, what):
    rollouts.live(project, rollouts.release())
    asked = {"requirement": "AML.T0024.002", "until": UNTIL, "who": "ada", "reason": "one caller", **changes}
    with pytest.raises(ConfigError, match=what):
        accept_risk(project, asked.pop("requirement"), now=NOW, **asked)


def test_what_is_covered_has_no_risk_to_accept(project):
    rollouts.live(project, rollouts.release())
    with pytest.raises(Refused, match=r"AML\.M0013 is covered, so there is nothing to accept"):
        accept_risk(project, "AML.M0013", until=UNTIL, who="ada", reason="why not", now=NOW)


def test_an_assessment_that_was_stored_reads_as_it_was(project):
    rollouts.live(project, rollouts.release())
    made = assess(project).now
    [stored] = project.records(ThreatAssessment)
    assert stored == replace(made)
