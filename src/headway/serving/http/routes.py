"""The HTTP application: answers every route, from health and metadata to inference, labels and the repository."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import msgspec

import headway
from headway.core.errors import DataError
from headway.serving.answering.endpoint import AnswerStages, read_answer_call
from headway.serving.auth.authenticator import Authenticator, Caller, NotAuthorized
from headway.serving.batching.answers import RowAnswers
from headway.serving.batching.data_plane import DataPlane
from headway.serving.batching.validation import Violation
from headway.serving.http.connection import Request, media_type
from headway.serving.http.devices import DeviceReceiver
from headway.serving.http.feature_push import LINES, FeaturePusher
from headway.serving.http.labels import LabelCollector
from headway.serving.loading import LoadedModel
from headway.serving.protocol.admission import LARGE_BODY_BYTES
from headway.serving.protocol.endpoints import ROUTES_BY_ENDPOINT, RouteMatch, match_route, openapi_document
from headway.serving.protocol.errors import OCTETS, TEXT, RequestError, encode, error_body, request_error
from headway.serving.protocol.mlflow import read_mlflow, write_mlflow
from headway.serving.protocol.open_inference import DecodedRequest, RequestParameters
from headway.serving.protocol.schemas import (
    IndexRequest,
    LoadRequest,
    ModelReady,
    ModelStatisticsResponse,
    ServerLive,
    ServerMetadata,
    ServerReady,
)
from headway.serving.repository import ModelRepository, find_model, load_error, model_config, model_statistics
from headway.serving.store_health import describe_away

if TYPE_CHECKING:
    from headway.core.contracts import Floats


EXTENSIONS = ("binary_tensor_data", "classification", "model_configuration", "model_repository", "statistics")
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_read_index_request = msgspec.json.Decoder(IndexRequest).decode
_read_load_request = msgspec.json.Decoder(LoadRequest).decode


_MANY_VALUES = 16_384  # as are more values of records, which may leave them out and so take few bytes
_log = logging.getLogger(__name__)
T = TypeVar("T")


class HttpInference(msgspec.Struct, eq=False, gc=False):
    """An infer request in the data plane."""

    request: Request
    rows: Floats
    id: str
    key: str
    started_ns: int
    deadline_ns: int = 0
    binary: bool = False
    api_key: str = ""
    top_k: int = 0

    @property
    def caller(self) -> str:
        """Name of the API key of the request, or its address."""
        return self.api_key or self.request.connection.peer

    def read_for(self, model: LoadedModel) -> Floats:
        """Return the rows as another model reads them; raises DataError if the request lacks a column."""
        return model.reader.read(self.request.body, self.request.json_bytes).rows

    def answer(
        self,
        model: LoadedModel,
        values: list[float] | Floats,
        violations: Sequence[Violation] = (),
        answers: RowAnswers | None = None,
    ) -> None:
        """Send the outputs of a model."""
        if self.binary:
            self.prepare(model, values, violations, answers)()
        else:
            body = model.writer.write(self.id, values, len(self.rows), violations, answers, self.top_k)
            self.request.reply(200, body)

    def prepare(
        self,
        model: LoadedModel,
        values: list[float] | Floats,
        violations: Sequence[Violation] = (),
        answers: RowAnswers | None = None,
    ) -> Callable[[], None]:
        """Encode the outputs of a model; the function that is returned sends them."""
        n = len(self.rows)
        if not self.binary:
            body = model.writer.write(self.id, values, n, violations, answers, self.top_k)
            return partial(self.request.reply, 200, body)
        head, raw = model.writer.pack(self.id, values, n, violations, answers, self.top_k)
        extra = b"\r\nInference-Header-Content-Length: %d" % len(head)
        return partial(self.request.reply, 200, head + raw, kind=OCTETS, extra=extra)

    def fail(self, error: Exception) -> None:
        """Send the error."""
        failure = request_error(error)
        extra = b"\r\nRetry-After: %d" % failure.retry_s if failure.retry_s else b""
        self.request.reply(failure.status, error_body(failure), extra=extra)


class MlflowInference(HttpInference, eq=False):
    """A request in MLflow's form in the data plane."""

    def read_for(self, model: LoadedModel) -> Floats:
        """Return the rows as another model reads them; raises DataError if the request lacks a column."""
        return read_mlflow(model.reader, self.request.body)[0]

    def answer(
        self,
        model: LoadedModel,
        values: list[float] | Floats,
        violations: Sequence[Violation] = (),
        answers: RowAnswers | None = None,
    ) -> None:
        """Send the outputs of a model; MLflow's form cannot list contract violations."""
        self.prepare(model, values, answers=answers)()

    def prepare(
        self,
        model: LoadedModel,
        values: list[float] | Floats,
        violations: Sequence[Violation] = (),
        answers: RowAnswers | None = None,
    ) -> Callable[[], None]:
        """Encode the outputs of a model; the function that is returned sends them."""
        values = values if isinstance(values, list) else values.tolist()
        body = write_mlflow(values, len(self.rows), output=model.features.request.output, answers=answers)
        return partial(self.request.reply, 200, body)


