"""The webhook takes signed messages of a limited size, once, and nothing else."""

from __future__ import annotations

import socket
import threading
import time
import urllib.error
import urllib.request

import msgspec
import pytest
from tests.support.shop import shop

from headway.core.errors import ConfigError, DataError, Refused
from headway.storage.messages import read_messages
from headway.support.inbox import AnswerOfServer, Inbox
from headway.support.webhook import HEADER, MAX_AGE_S, MAX_BODY_BYTES, open_webhook, read_webhook, sign_body

SECRET = "0123456789abcdef"
NOW_S = 1_800_000_000.0
BODY = msgspec.json.encode({"id": "7", "text": "where is it", "from": "ann@home.example", "subject": "a\nb"})


def read(body=BODY, *, signed=None, at_s=NOW_S):
    return read_webhook(body, signed or sign_body(body, SECRET, at_s=NOW_S), SECRET, now_s=at_s)


def test_a_signed_message_is_read():
    found = read()
    assert (found.text, found.sender, found.subject, found.source) == (
        "where is it",
        "ann@home.example",
        "a b",
        "webhook",
    )
    assert read(at_s=NOW_S + 9).key == found.key


def test_a_wrong_or_old_signature_is_refused():
    for signed in (
        "",
        "t=1,v1=0",
        sign_body(BODY, SECRET + "x", at_s=NOW_S),
        sign_body(BODY + b" ", SECRET, at_s=NOW_S),
    ):
        with pytest.raises(Refused, match="signature is wrong"):
            read(signed=signed or "none")
    for at_s in (NOW_S + MAX_AGE_S + 1, NOW_S - MAX_AGE_S - 1):
        with pytest.raises(Refused, match="too old"):
            read(at_s=at_s)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"id": "1"}',
        b'{"id": "", "text": "a"}',
        b'{"id": "1", "text": "a", "from": "a b"}',
        b'{"id": "1", "text": "a", "to": "x"}',
        b'{"id": "1", "text": "\xff"}',
    ],
)
def test_a_wrong_body_is_refused(body):
    with pytest.raises(DataError, match="not a message"):
        read(body)


@pytest.fixture
def served(tmp_path):
    config = shop(tmp_path)
    inbox = Inbox(config, ask=lambda _: AnswerOfServer(answer=""))
    webhook = open_webhook(inbox, SECRET, host="127.0.0.1", port=0)
    yield config, webhook
    webhook.close()


def post(webhook, body=BODY, *, path="/messages", signature=None):
    headers = {HEADER: sign_body(body, SECRET, at_s=time.time()) if signature is None else signature}
    request = urllib.request.Request(f"http://127.0.0.1:{webhook.port}{path}", body, headers)
    try:
        with urllib.request.urlopen(request) as response:
            return response.status, msgspec.json.decode(response.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, msgspec.json.decode(error.read())


def test_a_request_is_taken_once_and_is_on_disk(served):
    config, webhook = served
    status, first = post(webhook)
    assert (status, first["is"]) == (202, "new")
    assert post(webhook) == (202, {"key": first["key"], "is": "known"})
    assert [found.text for found in read_messages(config.state, "shop")] == ["where is it"]


def test_what_is_not_a_signed_message_is_refused(served):
    config, webhook = served
    assert post(webhook, signature="")[0] == 401
    assert post(webhook, b"{}")[0] == 400
    assert post(webhook, path="/other")[0] == 404
    assert read_messages(config.state, "shop") == []


def test_a_body_without_a_length_or_too_long_is_refused_unread(served):
    _, webhook = served
    for line, status in ((f"Content-Length: {MAX_BODY_BYTES + 1}", b"413"), ("X: y", b"411")):
        with socket.create_connection(("127.0.0.1", webhook.port)) as client:
            client.sendall(f"POST /messages HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n".encode())
            assert status in client.recv(100)


def test_a_caller_that_reads_only_after_sending_far_too_much_gets_the_refusal(served):
    _, webhook = served
    with socket.create_connection(("127.0.0.1", webhook.port)) as client:
        client.sendall(b"POST /messages HTTP/1.1\r\nHost: a\r\nContent-Length: 16777216\r\n\r\n" + bytes(1 << 24))
        assert b"413" in client.recv(100)


def test_a_caller_who_leaves_or_waits_stops_no_other(served):
    _, webhook = served
    with socket.create_connection(("127.0.0.1", webhook.port)) as waiting:
        waiting.sendall(b"POST /messages HTTP/1.1\r\nContent-Length: 9\r\n\r\n")
        with socket.create_connection(("127.0.0.1", webhook.port)) as leaving:
            leaving.sendall(b"POST /messages HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc")
        assert post(webhook)[0] == 202


def test_connections_are_limited(served):
    _, webhook = served
    while webhook._free.acquire(blocking=False):
        pass
    with socket.create_connection(("127.0.0.1", webhook.port)) as client:
        assert client.recv(1) == b""
    webhook._free.release()
    done = threading.Event()
    threading.Thread(target=lambda: (post(webhook), done.set())).start()
    assert done.wait(60)


def test_a_short_secret_and_a_taken_port_are_refused(served, tmp_path):
    config, webhook = served
    inbox = Inbox(config, ask=lambda _: AnswerOfServer(answer=""))
    with pytest.raises(ConfigError, match="at least 16 characters"):
        open_webhook(inbox, "short", host="127.0.0.1", port=0)
    with pytest.raises(ConfigError, match="cannot listen"):
        open_webhook(inbox, SECRET, host="127.0.0.1", port=webhook.port)


def test_a_store_that_cannot_be_written_is_503(served):
    config, webhook = served
    config.state.mkdir(exist_ok=True)
    (config.state / "messages").write_text("no folder")
    assert post(webhook)[0] == 503
