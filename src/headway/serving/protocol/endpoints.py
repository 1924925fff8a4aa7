"""The HTTP routes in one table: requests are matched against it, and the OpenAPI document is generated from it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from functools import lru_cache
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import unquote

import httptools
import msgspec

import headway
from headway.core.fleet import DeviceReport
from headway.serving.protocol import schemas
from headway.serving.protocol.admission import LARGE_BODY_BYTES, MAX_ANSWER_BYTES, MAX_REPORT_BYTES
from headway.serving.protocol.errors import encode
from headway.serving.protocol.mlflow import MlflowRequest
from headway.serving.protocol.open_inference import InferRequest


class RouteMatch(msgspec.Struct, frozen=True, gc=False):
    """The route of a request target: its endpoint, and the model and version, or the view, that the path names.

    `key` is that of a message. `scope` is the scope that an API key needs, empty if none is ever needed. A body has at
    most `max_body_bytes`, and those of `[serve]`.
    """

    endpoint: str
    name: str = ""
    version: str = ""
    scope: str = ""
    view: str = ""
    key: str = ""
    max_body_bytes: int = sys.maxsize


class Route(NamedTuple):
    """One path: its endpoint, its method, a summary, and the types of the request and response bodies.

    `response` is None for plain text. `errors` are the statuses of its own errors; an `optional` body may be left out.
    A body has at most `max_body_bytes`; with rows only the limit of `[serve]` holds, which is `_ROWS`.
    """

    endpoint: str
    path: str
    method: str
    summary: str
    response: Any
    body: Any = None
    errors: tuple[int, ...] = ()
    optional: bool = False
    scope: str = ""
    max_body_bytes: int = LARGE_BODY_BYTES

    @property
    def allowed(self) -> bytes:
        """The methods that are allowed, as in the header `Allow`."""
        return b"POST" if self.method == "POST" else b"GET, HEAD"


_MODEL, _VERSION = "/v2/models/{name}", "/v2/models/{name}/versions/{version}"
_REPOSITORY = "/v2/repository"
_ROWS = sys.maxsize
_INFER_ERRORS = (422, 429, 503, 504)
_OPERATOR_ERRORS = (422, 503)


def _model_routes(endpoint: str, end: str, summary: str, response: Any, **more: Any) -> tuple[Route, ...]:
    """Return the route of a model and that of one version of it."""
    method = more.pop("method", "GET")
    return tuple(Route(endpoint, path + end, method, summary, response, **more) for path in (_MODEL, _VERSION))


ROUTES = (
    Route("server", "/v2", "GET", "Metadata of the server and its extensions.", schemas.ServerMetadata),
    Route("live", "/v2/health/live", "GET", "Liveness of the server.", schemas.ServerLive),
    Route("ready", "/v2/health/ready", "GET", "Readiness of the server.", schemas.ServerReady, errors=(503,)),
    Route("ready", "/ping", "GET", "Readiness of the server, at MLflow's path.", schemas.ServerReady, errors=(503,)),
    Route("metrics", "/metrics", "GET", "Counters and latencies in the Prometheus text format.", None, scope="metrics"),
    Route("openapi", "/openapi.json", "GET", "This document.", schemas.JsonObject),
    Route(
        "all stats",
        "/v2/models/stats",
        "GET",
        "Statistics of all models.",
        schemas.ModelStatisticsResponse,
        scope="predict",
    ),
    *_model_routes(
        "model", "", "Metadata of a model: inputs, output, release.", schemas.ModelMetadata, scope="predict"
    ),
    *_model_routes("model ready", "/ready", "Readiness of a model.", schemas.ModelReady),
    *_model_routes(
        "config", "/config", "Configuration of a model in Triton's form.", schemas.ModelConfig, scope="predict"
    ),
    *_model_routes("stats", "/stats", "Statistics of a model.", schemas.ModelStatisticsResponse, scope="predict"),
    *_model_routes(
        "infer",
        "/infer",
        "Outputs for rows.",
        schemas.InferResponse,
        method="POST",
        body=InferRequest,
        errors=_INFER_ERRORS,
        scope="predict",
        max_body_bytes=_ROWS,
    ),
    *_model_routes(
        "answer",
        "/answer",
        "Answer to a message or a row: by the model, the remote stage, or held for people.",
        schemas.AnswerResponse,
        method="POST",
        body=schemas.AnswerRequest,
        errors=_INFER_ERRORS,
        scope="predict",
        max_body_bytes=MAX_ANSWER_BYTES,
    ),
    *_model_routes(
        "later answer",
        "/answers/{key}",
        "Answer to a message that was asked before, once a person gave it.",
        schemas.LaterAnswer,
        scope="predict",
    ),
    *_model_routes(
        "labels",
        "/labels",
        "Store labels by the key of their request.",
        schemas.LabelsStored,
        method="POST",
        body=schemas.LabelsRequest,
        errors=(503,),
        scope="label",
        max_body_bytes=_ROWS,
    ),
    Route(
        "push",
        "/v2/features/{view}/push",
        "POST",
        "Store rows of a feature view in the online store; needs a key for it.",
        schemas.FeaturesPushed,
        body=list[schemas.FeatureRow],
        errors=(422, 503),
        scope="push",
        max_body_bytes=_ROWS,
    ),
    Route(
        "device report",
        "/v2/devices/{name}/report",
        "POST",
        "Keep the report of a device; needs the key of that device.",
        schemas.JsonObject,
        body=DeviceReport,
        errors=(503,),
        scope="device",
        max_body_bytes=MAX_REPORT_BYTES,
    ),
    Route(
        "device log",
        "/v2/devices/{name}/log/{version}/{key}",
        "POST",
        "Store a segment of the log of a device once, for a release that was staged to it; needs its key.",
        schemas.RowsStored,
        body=bytes,
        errors=(503,),
        scope="device",
        max_body_bytes=_ROWS,
    ),
    Route(
        "invocations",
        "/invocations",
        "POST",
        "Outputs for rows in MLflow's forms, if exactly one model is served.",
        schemas.Predictions,
        body=MlflowRequest,
        errors=_INFER_ERRORS,
        scope="predict",
        max_body_bytes=_ROWS,
    ),
    Route(
        "index",
        f"{_REPOSITORY}/index",
        "POST",
        "Index of the models.",
        schemas.ModelIndex,
        body=schemas.IndexRequest,
        optional=True,
        scope="predict",
    ),
    Route(
        "load",
        f"{_REPOSITORY}/models/{{name}}/load",
        "POST",
        "Load a model that was unloaded, at its pointer; needs an operator's key.",
        schemas.JsonObject,
        body=schemas.LoadRequest,
        errors=_OPERATOR_ERRORS,
        optional=True,
        scope="operate",
    ),
    Route(
        "unload",
        f"{_REPOSITORY}/models/{{name}}/unload",
        "POST",
        "Stop serving a model; needs an operator's key.",
        schemas.JsonObject,
        body=schemas.LoadRequest,
        errors=_OPERATOR_ERRORS,
        optional=True,
        scope="operate",
    ),
)
ROUTES_BY_ENDPOINT = {route.endpoint: route for route in ROUTES}


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(path)))


_PATTERNS = tuple((_pattern(route.path), route) for route in ROUTES)


@lru_cache(maxsize=256)
def match_route(url: bytes) -> RouteMatch:
    """Match a request target in any form that HTTP allows; the endpoint of an unknown path is empty."""
    try:
        path = (httptools.parse_url(url).path or b"").decode("ascii")
    except (httptools.HttpParserInvalidURLError, UnicodeDecodeError):
        return RouteMatch("")
    for pattern, route in _PATTERNS:
        match = pattern.fullmatch(path)
        if match is not None:
            names = {name: unquote(part) for name, part in match.groupdict().items()}
            return RouteMatch(route.endpoint, scope=route.scope, max_body_bytes=route.max_body_bytes, **names)
    return RouteMatch("")


_JSON, _TEXT, _OCTETS = "application/json", "text/plain", "application/octet-stream"
_JSON_LINES = "application/x-ndjson"
_ALWAYS_WITH_KEY = ("operate", "push", "device")
_COMMON_ERRORS = (400, 404, 413, 415, 431, 503)
_KEY_ERRORS = (401, 403, 429)
_DESCRIPTION = (
    "The Open Inference Protocol v2 with Triton's extensions, and MLflow's scoring protocol. "
    "Every error is JSON with the member `error`."
)


@lru_cache(maxsize=1)
def openapi_document() -> bytes:
    """Return the OpenAPI document in JSON."""
    types, components = _schemas(ROUTES)
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, types)
    key = {"type": "http", "scheme": "bearer", "description": "An API key with the scope named by `x-scope`."}
    return encode(
        {
            "openapi": "3.1.0",
            "info": {"title": "headway", "version": headway.__version__, "description": _DESCRIPTION},
            "paths": paths,
            "components": {"schemas": components, "securitySchemes": {"key": key}},
        }
    )


def _schemas(routes: Iterable[Route]) -> tuple[dict[Any, dict[str, Any]], dict[str, Any]]:
    """Return the schema of each body type, and by name those that they refer to."""
    types: list[Any] = [schemas.ErrorResponse]
    for route in routes:
        types += [kind for kind in (route.body, route.response) if kind is not None and kind not in types]
    made, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    return dict(zip(types, made, strict=True)), components


def _operation(route: Route, types: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    content = {_TEXT: {"schema": {"type": "string"}}} if route.response is None else _json(types[route.response])
    if route.endpoint == "infer":
        content = {**content, _OCTETS: {"schema": {"type": "string", "contentMediaType": _OCTETS}}}
    responses: dict[str, Any] = {"200": {"description": HTTPStatus.OK.phrase, "content": content}}
    error = _json(types[schemas.ErrorResponse])
    for status in sorted({*_COMMON_ERRORS, *route.errors, *(_KEY_ERRORS if route.scope else ())}):
        responses[str(status)] = {"description": HTTPStatus(status).phrase, "content": error}
    operation: dict[str, Any] = {
        "operationId": re.sub(r"\W+", "_", f"{route.method.lower()}{route.path}"),
        "summary": route.summary,
        "responses": responses,
    }
    names = re.findall(r"\{(\w+)\}", route.path)
    if names:
        operation["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
        ]
    if route.body is not None:
        body = _json(types[route.body])
        if route.endpoint == "device log":
            body = {_OCTETS: {"schema": {"type": "string", "contentMediaType": _OCTETS}}}
        if route.endpoint == "push":
            body = {**body, _JSON_LINES: {"schema": {"type": "string"}}}
        operation["requestBody"] = {"required": not route.optional, "content": body}
    if route.scope:  # `{}`: without a key as well, if the server needs none
        operation["security"] = [{"key": []}] if route.scope in _ALWAYS_WITH_KEY else [{}, {"key": []}]
        operation["x-scope"] = route.scope
    return operation


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {_JSON: {"schema": schema}}
