"""The model repository before and after an operator's request."""

from __future__ import annotations

import logging

import pytest
from running import Answer, Running, ask, body_of, loaded, serving

from headway.core.errors import Refused, StoreError

KEY = "a-key-of-the-operator"
INFER = "/v2/models/flights/infer"
BODY = body_of([1, 2, 6])


def callback(server: Running, word: str, *, name: str = "flights", key: str = KEY, body: bytes = b"{}") -> Answer:
    headers = [f"Authorization: Bearer {key}"] if key else []
    return ask(server, f"/v2/repository/models/{name}/{word}", body, method="POST", headers=headers)


def index(server: Running, body: bytes = b"") -> list[tuple[str, str]]:
    answer = ask(server, "/v2/repository/index", body, method="POST")
    return [(model["name"], model["state"]) for model in answer.json]


def test_an_operator_unloads_a_model_and_loads_it_again():
    with serving(loaded(), loaded(name="other"), key=KEY) as server:
        assert callback(server, "unload").status == 200
        assert ask(server, INFER, BODY).status == ask(server, "/v2/models/flights/ready").status == 404
        assert index(server) == [("other", "READY"), ("flights", "UNAVAILABLE")]
        assert index(server, b'{"ready": true}') == [("other", "READY")]
        assert (callback(server, "load").status, ask(server, INFER, BODY).values) == (200, [3.0])
        assert index(server) == [("other", "READY"), ("flights", "READY")]


def test_a_model_that_the_server_was_not_started_with_is_404():
    with serving(loaded(), key=KEY) as server:
        answer = callback(server, "load", name="hotels")
        assert answer.status == 404 and answer.json["error"] == "no model 'hotels'; available: flights"


def test_an_invalid_body_is_400():
    with serving(loaded(), key=KEY) as server:
        assert callback(server, "load", body=b'{"parameters": 1}').status == 400
        assert ask(server, "/v2/repository/index", b"[]").status == 400


@pytest.mark.parametrize(
    ("error", "status"), [(Refused("not as signed"), 422), (StoreError("a table is away"), 503), (OSError("disk"), 500)]
)
def test_a_failed_load_has_the_reason_and_the_live_model_stays(error, status, caplog):
    caplog.set_level(logging.CRITICAL)
    with serving(loaded(), key=KEY) as server:
        repository = server.listener._state.application._repository

        def fail(address: str) -> None:
            raise error

        repository._watcher.load = fail
        answer = callback(server, "load")
        assert answer.status == status and ask(server, INFER, BODY).values == [3.0]
        assert ("disk" in answer.json["error"]) is False
