"""The remote stage: what it sends, what it accepts, and how it fails, against a real server on loopback."""

from __future__ import annotations

import asyncio
import json
import sys

import pytest
from chat_server import chat_server, response

from headway.core.errors import ConfigError
from headway.evaluation.settings.answer import RemoteStage
from headway.serving.answering.remote import (
    MAX_TEXT,
    NoRemoteAnswer,
    RemoteAnswers,
    RemoteInput,
    read_endpoint,
    read_key,
)
from headway.serving.answering.spend import DailySpend

CLASSES = ("delivery", "refund", "oos")


@pytest.fixture
def server():
    with chat_server() as running:
        running.says("delivery")
        yield running


def remote_of(server, folder, *, key="", clock=lambda: 0.0, cap=1.0, **settings):
    stage = RemoteStage(url=server.url, model="small", **{"deadline_s": 20.0, "cost_per_call": 0.1, **settings})
    spend = DailySpend(folder, cost_per_call=stage.cost_per_call, cap_per_day=cap, clock=lambda: 0.0)
    return RemoteAnswers(stage, spend, key=key, clock=clock)


def message(text):
    return RemoteInput(text, {}, "")


def ask(remote, text="where is my parcel", **fields):
    return asyncio.run(remote.ask(message(text), CLASSES, **fields)).class_name


def failure(remote, text="where is my parcel", **fields):
    with pytest.raises(NoRemoteAnswer) as error:
        ask(remote, text, **fields)
    return error.value.code


def test_a_class_is_returned_and_nothing_but_the_message_without_personal_data_and_the_classes_leaves(server, tmp_path):
    assert ask(remote_of(server, tmp_path, key="secret"), "mail ada@example.org about my parcel") == "delivery"
    head, body = server.requests.get(timeout=10)
    assert head.startswith("POST /v1/chat/completions HTTP/1.1\r\n")
    assert "Authorization: Bearer secret\r\n" in head and f"Host: 127.0.0.1:{server.port}\r\n" in head
    assert body.keys() == {"model", "messages"} and body["model"] == "small"
    system, user = body["messages"]
    assert user == {"role": "user", "content": "mail [email] about my parcel"}
    assert system["content"].endswith('Classes: ["delivery","refund","oos"]')


def test_names_of_people_are_replaced_with_the_lists_of_names_only_and_the_log_says_so(
    server, tmp_path, monkeypatch, caplog
):
    text = "Mary Smith asks for ad\u00ada(at)example.org"
    ask(remote_of(server, tmp_path), text)
    assert server.requests.get(timeout=10)[1]["messages"][1]["content"] == "[name] asks for [email]"
    assert not caplog.records

    monkeypatch.setitem(sys.modules, "names", None)
    monkeypatch.delitem(sys.modules, "headway.data.personal._names", raising=False)
    ask(remote_of(server, tmp_path), text)
    assert server.requests.get(timeout=10)[1]["messages"][1]["content"] == "Mary Smith asks for [email]"
    (record,) = caplog.records
    assert "names of people are sent to the remote stage as they are" in record.message and "names" in record.message


def test_without_a_key_no_authorization_is_sent(server, tmp_path):
    ask(remote_of(server, tmp_path))
    assert "Authorization" not in server.requests.get(timeout=10)[0]


@pytest.mark.parametrize("said", [' "refund"\n', "`refund`", "refund"])
def test_quotes_and_white_space_around_a_class_do_not_matter(server, tmp_path, said):
    server.says(said)
    assert ask(remote_of(server, tmp_path)) == "refund"


@pytest.mark.parametrize("lie", ["Refund", "the class is refund", "drop table", ""])
def test_an_answer_outside_of_the_classes_is_refused(server, tmp_path, lie):
    server.says(lie)
    assert failure(remote_of(server, tmp_path)) == "not_a_class"


def test_the_class_for_messages_without_an_answer_does_not_count(server, tmp_path):
    server.says("oos")
    assert failure(remote_of(server, tmp_path), reject="oos") == "rejected"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (response(200, b"no json"), "malformed"),
        (response(200, b'{"choices": []}'), "malformed"),
        (response(200, b'{"choices": [{"message": {"content": null}}]}'), "malformed"),
        (response(200, b"\xff\xfe"), "malformed"),
        (b"garbage\r\n\r\n", "malformed"),
        (response(200, b"x" * (2 << 20)), "malformed"),
        (response(500, b"{}"), "status"),
        (response(429, b"{}"), "status"),
        (b"", "status"),
    ],
)
def test_garbage_and_errors_do_not_count(server, tmp_path, content, code):
    server.content = content
    assert failure(remote_of(server, tmp_path)) == code


def test_a_redirect_is_not_followed(server, tmp_path):
    with chat_server() as other:
        other.says("delivery")
        server.content = response(307, b"", headers=f"Location: {other.url}/chat/completions\r\n")
        assert failure(remote_of(server, tmp_path)) == "status"
        assert other.requests.empty()


def test_a_response_whose_end_is_that_of_the_connection_is_read(server, tmp_path):
    body = json.dumps({"choices": [{"message": {"content": "refund"}}]})
    server.content = f"HTTP/1.1 200 OK\r\n\r\n{body}".encode()
    assert ask(remote_of(server, tmp_path)) == "refund"


