"""No caller of a server sets an address that the server asks: not by a body, a query or a header of any route."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
from running import Running, ask, loaded, open_authenticator, serving

from headway.serving.auth.keys import create_key
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
