"""Approve: what waits with its verdict, decisions that are signed, and rolling back, which needs no other process."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.dashboard.people import running_dashboard
from tests.monitoring import rollouts
from tests.monitoring.retraining.retrained import outcome
from tests.reporting.stories import estimate, evidence

from headway.core.action import PersonAction
from headway.core.rollout import Plan, RolloutStage
from headway.dashboard._process import prepare_operator_key
from headway.monitoring import rollout as control
from headway.monitoring.approvals import load_decisions
from headway.monitoring.completion import complete_approvals
from headway.registry.project import open_project
from headway.registry.sign import create_operator, init_operator_keys

PATH = "/models/flights/approve"
SHORT = Plan(stages=(RolloutStage(share=0.0), RolloutStage(share=0.5)))


@pytest.fixture
def project(tmp_path: Path):
    """A project with two releases that were live, and an operator's key."""
    made = rollouts.project(tmp_path, toml=rollouts.TOML.replace("[trust]", '[trust]\noperator_key = "keys/o.pem"'))
    registry = made.registry
    init_operator_keys(
        registry.operator_key, registry.operator_keys, trusted_keys=registry.trusted_keys, comment="dashboard"
    )
    rollouts.live(made, rollouts.release(made_at="1"))
    rollouts.live(made, rollouts.release(made_at="2"))
    yield made
    made.state.close()


@pytest.fixture
def served(project):
    """A dashboard of the project."""
    with running_dashboard(project.config) as running:
        yield running


def seen(page: str, step: str) -> str:
    """Return what the form of a step says that the person saw."""
    found = re.search(rf'name="seen" value="([^"]+)">\s*<input type="hidden" name="step" value="{step}"', page)
    assert found, page
    return found[1]


@pytest.mark.slow
def test_rolling_back_names_the_release_and_needs_no_publisher_s_key(project, served, monkeypatch):
    first, second = (move.release for move in project.registry.history("flights", "live"))
    project.registry.publisher_key.rename(project.registry.publisher_key.with_suffix(".elsewhere"))
    person = served.visitor("operator")
    page = person.get(PATH)
    assert page.status == 200 and "Roll back" in page.words and first[7:19] in page.words
    monkeypatch.setattr(served.dashboard.workers, "run", lambda *_: pytest.fail("another process was started"))
    form = {"from": second, "after": "2", "reason": "callers complain"}
    done = person.post(f"{PATH}/rollback", to=first, **form)
    assert (done.status, done.headers["location"]) == (303, PATH)
    assert f"Rolled back: flights is at {first[7:19]}." in person.get(PATH).words
    move = project.registry.head("flights@live")
    assert (move.release, move.who, move.why) == (first, "ada", "callers complain")
    (action,) = project.records(PersonAction)
    assert (action.action, action.subject, action.reason) == ("rollback", first, "callers complain")


def form_of(page: str, action: str) -> dict[str, str]:
    """Return the fields of a form of the page as they are at first, without the token."""
    (form,) = re.findall(rf'action="{PATH}/{action}">(.*?)</form>', page, re.DOTALL)
    chosen = re.search(r'<select id="[^"]*" name="to">\s*<option value="([^"]+)"', form)
    return {**dict(re.findall(r'name="(from|after)" value="([^"]+)"', form)), **({"to": chosen[1]} if chosen else {})}


@pytest.mark.slow
def test_of_two_people_who_roll_back_what_both_were_shown_one_moves_it_and_one_reads_where_it_is(project, served):
    first, second = (move.release for move in project.registry.history("flights", "live"))
    people = [served.visitor("operator", name=name) for name in ("ada", "ben")]
    shown = [form_of(person.get(PATH).text, "rollback") for person in people]
    assert shown == [{"from": second, "after": "2", "to": first}] * 2
    with ThreadPoolExecutor() as pool:
        sent = [pool.submit(person.post, f"{PATH}/rollback", **shown[0], reason="slow") for person in people]
    assert [one.result().status for one in sent] == [303, 303]
    pages = sorted(
        re.findall(r"Rolled back|was left already; live is \w+", person.get(PATH).words) for person in people
    )
    assert pages == [["Rolled back"], [f"was left already; live is {first[7:19]}"]]
    assert [move.release for move in project.registry.history("flights", "live")] == [first, second, first]
    assert len(project.records(PersonAction)) == 1


