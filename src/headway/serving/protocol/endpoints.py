"""The addresses there are, in one table: requests are placed by it, and the OpenAPI document is made from it."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import unquote

import httptools

from headway.serving.labels import LabelsRequest
from headway.serving.protocol import schemas as replies
from headway.serving.protocol.mlflow import MlflowRequest
from headway.serving.protocol.open_inference import InferRequest
from headway.serving.repository import IndexRequest, LoadRequest


class RouteMatch(NamedTuple):
    """An address, taken apart: what is asked, of which model and version; empty where none is named.

    `scope` is what a key must be good for, empty where none is ever asked for.
    """

    what: str
    name: str = ""
    version: str = ""
    scope: str = ""


class Route(NamedTuple):
    """What is answered at a path: to which method, in one line, the type of a body taken, and the types given.

    `gives` is None for text. `fails` are the statuses of its own errors; a body that is `optional` may be left out.
    """

    what: str
    path: str
    method: str
    message: str
    gives: Any
    takes: Any = None
    fails: tuple[int, ...] = ()
    optional: bool = False
    scope: str = ""

    @property
    def allowed(self) -> bytes:
        """The methods that are answered."""
        return b"POST" if self.method == "POST" else b"GET, HEAD"


_MODEL, _VERSION = "/v2/models/{name}", "/v2/models/{name}/versions/{version}"
_REPOSITORY = "/v2/repository"
_OPERATOR = (422, 503)


def _of_model(what: str, end: str, message: str, gives: Any, **more: Any) -> tuple[Route, ...]:
    """The address of a model and that of one version of it."""
    method = more.pop("method", "GET")
    return tuple(Route(what, path + end, method, message, gives, **more) for path in (_MODEL, _VERSION))


ROUTES = (
    Route("server", "/v2", "GET", "The server and its extensions.", replies.ServerMetadata),
    Route("live", "/v2/health/live", "GET", "Whether the server runs.", replies.ServerLive),
    Route("ready", "/v2/health/ready", "GET", "Whether the server takes requests.", replies.ServerReady, fails=(503,)),
    Route("ready", "/ping", "GET", "The same, under MLflow's name.", replies.ServerReady, fails=(503,)),
    Route("metrics", "/metrics", "GET", "Counts and latencies in the Prometheus text format.", None, scope="metrics"),
    Route("openapi", "/openapi.json", "GET", "This document.", replies.JsonObject),
    Route(
        "all stats",
        "/v2/models/stats",
        "GET",
        "What every model answered.",
        replies.ModelStatisticsResponse,
        scope="predict",
    ),
    *_of_model("model", "", "A model: its inputs, its output, its release.", replies.ModelMetadata, scope="predict"),
    *_of_model("model ready", "/ready", "Whether a model takes requests.", replies.ModelReady),
    *_of_model(
        "config", "/config", "A model's configuration as Triton writes it.", replies.ModelConfig, scope="predict"
    ),
    *_of_model("stats", "/stats", "What a model answered.", replies.ModelStatisticsResponse, scope="predict"),
    *_of_model(
        "infer",
        "/infer",
        "Answers to rows.",
        replies.InferResponse,
        method="POST",
        takes=InferRequest,
        fails=(422, 429, 503, 504),
        scope="predict",
    ),
    *_of_model(
        "labels",
        "/labels",
        "Labels by the key of their request, kept on disk.",
        replies.LabelsStored,
        method="POST",
        takes=LabelsRequest,
        fails=(503,),
        scope="label",
    ),
    Route(
        "invocations",
        "/invocations",
        "POST",
        "Answers to rows in MLflow's forms, of the one model that is served.",
        replies.Predictions,
        takes=MlflowRequest,
        fails=(422, 429, 503, 504),
        scope="predict",
    ),
    Route(
        "index",
        f"{_REPOSITORY}/index",
        "POST",
        "The models there are.",
        replies.ModelIndex,
        takes=IndexRequest,
        optional=True,
        scope="predict",
    ),
    Route(
        "load",
        f"{_REPOSITORY}/models/{{name}}/load",
        "POST",
        "Take a model that was unloaded, as its pointer says; an operator's call.",
        replies.JsonObject,
        takes=LoadRequest,
        fails=_OPERATOR,
        optional=True,
        scope="operate",
    ),
    Route(
        "unload",
        f"{_REPOSITORY}/models/{{name}}/unload",
        "POST",
        "Answer for a model no more; an operator's call.",
        replies.JsonObject,
        takes=LoadRequest,
        fails=_OPERATOR,
        optional=True,
        scope="operate",
    ),
)
ROUTES_BY_ENDPOINT = {address.what: address for address in ROUTES}


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(path)))


_PATTERNS = tuple((_pattern(address.path), address.what, address.scope) for address in ROUTES)


@lru_cache(maxsize=256)
def match_route(url: bytes) -> RouteMatch:
    """The place of a request's target, in any of the forms that HTTP allows; `Place("")` where there is none."""
    try:
        path = (httptools.parse_url(url).path or b"").decode("ascii")
    except (httptools.HttpParserInvalidURLError, UnicodeDecodeError):
        return RouteMatch("")
    for pattern, what, scope in _PATTERNS:
        match = pattern.fullmatch(path)
        if match is not None:
            return RouteMatch(what, scope=scope, **{name: unquote(part) for name, part in match.groupdict().items()})
    return RouteMatch("")