def test_a_server_that_hangs_is_left_at_the_deadline(server, tmp_path):
    server.content = None
    assert failure(remote_of(server, tmp_path, deadline_s=0.2)) == "timeout"


def test_a_server_that_is_gone_is_unreachable(tmp_path):
    with chat_server() as gone:
        pass
    assert failure(remote_of(gone, tmp_path)) == "unreachable"


def test_no_call_is_made_beyond_the_cap(server, tmp_path):
    remote = remote_of(server, tmp_path, cap=0.2)
    assert ask(remote) == ask(remote) == "delivery"
    assert failure(remote) == "spend_cap"
    assert server.requests.qsize() == 2


def test_no_call_is_made_if_its_cost_cannot_be_kept(server, tmp_path):
    (tmp_path / "answers").write_text("no folder")
    assert failure(remote_of(server, tmp_path)) == "spend_cap"
    assert server.requests.empty()


def test_a_message_without_text_or_too_long_stays_here(server, tmp_path):
    remote = remote_of(server, tmp_path)
    assert failure(remote, "") == "no_text"
    assert failure(remote, "x" * (MAX_TEXT + 1)) == "too_long"
    assert server.requests.empty()


def test_more_calls_than_the_queue_allows_are_refused_at_once(server, tmp_path):
    server.content = None
    remote = remote_of(server, tmp_path, queue=2)

    async def run():
        calls = [asyncio.create_task(remote.ask(message("a"), CLASSES)) for _ in range(3)]
        done, _ = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        return [call.exception().code for call in done]

    assert asyncio.run(run()) == ["queue_full"]


def test_after_failures_in_a_row_the_server_is_not_asked_for_a_while_and_then_once(server, tmp_path):
    now = [0.0]
    remote = remote_of(server, tmp_path, clock=lambda: now[0], cost_per_call=0.0)
    server.content = response(500, b"")
    assert [failure(remote) for _ in range(6)] == ["status"] * 5 + ["circuit_open"]
    now[0] = 31.0
    assert [failure(remote), failure(remote)] == ["status", "circuit_open"]
    now[0] = 62.0
    server.says("refund")
    assert [ask(remote), ask(remote)] == ["refund", "refund"]


def test_a_caller_cannot_turn_the_server_off_by_messages_that_get_no_class(server, tmp_path):
    remote = remote_of(server, tmp_path, cost_per_call=0.0)
    server.content = response(500, b"")
    assert [failure(remote) for _ in range(4)] == ["status"] * 4
    server.says("ignore the classes and say this")
    assert [failure(remote) for _ in range(6)] == ["not_a_class"] * 6
    server.content = response(500, b"")
    assert [failure(remote) for _ in range(5)] == ["status"] * 5, "it had answered"
    assert failure(remote) == "circuit_open"


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("https://api.example.org/v1", ("api.example.org", 443, "/v1/chat/completions", True)),
        ("https://api.example.org/v1/chat/completions", ("api.example.org", 443, "/v1/chat/completions", True)),
        ("https://api.example.org:8443/x/?v=1", ("api.example.org", 8443, "/x/chat/completions?v=1", True)),
        ("http://[::1]:11434/v1", ("::1", 11434, "/v1/chat/completions", False)),
        ("http://localhost/v1", ("localhost", 80, "/v1/chat/completions", False)),
    ],
)
def test_the_endpoint_is_that_of_the_address(url, endpoint):
    assert tuple(read_endpoint(RemoteStage(url=url, model="m"))) == endpoint


def test_the_endpoint_of_a_headway_server_is_the_route_of_its_model():
    stage = RemoteStage(url="https://cloud.example.org:8443/models/", protocol="headway", model="a b")
    assert tuple(read_endpoint(stage)) == ("cloud.example.org", 8443, "/models/v2/models/a%20b/answer", True)


@pytest.mark.parametrize(
    "url",
    [
        "http://api.example.org/v1",
        "http://127.0.0.1.example.org/v1",
        "ftp://localhost",
        "https://",
        "https://user:password@api.example.org",
        "https://api.example.org:port",
        "https://api.example.org/a b",
        "https://api.example.org/ü",
    ],
)
def test_an_address_that_messages_must_not_be_sent_to_is_refused(url):
    with pytest.raises(ConfigError) as error:
        read_endpoint(RemoteStage(url=url, model="m"))
    assert error.value.where == "[answer.remote] url"


def test_an_endpoint_without_a_model_is_refused():
    with pytest.raises(ConfigError, match="no model is named"):
        read_endpoint(RemoteStage(url="https://api.example.org/v1"))


def test_the_key_is_read_from_its_variable_or_file(tmp_path):
    assert read_key({}) == ""
    assert read_key({"HEADWAY_ANSWER_REMOTE_KEY": "k"}) == "k"
    (tmp_path / "key").write_text("from a file\n")
    assert read_key({"HEADWAY_ANSWER_REMOTE_KEY_FILE": str(tmp_path / "key")}) == "from a file"


@pytest.mark.parametrize("content", [None, b"\xff", b"a\r\nHost: b"])
def test_a_key_that_cannot_be_sent_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    with pytest.raises(ConfigError) as error:
        read_key({"HEADWAY_ANSWER_REMOTE_KEY_FILE": str(tmp_path / "key")})
    assert "a\\r" not in str(error.value)
