"""The model repository: who may load and unload, and what there is before and after."""

from __future__ import annotations

import logging

import pytest
from running import Answer, Running, ask, body_of, loaded, serving

from headway.core.errors import ConfigError, Refused, StoreError
from headway.serve.plane import Plane
from headway.serve.repository import Repository

KEY = "a-key-of-the-operator"
INFER = "/v2/models/flights/infer"
BODY = body_of([1, 2, 6])


def tell(server: Running, word: str, *, name: str = "flights", key: str = KEY, body: bytes = b"{}") -> Answer:
    headers = [f"Authorization: Bearer {key}"] if key else []
    return ask(server, f"/v2/repository/models/{name}/{word}", body, method="POST", headers=headers)


def index(server: Running, body: bytes = b"") -> list[tuple[str, str]]:
    answer = ask(server, "/v2/repository/index", body, method="POST")
    return [(each["name"], each["state"]) for each in answer.json]


def test_an_operator_unloads_a_model_and_loads_it_again():
    with serving(loaded(), loaded(name="other"), key=KEY) as server:
        assert tell(server, "unload").status == 200
        assert ask(server, INFER, BODY).status == ask(server, "/v2/models/flights/ready").status == 404
        assert index(server) == [("other", "READY"), ("flights", "UNAVAILABLE")]
        assert index(server, b'{"ready": true}') == [("other", "READY")]
        assert (tell(server, "load").status, ask(server, INFER, BODY).values) == (200, [3.0])
        assert index(server) == [("other", "READY"), ("flights", "READY")]


@pytest.mark.parametrize("word", ["load", "unload"])
def test_without_a_configured_key_nobody_loads_or_unloads_and_the_mend_is_said(server, word):
    for key in (KEY, ""):
        answer = tell(server, word, key=key)
        assert answer.status == 403 and "set operator_key_sha256 in [serve]" in answer.json["error"]
    assert ask(server, INFER, BODY).status == 200


@pytest.mark.parametrize("header", ["Bearer wrong", "Bearer ", f"Basic {KEY}", KEY, ""])
def test_a_caller_without_the_key_is_no_operator(header):
    with serving(loaded(), key=KEY) as server:
        headers = [f"Authorization: {header}"] if header else []
        answer = ask(server, "/v2/repository/models/flights/unload", method="POST", headers=headers)
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert index(server) == [("flights", "READY")]


def test_a_key_that_is_there_twice_is_none():
    with serving(loaded(), key=KEY) as server:
        headers = [f"Authorization: Bearer {KEY}"] * 2
        assert ask(server, "/v2/repository/models/flights/unload", method="POST", headers=headers).status == 401


def test_a_model_that_the_server_was_not_started_with_is_404():
    with serving(loaded(), key=KEY) as server:
        answer = tell(server, "load", name="hotels")
        assert answer.status == 404 and answer.json["error"] == "no model 'hotels'; there are: flights"


def test_a_body_that_is_not_of_the_protocol_is_400(server):
    assert tell(server, "load", body=b'{"parameters": 1}').status == 400
    assert ask(server, "/v2/repository/index", b"[]").status == 400


@pytest.mark.parametrize(
    ("error", "status"), [(Refused("not as signed"), 422), (StoreError("a table is away"), 503), (OSError("disk"), 500)]
)
def test_a_load_that_fails_says_why_and_what_was_live_stays(error, status, caplog):
    caplog.set_level(logging.CRITICAL)
    with serving(loaded(), key=KEY) as server:
        repository = server.listener._site.application._repository

        def fail(address: str) -> None:
            raise error

        repository._pointers.load = fail
        answer = tell(server, "load")
        assert answer.status == status and ask(server, INFER, BODY).values == [3.0]
        assert ("disk" in answer.json["error"]) is False


def test_a_digest_that_is_none_is_an_error_with_the_mend():
    for digits in ("abc", "z" * 64):
        with pytest.raises(ConfigError, match="is no SHA-256") as error:
            plane = Plane([], soon=print, max_batch_rows=1)
            Repository(plane, None, addresses={}, key_sha256=digits, soon=print)
        assert "sha256sum" in error.value.mend
