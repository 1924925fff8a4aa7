"""POST /v2/models/NAME/answer: the model, then the remote stage, then what a caller gets while people do not answer."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
from answer_plans import selective_model, text_model
from chat_server import chat_server, response
from running import Peer, Running, ask, loaded, request, serving

from headway.core.selective import RemoteAudit
from headway.core.variant import Field, Signature
from headway.evaluation.settings.answer import AnswerSection, RemoteStage
from headway.serving.answering.endpoint import AnswerCall, AnswerStages
from headway.serving.protocol.admission import MAX_ANSWER_BYTES
from headway.storage import traffic

MESSAGES = Signature(inputs=(Field(name="message", datatype="BYTES", is_text=True),), classes=("delivery", "refund"))
BOTH = ("remote", "people")


class Words:
    """Is certain of "parcel", and of nothing else."""

    def __init__(self, certainty: float = 0.55) -> None:
        self.certainty = certainty

    def predict(self, rows: np.ndarray) -> np.ndarray:
        return np.tile([1 - self.certainty, self.certainty], (len(rows), 1))


SURE = text_model(MESSAGES, engine=Words(0.97))


def unsure(*stages: str, **fields: object):
    return text_model(MESSAGES, engine=Words(0.55), stages=stages, **fields)


def post(server: Running, body: object, *, name: str = "support"):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return ask(server, f"/v2/models/{name}/answer", content)


@contextmanager
def answering(model, folder, *, url: str = "", **settings: object) -> Iterator[Running]:
    """Serve a model whose remote stage is at a URL."""
    remote = RemoteStage(url=url, model="small", deadline_s=20.0)
    section = AnswerSection(**{"remote": remote, **settings})
    with serving(model, answer=section, state=folder) as server:
        yield server


def test_the_model_answers_a_message_of_which_it_is_certain(tmp_path):
    with answering(SURE, tmp_path) as server:
        answer = post(server, {"text": "my money", "key": "a-1", "id": "7"})
    assert (answer.status, answer.json) == (
        200,
        {
            "model_name": "support",
            "model_version": SURE.version,
            "id": "7",
            "key": "a-1",
            "answer": "refund",
            "confidence": pytest.approx(0.97),
            "answered_by": "model",
            "reason": "",
            "status": "answered",
        },
    )


@pytest.mark.parametrize(
    ("absent", "expected"),
    [
        ("hold", {"status": "held", "answer": ""}),
        ("apologise", {"status": "apologised", "answer": "", "reply": "Sorry."}),
        ("uncertified", {"status": "uncertified", "answer": "refund"}),
    ],
)
@pytest.mark.parametrize("stages", [("people",), BOTH, ("remote",), ()])
def test_without_a_stage_that_answers_a_caller_gets_what_is_declared(tmp_path, absent, expected, stages):
    with answering(unsure(*stages), tmp_path, absent=absent, apology="Sorry.") as server:
        answer = post(server, {"text": "hello"})
    assert answer.status == 200 and answer.json["key"].startswith("answer-")
    assert {name: answer.json[name] for name in expected} == expected
    assert answer.json["answered_by"] == ("people" if "people" in stages else "")
    assert answer.json["reason"] == "low_confidence" and "remote" not in answer.json


def test_the_remote_stage_answers_what_the_model_does_not_and_its_label_is_not_a_persons(tmp_path):
    with chat_server() as chat, answering(unsure(*BOTH), tmp_path, url=chat.url) as server:
        chat.says("delivery")
        answer = post(server, {"text": "where is it, ada@example.org", "key": "a-1"})
        text = ask(server, "/metrics").body.decode()
    assert (answer.json["answer"], answer.json["answered_by"], answer.json["status"]) == (
        "delivery",
        "remote",
        "uncertified",
    )
    assert answer.json["reason"] == "low_confidence"
    assert chat.requests.get(timeout=10)[1]["messages"][1]["content"] == "where is it, [email]"
    (stored,) = traffic.labels_of(tmp_path, "support", "a-1")
    assert (stored.label, stored.who) == (0.0, "remote")
    assert 'headway_remote_calls_total{result="answered"} 1' in text


def test_an_answer_of_the_remote_stage_counts_if_the_audit_of_this_stage_covers_its_class(tmp_path):
    model = unsure(*BOTH)
    with chat_server() as chat, answering(model, tmp_path, url=chat.url) as server:
        stage = RemoteStage(url=chat.url, model="small")
        model.selective.remote_audit = RemoteAudit(stage=stage.identity, covers=("delivery",))
        statuses = {}
        for key, said in (("a-1", "delivery"), ("a-2", "refund")):
            chat.says(said)
            statuses[said] = post(server, {"text": "hello", "key": key}).json["status"]
        model.selective.remote_audit = RemoteAudit(stage="another", covers=("delivery", "refund"))
        chat.says("delivery")
        statuses["another"] = post(server, {"text": "hello", "key": "a-3"}).json["status"]
    assert statuses == {"delivery": "answered", "refund": "uncertified", "another": "uncertified"}


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (response(500, b"{}"), "status"),
        (response(200, b"garbage"), "malformed"),
        (response(200, b'{"choices": [{"message": {"content": "hack"}}]}'), "not_a_class"),
    ],
)
def test_a_remote_stage_that_fails_or_lies_leaves_a_message_to_people(tmp_path, content, code):
    with chat_server() as chat, answering(unsure(*BOTH), tmp_path, url=chat.url) as server:
        chat.content = content
        answer = post(server, {"text": "hello", "key": "a-1"})
        text = ask(server, "/metrics").body.decode()
    assert (answer.json["status"], answer.json["answered_by"], answer.json["remote"]) == ("held", "people", code)
    assert traffic.labels_of(tmp_path, "support", "a-1") == []
    assert f'headway_remote_calls_total{{result="{code}"}} 1' in text


def test_predictions_go_on_while_the_remote_stage_hangs(tmp_path):
    model = unsure(*BOTH)
    with ExitStack() as stack:
        chat = stack.enter_context(chat_server())
        chat.content = None
        server = stack.enter_context(answering(model, tmp_path, url=chat.url))
        peer = stack.enter_context(Peer(server))
        peer.send_bytes(request("/v2/models/support/answer", b'{"text": "hello"}'))
        chat.requests.get(timeout=10)
        body = {"inputs": [{"name": "message", "shape": [1], "datatype": "BYTES", "data": ["hello"]}]}
        assert ask(server, "/v2/models/support/infer", json.dumps(body).encode()).status == 200
        chat.release.set()
        assert peer.read_answer().json["remote"] == "status"


def test_a_defect_of_the_remote_stage_is_an_error_of_the_request(tmp_path, caplog):
    class Broken:
        async def ask(self, *_: object, **__: object) -> str:
            raise ZeroDivisionError

        def close(self) -> None:
            """Keep no connection."""

    with answering(unsure(*BOTH), tmp_path) as server:
        server.listener._state.application._stages._remote = Broken()
        assert post(server, {"text": "hello"}).status == 500
    assert "the remote stage was not asked" in caplog.text


def test_an_answer_that_cannot_be_stored_is_given_and_logged(tmp_path, caplog):
    (tmp_path / "labels").write_text("no folder")
    with chat_server() as chat, answering(unsure(*BOTH), tmp_path, url=chat.url) as server:
        chat.says("refund")
        assert post(server, {"text": "hello"}).json["answer"] == "refund"
    assert "1 answers of the remote stage were not stored" in caplog.text


def test_a_row_is_answered_by_its_columns(tmp_path):
    with answering(selective_model(), tmp_path) as server:
        answer = post(server, {"row": {"a": 0.9, "b": 0.9, "c": 0.9}}, name="flights")
        missing = post(server, {"row": {"a": 0.9}}, name="flights")
        no_text = post(server, {"text": "hello"}, name="flights")
    assert (answer.json["answer"], answer.json["status"]) == ("1", "answered")
    assert missing.status == 400 and "column 'b' is missing" in missing.json["error"]
    assert no_text.status == 400 and "reads 0 columns of texts" in no_text.json["error"]


def test_a_release_without_a_plan_answers_every_row(tmp_path):
    model = dataclasses.replace(loaded(), threshold=0.5)
    with answering(model, tmp_path) as server:
        answer = post(server, {"row": {"a": 0.2, "b": 0.2, "c": 0.2}}, name="flights").json
    assert (answer["answer"], answer["answered_by"], answer["confidence"]) == ("0", "model", pytest.approx(0.8))


@pytest.mark.parametrize(
    ("classes", "reason"), [((), "answers with numbers"), (("a", "b"), "gives several labels to a row, not one class")]
)
def test_a_model_of_numbers_or_of_several_labels_has_no_answer(classes, reason, tmp_path):
    with answering(dataclasses.replace(loaded(), answers=(), classes=classes), tmp_path) as server:
        answer = post(server, {"row": {"a": 1, "b": 1, "c": 1}}, name="flights")
    assert answer.status == 400 and reason in answer.json["error"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "the body is not a request for an answer"),
        (b'{"text": 5}', "the body is not a request for an answer"),
        ({}, "has a text or a row"),
        ({"text": "a", "row": {"message": "a"}}, "has a text or a row"),
        ({"text": "a", "key": "k" * 300}, "the key of the request has more than 256 bytes"),
        ({"text": "a", "id": "k" * 300}, "the id of the request has more than 256 bytes"),
        ({"text": "x" * 65_537}, "65"),
    ],
)
def test_a_request_that_cannot_be_read_is_refused(tmp_path, body, message):
    with answering(SURE, tmp_path) as server:
        answer = post(server, body)
    assert answer.status == 400 and message in answer.json["error"]


def test_a_body_that_is_too_large_is_refused(tmp_path):
    with answering(SURE, tmp_path) as server:
        assert post(server, b" " * (MAX_ANSWER_BYTES + 1)).status == 413
        assert ask(server, "/v2/models/other/answer", b"{}").status == 404


def test_a_failing_engine_is_500(tmp_path, caplog):
    class Broken:
        def predict(self, rows: np.ndarray) -> np.ndarray:
            raise ZeroDivisionError

    with answering(text_model(MESSAGES, engine=Broken()), tmp_path) as server:
        assert post(server, {"text": "hello"}).status == 500
    assert "the engine of support failed" in caplog.text


def test_a_call_names_its_caller_and_is_read_again_for_another_model(tmp_path):
    replies = []
    request = SimpleNamespace(
        connection=SimpleNamespace(peer="127.0.0.1"), reply=lambda status, body: replies.append((status, body))
    )
    model = selective_model()
    call = AnswerCall(
        request=request,
        rows=np.ones((1, 3)),
        values={"a": 0.9, "b": 0.9, "c": 0.9},
        text="",
        id="",
        key="a-1",
        started_ns=0,
        deadline_ns=0,
        api_key="",
        stages=AnswerStages(AnswerSection(), tmp_path),
    )
    assert (call.caller, dataclasses.replace(call, api_key="ann").caller) == ("127.0.0.1", "ann")
    assert call.read_for(model).tolist() == [[0.9] * 3]
    send = call.prepare(model, np.array([0.9]), (), model.selective.decide(np.array([[0.9]])))
    assert replies == []
    send()
    assert (replies[0][0], json.loads(replies[0][1])["answer"]) == (200, "1")
