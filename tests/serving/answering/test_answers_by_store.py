"""Test later answers with every place for log and labels, by two machines that ship, merge and erase segments."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from answer_plans import log_messages, text_model
from tests.storage.small_s3 import small_s3

from headway.core.config import Config
from headway.core.settings.project import ProjectSection
from headway.core.settings.store import StoreSection
from headway.core.variant import Field, Signature
from headway.serving.answering import later_answers
from headway.serving.protocol.schemas import LaterAnswer
from headway.storage import segments, traffic
from headway.storage.addresses import open_logs
from headway.storage.traffic import Label

pytestmark = pytest.mark.slow
MODEL = text_model(
    Signature(inputs=(Field(name="message", datatype="BYTES", is_text=True),), classes=("delivery", "refund"))
)


@dataclasses.dataclass(frozen=True)
class Machine:
    """A server, and the commands of people, with a state folder of their own or a common one."""

    config: Config

    def ship(self) -> None:
        logs = open_logs(self.config)
        if logs:
            logs.ship()

    def log(self, *keys: str, **fields: Any) -> Path:
        return log_messages(self.config.state, MODEL, *keys, **fields)

    def label(self, key: str, value: float, *, who: str = "ann") -> None:
        traffic.save_labels(self.config.state, MODEL.name, [Label(key, value)], who=who)

    def find(self, key: str, api_key: str = "") -> LaterAnswer | None:
        logs = open_logs(self.config)
        return later_answers.find_later_answer(self.config.state, MODEL, key, api_key=api_key, logs=logs)

    def outcome(self, key: str, api_key: str = "") -> tuple[str, str]:
        found = self.find(key, api_key)
        return (found.status, found.answer) if found else ("", "")


@pytest.fixture(params=["folder", "small S3", pytest.param("seaweed", marks=pytest.mark.services)])
def machines(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Machine, Machine]]:
    """Two machines that share their log in an object store, or one folder."""

    def machine(name: str, logs: str) -> Machine:
        return Machine(Config(ProjectSection(state=str(tmp_path / name)), StoreSection(logs=logs)))

    if request.param == "folder":
        yield machine("a", ""), machine("a", "")
    elif request.param == "seaweed":
        address = str(request.getfixturevalue("s3"))
        yield machine("a", address), machine("b", address)
    else:
        with small_s3() as server:
            for name, value in server.environment.items():
                monkeypatch.setenv(name, value)
            yield machine("a", "s3://bucket/team"), machine("b", "s3://bucket/team")


def test_a_message_is_held_until_a_person_answers_it_on_another_machine(machines):
    ours, theirs = machines
    ours.log("m-1", "m-2")
    assert ours.outcome("m-1") == ("held", ""), "before it is shipped"
    ours.ship()
    assert ours.outcome("m-1") == theirs.outcome("m-1") == ("held", "")
    assert theirs.find("m-3") is None
    theirs.label("m-1", 1.0)
    theirs.label("m-1", 0.0, who=traffic.REMOTE)
    theirs.ship()
    assert ours.outcome("m-1") == ("answered", "refund")
    ours.label("m-1", 0.0)
    assert ours.outcome("m-1") == ("answered", "delivery"), "a correction counts before it is shipped"
    assert ours.outcome("m-2") == ("held", "")


def test_the_last_message_of_a_key_counts_wherever_it_is(machines):
    ours, theirs = machines
    ours.log("m-1")
    ours.ship()
    theirs.log("m-1", by="model")
    assert theirs.outcome("m-1") == ("answered", "refund")
    theirs.ship()
    assert ours.outcome("m-1") == ("answered", "refund")
    ours.log("m-1", by="model", digest="sha256:" + "0" * 64)
    ours.ship()
    assert theirs.outcome("m-1") == ("answered", ""), "another release may have other classes"


def test_a_caller_reads_neither_the_message_of_another_api_key_nor_the_label_that_people_gave_it(machines):
    ours, theirs = machines
    ours.log("m-1", api_key="shop")
    ours.ship()
    theirs.label("m-1", 0.0)
    assert theirs.outcome("m-1", "rival") == ("", "")
    theirs.log("m-1", api_key="rival")
    assert theirs.outcome("m-1", "rival") == ("held", "")
    theirs.ship()
    assert theirs.outcome("m-1", "rival") == ("held", "")
    assert ours.outcome("m-1", "shop") == theirs.outcome("m-1", "shop") == ("answered", "delivery")


def test_messages_are_found_in_merged_segments_and_not_when_they_are_erased(machines):
    ours, theirs = machines
    for number in range(segments.MIN_MERGED):
        ours.log(f"m-{number}")
    ours.ship()
    assert theirs.outcome("m-1") == ("held", "")
    merge(ours)
    assert theirs.outcome("m-1") == ours.outcome("m-1") == ("held", "")
    delete_all(ours)
    assert theirs.outcome("m-1") == ours.outcome("m-1") == ("", "")


def merge(machine: Machine) -> None:
    limits: dict[str, Any] = {"before_ns": 1 << 62, "span_ns": 1 << 62, "part": traffic.MERGED}
    logs = open_logs(machine.config)
    if logs:
        assert logs.merge(**limits) == segments.MIN_MERGED
    else:
        folder = traffic.log_folder(machine.config.state, MODEL.name, MODEL.digest)
        assert segments.merge(folder, **limits) == segments.MIN_MERGED


def delete_all(machine: Machine) -> None:
    logs = open_logs(machine.config)
    if logs:
        assert logs.delete_older(1 << 62)
    else:
        assert traffic.delete_older(machine.config.state, 1 << 62)


def test_the_latest_part_of_the_log_is_searched(machines, monkeypatch):
    ours, theirs = machines
    old = ours.log("m-1")
    monkeypatch.setattr(later_answers, "MAX_SEARCHED_BYTES", old.stat().st_size + 1)
    ours.log("m-2")
    ours.label("m-2", 1.0)
    ours.ship()
    assert (theirs.outcome("m-1"), theirs.outcome("m-2")) == (("", ""), ("answered", "refund"))
