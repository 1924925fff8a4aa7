"""One HTTP request, as any client sends it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

COLUMNS = "abc"


@dataclass(frozen=True)
class HttpAnswer:
    """A response."""

    status: int
    json: dict[str, Any]

    @property
    def value(self) -> float:
        """The only number of a response to one row."""
        return self.json["outputs"][0]["data"][0]


def post(port: int, path: str, body: object) -> HttpAnswer:
    """Send JSON on a new connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        return HttpAnswer(response.status, json.loads(response.read()))
    finally:
        connection.close()


def ask(port: int, row: Sequence[float], *, key: str = "", columns: str = COLUMNS, name: str = "flights") -> HttpAnswer:
    """Request a prediction for one row, with its key."""
    inputs = [
        {"name": column, "shape": [1], "datatype": "FP64", "data": [value]}
        for column, value in zip(columns, row, strict=True)
    ]
    body = {"inputs": inputs, **({"parameters": {"key": key}} if key else {})}
    return post(port, f"/v2/models/{name}/infer", body)
