"""What each address answers: health, metadata, inference, labels, metrics and the repository."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

import headway
from headway.core.errors import DataError
from headway.serving.auth.authenticator import Authenticator, NotAuthorized
from headway.serving.batching.data_plane import DataPlane
from headway.serving.batching.validation import Violation
from headway.serving.http.connection import Request
from headway.serving.labels import LabelCollector
from headway.serving.loading import LoadedModel
from headway.serving.protocol.endpoints import ROUTES_BY_ENDPOINT, RouteMatch, match_route
from headway.serving.protocol.errors import OCTETS, TEXT, RequestError, encode, error_body, request_error
from headway.serving.protocol.mlflow import read_mlflow, write_mlflow
from headway.serving.protocol.openapi import openapi_document
from headway.serving.protocol.schemas import (
    ModelReady,
    ModelStatisticsResponse,
    ServerLive,
    ServerMetadata,
    ServerReady,
)
from headway.serving.protocol.statistics import model_config, model_statistics
from headway.serving.repository import IndexRequest, LoadRequest, ModelRepository

if TYPE_CHECKING:
    from headway.core.contracts import Floats


EXTENSIONS = ("binary_tensor_data", "model_configuration", "model_repository", "statistics")
_read_asking = msgspec.json.Decoder(IndexRequest).decode
_read_telling = msgspec.json.Decoder(LoadRequest).decode


class HttpInference(msgspec.Struct, eq=False, gc=False):
    """An infer request on its way through the plane."""

    request: Request
    rows: Floats
    id: str
    key: str
    started_ns: int
    deadline_ns: int = 0
    binary: bool = False

    def read_for(self, release: LoadedModel) -> Floats:
        """The rows as another release asks for them; raises DataError where the request does not bring them."""
        return release.reader.read(self.request.body, self.request.json_bytes).rows

    def answer(self, release: LoadedModel, values: list[float], outside: Sequence[Violation] = ()) -> None:
        """Send the answers of a release."""
        if self.binary:
            said, raw = release.writer.pack(self.id, values, len(self.rows), outside)
            extra = b"\r\nInference-Header-Content-Length: %d" % len(said)
            self.request.reply(200, said + raw, kind=OCTETS, extra=extra)
        else:
            self.request.reply(200, release.writer.write(self.id, values, len(self.rows), outside))

    def fail(self, error: Exception) -> None:
        """Send the reason."""
        why = request_error(error)
        extra = b"\r\nRetry-After: %d" % why.retry_s if why.retry_s else b""
        self.request.reply(why.status, error_body(why), extra=extra)


class MlflowInference(HttpInference, eq=False):
    """A request in MLflow's form on its way through the plane."""

    def read_for(self, release: LoadedModel) -> Floats:
        """The rows as another release asks for them; raises DataError where the request does not bring them."""
        return read_mlflow(release.reader, self.request.body)[0]

    def answer(self, release: LoadedModel, values: list[float], outside: Sequence[Violation] = ()) -> None:
        """Send the answers of a release; its form has no place for what was outside the contract."""
        self.request.reply(200, write_mlflow(values, len(self.rows)))


