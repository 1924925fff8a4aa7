"""The way back needs nothing but the pointers: not the files of a release, not the log, not the record."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from msgspec.structs import replace
from tests.monitoring import rollouts

from headway.core.errors import Refused
from headway.core.record import write
from headway.core.rollout import Plan, Rollout, RolloutStage
from headway.core.verdict import Rule
from headway.monitoring import rollout as control
from headway.monitoring.rollout import RolloutController
from headway.storage import segments, traffic
from headway.storage.traffic import Label, save_labels

pytestmark = pytest.mark.slow

BACK = ("canary", "nothing")


@pytest.mark.parametrize(
    ("damaged", "status", "message"),
    [
        ("second", "rolled back", "it does not verify: model.echo was changed"),
        ("first", "inconclusive", "it cannot be compared with live any more: model.echo was changed"),
    ],
)
def test_a_canary_is_withdrawn_if_its_files_or_those_of_live_are_damaged(served, damaged, status, message):
    served.start(Plan(stages=(RolloutStage(share=0.5),)))
    served.model_of(getattr(served, damaged)).write_bytes(b"evil")
    control.step_rollout(served.project)
    ended = control.latest_rollout(served.project)
    assert (ended.status, served.moves()[-1]) == (status, BACK) and message in ended.why


def test_a_canary_whose_folder_is_gone_is_withdrawn(served):
    served.start()
    served.model_of(served.second).parent.rename(served.state / "elsewhere")
    assert control.step_rollout(served.project).action == "roll back" and served.moves()[-1] == BACK


def test_harm_rolls_back_a_canary_that_was_damaged_in_between(served):
    served.start()
    step = RolloutController(served.project, control.latest_rollout(served.project))
    step.step()
    served.model_of(served.second).write_bytes(b"evil")
    served.model_of(served.first).write_bytes(b"evil")
    served.serve(100, release=0.2)
    assert "decisions flipped" in step.step().message and served.moves()[-1] == BACK


def test_a_release_that_was_damaged_in_between_does_not_advance(served):
    served.start()
    step = RolloutController(served.project, control.latest_rollout(served.project))
    step.step()
    served.model_of(served.second).write_bytes(b"evil")
    served.serve(3000)
    decision = step.step()
    assert (decision.action, step.rollout.status) == ("roll back", "rolled back")
    assert served.moves() == [("live", "first"), ("canary", "second"), BACK]


def test_a_person_can_roll_back_whatever_is_damaged(served):
    served.start()
    for digest in (served.first, served.second):
        served.model_of(digest).write_bytes(b"evil")
    assert control.roll_back(served.project, from_release=served.second, who="bob", why="no").release == ""
    assert control.latest_rollout(served.project).status == "rolled back"


def test_a_person_cannot_advance_a_damaged_release(served):
    served.start()
    served.model_of(served.second).write_bytes(b"evil")
    with pytest.raises(Refused, match=r"cannot go forward: .* does not verify"):
        control.promote_rollout(served.project, who="ann", why="now")
    assert served.moves()[-1] == ("canary", "second")


def test_a_live_pointer_that_does_not_verify_stops_the_rollout(served):
    served.start()
    seen = served.project.registry.trusted_keys.with_suffix(".seen.json")
    met = seen.read_bytes()
    seen.write_bytes(met.replace(b'"number":1', b'"number":9', 1))
    found = RolloutController(served.project, control.latest_rollout(served.project)).find()
    assert found.decision.action == "stop" and "the pointers do not verify" in found.decision.message


@pytest.mark.parametrize("content", [b"broken", "no such columns"])
def test_an_unreadable_log_ends_the_rollout_inconclusive(served, content):
    served.start()
    served.serve(10)
    folder = traffic.log_folder(served.state, "flights", served.second)
    if isinstance(content, bytes):
        next(folder.iterdir()).write_bytes(content)
    else:
        segments.save(folder, {"key": [content]})
    assert control.step_rollout(served.project).action == "stop" and served.moves()[-1] == BACK


def test_a_label_that_the_task_cannot_have_does_not_count_in_a_rollout(served):
    served.start()
    keys = served.serve(10, release=0.6)
    save_labels(served.state, "flights", [Label(keys[0], 7.0)], who="eve")
    found = control.step_rollout(served.project)
    assert found.action == "stay" and BACK not in served.moves()


@pytest.mark.parametrize(
    "forged",
    [
        {"rules": (Rule(measure="error_rate", at_most=1.0),)},
        {"salt": "chosen"},
        {"plan": Plan(stages=(RolloutStage(share=0.9),))},
    ],
    ids=["rules", "salt", "shares"],
)
def test_a_record_that_differs_from_the_signed_terms_rolls_back(served, forged):
    served.start()
    served.serve(3000)
    forge(served, **forged)
    assert "not what was signed" in control.step_rollout(served.project).message
    assert control.latest_rollout(served.project).status == "rolled back" and served.moves()[-1] == BACK


def test_a_record_of_a_later_stage_than_was_signed_rolls_back(served):
    served.start()
    forge(served, stage=1)
    assert "not what was signed" in control.step_rollout(served.project).message and served.moves()[-1] == BACK


def forge(served, **fields) -> None:
    """Save a record as an attacker without a key could, who writes to the state."""
    made: Rollout = replace(control.latest_rollout(served.project), **fields)
    served.project.state.save("rollout", write(made), name="flights")


def test_an_advance_does_not_undo_a_rollback_by_a_person(served):
    served.start()
    served.serve(3000)

    def clock() -> datetime:
        if control.latest_rollout(served.project).status == "running":
            served.project.registry.withdraw("flights@canary", who="bob", why="no")
        return datetime.now(UTC)

    step = RolloutController(served.project, control.latest_rollout(served.project), clock=clock)
    assert "not the canary any more, by bob: no" in step.step().message
    assert served.moves() == [("live", "first"), ("canary", "second"), BACK]


def test_two_concurrent_checks_advance_the_rollout_once(served):
    served.start()
    steps = [RolloutController(served.project, control.latest_rollout(served.project)) for _ in range(2)]
    served.serve(3000)
    assert [step.step().action for step in steps] == ["advance", "stay"]
    assert steps[0].rollout.stage == steps[1].rollout.stage == control.latest_rollout(served.project).stage == 1


def test_a_restarted_rollout_has_its_own_terms(served):
    served.start()
    first = control.latest_rollout(served.project)
    control.roll_back(served.project, from_release=served.second, who="bob", why="no")
    served.start()
    assert control.latest_rollout(served.project).terms != first.terms
    assert control.rollout_status(served.project).action == "stay"


def test_terms_of_a_record_in_memory_and_read_back_are_equal(served):
    plan = Plan(stages=(RolloutStage(share=0, at_most_s=60), RolloutStage(share=0.5, at_most_s=60)))
    served.start(plan)
    assert control.rollout_status(served.project).action == "stay"


def test_terms_cover_exactly_the_fields_fixed_at_the_start(served):
    served.start(rollouts.SHORT)
    begun = control.latest_rollout(served.project)
    assert replace(begun, stage=1, requests=9, status="promoted", why="seen").terms == begun.terms
    assert replace(begun, live="sha256:other").terms != begun.terms
