"""Approvals: signed with the operator's key, void when what they name changes, and completed once by the publisher."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace
from tests.monitoring import rollouts
from tests.monitoring.retraining.retrained import outcome

from headway.core.approval import Approval, SignedApproval
from headway.core.errors import ConfigError, HeadwayError
from headway.core.record import canonical, digest_of, write
from headway.core.rollout import Plan, RolloutStage
from headway.core.search_result import SearchResult
from headway.core.verdict import Rule
from headway.data.settings.policy import PolicySection
from headway.evaluation.statistics.intervals import exact_measurement
from headway.monitoring import rollout as control
from headway.monitoring.approvals import load_decisions, pending_releases, pending_stage, save_decision, void_reason
from headway.monitoring.completion import complete_approvals, follow_approvals
from headway.registry.model_registry import UpdateReason
from headway.registry.searches import save_search
from headway.registry.sign import create_operator, create_publisher, init_operator_keys, load_operator


def keys(made):
    registry = made.registry
    init_operator_keys(registry.operator_key, registry.operator_keys, trusted_keys=registry.trusted_keys, comment="bob")
    return made


@pytest.fixture
def project(tmp_path):
    toml = rollouts.TOML.replace("[trust]", '[trust]\noperator_key = "keys/operator.pem"')
    made = keys(rollouts.project(tmp_path, toml=toml))
    yield made
    made.state.close()


@pytest.fixture
def live(project):
    return rollouts.live(project, rollouts.release(made_at="1"))


def searched(project, *, at: str = "2", answer: str = "pass", content: bytes = b"echo2") -> SearchResult:
    """Save a search whose winner is another model than the live one."""
    search = outcome(project).search_result
    variant = rollouts.release(content=content).variant
    project.blobs.put(content)
    verdict = replace(search.winner.verdict, subject=variant.digest, answer=answer)
    evidence = replace(search.winner.evidence, subject=variant.digest, period="test")
    winner = replace(search.winner, variant=variant, evidence=evidence, verdict=verdict)
    found = replace(search, winner=winner, at=at)
    project.save(found)
    return found


def approve(project, step: str = "published", *, approved: bool = True, **options) -> Approval:
    (found,) = [one for one in pending_releases(project) if one.step == step]
    return save_decision(project, found, approved=approved, who="ada", why="it was looked at", **options)


def complete(project, **options) -> list[str]:
    return [one.message for one in complete_approvals(project, callback=lambda _: None, **options)]


def reason(project, approval: Approval, *, now: datetime | None = None) -> str:
    decisions = load_decisions(project)
    decisions = decisions if any(one.approval == approval for one in decisions) else []
    return void_reason(approval, pending_releases(project), decisions, now=now or datetime.now(UTC))


def never_live(project) -> str:
    return rollouts.publish(project, rollouts.release(made_at="2"))


@pytest.mark.slow
def test_a_published_release_is_approved_and_the_publisher_makes_it_live(project, live):
    digest = never_live(project)
    approval = approve(project)
    assert (approval.subject, approval.live, approval.live_update) == (digest, live, 1)
    assert reason(project, approval) == ""
    (message,) = complete(project)
    assert "completed" in message and project.registry.head("flights@live").release == digest
    move = project.registry.head("flights@live")
    assert not approval.override
    assert (move.who, move.why) == ("ada", "it was looked at")
    assert complete(project) == [], "an approval counts once"
    project.registry.roll_back("flights@live", who="bob", why="no", key="operator")
    assert complete(project) == [] and project.registry.head("flights@live").release == live
    assert reason(project, approval) != ""


@pytest.mark.slow
def test_an_approval_without_a_pass_is_an_override_everywhere(project, live):
    never_live(project)
    (found,) = pending_releases(project)
    approval = save_decision(project, replace_answer(found, "undecided"), approved=True, who="ada", why="storm days")
    assert approval.override
    assert complete(project, overrides=False) == []


def replace_answer(pending, answer):
    return dataclasses.replace(pending, answer=answer)


@pytest.mark.slow
def test_the_winner_of_a_search_is_released_with_an_override_in_the_history(project, live):
    search = searched(project, answer="undecided")
    approval = approve(project, "search")
    assert approval.override and reason(project, approval) == ""
    assert complete(project, unpublished=False) == complete(project, overrides=False) == []
    (message,) = complete(project)
    move = project.registry.head("flights@live")
    assert "completed" in message and (move.answer, move.who, move.why) == (
        "override",
        "ada",
        "override: it was looked at",
    )
    release = project.registry.resolve("flights@live").release
    assert release.verdict.by == "ada" and release.variant == search.winner.variant


@pytest.mark.slow
@pytest.mark.parametrize("step", ["search", "retraining"])
def test_what_was_live_does_not_wait_again(project, live, step):
    search = searched(project)
    made = rollouts.release(content=b"echo2", made_at="5")
    if step == "retraining":
        project.save(replace(outcome(project), key="second", search_result=replace(search, at="20")))
    digest = project.registry.publish(made, {"model.echo": b"echo2"})
    assert step in {one.step for one in pending_releases(project)}
    project.registry.point("flights@live", digest, UpdateReason(who="ann", why="a test", verdict=made.verdict))
    project.registry.roll_back("flights@live", to=live, who="bob", why="no", key="operator")
    assert step not in {one.step for one in pending_releases(project)}


@pytest.mark.slow
def test_an_earlier_search_that_was_evaluated_again_is_not_what_waits(project, live):
    """As for `headway release`: the last search is the one that ended last."""
    earlier = searched(project, at="2026-11-01T00:00:00+00:00", content=b"echo2")
    last = searched(project, at="2026-11-02T00:00:00+00:00", content=b"echo3")
    evaluated = replace(earlier, winner=replace(earlier.winner, verdict=replace(earlier.winner.verdict, why="again")))
    save_search(project, evaluated, is_evaluation=True)
    approval = approve(project, "search")
    (message,) = complete(project)
    assert "completed" in message
    assert approval.subject == digest_of(write(last))
    assert project.registry.resolve("flights@live").release.variant == last.winner.variant


@pytest.mark.slow
def test_rows_that_changed_since_the_search_are_refused(project, live):
    rules = PolicySection(release=(Rule(measure="brier.drop", at_most=0.5),), floor="none")
    project = dataclasses.replace(project, config=project.config.having(rules))
    search = searched(project)
    names = ("brier.drop", "live.brier.drop", "live.roc_auc.drop")
    measured = tuple(exact_measurement(name, 0.0, n_rows=1000, method="a test") for name in names)
    evidence = replace(search.winner.evidence, measurements=measured, live=live)
    project.save(replace(search, winner=replace(search.winner, evidence=evidence)))
    assert not approve(project, "search").override

    def changed(_):
        raise HeadwayError("the rows changed")

    assert "refused: the rows changed" in complete(project, check_search=changed)[0]
    assert project.registry.head("flights@live").release == live


@pytest.mark.slow
def test_a_retraining_goes_the_way_that_the_project_says(project, live):
    outcome(project)
    approval = approve(project, "retraining")
    assert not approval.override
    (message,) = complete(project)
    assert "completed: its rollout starts with shadow" in message
    assert control.require_running_rollout(project).by == "ada"
    assert [one for one in pending_releases(project) if one.step == "retraining"] == []


@pytest.mark.slow
def test_it_is_void_when_anything_that_it_names_changes(project, live, tmp_path):
    digest = never_live(project)
    approval = approve(project)
    assert "expired" in reason(project, approval, now=datetime.now(UTC) + timedelta(hours=24, minutes=1))
    assert "expired" in reason(project, approval, now=datetime.now(UTC) - timedelta(hours=1)), "from the future"
    assert "verdict was" in reason(project, replace(approval, answer="fail"))
    assert "evidence" in reason(project, replace(approval, evidence="sha256:0"))
    assert "live has moved" in reason(project, replace(approval, live_update=7))
    assert "another one" in reason(project, replace(approval, subject="sha256:0"))

    (tmp_path / "headway.toml").write_text((tmp_path / "headway.toml").read_text() + "[policy]\nslice_rows = 7\n")
    from_now = rollouts.open_project(tmp_path)
    assert "policy" in reason(from_now, approval)
    from_now.state.close()

    rollouts.live(project, rollouts.release(made_at="3"))
    assert reason(project, approval)
    (message,) = complete(project)
    assert "refused: it is void" in message and project.registry.head("flights@live").release != digest


@pytest.mark.slow
def test_a_later_rejection_ends_an_approval(project, live):
    never_live(project)
    approval = approve(project)
    approve(project, approved=False)
    assert reason(project, approval) == "ada rejected it afterwards: it was looked at"
    (message,) = complete(project)
    assert "refused: it is void: ada rejected it afterwards" in message
    assert project.registry.head("flights@live").release == live


@pytest.mark.slow
def test_only_a_listed_operator_s_approval_is_read(project, live, tmp_path):
    never_live(project)
    approval = approve(project)
    forged = replace(approval, who="eve")
    for key in (create_operator(tmp_path / "eve.pem"), create_publisher(tmp_path / "other.pem")):
        signed = key.sign(write(forged))
        project.save(SignedApproval(content=signed.content.decode(), signature=signed.signature.decode()))
    operator = load_operator(project.registry.operator_key)
    for content in (canonical({"kind": "approval"}), write(replace(approval, name="hotels"))):
        signed = operator.sign(content)
        project.save(SignedApproval(content=signed.content.decode(), signature=signed.signature.decode()))
    assert [one.approval.who for one in load_decisions(project)] == ["ada"]


def test_without_an_operator_s_key_nothing_is_signed(project, live):
    never_live(project)
    project.registry.operator_key.unlink()
    with pytest.raises(ConfigError, match="no operator key"):
        approve(project)
    with pytest.raises(HeadwayError, match="names who and why"):
        save_decision(project, pending_releases(project)[0], approved=True, who="ada", why=" ")


@pytest.mark.slow
def test_a_process_completes_approvals_as_they_come(project, live):
    digest = never_live(project)

    class Ended(Exception):
        pass

    def wait(_):
        if project.registry.head("flights@live").release == digest:
            raise Ended
        approve(project)

    with pytest.raises(Ended):
        follow_approvals(project, overrides=True, callback=lambda _: None, wait=wait)


@pytest.mark.slow
class TestStage:
    """The next stage of a rollout, which the operator's key may not move."""

    @pytest.fixture
    def rollout(self, project, live):
        return control.start_rollout(
            project,
            never_live(project),
            plan=Plan(stages=(RolloutStage(share=0.0), RolloutStage(share=0.5))),
            who="ann",
        )

    def pending(self, project):
        rollout = control.require_running_rollout(project)
        return pending_stage(rollout, control.RolloutController(project, rollout).find())

    def test_a_person_advances_it_against_the_judge(self, project, rollout):
        found = self.pending(project)
        approval = save_decision(project, found, approved=True, who="ada", why="I looked at it")
        assert approval.override and approval.policy == rollout.terms
        (message,) = complete(project)
        assert "completed: advance by ada" in message
        assert control.require_running_rollout(project).stage == 1
        move = project.registry.head("flights@canary")
        assert (move.answer, move.assignment.share) == ("override", 0.5)
        assert complete(project) == []

    def test_it_is_void_once_the_rollout_moved_or_ended(self, project, rollout):
        save_decision(project, self.pending(project), approved=True, who="ada", why="fine")
        control.advance_rollout(project, who="ann", why="faster")
        (message,) = complete(project)
        assert "refused: it is void: the rollout has moved since" in message
        save_decision(project, self.pending(project), approved=True, who="ada", why="fine")
        control.roll_back(
            project, from_release=control.release_to_leave(project), who="bob", why="harm", key="operator"
        )
        assert "nothing waits any more" in complete(project)[0]
        assert project.registry.head("flights@canary").release == ""
