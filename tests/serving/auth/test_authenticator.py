"""Authorization by key, scope, listening address and rate limit."""

from __future__ import annotations

import os
from pathlib import Path

import grpc
import pytest
from grpc_calls import grpc_client
from msgspec.structs import replace
from running import MIXED, OPEN, Answer, Running, ask, body_of, loaded, open_authenticator, serving

from headway.core.errors import ConfigError
from headway.serving.auth import authenticator as authentication
from headway.serving.auth.authenticator import NotAuthorized, is_loopback
from headway.serving.auth.keys import create_key, revoke_key, throttle_key
from headway.serving.client import Client

INFER, LABELS, LOAD = "/v2/models/flights/infer", "/v2/models/flights/labels", "/v2/repository/models/flights/load"
ROWS = body_of([1, 2, 6])
LABEL = b'{"labels": [{"key": "a", "label": 1}]}'
FOR_ALL = ("/v2", "/v2/health/live", "/v2/health/ready", "/ping", "/openapi.json", "/v2/models/flights/ready")
KEPT = ("/v2/models/flights", "/v2/models/flights/config", "/v2/models/flights/stats", "/v2/models/stats")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.toml"


@pytest.fixture(autouse=True)
def looks_always(monkeypatch) -> None:
    """Check the key file on each request, so that no test has to wait."""
    monkeypatch.setattr(authentication, "RELOAD_NS", -1)


def bring(server: Running, key: str, path: str = INFER, body: bytes = ROWS) -> Answer:
    return ask(server, path, body, headers=[f"Authorization: Bearer {key}"] if key else [])


def test_on_loopback_without_keys_any_caller_may_predict_but_not_operate(file):
    with serving(loaded(), authenticator=open_authenticator(file)) as server:
        assert bring(server, "").status == bring(server, "", LABELS, LABEL).status == 200
        answer = bring(server, "", LOAD, b"{}")
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert "headway api-keys new" in answer.json["error"]
        assert bring(server, "any").status == 200 and bring(server, "any", LOAD, b"{}").status == 401


def test_once_a_key_was_created_a_key_is_required_even_after_it_is_revoked(file):
    with serving(loaded(), authenticator=open_authenticator(file)) as server:
        assert bring(server, "").status == 200
        key = create_key(file, "billing", ["predict"])
        assert (bring(server, "").status, bring(server, key).status) == (401, 200)
        revoke_key(file, "billing")
        answer = bring(server, key)
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, 'Bearer error="invalid_token"')
        assert bring(server, "").status == 401


def test_the_headway_client_sends_its_key(file):
    key = create_key(file, "billing", ["predict"])
    with (
        serving(loaded(), authenticator=open_authenticator(file)) as server,
        Client(server.address, api_key=key) as client,
    ):
        assert client.infer("flights", {"a": [1], "b": [2], "c": [6]}).tolist() == [[3.0]]


def test_creating_an_operators_key_does_not_restrict_predictions(file):
    key = create_key(file, "ann", ["operate"])
    with serving(loaded(), authenticator=open_authenticator(file)) as server:
        assert [bring(server, who).status for who in ("", key)] == [200, 200]
        assert bring(server, key, LOAD, b"{}").status == 200


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scope", "path", "body"),
    [("predict", INFER, ROWS), ("label", LABELS, LABEL), ("operate", LOAD, b"{}"), ("metrics", "/metrics", b"")],
)
def test_a_key_allows_its_scopes_and_no_others(file, scope, path, body):
    right = create_key(file, "right", [scope])
    wrong = create_key(file, "wrong", [other for other in ("predict", "label", "operate") if other != scope])
    with serving(loaded(), authenticator=open_authenticator(file, replace(OPEN, metrics_need_key=True))) as server:
        assert (bring(server, right, path, body).status, bring(server, "", path, body).status) == (200, 401)
        answer = bring(server, wrong, path, body)
        assert answer.status == 403 and f"the key 'wrong' does not have the scope '{scope}'" in answer.json["error"]
        assert answer.headers["WWW-Authenticate"] == f'Bearer error="insufficient_scope", scope="{scope}"'


def test_health_needs_no_key_and_metrics_only_if_configured(file):
    create_key(file, "billing", ["predict"])
    with serving(loaded(), authenticator=open_authenticator(file)) as server:
        assert {ask(server, path).status for path in (*FOR_ALL, "/metrics")} == {200}
        assert {ask(server, path).status for path in KEPT} == {401}


@pytest.mark.slow
@pytest.mark.parametrize("header", ["Bearer wrong", "Bearer ", "Bearer", "Basic {key}", "{key}", ""])
def test_an_invalid_key_is_rejected(file, header):
    key = create_key(file, "billing", ["predict"])
    with serving(loaded(), authenticator=open_authenticator(file)) as server:
        headers = [f"Authorization: {header.format(key=key)}"] if header else []
        assert ask(server, INFER, ROWS, headers=headers).status == 401


