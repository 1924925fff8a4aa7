"""The OpenAPI document, made from the table of addresses and the records that are read and answered."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from http import HTTPStatus
from typing import Any

import msgspec

import headway
from headway.serving.protocol.endpoints import ROUTES, Route
from headway.serving.protocol.errors import encode
from headway.serving.protocol.schemas import ErrorResponse

_JSON, _TEXT, _OCTETS = "application/json", "text/plain", "application/octet-stream"
_ALWAYS = (400, 404, 413, 415, 431)
_KEPT = (401, 403, 429)


@lru_cache(maxsize=1)
def openapi_document() -> bytes:
    """The document in JSON."""
    schemas, components = _schemas(ROUTES)
    paths: dict[str, dict[str, Any]] = {}
    for address in ROUTES:
        paths.setdefault(address.path, {})[address.method.lower()] = _operation(address, schemas)
    key = {"type": "http", "scheme": "bearer", "description": "A key with the scope that `x-scope` names."}
    return encode(
        {
            "openapi": "3.1.0",
            "info": {"title": "headway", "version": headway.__version__, "description": _SAYS},
            "paths": paths,
            "components": {"schemas": components, "securitySchemes": {"key": key}},
        }
    )


_SAYS = "The Open Inference Protocol v2 with Triton's extensions, and MLflow's form. Any error is JSON with `error`."


def _schemas(addresses: Iterable[Route]) -> tuple[dict[Any, dict[str, Any]], dict[str, Any]]:
    """The schema of each type that is taken or given, and those that they refer to, by name."""
    types: list[Any] = [ErrorResponse]
    for address in addresses:
        types += [each for each in (address.takes, address.gives) if each is not None and each not in types]
    made, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    return dict(zip(types, made, strict=True)), components


def _operation(address: Route, schemas: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    given = {_TEXT: {"schema": {"type": "string"}}} if address.gives is None else _json(schemas[address.gives])
    if address.what == "infer":
        given = {**given, _OCTETS: {"schema": {"type": "string", "contentMediaType": _OCTETS}}}
    answers: dict[str, Any] = {"200": {"description": "As asked.", "content": given}}
    failure = _json(schemas[ErrorResponse])
    for status in sorted({*_ALWAYS, *address.fails, *(_KEPT if address.scope else ())}):
        answers[str(status)] = {"description": HTTPStatus(status).phrase, "content": failure}
    operation: dict[str, Any] = {
        "operationId": re.sub(r"\W+", "_", f"{address.method.lower()}{address.path}"),
        "summary": address.message,
        "responses": answers,
    }
    names = re.findall(r"\{(\w+)\}", address.path)
    if names:
        operation["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
        ]
    if address.takes is not None:
        required = not address.optional
        operation["requestBody"] = {"required": required, "content": _json(schemas[address.takes])}
    if address.scope:  # `{}`: without a key as well, where the server is open
        operation["security"] = [{"key": []}] if address.scope == "operate" else [{}, {"key": []}]
        operation["x-scope"] = address.scope
    return operation


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {_JSON: {"schema": schema}}
