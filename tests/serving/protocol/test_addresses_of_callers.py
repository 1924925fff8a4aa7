"""No caller of a server sets an address that the server asks: not by body, query or header of a route, nor by gRPC."""

from __future__ import annotations

import json
import socket
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path
from urllib.parse import quote, urlencode

import grpc
import pytest
from grpc_calls import grpc_client
from running import Running, ask, loaded, open_authenticator, serving

from headway.serving.auth.keys import create_key
from headway.serving.grpc._server import INFERENCE
from headway.serving.protocol.endpoints import ROUTES

SETTINGS = ("url", "address", "source", "issuer", "endpoint", "server", "webhook", "callback", "config", "parameters")


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A server of a stranger, which must get no connection."""
    with socket.create_server(("127.0.0.1", 0)) as made:
        made.setblocking(False)
        yield made


@pytest.fixture
def callers(tmp_path: Path) -> Iterator[tuple[Running, list[str]]]:
    """A server, and the keys of a caller and of a reader of metrics."""
    file = tmp_path / "keys.toml"
    keys = [create_key(file, "app", ["predict", "label"]), create_key(file, "board", ["metrics"])]
    with serving(loaded(), authenticator=open_authenticator(file)) as server:
        yield server, keys


def names(schema: object) -> set[str]:
    """Return the names of all fields that a document of OpenAPI describes."""
    if isinstance(schema, list):
        return set().union(*map(names, schema))
    if not isinstance(schema, dict):
        return set()
    return {*schema.get("properties", {})} | set().union(*map(names, schema.values()))


def test_no_route_asks_an_address_that_a_caller_names(callers, listener):
    server, keys = callers
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/stolen"
    fields = {*names(ask(server, "/openapi.json").json), *SETTINGS}
    assert {"inputs", "labels", "url"} <= fields
    flat = dict.fromkeys(sorted(fields), url)
    bodies = [flat, {**flat, "parameters": flat, "inputs": [flat], "labels": [flat], "row": flat}, [flat], url]
    path = quote(url, safe="")
    for route, body, key in product(ROUTES, bodies, keys):
        target = route.path.format(name="flights", version=path, view=path, key=path)
        headers = [f"Authorization: Bearer {key}", f"X-Forwarded-Host: {url}", f"Referer: {url}"]
        content = json.dumps(body).encode() if route.body else b""
        answer = ask(server, f"{target}?{urlencode(flat)}", content, method=route.method, headers=headers)
        assert answer.status < 500 and "Location" not in answer.headers, route.path
        if route.scope in ("operate", "push", "device"):
            assert answer.status in (401, 403, 413), route.path
    with pytest.raises(BlockingIOError):
        listener.accept()


def filled(kind: type, url: str) -> dict[str, object]:
    """Return fields of a message, and of the messages in it: each text is a URL, as is each parameter."""
    fields = {}
    for field in kind.DESCRIPTOR.fields:
        if field.message_type and field.message_type.GetOptions().map_entry:
            fields[field.name] = parameters(url)
        elif field.name == "inputs":
            fields[field.name] = [{"name": url, "datatype": "BYTES", "shape": [1], "parameters": parameters(url)}]
        elif field.name == "outputs":
            fields[field.name] = [{"name": url, "parameters": parameters(url)}]
        elif field.type == field.TYPE_STRING and "version" not in field.name:  # no model has such a version
            fields[field.name] = "flights" if field.name in ("name", "model_name") else url
    return fields


def parameters(url: str) -> dict[str, object]:
    """Return parameters of a tensor."""
    return {name: {"string_param": url} for name in SETTINGS}


def status(send: Callable[[], object]) -> str:
    """Return the status of a call."""
    try:
        send()
    except grpc.RpcError as error:
        return str(error.code().name)
    return "OK"


def test_no_method_of_grpc_asks_an_address_that_a_caller_names(callers, listener):
    server, keys = callers
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/stolen"
    methods = [name.removesuffix("Request") for name in INFERENCE if name.endswith("Request")]
    assert {"ModelInfer", "RepositoryModelLoad"} <= {*methods}
    codes = defaultdict[str, set[str]](set)
    for key in keys:
        with grpc_client(server, key) as call:
            sent = {name: partial(call, name, **filled(INFERENCE[f"{name}Request"], url)) for name in methods}
            for method, send in sent.items():
                codes[method].add(status(send))
    assert codes["RepositoryModelLoad"] == codes["RepositoryModelUnload"] == {"PERMISSION_DENIED"}
    assert codes["ModelInfer"] == {"INVALID_ARGUMENT", "PERMISSION_DENIED"}
    assert not set().union(*codes.values()) & {"INTERNAL", "UNKNOWN"}
    with pytest.raises(BlockingIOError):
        listener.accept()