@pytest.mark.parametrize("header", ["Bearer {key}", "bearer {key}", "BEARER   {key}"])
def test_the_scheme_is_case_insensitive(file, header):
    key = create_key(file, "billing", ["predict"])
    with serving(loaded(), authenticator=open_authenticator(file)) as server:
        answers = [ask(server, INFER, ROWS, headers=[f"Authorization: {header.format(key=key)}"]) for _ in range(2)]
        assert [answer.status for answer in answers] == [200, 200]


def test_a_repeated_authorization_header_is_rejected(file):
    key = create_key(file, "billing", ["predict"])
    with serving(loaded(), authenticator=open_authenticator(file)) as server:
        assert ask(server, INFER, ROWS, headers=[f"Authorization: Bearer {key}"] * 2).status == 401


def test_the_cache_of_headers_is_bounded(file, monkeypatch):
    monkeypatch.setattr(authentication, "RELOAD_NS", 10**15)
    monkeypatch.setattr(authentication, "_MAX_CACHED", 3)
    key, doors = create_key(file, "billing", ["predict"]), open_authenticator(file)
    for spaces in range(1, 10):
        assert doors.authorize(b"Bearer" + b" " * spaces + key.encode(), "predict").name == "billing"
        with pytest.raises(NotAuthorized):
            doors.authorize(b"Bearer wrong%d" % spaces, "predict")
    assert len(doors._cached) == 3


@pytest.mark.parametrize("harm", [lambda file: file.write_text("not toml"), os.remove], ids=["no toml", "gone"])
def test_an_unreadable_key_file_changes_nothing(file, harm, caplog):
    key, doors = create_key(file, "billing", ["predict"]), open_authenticator(file)
    harm(file)
    for _ in range(3):
        assert doors.authorize(b"Bearer " + key.encode(), "predict").name == "billing"
    with pytest.raises(NotAuthorized):
        doors.authorize(b"", "predict")
    assert caplog.text.count("kept the previous API keys") == 1


def test_the_key_file_is_checked_again_only_after_an_interval(file, monkeypatch):
    monkeypatch.setattr(authentication, "RELOAD_NS", 10**15)
    doors = open_authenticator(file)
    create_key(file, "billing", ["predict"])
    assert doors.authorize(b"", "predict").name == ""


@pytest.mark.parametrize(("status", "settings"), [(401, OPEN), (200, replace(OPEN, without_keys=True))])
def test_beyond_loopback_a_key_is_required_unless_configured_otherwise(file, status, settings):
    key = create_key(file, "billing", ["predict"]) if status == 401 else ""
    with serving(loaded(), host="0.0.0.0", authenticator=open_authenticator(file, settings, loopback=False)) as server:
        assert (bring(server, "").status, bring(server, key).status) == (status, 200)


def test_beyond_loopback_without_keys_the_server_does_not_start_and_gives_a_hint(file):
    create_key(file, "ann", ["operate"])
    with pytest.raises(ConfigError, match="which other machines can reach, without an API key") as error:
        open_authenticator(file, replace(OPEN, host="0.0.0.0"), loopback=False)
    assert "headway api-keys new NAME" in error.value.hint


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_an_address_of_this_machine_only_is_loopback(host):
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "no such host"])
def test_any_other_address_is_not_loopback(host):
    assert not is_loopback(host)


def test_a_key_over_its_limit_gets_429_with_a_retry_time(file):
    slow, quick = create_key(file, "slow", ["predict"], per_s=0.01, burst=2), create_key(file, "quick", ["predict"])
    with serving(loaded(), authenticator=open_authenticator(file)) as server:
        assert [bring(server, slow).status for _ in range(2)] == [200, 200]
        answer = bring(server, slow)
        assert (answer.status, answer.headers["Retry-After"]) == (429, "100")
        assert answer.json == {"error": "rate limit exceeded: the key 'slow' may send 0.01 requests/s; retry in 100 s"}
        assert bring(server, quick).status == 200


def test_the_default_limit_applies_to_keys_without_a_limit_and_to_callers_without_a_key(file):
    settings = replace(OPEN, key_per_s=0.01, key_burst=1)
    ann = create_key(file, "ann", ["operate"])
    bob = create_key(file, "bob", ["operate"], per_s=float("inf"))
    with serving(loaded(), authenticator=open_authenticator(file, settings)) as server:
        assert bring(server, "").status == 200
        answer = bring(server, "")
        assert answer.status == 429 and "callers without a key may send 0.01 requests" in answer.json["error"]
        assert [bring(server, ann, LOAD, b"{}").status for _ in range(2)] == [200, 429]
        assert [bring(server, bob, LOAD, b"{}").status for _ in range(3)] == [200, 200, 200]


def other_models(server: Running, key: str) -> list[Answer]:
    """Return the answers of every route of a model that a key is not for."""
    of_it = [path.replace("flights", "mixed") for path in (INFER, LABELS, LOAD, *KEPT[:3])]
    bodies = (ROWS, LABEL, b"{}", b"", b"", b"")
    return [bring(server, key, path, body) for path, body in zip(of_it, bodies, strict=True)]