@pytest.mark.slow
def test_going_forward_again_is_a_form_of_its_own(project, served):
    first, second = (move.release for move in project.registry.history("flights", "live"))
    person = served.visitor("operator")
    page = person.get(PATH)
    assert "Forward again" not in page.words
    person.post(f"{PATH}/rollback", **form_of(page.text, "rollback"), reason="slow")
    page = person.get(PATH)
    assert "No release was live before it." in page.words and "/rollback" not in page.text
    form = form_of(page.text, "forward")
    assert form == {"from": first, "after": "3", "to": second}
    assert person.post(f"{PATH}/rollback", **form, reason="by the other form").status == 409
    assert person.post(f"{PATH}/forward", **form, reason="it was the network").status == 303
    assert f"Forward again: flights is at {second[7:19]}." in person.get(PATH).words
    assert [action.action for action in project.records(PersonAction)] == ["rollback", "forward"]


@pytest.mark.slow
def test_a_rollback_of_what_the_person_did_not_see_is_refused(project, served):
    person = served.visitor("operator")
    first = project.registry.history("flights", "live")[0].release
    third = rollouts.live(project, rollouts.release(made_at="3"))
    shown = {"from": third, "to": first, "reason": "back"}
    found = person.post(f"{PATH}/rollback", **shown, after="2")
    assert found.status == 409 and "lights@live is at" in found.words
    assert person.post(f"{PATH}/rollback", **shown, after="").status == 400
    assert person.post(f"{PATH}/rollback", to=first, after="3", reason="back").status == 400
    assert person.post(f"{PATH}/rollback", **{**shown, "reason": ""}, after="3").status == 400
    never = rollouts.publish(project, rollouts.release(made_at="4"))
    found = person.post(f"{PATH}/rollback", **{**shown, "to": never}, after="3")
    assert found.status == 409 and "never had release" in found.words
    assert project.registry.head("flights@live").number == 3


@pytest.mark.slow
def test_viewers_see_what_waits_and_change_nothing(project, served):
    rollouts.publish(project, rollouts.release(made_at="3"))
    for role in ("viewer", "labeller"):
        person = served.visitor(role)
        page = person.get(PATH)
        assert page.status == 200 and "Waits:" in page.words and '<button class="danger"' not in page.text
        for action in ("decide", "rollback", "forward"):
            assert person.post(f"{PATH}/{action}", reason="me", after="2").status == 403
    assert len(project.state.updates()) == 2 and load_decisions(project) == []


@pytest.mark.slow
def test_a_release_is_approved_and_completed_by_the_publisher(project, served):
    digest = rollouts.publish(project, rollouts.release(made_at="3"))
    person = served.visitor("operator")
    page = person.get(PATH)
    assert "✓ pass" in page.words and "What an approval signs" in page.words
    done = person.post(
        f"{PATH}/decide", step="published", seen=seen(page.text, "published"), decision="approve", reason="good"
    )
    assert done.status == 303
    words = person.get(PATH).words
    assert "The publisher completes it: headway release --approved" in words and "waits for the publisher" in words
    assert project.registry.head("flights@live").number == 2, "the dashboard publishes nothing"
    complete_approvals(project, callback=lambda _: None)
    assert project.registry.head("flights@live").release == digest
    assert "completed: flights@live is at" in person.get(PATH).words


@pytest.mark.slow
def test_what_waits_shows_the_cost_of_a_million_predictions(project, served):
    made = rollouts.release(made_at="3")
    cpu = estimate("cost.cpu_s.one_row", 31.2, 0.4, unit="s", rows=2000)
    rollouts.publish(project, replace(made, evidence=(evidence(made.variant, cpu), evidence(made.variant))))
    page = served.visitor("operator").get(PATH)
    assert "Cost of a million predictions, of the model alone: one by one 31.2 s [30.8, 31.6] of CPU time" in (
        " ".join(page.words.replace("\xa0", " ").split())
    )
    rollouts.publish(project, rollouts.release(made_at="4"))
    assert "of the model alone: not measured" in served.visitor("operator").get(PATH).words


