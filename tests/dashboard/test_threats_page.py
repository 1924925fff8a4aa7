"""Page of the security of a model: questions, gaps, next steps and accepted risks, in words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from msgspec.structs import replace
from tests.dashboard.people import running_dashboard
from tests.monitoring import rollouts

from headway.core.verdict import Rule, RuleResult
from headway.security.threats.assessment import accept_risk, assess_threats

PATH = "/models/flights/security"


def test_before_an_assessment_the_page_says_how_to_make_one(tmp_path):
    project = rollouts.project(tmp_path)
    with running_dashboard(tmp_path) as served:
        page = served.visitor("viewer").get(PATH)
    project.state.close()
    assert page.status == 200
    assert "The threats of this model were not assessed yet." in page.words


def test_the_page_shows_questions_next_steps_evidence_and_accepted_risks(tmp_path):
    project = rollouts.project(tmp_path)
    rollouts.live(project, rollouts.release())
    until = datetime.now(UTC).date() + timedelta(days=30)
    accept_risk(project, "AML.T0024.002", until=until, who="<ada>", reason="one caller")
    assess_threats(project, who="ada")
    with running_dashboard(tmp_path) as served:
        page = served.visitor("viewer").get(PATH)
    project.state.close()
    assert page.status == 200
    assert "Can a caller copy it?" in page.words
    assert "headway optimize" in page.words  # no search found this release, so no evaluation measures it
    assert "the live release verifies, signed by" in page.words
    assert f"AML.T0024.002 until {until}, by <ada>: one caller" in page.words
    assert "style=" not in page.text


def test_the_page_says_that_another_release_is_not_assessed(tmp_path):
    project = rollouts.project(tmp_path)
    rollouts.live(project, rollouts.release())
    assess_threats(project, who="ada")
    rollouts.live(project, rollouts.release(made_by="another"))
    with running_dashboard(tmp_path) as served:
        visitor = served.visitor("viewer")
        words, overview = visitor.get(PATH).words, visitor.get("/").words
    project.state.close()
    assert "and since then another release went live. Assess them again" in words
    assert "another release went live" in overview


def test_the_page_says_that_an_attack_was_measured_to_succeed(tmp_path):
    project = rollouts.project(tmp_path)
    rule = Rule(measure="privacy.membership.auc", at_most=0.6)
    made = rollouts.release(rules=(rule,))
    message = "privacy.membership.auc is 0.95: at least 0.94, outside the limit of 0.6"
    failed = RuleResult(rule=rule, answer="fail", message=message)
    rollouts.live(project, replace(made, verdict=replace(made.verdict, rule_results=(failed,))))
    assess_threats(project, who="ada")
    with running_dashboard(tmp_path) as served:
        page = served.visitor("viewer").get(PATH)
    project.state.close()
    assert "Measured: it does" in page.words and message in page.words