def test_a_key_for_some_models_may_use_these_and_no_others(file):
    key = create_key(file, "shop", ["predict", "label", "operate"], models=["flights", "hotels"])
    with serving(loaded(), loaded(name="mixed", signature=MIXED), authenticator=open_authenticator(file)) as server:
        assert [bring(server, key, *how).status for how in ((), (LABELS, LABEL), (LOAD, b"{}"))] == [200] * 3
        assert [bring(server, key, path, b"").status for path in KEPT] == [200] * 4
        for answer in other_models(server, key):
            assert answer.status == 403
            assert answer.json["error"] == "the key 'shop' is not for the model 'mixed'; it is for: flights, hotels"
            assert answer.headers["WWW-Authenticate"] == 'Bearer error="insufficient_scope"'
        assert bring(server, key, INFER.replace("flights", "nowhere")).status == 403
        assert bring(server, key, INFER.replace("flights", "%6dixed")).status == 403
        assert bring(server, key, INFER.replace("flights", "hotels")).status == 404


def test_routes_of_all_models_answer_with_those_that_the_key_is_for(file):
    key, unlimited = create_key(file, "shop", ["predict"], models=["flights"]), create_key(file, "all", ["predict"])
    with serving(loaded(), loaded(name="mixed", signature=MIXED), authenticator=open_authenticator(file)) as server:
        for who, names in ((key, ["flights"]), (unlimited, ["flights", "mixed"])):
            stats = bring(server, who, "/v2/models/stats", b"").json["model_stats"]
            index = bring(server, who, "/v2/repository/index", b"{}").json
            assert [model["name"] for model in stats] == [model["name"] for model in index] == names
        rows = b'{"instances": [[1, 2, 6]]}'
        assert bring(server, key, "/invocations", rows).json == {"predictions": [3.0]}
        assert bring(server, unlimited, "/invocations", rows).status == 400


def test_a_key_for_some_models_does_not_read_the_metrics_of_all(file):
    settings = replace(OPEN, metrics_need_key=True)
    key, unlimited = create_key(file, "shop", ["metrics"], models=["flights"]), create_key(file, "all", ["metrics"])
    with serving(loaded(), authenticator=open_authenticator(file, settings)) as server:
        assert [bring(server, who, "/metrics", b"").status for who in (key, unlimited)] == [403, 200]


def test_what_needs_no_key_is_answered_whatever_models_a_key_is_for(file):
    key = create_key(file, "ann", ["operate"], models=["hotels"])
    with serving(loaded(), authenticator=open_authenticator(file)) as server:
        assert [bring(server, key, *how).status for how in ((), ("/metrics", b""), (LOAD, b"{}"))] == [200, 200, 403]


def test_a_key_for_some_models_is_so_over_binary_and_grpc_too(file):
    key = create_key(file, "shop", ["predict", "operate"], models=["flights"])
    server_of = serving(loaded(), loaded(name="mixed", signature=MIXED), authenticator=open_authenticator(file))
    with server_of as server:
        raw = b'{"inputs": []}'
        headers = [f"Authorization: Bearer {key}", f"Inference-Header-Content-Length: {len(raw)}"]
        assert ask(server, "/v2/models/mixed/infer", raw, headers=headers).status == 403
        with grpc_client(server, key) as call:
            assert call("ModelMetadata", name="flights").name == "flights"
            for method, field in GRPC_METHODS.items():
                assert grpc_error(call, method, **{field: "mixed"}) == (
                    grpc.StatusCode.PERMISSION_DENIED,
                    "the key 'shop' is not for the model 'mixed'; it is for: flights",
                )
            assert [model.name for model in call("RepositoryIndex").models] == ["flights"]
            assert [model.name for model in call("ModelStatistics").model_stats] == ["flights"]


def grpc_error(call: object, method: str, **fields: object) -> tuple[grpc.StatusCode, str]:
    """Return the code and the message of a call that is refused."""
    with pytest.raises(grpc.RpcError) as error:
        call(method, **fields)
    return error.value.code(), error.value.details()


GRPC_METHODS = {
    "ModelInfer": "model_name",
    "ModelMetadata": "name",
    "ModelConfig": "name",
    "ModelStatistics": "name",
    "RepositoryModelLoad": "model_name",
    "RepositoryModelUnload": "model_name",
}


def test_a_throttled_key_is_slower_at_once_and_as_before_when_that_ends(file):
    with serving(loaded(), authenticator=open_authenticator(file)) as server:
        key, slow = create_key(file, "eve", ["predict"]), create_key(file, "slow", ["predict"], per_s=0.0001, burst=2)
        assert [bring(server, key).status for _ in range(3)] == [200, 200, 200]
        throttle_key(file, "eve", per_s=0.001)
        throttle_key(file, "slow", per_s=50)
        assert [bring(server, key).status for _ in range(2)] == [200, 429]
        assert [bring(server, slow).status for _ in range(3)] == [200, 200, 429]  # its own limit is lower
        throttle_key(file, "eve", per_s=0)
        assert bring(server, key).status == 200