@pytest.mark.slow
def test_an_override_is_named_and_needs_its_box(project, served):
    search = outcome(project).search_result
    variant = rollouts.release(content=b"other").variant
    verdict = replace(search.winner.verdict, subject=variant.digest, answer="undecided")
    evidence = replace(search.winner.evidence, subject=variant.digest, period="test")
    project.save(replace(search, winner=replace(search.winner, variant=variant, evidence=evidence, verdict=verdict)))
    person = served.visitor("operator")
    page = person.get(PATH)
    assert "? undecided" in page.words and "this is an override" in page.words
    form = {"step": "search", "seen": seen(page.text, "search"), "decision": "approve", "reason": "storm days"}
    found = person.post(f"{PATH}/decide", **form)
    assert found.status == 400 and "this would be an override" in found.words
    assert person.post(f"{PATH}/decide", **form, override="on").status == 303
    assert "override" in person.get(PATH).words and load_decisions(project)[0].approval.override
    assert [one.action for one in project.records(PersonAction)] == ["search.override"]


@pytest.mark.slow
def test_a_rejection_is_a_record_and_what_changed_is_not_decided(project, served):
    rollouts.publish(project, rollouts.release(made_at="3"))
    person = served.visitor("operator")
    form = {"step": "published", "seen": seen(person.get(PATH).text, "published"), "reason": "not now"}
    assert person.post(f"{PATH}/decide", **form, decision="reject").status == 303
    assert "rejected" in person.get(PATH).words and not load_decisions(project)[0].approval.approved
    assert person.post(f"{PATH}/decide", **form, decision="perhaps").status == 400
    rollouts.live(project, rollouts.release(made_at="4"))
    found = person.post(f"{PATH}/decide", **form, decision="approve")
    assert found.status == 409 and "has changed since the page was opened" in found.words


@pytest.mark.slow
def test_a_rollout_is_measured_advanced_and_ended(project, served):
    digest = rollouts.publish(project, rollouts.release(made_at="3"))
    control.start_rollout(project, digest, plan=SHORT, who="ann")
    person = served.visitor("operator")
    assert "at shadow , stage 1 of 2" in person.get(PATH).words
    page = person.get(f"{PATH}/stage")
    assert "The next step is canary 50 %" in page.words and "? undecided" in page.words
    form = {"step": "stage", "seen": seen(page.text, "stage"), "decision": "approve", "reason": "I looked at it"}
    assert person.post(f"{PATH}/decide", **form, override="on").status == 303
    complete_approvals(project, callback=lambda _: None)
    assert control.require_running_rollout(project).stage == 1
    live = project.registry.head("flights@live").release
    assert person.post(f"{PATH}/rollback", **{"from": live}, after="2", reason="harm").status == 409
    other = served.visitor("operator", name="ben")
    for one, message in ((person, "The rollout has ended."), (other, f"left already; live is {live[7:19]}.")):
        assert one.post(f"{PATH}/rollback", **{"from": digest}, after="2", reason="harm").status == 303
        assert message in one.get(PATH).words
    assert project.registry.head("flights@live").release == live
    assert project.registry.head("flights@canary").release == ""
    assert person.get(f"{PATH}/stage").status == 303


@pytest.mark.slow
def test_a_dashboard_that_cannot_sign_says_so(project, served):
    project.registry.operator_keys.write_text("")
    words = served.visitor("operator").get(PATH).words
    assert "This dashboard cannot sign" in words and "operator_keys.txt" not in words


@pytest.mark.slow
def test_an_empty_project_has_nothing_to_approve(tmp_path):
    project = rollouts.project(tmp_path)
    project.state.close()
    with running_dashboard(tmp_path) as running:
        words = running.visitor("viewer").get(PATH).words
    assert "No release is live." in words and "Nothing waits" in words
    open_project(tmp_path).state.close()


@pytest.mark.slow
def test_the_first_start_makes_the_key_and_a_list_of_others_is_not_extended(tmp_path):
    project = rollouts.project(tmp_path, toml=rollouts.TOML.replace("[trust]", '[trust]\noperator_key = "keys/o.pem"'))
    first, line = prepare_operator_key(project)
    key = project.registry.load_operator().key
    assert "has the operator key of this machine now" in first and key in line
    assert prepare_operator_key(project) == []
    project.registry.operator_keys.write_text(f"{create_operator(tmp_path / 'other.pem').key} others\n")
    (message,) = prepare_operator_key(project)
    assert "cannot roll back or approve" in message and f"add the line: {key}" in message
    project.state.close()


@pytest.mark.slow
def test_a_release_that_is_published_later_shows_at_once(project, served):
    person = served.visitor("viewer")
    assert "Nothing waits" in person.get(PATH).words
    rollouts.publish(project, rollouts.release(made_at="3"))
    assert "Waits: a published release that was never live" in person.get(PATH).words