class BodyDecoder:
    """Decodes large bodies on a thread, one after the other, while the loop answers others.

    `soon` runs a function on the loop (`loop.call_soon_threadsafe`).
    """

    def __init__(self, *, soon: Callable[[Callable[[], None]], object]) -> None:
        self._soon = soon
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="decoder")

    def run(self, request: Request, decode: Callable[[], T], submit: Callable[[T], None]) -> None:
        """Decode the body of a request, then submit it on the loop; what cannot be read is 400."""
        decoded = self._pool.submit(_decode, decode)
        decoded.add_done_callback(lambda done: self._soon(lambda: _submit_decoded(request, done, submit)))

    def close(self) -> None:
        """Decode the accepted bodies, and end the thread."""
        self._pool.shutdown()


def _decode(decode: Callable[[], T]) -> T:
    """Run a decoder; its error has no traceback, which would keep a large request until the loop frees it."""
    try:
        return decode()
    except DataError as error:
        found = DataError(error.what, where=error.where, hint=error.hint)
    raise found


def _submit_decoded(request: Request, decoded: Future[T], submit: Callable[[T], None]) -> None:
    error = decoded.exception()
    if error is None:
        submit(decoded.result())
    elif isinstance(error, DataError):
        request.reply(400, error_body(error))
    else:
        _log.error("a body was not decoded", exc_info=error)
        request.reply(500, error_body("internal server error; see the log of the server"))


