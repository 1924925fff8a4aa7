"""GET /v2/models/NAME/answers/KEY: a caller polls for the answer that a person gives later."""

from __future__ import annotations

import asyncio
import dataclasses
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from answer_plans import text_model
from running import ask, loaded, serving
from test_answer_endpoint import MESSAGES, Words

from headway.core.sections import AnswerSection
from headway.serving.answering import later_answers
from headway.serving.answering.endpoint import MAX_SEARCHES, AnswerStages
from headway.serving.answering.later_answers import find_later_answer
from headway.storage import segments, traffic
from headway.storage.traffic import ANSWERED_BY, Label

MODEL = text_model(MESSAGES, engine=Words())


def log(state: Path, *keys: str, by: str = "people", status: int = 0, answered: int = 1) -> Path:
    """Log messages of which the model is certain that they are refunds."""
    ones = np.ones(len(keys), dtype=np.int8)
    columns: dict[str, segments.Column] = {
        "key": list(keys),
        "answered": ones * answered,
        "status": ones * status,
        "answered_by": ones * ANSWERED_BY.index(by),
        "out.0": ones * 0.1,
        "out.1": ones * 0.9,
    }
    return segments.save(traffic.log_folder(state, "support", MODEL.digest), columns)


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


def test_a_message_whose_engine_call_failed_has_no_answer_of_the_model(tmp_path):
    log(tmp_path, "m-1", by="model", status=1)
    found = find_later_answer(tmp_path, MODEL, "m-1")
    assert found is not None and found.status == "held"


def test_the_last_request_of_a_key_counts_and_old_ones_are_searched_up_to_a_limit(tmp_path, monkeypatch):
    old = log(tmp_path, "m-1", "m-2")
    log(tmp_path, "m-1", by="model")
    found = find_later_answer(tmp_path, MODEL, "m-1")
    assert found is not None and found.status == "answered"
    assert find_later_answer(tmp_path, MODEL, "m-2") is not None
    monkeypatch.setattr(later_answers, "MAX_SEARCHED_BYTES", old.stat().st_size + 1)
    assert find_later_answer(tmp_path, MODEL, "m-2") is None


def test_a_segment_may_be_erased_while_it_is_searched_and_a_damaged_one_is_an_error(tmp_path, monkeypatch, caplog):
    first, second = log(tmp_path, "m-1"), log(tmp_path, "m-2")
    first.with_name(f"0-gone{segments.SUFFIX}").symlink_to("nowhere")
    assert find_later_answer(tmp_path, MODEL, "m-1") is not None
    has = later_answers._has

    def erase_first(path: Path, key: str) -> bool:
        found = has(path, key)
        if path == second:
            second.unlink()
        return found

    monkeypatch.setattr(later_answers, "_has", erase_first)
    assert find_later_answer(tmp_path, MODEL, "m-2") is None
    monkeypatch.setattr(later_answers, "_has", has)
    first.write_bytes(b"m-1" * 100)
    with polled(tmp_path) as poll:
        assert poll("m-1").status == 503
    assert "an answer was not found" in caplog.text


def test_a_shared_log_is_not_searched_and_too_many_searches_are_refused(tmp_path):
    replies: list[tuple[int, bytes]] = []

    class Request:
        def reply(self, status: int, body: bytes, *, extra: bytes = b"") -> None:
            replies.append((status, body))

    async def run() -> None:
        AnswerStages(AnswerSection(), tmp_path, is_shared=True).find(Request(), MODEL, "m-1")
        stages = AnswerStages(AnswerSection(), tmp_path)
        for _ in range(MAX_SEARCHES + 1):
            stages.find(Request(), MODEL, "m-1")
        while stages._tasks:
            await asyncio.sleep(0)

    asyncio.run(run())
    statuses = [status for status, _ in replies]
    assert statuses[:2] == [404, 429] and statuses[2:] == [404] * MAX_SEARCHES
    assert b"[store] logs" in replies[0][1]
