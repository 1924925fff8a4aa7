"""Messages that wait for a person, and how many the model answers, how well, how fast, and what that saves."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.dashboard.message_project import N_MESSAGES, lived_in_shop, log_messages, make_live, write_shop

from headway.core.errors import DataError
from headway.core.selective import CertificateAudit, RemoteAudit
from headway.evaluation.settings.answer import AnswerSection, RemoteStage
from headway.monitoring.messages import AUDIT_REASON, summarize_messages, waiting_messages
from headway.registry.project import Project, open_project
from headway.storage.traffic import REMOTE, Label, save_labels

pytestmark = pytest.mark.slow
DELIVERY, REFUND = 1.0, 2.0


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    lived_in_shop(folder).state.close()
    return folder


@pytest.fixture
def project(written: Path) -> Iterator[Project]:
    opened = open_project(written)
    yield opened
    opened.state.close()


def test_handed_on_and_audited_messages_wait_the_oldest_first(project):
    waiting = waiting_messages(project, 500)
    assert [(one.key, one.reason) for one in waiting[:3]] == [
        ("m0", AUDIT_REASON),
        ("m3", "low_confidence"),
        ("m7", "low_confidence"),
    ]
    assert len(waiting) == 30 + 12
    assert waiting[1].inputs == {"text": "where is my parcel 3 it should have arrived"}
    assert len(waiting_messages(project, 2)) == 2


def test_the_summary_counts_and_measures_with_intervals(project):
    found = summarize_messages(project)
    assert (found.n_messages, found.n_waiting) == (N_MESSAGES, 42)
    assert found.answered is not None and found.first_answer is not None
    assert found.answered.value == 0.75
    assert found.answered.low < 0.75 < found.answered.high and found.answered.n_groups == 31
    assert (found.first_answer.value, found.first_answer.unit) == (250e-6, "s")
    assert found.corrected is None and found.hours_saved is None


def test_labels_empty_the_queue_and_corrections_are_measured(tmp_path):
    project = lived_in_shop(tmp_path)
    keys = [one.key for one in waiting_messages(project, 500)]
    labels = [Label(key, REFUND if key == "m10" else DELIVERY) for key in keys]
    save_labels(project.config.state, "shop", labels, who="ann")
    assert waiting_messages(project, 500) == []
    found = summarize_messages(project)
    assert found.corrected is not None and found.hours_saved is not None
    assert (found.corrected.n_rows, round(found.corrected.value * 12)) == (12, 1)
    assert found.corrected.low <= 1 / 12 <= found.corrected.high
    assert found.hours_saved.low < found.hours_saved.value == pytest.approx(90 * 5 / 60 * 11 / 12)
    assert found.hours_saved.high <= 90 * 5 / 60
    project.state.close()


def test_a_message_that_the_remote_stage_did_not_answer_waits_for_people(tmp_path):
    project = write_shop(tmp_path)
    live = project.registry.resolve("shop@live").release
    make_live(project, replace(live, answers=replace(live.answers, stages=("remote", "people"))))
    log_messages(project, ["where"] * 4, answered=[False] * 4, audited=[False] * 4, handed_to=REMOTE)
    save_labels(project.config.state, "shop", [Label("m2", DELIVERY)], who=REMOTE)
    assert [one.key for one in waiting_messages(project, 500)] == ["m0", "m1", "m3"]
    assert summarize_messages(project).n_waiting == 3
    project.state.close()


def test_a_message_without_an_answer_has_waited_for_ever(tmp_path):
    project = write_shop(tmp_path)
    with pytest.raises(DataError, match="no message was answered"):
        summarize_messages(project)
    n = 40
    log_messages(project, ["where"] * n, answered=[False] * n, audited=[False] * n)
    found = summarize_messages(project)
    assert found.first_answer is None and "too many" in found.no_first_answer
    project.state.close()


def test_a_message_that_the_remote_stage_answered_waits_until_its_answer_counts_and_drawn_ones_always_do(tmp_path):
    project = write_shop(tmp_path)
    live = project.registry.resolve("shop@live").release
    make_live(project, replace(live, answers=replace(live.answers, stages=("remote", "people"))))
    log_messages(project, ["where"] * 4, answered=[False] * 4, audited=[True, False, False, False], handed_to=REMOTE)
    remote = RemoteStage(url="https://llm.example/v1", model="small")
    config = project.config.having(replace(project.config[AnswerSection], remote=remote))
    project = dataclasses.replace(project, config=config)
    save_labels(project.config.state, "shop", [Label(f"m{number}", DELIVERY) for number in range(3)], who=REMOTE)
    assert [one.key for one in waiting_messages(project, 500)] == ["m0", "m1", "m2", "m3"]

    audit = CertificateAudit(
        name="shop",
        release=project.registry.resolve("shop@live").digest,
        status="holds",
        message="",
        limit=0.05,
        n_drawn=0,
        n_labeled=0,
        n_overdue=0,
        rows_to_detect=0,
        remote=RemoteAudit(stage=remote.identity, covers=("delivery",)),
    )
    project.save(audit)
    assert [one.key for one in waiting_messages(project, 500)] == ["m0", "m3"]
    assert summarize_messages(project).corrected is None, "the share corrected is of the model's answers"
    save_labels(project.config.state, "shop", [Label("m0", REFUND)], who="ann")
    assert [one.key for one in waiting_messages(project, 500)] == ["m3"]
    project.state.close()
