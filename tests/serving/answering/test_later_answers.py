"""GET /v2/models/NAME/answers/KEY: a caller polls for the answer that a person gives later."""

from __future__ import annotations

import asyncio
import dataclasses
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from answer_plans import log_messages, text_model
from running import ask, loaded, open_authenticator, serving
from test_answer_endpoint import MESSAGES, Words

from headway.core.selective import RemoteAudit
from headway.evaluation.settings.answer import AnswerSection
from headway.serving.answering import later_answers
from headway.serving.answering.endpoint import MAX_SEARCHES, AnswerStages
from headway.serving.answering.later_answers import find_later_answer
from headway.serving.auth.keys import create_key
from headway.storage import segments, traffic
from headway.storage.traffic import Label

MODEL = text_model(MESSAGES, engine=Words())


def log(state: Path, *keys: str, **fields: Any) -> Path:
    return log_messages(state, MODEL, *keys, **fields)


def label(state: Path, key: str, value: float, *, who: str = "ann") -> None:
    traffic.save_labels(state, "support", [Label(key, value)], who=who)


@contextmanager
def polled(state: Path):
    with serving(MODEL, answer=AnswerSection(), state=state) as server:
        yield lambda key: ask(server, f"/v2/models/support/answers/{key}")


def test_a_message_is_held_until_a_person_answers_it(tmp_path):
    log(tmp_path, "m/1", "m-2")
    with polled(tmp_path) as poll:
        assert (poll("m%2F1").status, poll("m%2F1").json) == (
            200,
            {"key": "m/1", "answer": "", "answered_by": "people", "status": "held", "at": "", "model_name": "support"},
        )
        label(tmp_path, "m/1", 1.0)
        found = poll("m%2F1").json
        assert (found["answer"], found["answered_by"], found["status"]) == ("refund", "people", "answered")
        assert found["at"].startswith("2") and poll("m-2").json["status"] == "held"
        label(tmp_path, "m/1", 0.0)
        assert poll("m%2F1").json["answer"] == "delivery", "a correction counts"


def test_an_unknown_key_and_another_model_are_404(tmp_path):
    log(tmp_path, "m-12", "m-2")
    log(tmp_path, "m-3", answered=0)
    with polled(tmp_path) as poll:
        assert poll("m-1").status == poll("m-3").status == 404
        assert "no message of 'support' has this key" in poll("m-1").json["error"]
    with serving(MODEL, dataclasses.replace(loaded(), answers=()), answer=AnswerSection(), state=tmp_path) as server:
        assert ask(server, "/v2/models/flights/answers/m-2").status == 400, "a model of numbers"
        assert ask(server, "/v2/models/other/answers/m-2").status == 404
        assert ask(server, f"/v2/models/support/versions/{MODEL.version}/answers/m-2").status == 200


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([], ("refund", "model", "answered")),
        ([(0.0, "remote")], ("delivery", "remote", "answered")),
        ([(1.0, "ann"), (0.0, "remote")], ("refund", "people", "answered")),
        ([(0.5, "ann"), (7.0, "bob"), (float("nan"), "eve")], ("refund", "model", "answered")),
    ],
)
def test_a_person_wins_over_the_remote_stage_and_that_over_the_model(tmp_path, labels, expected):
    log(tmp_path, "m-1", by="model")
    for value, who in labels:
        label(tmp_path, "m-1", value, who=who)
    found = find_later_answer(tmp_path, MODEL, "m-1")
    assert found is not None
    assert (found.answer, found.answered_by, found.status) == expected


def test_a_message_is_found_only_by_the_api_key_that_sent_it(tmp_path):
    names = ("shop", "rival")
    keys = {name: create_key(tmp_path / "keys.toml", name, ["predict"]) for name in names}
    log(tmp_path, "m-1", "m-2", api_key="shop")
    log(tmp_path, "m-3")
    label(tmp_path, "m-1", 1.0)
    with serving(
        MODEL, answer=AnswerSection(), state=tmp_path, authenticator=open_authenticator(tmp_path / "keys.toml")
    ) as server:

        def statuses(name: str) -> list[int]:
            bearer = f"Authorization: Bearer {keys[name]}"
            paths = [f"/v2/models/support/answers/m-{number}" for number in (1, 2, 3)]
            return [ask(server, path, headers=[bearer]).status for path in paths]

        assert statuses("shop") == [200, 200, 200]
        assert statuses("rival") == [404, 404, 200]
    log(tmp_path, "m-1", by="model", api_key="rival")
    found = find_later_answer(tmp_path, MODEL, "m-2", api_key="shop")
    assert found is not None and found.status == "held"


def test_a_label_that_is_older_than_the_message_is_not_that_of_its_caller(tmp_path):
    label(tmp_path, "m-1", 1.0)
    log(tmp_path, "m-1", api_key="rival", at_us=np.array([1 << 60]))
    found = find_later_answer(tmp_path, MODEL, "m-1", api_key="rival")
    assert found is not None and found.status == "held"
    log(tmp_path, "m-2", api_key="shop", at_us=np.array([1]))
    label(tmp_path, "m-2", 1.0)
    found = find_later_answer(tmp_path, MODEL, "m-2", api_key="shop")
    assert found is not None and found.answer == "refund"


def test_an_answer_of_another_release_is_not_named_by_the_classes_of_this_one(tmp_path):
    log(tmp_path, "m-1", by="model", digest="sha256:" + "0" * 64)
    found = find_later_answer(tmp_path, MODEL, "m-1")
    assert found is not None
    assert (found.answer, found.answered_by, found.status) == ("", "model", "answered")