class Routes:
    """Answers each complete request, or passes it to the data plane; `draining` is true while the server shuts down."""

    def __init__(
        self,
        plane: DataPlane,
        *,
        authenticator: Authenticator,
        draining: Callable[[], bool],
        labels: LabelCollector,
        pusher: FeaturePusher,
        devices: DeviceReceiver,
        decoder: BodyDecoder,
        repository: ModelRepository,
        stages: AnswerStages,
    ) -> None:
        self._plane = plane
        self._stages = stages
        self._decoder = decoder
        self._authenticator = authenticator
        self._labels = labels
        self._pusher = pusher
        self._devices = devices
        self._repository = repository
        self._caller = Caller("", frozenset())  # of the request that is dispatched
        self._draining = draining
        self._handlers: dict[str, Callable[[Request, RouteMatch], None]] = {
            "server": self._server,
            "live": self._live,
            "ready": self._ready,
            "metrics": self._metrics,
            "openapi": self._openapi,
            "model": self._model,
            "model ready": self._model_ready,
            "config": self._config,
            "stats": self._stats,
            "all stats": self._all_stats,
            "infer": self._infer,
            "answer": self._answer,
            "later answer": self._later_answer,
            "labels": self._label,
            "push": self._push,
            "device report": self._device,
            "device log": self._device,
            "invocations": self._invoke,
            "index": self._index,
            "load": self._load,
            "unload": self._load,
        }

    def __call__(self, request: Request) -> None:
        """Answer one request."""
        match = match_route(request.url)
        if match.endpoint == "infer" and request.method == b"POST":
            if self._authorize(request, match):
                self._infer(request, match)
            return
        route = ROUTES_BY_ENDPOINT.get(match.endpoint)
        if route is None:
            request.reply(404, error_body("no such path; see /openapi.json"))
        elif request.method not in route.allowed.split(b", "):
            _reply_not_allowed(request, route.allowed)
        elif self._authorize(request, match):
            self._handlers[match.endpoint](request, match)

    def _authorize(self, request: Request, match: RouteMatch) -> bool:
        """Check the API key of a request; if it is not valid for the route and model, reply and return False."""
        if not match.scope:
            return True
        try:
            self._caller = self._authenticator.authorize(request.authorization, match.scope, match.name)
        except NotAuthorized as error:
            request.reply(error.status, error_body(error), extra=error.headers)
            return False
        if request.span is not None:
            request.span.key = self._caller.name
        return True

    def _infer(self, request: Request, match: RouteMatch) -> None:
        started_ns = time.perf_counter_ns()
        model = self._find(request, match)
        if model is None:
            return
        if len(request.body) > LARGE_BODY_BYTES:
            decode = partial(model.reader.read, request.body, request.json_bytes)
            self._decoder.run(request, decode, partial(self._submit, request, model, started_ns, self._caller.name))
            return
        try:
            decoded = model.reader.read(request.body, request.json_bytes)
        except DataError as error:
            request.reply(400, error_body(error))
            return
        self._submit(request, model, started_ns, self._caller.name, decoded)

    def _submit(
        self, request: Request, model: LoadedModel, started_ns: int, api_key: str, decoded: DecodedRequest
    ) -> None:
        if request.span is not None:
            request.span.id = decoded.id
        deadline_ns = self._plane.deadline_ns(started_ns, decoded.timeout_us)
        call = HttpInference(
            request,
            decoded.rows,
            decoded.id,
            decoded.key,
            started_ns,
            deadline_ns,
            decoded.binary,
            api_key,
            decoded.top_k,
        )
        self._plane.submit(model, call)

    def _invoke(self, request: Request, match: RouteMatch) -> None:
        started_ns = time.perf_counter_ns()
        models = [model for model in self._plane.models.values() if self._caller.may_use(model.name)]
        if len(models) != 1:
            names = ", ".join(model.name for model in models) or "none"
            request.reply(400, error_body(f"/invocations needs exactly one model; served: {names}"))
            return
        decode = partial(read_mlflow, models[0].reader, request.body)
        submit = partial(self._submit_mlflow, request, models[0], started_ns, self._caller.name)
        n_values = request.body.count(b"{") * len(models[0].columns)  # at least those of records, also of empty ones
        if len(request.body) > LARGE_BODY_BYTES or n_values > _MANY_VALUES:
            self._decoder.run(request, decode, submit)
            return
        try:
            decoded = decode()
        except DataError as error:
            request.reply(400, error_body(error))
            return
        submit(decoded)

    def _submit_mlflow(
        self,
        request: Request,
        model: LoadedModel,
        started_ns: int,
        api_key: str,
        decoded: tuple[Floats, RequestParameters],
    ) -> None:
        rows, parameters = decoded
        deadline_ns = self._plane.deadline_ns(started_ns, parameters.timeout)
        call = MlflowInference(request, rows, "", parameters.key, started_ns, deadline_ns, api_key=api_key)
        self._plane.submit(model, call)

    def _answer(self, request: Request, match: RouteMatch) -> None:
        model = self._find(request, match)
        if model is None:
            return
        try:
            call = read_answer_call(request, model, self._stages, plane=self._plane, api_key=self._caller.name)
        except DataError as error:
            request.reply(400, error_body(error))
            return
        self._plane.submit(model, call)

    def _later_answer(self, request: Request, match: RouteMatch) -> None:
        model = self._find(request, match)
        if model is not None:
            self._stages.find(request, model, match.key, api_key=self._caller.name)

    def _label(self, request: Request, match: RouteMatch) -> None:
        if not request.is_json:
            request.reply(415, error_body("labels are JSON; send 'Content-Type: application/json'"))
        elif (model := self._find(request, match)) is not None:
            self._labels.store(request, match.name, model.variant)

    def _push(self, request: Request, match: RouteMatch) -> None:
        is_lines = media_type(request.connection.headers) in LINES
        if self._caller.models:
            request.reply(403, error_body(f"the key '{self._caller.name}' is not for all models, which share views"))
        elif not (is_lines or request.is_json):
            request.reply(
                415, error_body("rows are JSON; send 'Content-Type: application/json' or application/x-ndjson")
            )
        else:
            self._pusher.push(request, match.view, is_lines=is_lines)

    def _device(self, request: Request, match: RouteMatch) -> None:
        if self._caller.kind != "key":
            request.reply(403, error_body("a device has an API key of its name; a token does not name a device"))
        elif match.endpoint == "device report":
            self._devices.report(request, match.name, self._caller.name)
        else:
            self._devices.log(request, match.name, self._caller.name, f"{match.version}/{match.key}")

    def _index(self, request: Request, match: RouteMatch) -> None:
        try:
            wanted = _read_index_request(request.body or b"{}")
        except _UNREADABLE as error:
            request.reply(400, error_body(f"the body is not an index request: {error}"))
            return
        models = self._repository.index(ready=wanted.ready)
        request.reply(200, encode([model for model in models if self._caller.may_use(model.name)]))

    def _load(self, request: Request, match: RouteMatch) -> None:
        load = match.endpoint == "load"
        try:
            _read_load_request(request.body or b"{}")
        except _UNREADABLE as error:
            request.reply(400, error_body(f"the body is not a {match.endpoint} request: {error}"))
            return
        try:
            loading = self._repository.request(match.name, load=load)
        except RequestError as error:
            request.reply(error.status, error_body(error))
            return
        loading.add_done_callback(lambda done: self._repository.soon(lambda: _reply_loaded(request, done)))

    def _find(self, request: Request, match: RouteMatch) -> LoadedModel | None:
        """Return the requested model; if there is none, reply and return None."""
        try:
            return find_model(self._plane, match.name, match.version)
        except RequestError as error:
            request.reply(error.status, error_body(error))
            return None

    def _server(self, request: Request, match: RouteMatch) -> None:
        request.reply(200, encode(ServerMetadata("headway", headway.__version__, EXTENSIONS)))

    def _live(self, request: Request, match: RouteMatch) -> None:
        request.reply(200, encode(ServerLive(True)))

    def _ready(self, request: Request, match: RouteMatch) -> None:
        ready = not self._draining()
        detail = describe_away(self._plane.metrics.away.any_row())
        request.reply(200 if ready else 503, encode(ServerReady(ready, detail)))

    def _openapi(self, request: Request, match: RouteMatch) -> None:
        request.reply(200, openapi_document())

    def _metrics(self, request: Request, match: RouteMatch) -> None:
        if self._caller.models:
            request.reply(403, error_body(f"the key '{self._caller.name}' is not for all models, as /metrics is"))
            return
        versions = {name: model.version for name, model in self._plane.models.items()}
        request.reply(200, self._plane.metrics.text(versions), kind=TEXT)

    def _model(self, request: Request, match: RouteMatch) -> None:
        model = self._find(request, match)
        if model is not None:
            request.reply(200, model.metadata)

    def _model_ready(self, request: Request, match: RouteMatch) -> None:
        if self._find(request, match) is not None:
            request.reply(200, encode(ModelReady(match.name, True)))

    def _config(self, request: Request, match: RouteMatch) -> None:
        model = self._find(request, match)
        if model is not None:
            request.reply(200, encode(model_config(model, max_batch_rows=self._plane.max_batch_rows)))

    def _stats(self, request: Request, match: RouteMatch) -> None:
        model = self._find(request, match)
        if model is not None:
            self._reply_stats(request, [model])

    def _all_stats(self, request: Request, match: RouteMatch) -> None:
        models = self._plane.models.values()
        self._reply_stats(request, [model for model in models if self._caller.may_use(model.name)])

    def _reply_stats(self, request: Request, models: Iterable[LoadedModel]) -> None:
        stats = tuple(model_statistics(model, self._plane.metrics.total(model.name)) for model in models)
        request.reply(200, encode(ModelStatisticsResponse(stats)))


def _reply_not_allowed(request: Request, allowed: bytes) -> None:
    message = f"method {request.method.decode()} is not allowed here; use {allowed.decode()}"
    request.reply(405, error_body(message), extra=b"\r\nAllow: " + allowed)


def _reply_loaded(request: Request, loading: Future[None]) -> None:
    error = loading.exception()
    if error is None:
        request.reply(200, encode({}))
        return
    failure = load_error(error)
    request.reply(failure.status, error_body(failure))
