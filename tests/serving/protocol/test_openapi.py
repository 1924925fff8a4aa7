"""The OpenAPI document describes the server: each path, its method, its body and its responses."""

from __future__ import annotations

import json

import jsonschema
import pytest
from answer_plans import log_messages
from running import Answer, Running, ask, body_of, loaded, serving
from tests.serving.test_device_reports import DIGITS, content, publish, report, segment

from headway.core.feature_view import Feature, FeatureSource, FeatureView
from headway.features import catalog
from headway.serving.http.routes import Routes
from headway.serving.protocol.endpoints import ROUTES

ROWS = body_of([1, 2, 6], [None, 1, 1], id="7")
BODIES = {"infer": ROWS, "labels": b'{"labels": [{"key": "a", "label": 1}]}', "invocations": b'{"inputs": [[1, 2, 6]]}'}
BODIES["answer"] = b'{"row": {"a": 1, "b": 2, "c": 6}}'
BODIES["device report"] = report(device="operator")
BODIES["push"] = b'[{"origin": "JFK", "temp": 1}]'
VIEW = FeatureView(
    name="weather",
    entities=("origin",),
    source=FeatureSource(location="weather.parquet"),
    features=(Feature(name="temp"),),
)


@pytest.fixture(scope="module")
def alone():
    """Serve one model."""
    with serving(loaded(), key="a-key") as server:
        log_messages(server.listener._state.application._stages._state, server.plane.find("flights"), "a-1")
        publish(server.listener._state.application._pusher._state)
        catalog.apply(server.listener._state.application._pusher._state, [VIEW], who="ann")
        yield server


@pytest.fixture(scope="module")
def document(alone) -> dict[str, object]:
    return ask(alone, "/openapi.json").json


@pytest.fixture(scope="module")
def segment_body(tmp_path_factory) -> bytes:
    return content(tmp_path_factory.mktemp("device"))


def target(server: Running, path: str) -> str:
    if "/log/" in path:
        return path.format(name="flights", version=DIGITS, key=segment())
    return path.format(name="flights", view="weather", key="a-1", version=server.plane.find("flights").version)


def expect(document: dict[str, object], path: str, method: str, answer: Answer) -> None:
    """Check that a response matches the document."""
    content = document["paths"][path][method]["responses"][str(answer.status)]["content"]
    kind = answer.headers["Content-Type"].partition(";")[0]
    schema = {**content[kind]["schema"], "components": document["components"]}
    if kind == "application/json":
        jsonschema.Draft202012Validator(schema).validate(answer.json)


@pytest.mark.parametrize("address", ROUTES, ids=lambda address: f"{address.method} {address.path}")
def test_each_route_answers_only_its_method_and_as_documented(alone, document, segment_body, address):
    method = address.method.lower()
    assert set(document["paths"][address.path]) == {method}
    bodies = {**BODIES, "device log": segment_body}
    body = bodies.get(address.endpoint, b"{}" if address.body else b"")
    headers = ["Authorization: Bearer a-key"] if document["paths"][address.path][method].get("security") else []
    answer = ask(alone, target(alone, address.path), body, method=address.method, headers=headers)
    ask(alone, "/v2/repository/models/flights/load", method="POST", headers=["Authorization: Bearer a-key"])
    assert answer.status == 200
    expect(document, address.path, method, answer)
    other = ask(alone, target(alone, address.path), method="PATCH")
    assert (other.status, other.headers["Allow"]) == (405, "POST" if method == "post" else "GET, HEAD")


def test_each_request_body_matches_the_document(document):
    for path, operations in document["paths"].items():
        body = BODIES.get(path.rpartition("/")[2])
        if body is not None:
            schema = operations["post"]["requestBody"]["content"]["application/json"]["schema"]
            complete = {**schema, "components": document["components"]}
            jsonschema.Draft202012Validator(complete).validate(json.loads(body))
            assert not jsonschema.Draft202012Validator(complete).is_valid("rows")


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/v2/models/{name}", "get"),
        ("/v2/models/{name}/infer", "post"),
        ("/v2/models/{name}/stats", "get"),
        ("/v2/repository/models/{name}/load", "post"),
    ],
)
def test_an_error_matches_the_document(alone, document, path, method):
    answer = ask(alone, path.format(name="hotels"), method=method.upper())
    assert answer.status in (401, 404)
    expect(document, path, method, answer)


def test_each_route_has_a_handler_and_no_other_exists(alone):
    routes = alone.listener._state.application
    assert isinstance(routes, Routes)
    assert set(routes._handlers) == {address.endpoint for address in ROUTES}
