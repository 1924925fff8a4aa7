"""Requests that a page of another site makes a browser send are refused before their body is read."""

from __future__ import annotations

import pytest
from running import Peer, Running, ask, body_of, loaded, request, serving

INFER, LABELS = "/v2/models/flights/infer", "/v2/models/flights/labels"
ROWS, LABEL = body_of([1, 2, 6]), b'{"labels": [{"key": "a", "label": 1}]}'
WRITES = [
    (INFER, ROWS, ()),
    (LABELS, LABEL, ()),
    ("/invocations", b'{"instances": [[1, 2, 6]]}', ()),
    ("/v2/repository/index", b"{}", ()),
    ("/v2/repository/models/flights/unload", b"{}", ("Authorization: Bearer a-key",)),
]
FOREIGN = [
    ("Origin: https://evil.example",),
    ("Origin: null",),
    ("Origin: http://localhost.evil.example",),
    ("Origin: http://localhost:81",),
    ("Origin: ",),
    ("Origin: http://localhost", "Origin: https://evil.example"),
    ("Sec-Fetch-Site: cross-site",),
    ("Sec-Fetch-Site: same-site", "Origin: http://localhost"),
    ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-origin"),
]
OWN = [
    (),
    ("Origin: http://localhost",),
    ("Origin: HTTP://LOCALHOST",),
    ("Sec-Fetch-Site: same-origin", "Origin: https://public.example"),  # behind a proxy that sets Host
    ("Sec-Fetch-Site: none",),
    ("Origin: https://ml.example", "Sec-Fetch-Site: cross-site"),
]


@pytest.fixture(scope="module")
def server():
    with serving(loaded(), key="a-key", trusted_origins=["https://ML.example/"]) as running:
        yield running


@pytest.mark.parametrize("headers", FOREIGN)
def test_every_write_of_a_page_of_another_site_is_403(server: Running, headers):
    for path, body, more in WRITES:
        answer = ask(server, path, body, headers=[*headers, *more])
        assert answer.status == 403 and "trusted_origins" in answer.json["error"], path
    assert ask(server, INFER, ROWS).status == 200  # still loaded


@pytest.mark.parametrize("headers", OWN)
def test_pages_of_the_server_and_trusted_ones_may_write(server, headers):
    for path, body, more in WRITES[:-1]:
        assert ask(server, path, body, headers=[*headers, *more]).status == 200, path


def test_a_page_of_another_site_may_read_health_as_it_cannot_see_the_answer(server):
    assert ask(server, "/v2/health/ready", headers=["Origin: https://evil.example"]).status == 200


def test_a_foreign_binary_request_is_refused(server):
    headers = ["Inference-Header-Content-Length: 2", "Origin: https://evil.example"]
    assert ask(server, INFER, b"{}" + bytes(24), headers=headers).status == 403


def test_a_refused_head_is_refused_again_although_heads_are_cached(server):
    foreign, own = (
        request(INFER, ROWS, headers=[f"Origin: {name}"]) for name in ("http://a.example", "http://localhost")
    )
    for _ in range(3):
        with Peer(server) as peer:
            assert [peer.send_bytes(own).read_answer().status for _ in range(2)] == [200, 200]
            assert peer.send_bytes(foreign).read_answer().status == 403


@pytest.mark.parametrize("kind", ["text/plain", "TEXT/PLAIN;charset=UTF-8", "multipart/form-data; boundary=x"])
def test_types_that_a_page_may_send_to_any_site_are_415_everywhere(server, kind):
    for path, body, more in WRITES:
        assert ask(server, path, body, headers=[f"Content-Type: {kind}", *more]).status == 415, path


@pytest.mark.parametrize("kind", ["application/json", "application/octet-stream", "application/x-www-form-urlencoded"])
def test_inference_takes_the_types_that_clients_of_the_protocol_send(server, kind):
    assert ask(server, INFER, ROWS, headers=[f"Content-Type: {kind}"]).values == [3.0]


def test_a_host_is_compared_beyond_loopback_too():
    with serving(loaded(), host="0.0.0.0") as server:
        for origin, status in (("https://ml.example", 200), ("https://evil.example", 403)):
            headers = ["Host: ml.example", f"Origin: {origin}"]
            assert ask(server, INFER, ROWS, headers=headers).status == status