class Routes:
    """Answers every whole request, or hands it to the plane that will; `draining` says that the server is leaving."""

    def __init__(
        self,
        plane: DataPlane,
        *,
        authenticator: Authenticator,
        draining: Callable[[], bool],
        labels: LabelCollector,
        repository: ModelRepository,
    ) -> None:
        self._plane = plane
        self._authenticator = authenticator
        self._labels = labels
        self._repository = repository
        self._draining = draining
        self._answers: dict[str, Callable[[Request, RouteMatch], None]] = {
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
            "labels": self._label,
            "invocations": self._invoke,
            "index": self._index,
            "load": self._tell,
            "unload": self._tell,
        }

    def __call__(self, request: Request) -> None:
        """Answer one request."""
        place = match_route(request.url)
        if place.what == "infer" and request.method == b"POST":
            if self._lets_in(request, place):
                self._infer(request, place)
            return
        address = ROUTES_BY_ENDPOINT.get(place.what)
        if address is None:
            request.reply(404, error_body("no such address; /openapi.json lists those there are"))
        elif request.method not in address.allowed.split(b", "):
            _not_allowed(request, address.allowed)
        elif self._lets_in(request, place):
            self._answers[place.what](request, place)

    def _lets_in(self, request: Request, place: RouteMatch) -> bool:
        """Whether the key of a request is good for its address; where it is not, that is answered."""
        if not place.scope:
            return True
        try:
            key = self._authenticator.authorize(request.authorization, place.scope)
        except NotAuthorized as refusal:
            request.reply(refusal.status, error_body(refusal), extra=refusal.headers)
            return False
        if request.note is not None:
            request.note.key = key
        return True

    def _infer(self, request: Request, place: RouteMatch) -> None:
        started_ns = time.perf_counter_ns()
        release = self._find(request, place)
        if release is None:
            return
        try:
            asked = release.reader.read(request.body, request.json_bytes)
        except DataError as error:
            request.reply(400, error_body(error))
            return
        if request.note is not None:
            request.note.id = asked.id
        deadline_ns = self._plane.deadline_ns(started_ns, asked.timeout_us)
        call = HttpInference(request, asked.rows, asked.id, asked.key, started_ns, deadline_ns, asked.binary)
        self._plane.submit(release, call)

    def _invoke(self, request: Request, place: RouteMatch) -> None:
        started_ns, here = time.perf_counter_ns(), list(self._plane.releases.values())
        if len(here) != 1:
            there = ", ".join(each.name for each in here) or "none"
            request.reply(400, error_body(f"/invocations asks the one model that is served; there are: {there}"))
            return
        try:
            rows, parameters = read_mlflow(here[0].reader, request.body)
        except DataError as error:
            request.reply(400, error_body(error))
            return
        deadline_ns = self._plane.deadline_ns(started_ns, parameters.timeout)
        self._plane.submit(here[0], MlflowInference(request, rows, "", parameters.key, started_ns, deadline_ns))

    def _label(self, request: Request, place: RouteMatch) -> None:
        if self._find(request, place) is not None:
            self._labels.take(request, place.name)

    def _index(self, request: Request, place: RouteMatch) -> None:
        try:
            asking = _read_asking(request.body or b"{}")
        except _UNREADABLE as error:
            request.reply(400, error_body(f"the body does not ask for the index: {error}"))
            return
        request.reply(200, encode(self._repository.index(ready=asking.ready)))

    def _tell(self, request: Request, place: RouteMatch) -> None:
        try:
            _read_telling(request.body or b"{}")
        except _UNREADABLE as error:
            request.reply(400, error_body(f"the body tells nothing: {error}"))
            return
        self._repository.callback(request, place.name, load=place.what == "load")

    def _find(self, request: Request, place: RouteMatch) -> LoadedModel | None:
        """The release that is asked for; where there is none, that is answered."""
        try:
            return find_model(self._plane, place.name, place.version)
        except RequestError as error:
            request.reply(error.status, error_body(error))
            return None

    def _server(self, request: Request, place: RouteMatch) -> None:
        request.reply(200, encode(ServerMetadata("headway", headway.__version__, EXTENSIONS)))

    def _live(self, request: Request, place: RouteMatch) -> None:
        request.reply(200, encode(ServerLive(True)))

    def _ready(self, request: Request, place: RouteMatch) -> None:
        ready = not self._draining()
        request.reply(200 if ready else 503, encode(ServerReady(ready)))

    def _openapi(self, request: Request, place: RouteMatch) -> None:
        request.reply(200, openapi_document())

    def _metrics(self, request: Request, place: RouteMatch) -> None:
        versions = {name: release.version for name, release in self._plane.releases.items()}
        request.reply(200, self._plane.metrics.text(versions), kind=TEXT)

    def _model(self, request: Request, place: RouteMatch) -> None:
        release = self._find(request, place)
        if release is not None:
            request.reply(200, release.metadata)

    def _model_ready(self, request: Request, place: RouteMatch) -> None:
        if self._find(request, place) is not None:
            request.reply(200, encode(ModelReady(place.name, True)))

    def _config(self, request: Request, place: RouteMatch) -> None:
        release = self._find(request, place)
        if release is not None:
            request.reply(200, encode(model_config(release, max_batch_rows=self._plane.max_batch_rows)))

    def _stats(self, request: Request, place: RouteMatch) -> None:
        release = self._find(request, place)
        if release is not None:
            self._answer_stats(request, [release])

    def _all_stats(self, request: Request, place: RouteMatch) -> None:
        self._answer_stats(request, self._plane.releases.values())

    def _answer_stats(self, request: Request, releases: Iterable[LoadedModel]) -> None:
        stats = tuple(model_statistics(release, self._plane.metrics.total(release.name)) for release in releases)
        request.reply(200, encode(ModelStatisticsResponse(stats)))


def find_model(plane: DataPlane, name: str, version: str = "") -> LoadedModel:
    """The release that is live for a name, and is of this version where one is asked for; raises Unanswered."""
    release = plane.find(name)
    if release is None:
        raise RequestError(404, f"no model '{name}'", hint=f"there are: {', '.join(plane.releases) or 'none'}")
    if version and version != release.version:
        raise RequestError(404, f"model '{name}' has no version '{version}'", hint=f"it has {release.version}")
    return release


_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def _not_allowed(request: Request, allowed: bytes) -> None:
    message = f"{request.method.decode()} is not answered here; {allowed.decode()} is"
    request.reply(405, error_body(message), extra=b"\r\nAllow: " + allowed)
