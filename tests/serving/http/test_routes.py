"""The responses of each route."""

from __future__ import annotations

import json

import pytest
from running import Peer, ask, body_of, loaded, request, serving

import headway

BODY = body_of([1, 2, 6])


def test_server_metadata_has_name_and_version(server):
    extensions = ["binary_tensor_data", "classification", "model_configuration", "model_repository", "statistics"]
    assert ask(server, "/v2").json == {"name": "headway", "version": headway.__version__, "extensions": extensions}


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/v2/health/live", {"live": True}),
        ("/v2/health/ready", {"ready": True}),
        ("/ping", {"ready": True}),
        ("/v2/models/flights/ready", {"name": "flights", "ready": True}),
    ],
)
def test_health_is_json(server, path, message):
    assert ask(server, path).json == message


def test_model_metadata_has_columns_and_release(server):
    release = server.plane.find("flights")
    metadata = ask(server, "/v2/models/flights").json
    assert metadata["versions"] == [release.version] == [str(int(release.digest[7:19], 16))]
    assert [column["name"] for column in metadata["inputs"]] == ["a", "b", "c"]
    assert metadata["parameters"] == {
        "release": release.digest,
        "engine": "echo",
        "threshold": 0.25,
        "contract": "none",
    }


def test_a_response_has_model_version_and_id(server):
    response = ask(server, "/v2/models/flights/infer", body_of([1, 2, 6], [3, 3, 3], id="7")).json
    assert response == {
        "model_name": "flights",
        "model_version": server.plane.find("flights").version,
        "id": "7",
        "outputs": [{"name": "probability", "datatype": "FP64", "shape": [2, 1], "data": [3.0, 3.0]}],
    }


def test_only_the_loaded_version_is_answered(server):
    version = server.plane.find("flights").version
    assert ask(server, f"/v2/models/flights/versions/{version}/infer", BODY).values == [3.0]
    assert ask(server, f"/v2/models/flights/versions/{version}").status == 200
    assert ask(server, f"/v2/models/flights/versions/{version}/ready").status == 200
    assert ask(server, f"/v2/models/flights/versions/{server.plane.find('flights').digest[7:19]}").status == 200
    answer = ask(server, "/v2/models/flights/versions/1/infer", BODY)
    assert answer.status == 404 and version in answer.json["error"]
    assert ask(server, "/v2/models/flights/versions/1").status == 404


@pytest.mark.parametrize("target", ["/v2?x=1", "http://localhost/v2", "/v2#x"])
def test_a_target_may_have_any_form_of_http(server, target):
    assert ask(server, target).status == 200


def test_a_name_may_be_escaped():
    with serving(loaded(name="my model")) as server:
        assert ask(server, "/v2/models/my%20model/infer", BODY).values == [3.0]
        assert 'model="my model"' in ask(server, "/metrics").body.decode()


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v2/", "/v2/models", "/v2/models/flights/other", "*", "/v2/models//infer"]
)
def test_any_other_address_is_404(server, path):
    assert ask(server, path).status == 404


def test_an_invalid_target_is_not_answered_with_a_5xx(server):
    with Peer(server) as peer:
        assert peer.send_bytes(b"GET /v2/\xff HTTP/1.1\r\nHost: localhost\r\n\r\n").read_answer().status in (400, 404)


def test_an_unknown_model_is_404_and_the_error_lists_the_models(server):
    for path, body in (("/v2/models/other/infer", BODY), ("/v2/models/other", b""), ("/v2/models/other/ready", b"")):
        answer = ask(server, path, body)
        assert answer.status == 404 and answer.json["error"] == "no model 'other'; available: flights, mixed"


@pytest.mark.parametrize(
    ("path", "method", "allowed"),
    [
        ("/v2/models/flights/infer", "GET", "POST"),
        ("/v2/health/live", "POST", "GET, HEAD"),
        ("/v2/models/flights", "DELETE", "GET, HEAD"),
        ("/v2/models/flights/stats", "POST", "GET, HEAD"),
        ("/v2/repository/models/flights/load", "GET", "POST"),
        ("/invocations", "GET", "POST"),
    ],
)
def test_another_method_is_405_and_allow_names_the_right_one(server, path, method, allowed):
    answer = ask(server, path, method=method)
    assert (answer.status, answer.headers["Allow"]) == (405, allowed)
    assert answer.json["error"] == f"method {method} is not allowed here; use {allowed}"


def test_a_wrong_request_is_400_and_the_connection_stays(server):
    with Peer(server) as peer:
        answer = peer.send_bytes(request(body=b'{"inputs":[]}')).read_answer()
        assert answer.status == 400 and "column 'a' is missing" in answer.json["error"]
        assert peer.send_bytes(request(body=BODY)).read_answer().values == [3.0]


def test_strings_and_missing_values_are_accepted(server):
    columns = [
        {"name": "size", "shape": [2], "datatype": "INT64", "data": [4, None]},
        {"name": "carrier", "shape": [2], "datatype": "BYTES", "data": ["WN", "AA"]},
    ]
    answer = ask(server, "/v2/models/mixed/infer", json.dumps({"inputs": columns}).encode())
    assert answer.json["outputs"][0] == {"name": "score", "datatype": "FP64", "shape": [2, 1], "data": [3.0, None]}


def test_metrics_count_requests_rows_errors_and_latency():
    with serving(loaded()) as server:
        for body in (BODY, body_of([1, 1, 1], [2, 2, 2]), b"{}"):
            ask(server, "/v2/models/flights/infer", body)
        answer = ask(server, "/metrics")
        lines = answer.body.decode().splitlines()
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert 'headway_requests_total{model="flights"} 2' in lines
        assert 'headway_rows_total{model="flights"} 3' in lines
        assert 'headway_errors_total{code="400"} 1' in lines
        assert 'headway_request_seconds_bucket{model="flights",le="+Inf"} 2' in lines
        assert 'headway_request_seconds_count{model="flights"} 2' in lines