def test_a_key_is_found_on_the_border_of_two_parts_and_not_in_an_empty_file(tmp_path, monkeypatch):
    path = log(tmp_path, "m-1", "a key of some length")
    (path.parent / f"0-empty{segments.SUFFIX}").touch()
    for size in (1, 3, 20, 21):
        monkeypatch.setattr(segments, "_SEARCHED_BYTES", size)
        assert find_later_answer(tmp_path, MODEL, "a key of some length") is not None
        assert find_later_answer(tmp_path, MODEL, "a key of some lengths") is None


def test_segments_in_which_the_key_is_part_of_others_are_not_decoded_completely(tmp_path, monkeypatch):
    log(tmp_path, "m-12", "m-123")
    read, load = list[tuple[str, ...]](), segments.load

    def count(path: Path, *names: str) -> dict[str, segments.Column]:
        read.append(names)
        return load(path, *names)

    monkeypatch.setattr(segments, "load", count)
    assert find_later_answer(tmp_path, MODEL, "m-1") is None
    assert read == [("key",)]
    assert find_later_answer(tmp_path, MODEL, "m-12") is not None


def test_a_message_whose_engine_call_failed_has_no_answer_of_the_model(tmp_path):
    log(tmp_path, "m-1", by="model", status=1)
    found = find_later_answer(tmp_path, MODEL, "m-1")
    assert found is not None and found.status == "held"


def test_the_last_request_of_a_key_counts_and_old_ones_are_searched_up_to_a_limit(tmp_path, monkeypatch):
    old = log(tmp_path, "m-1", "m-2")
    log(tmp_path, "m-1", by="model")
    found = find_later_answer(tmp_path, MODEL, "m-1")
    assert found is not None and found.status == "answered"
    log(tmp_path, "m-4", "m-4", by="model", status=np.array([1, 0], np.int8))
    again = find_later_answer(tmp_path, MODEL, "m-4")
    assert again is not None and again.status == "answered", "in one segment too"
    assert find_later_answer(tmp_path, MODEL, "m-2") is not None
    monkeypatch.setattr(later_answers, "MAX_SEARCHED_BYTES", old.stat().st_size + 1)
    assert find_later_answer(tmp_path, MODEL, "m-2") is None


def test_a_segment_may_be_erased_while_it_is_searched_and_a_damaged_one_is_an_error(tmp_path, monkeypatch, caplog):
    first, second = log(tmp_path, "m-1"), log(tmp_path, "m-2")
    first.with_name(f"0-gone{segments.SUFFIX}").symlink_to("nowhere")
    assert find_later_answer(tmp_path, MODEL, "m-1") is not None
    contains = segments.contains

    def erase_first(path: Path, text: str) -> bool:
        found = contains(path, text)
        if path == second:
            second.unlink()
        return found

    monkeypatch.setattr(segments, "contains", erase_first)
    assert find_later_answer(tmp_path, MODEL, "m-2") is None
    monkeypatch.setattr(segments, "contains", contains)
    first.write_bytes(b"m-1" * 100)
    with polled(tmp_path) as poll:
        assert poll("m-1").status == 503
    assert "an answer was not found" in caplog.text


def test_a_message_is_found_if_its_segment_is_merged_while_it_is_searched(tmp_path, monkeypatch):
    paths = [log(tmp_path, f"m-{number}") for number in range(segments.MIN_MERGED)]
    contains = segments.contains

    def merge_first(path: Path, text: str) -> bool:
        monkeypatch.setattr(segments, "contains", contains)
        segments.merge(path.parent, before_ns=1 << 62, span_ns=1 << 62, part=traffic.MERGED)
        return contains(path, text)

    monkeypatch.setattr(segments, "contains", merge_first)
    assert find_later_answer(tmp_path, MODEL, "m-1") is not None
    assert not any(path.exists() for path in paths)


def test_too_many_searches_are_refused(tmp_path):
    replies: list[tuple[int, bytes]] = []

    class Request:
        def reply(self, status: int, body: bytes, *, extra: bytes = b"") -> None:
            replies.append((status, body))

    async def run() -> None:
        stages = AnswerStages(AnswerSection(), tmp_path)
        for _ in range(MAX_SEARCHES + 1):
            stages.find(Request(), MODEL, "m-1", api_key="")
        while stages._tasks:
            await asyncio.sleep(0)

    asyncio.run(run())
    assert [status for status, _ in replies] == [429] + [404] * MAX_SEARCHES


def test_an_answer_of_the_remote_stage_is_uncertified_unless_its_audit_covers_it(tmp_path):
    model = text_model(MESSAGES, engine=Words())
    log(tmp_path, "m-1")
    label(tmp_path, "m-1", 1.0, who=traffic.REMOTE)
    statuses = {stage: find_later_answer(tmp_path, model, "m-1", stage=stage).status for stage in ("", "small")}
    assert statuses == {"": "answered", "small": "uncertified"}
    model.selective.remote_audit = RemoteAudit(stage="small", covers=("refund",))
    assert find_later_answer(tmp_path, model, "m-1", stage="small").status == "answered"

    model.selective.remote_audit = None
    label(tmp_path, "m-1", 0.0)
    found = find_later_answer(tmp_path, model, "m-1", stage="small")
    assert (found.answered_by, found.status) == ("people", "answered")
