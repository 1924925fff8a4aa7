"""Servers follow the withdrawal of a certificate: fewer answers, with the reason, and nothing fails."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from answer_plans import CERTIFICATE
from msgspec.structs import replace
from tests.monitoring import rollouts

from headway.core.release import Release
from headway.core.selective import AnswerPlan, CertificateAudit, CertificateWithdrawal, RemoteAudit
from headway.serving.batching.answers import SelectiveModel
from headway.serving.loading import load_model
from headway.serving.registry_watcher import RegistryWatcher
from headway.serving.routing.traffic_split import TrafficSplit

ROWS = np.array([[0.95], [0.05]])


def _release(**fields: object) -> Release:
    plan = AnswerPlan(rule="probability", thresholds={"0": 0.9, "1": 0.9}, certificate=CERTIFICATE)
    return replace(rollouts.release(), answers=plan, threshold=0.5, **fields)


class _Followed:
    """A watcher of `flights@live` that polls on demand, and its split."""

    def __init__(self, folder, *, release: Release) -> None:
        self.project = rollouts.project(folder)
        self.digest = rollouts.live(self.project, release)
        self.split = TrafficSplit(live=load_model(self.project.registry.resolve("flights@live")))
        self.watcher = RegistryWatcher(self.project.registry, online=None, on_change=self._set, refused={})

    def _set(self, split: TrafficSplit) -> None:
        self.split = split

    def start(self) -> None:
        """Watch without the thread."""
        self.watcher._thread = type("Unstarted", (), {"start": lambda _: None})()
        self.watcher.start({"flights@live": self.split.live})

    def withdraw(self, *classes: str, digest: str = "") -> None:
        record = CertificateWithdrawal(
            name="flights",
            release=digest or self.digest,
            classes=classes,
            risk=CERTIFICATE.risk,
            limit=0.05,
            why="too many were wrong",
            at="2026-11-28T00:00:00+00:00",
        )
        self.project.save(record)

    def reasons(self) -> list[str]:
        assert self.split.live.selective is not None
        return self.split.live.selective.decide(ROWS).reason


@pytest.fixture
def followed(tmp_path):
    made = _Followed(tmp_path, release=_release())
    made.start()
    yield made
    made.project.state.close()
    made.project.registry.state.close()


def test_a_withdrawn_class_is_handed_on_from_the_next_poll_on(followed, caplog):
    followed.watcher.poll()
    assert followed.reasons() == ["", ""]

    followed.withdraw("1")
    with caplog.at_level(logging.WARNING):
        followed.watcher.poll()
        followed.watcher.poll()

    assert followed.reasons() == ["withdrawn", ""]
    assert sum("is withdrawn for 1" in message for message in caplog.messages) == 1
    found = followed.split.live.selective.decide(ROWS)
    assert (found.answer, found.answered_by) == (["", "0"], ["people", "model"])


def test_a_withdrawal_for_all_leaves_no_answer(followed):
    followed.withdraw()
    followed.watcher.poll()

    assert followed.reasons() == ["withdrawn", "withdrawn"]


def test_a_withdrawal_of_another_release_changes_nothing(followed):
    followed.withdraw(digest=f"sha256:{'0' * 64}")
    followed.watcher.poll()

    assert followed.reasons() == ["", ""]


def test_the_next_release_answers_by_its_own_certificate(followed):
    followed.withdraw()
    followed.watcher.poll()

    rollouts.live(followed.project, _release(made_at="2026-11-29"))
    followed.watcher.poll()

    assert followed.reasons() == ["", ""]


def test_a_server_that_starts_later_withdraws_before_its_first_answer(tmp_path):
    made = _Followed(tmp_path, release=_release())
    made.withdraw("0")

    made.start()

    assert made.reasons() == ["", "withdrawn"]
    made.project.state.close()


def test_a_model_that_is_loaded_later_withdraws_too(tmp_path):
    made = _Followed(tmp_path, release=_release())
    made.withdraw("0")

    assert made.watcher.load("flights@live").selective.decide(ROWS).reason == ["", "withdrawn"]
    made.project.state.close()


def test_a_damaged_withdrawal_raises_the_alarm_and_changes_nothing(followed):
    followed.project.state.save("certificate_withdrawal", b"{", name="flights")
    followed.watcher.poll()

    assert followed.reasons() == ["", ""]
    assert followed.watcher._refused == {"flights@live": True}


def test_the_same_withdrawal_is_new_once():
    model = SelectiveModel(_release(), "sha256:1")

    assert model.withdraw(frozenset({"1"}))
    assert not model.withdraw(frozenset({"1"}))
    assert model.withdrawn == {"1"}


def test_a_server_follows_the_audit_of_the_remote_stage_of_its_release(followed):
    model = followed.split.live.selective
    assert not model.covers_remote("small", "1") and not model.covers_remote("", "1")

    audit = CertificateAudit(
        name="flights",
        release=followed.digest,
        status="holds",
        message="",
        limit=0.05,
        n_drawn=0,
        n_labeled=0,
        n_overdue=0,
        rows_to_detect=0,
        remote=RemoteAudit(stage="small", covers=("1",)),
    )
    followed.project.save(audit)
    followed.watcher.poll()
    covered = [model.covers_remote(stage, name) for stage, name in (("small", "1"), ("small", "0"), ("large", "1"))]
    assert covered == [True, False, False]

    followed.project.save(replace(audit, release=f"sha256:{'0' * 64}"))
    followed.watcher.poll()
    assert not model.covers_remote("small", "1"), "an audit of another release says nothing"
