"""What each address answers: health, metadata, inference, labels, metrics and the repository."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

import headway
from headway.core.errors import DataError
from headway.serving.auth.gate import Gate, NotAdmitted
from headway.serving.batching.contract import Breach
from headway.serving.batching.plane import Plane
from headway.serving.http.connection import Exchange
from headway.serving.labels import Labels
from headway.serving.load import Loaded
from headway.serving.protocol.addresses import BY_WHAT, Place, locate
from headway.serving.protocol.answers import OCTETS, TEXT, Unanswered, encode, error_body, unanswered
from headway.serving.protocol.mlflow import read_frame, write_frame
from headway.serving.protocol.openapi import document
from headway.serving.protocol.replies import Live, ModelReady, Ready, Server, Statistics
from headway.serving.protocol.statistics import config_of, stats_of
from headway.serving.repository import Asking, Repository, Telling

if TYPE_CHECKING:
    from headway.core.contracts import Floats


EXTENSIONS = ("binary_tensor_data", "model_configuration", "model_repository", "statistics")
_read_asking = msgspec.json.Decoder(Asking).decode
_read_telling = msgspec.json.Decoder(Telling).decode


class Inference(msgspec.Struct, eq=False, gc=False):
    """An infer request on its way through the plane."""

    exchange: Exchange
    rows: Floats
    id: str
    key: str
    started_ns: int
    deadline_ns: int = 0
    binary: bool = False

    def read_for(self, release: Loaded) -> Floats:
        """The rows as another release asks for them; raises DataError where the request does not bring them."""
        return release.reader.read(self.exchange.body, self.exchange.json_bytes).rows

    def answer(self, release: Loaded, values: list[float], outside: Sequence[Breach] = ()) -> None:
        """Send the answers of a release."""
        if self.binary:
            said, raw = release.writer.pack(self.id, values, len(self.rows), outside)
            extra = b"\r\nInference-Header-Content-Length: %d" % len(said)
            self.exchange.reply(200, said + raw, kind=OCTETS, extra=extra)
        else:
            self.exchange.reply(200, release.writer.write(self.id, values, len(self.rows), outside))

    def fail(self, error: Exception) -> None:
        """Send the reason."""
        why = unanswered(error)
        extra = b"\r\nRetry-After: %d" % why.retry_s if why.retry_s else b""
        self.exchange.reply(why.status, error_body(why), extra=extra)


class Invocation(Inference, eq=False):
    """A request in MLflow's form on its way through the plane."""

    def read_for(self, release: Loaded) -> Floats:
        """The rows as another release asks for them; raises DataError where the request does not bring them."""
        return read_frame(release.reader, self.exchange.body)[0]

    def answer(self, release: Loaded, values: list[float], outside: Sequence[Breach] = ()) -> None:
        """Send the answers of a release; its form has no place for what was outside the contract."""
        self.exchange.reply(200, write_frame(values, len(self.rows)))


class Routes:
    """Answers every whole request, or hands it to the plane that will; `draining` says that the server is leaving."""

    def __init__(
        self, plane: Plane, *, gate: Gate, draining: Callable[[], bool], labels: Labels, repository: Repository
    ) -> None:
        self._plane = plane
        self._gate = gate
        self._labels = labels
        self._repository = repository
        self._draining = draining
        self._answers: dict[str, Callable[[Exchange, Place], None]] = {
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

    def __call__(self, exchange: Exchange) -> None:
        """Answer one request."""
        place = locate(exchange.url)
        if place.what == "infer" and exchange.method == b"POST":
            if self._lets_in(exchange, place):
                self._infer(exchange, place)
            return
        address = BY_WHAT.get(place.what)
        if address is None:
            exchange.reply(404, error_body("no such address; /openapi.json lists those there are"))
        elif exchange.method not in address.allowed.split(b", "):
            _not_allowed(exchange, address.allowed)
        elif self._lets_in(exchange, place):
            self._answers[place.what](exchange, place)

    def _lets_in(self, exchange: Exchange, place: Place) -> bool:
        """Whether the key of a request is good for its address; where it is not, that is answered."""
        if not place.scope:
            return True
        try:
            key = self._gate.admit(exchange.authorization, place.scope)
        except NotAdmitted as refusal:
            exchange.reply(refusal.status, error_body(refusal), extra=refusal.headers)
            return False
        if exchange.note is not None:
            exchange.note.key = key
        return True

    def _infer(self, exchange: Exchange, place: Place) -> None:
        started_ns = time.perf_counter_ns()
        release = self._find(exchange, place)
        if release is None:
            return
        try:
            asked = release.reader.read(exchange.body, exchange.json_bytes)
        except DataError as error:
            exchange.reply(400, error_body(error))
            return
        if exchange.note is not None:
            exchange.note.id = asked.id
        deadline_ns = self._plane.deadline_ns(started_ns, asked.timeout_us)
        call = Inference(exchange, asked.rows, asked.id, asked.key, started_ns, deadline_ns, asked.binary)
        self._plane.submit(release, call)

    def _invoke(self, exchange: Exchange, place: Place) -> None:
        started_ns, here = time.perf_counter_ns(), list(self._plane.releases.values())
        if len(here) != 1:
            there = ", ".join(each.name for each in here) or "none"
            exchange.reply(400, error_body(f"/invocations asks the one model that is served; there are: {there}"))
            return
        try:
            rows, parameters = read_frame(here[0].reader, exchange.body)
        except DataError as error:
            exchange.reply(400, error_body(error))
            return
        deadline_ns = self._plane.deadline_ns(started_ns, parameters.timeout)
        self._plane.submit(here[0], Invocation(exchange, rows, "", parameters.key, started_ns, deadline_ns))

    def _label(self, exchange: Exchange, place: Place) -> None:
        if self._find(exchange, place) is not None:
            self._labels.take(exchange, place.name)

    def _index(self, exchange: Exchange, place: Place) -> None:
        try:
            asking = _read_asking(exchange.body or b"{}")
        except _UNREADABLE as error:
            exchange.reply(400, error_body(f"the body does not ask for the index: {error}"))
            return
        exchange.reply(200, encode(self._repository.index(ready=asking.ready)))

    def _tell(self, exchange: Exchange, place: Place) -> None:
        try:
            _read_telling(exchange.body or b"{}")
        except _UNREADABLE as error:
            exchange.reply(400, error_body(f"the body tells nothing: {error}"))
            return
        self._repository.callback(exchange, place.name, load=place.what == "load")

    def _find(self, exchange: Exchange, place: Place) -> Loaded | None:
        """The release that is asked for; where there is none, that is answered."""
        try:
            return find(self._plane, place.name, place.version)
        except Unanswered as error:
            exchange.reply(error.status, error_body(error))
            return None

    def _server(self, exchange: Exchange, place: Place) -> None:
        exchange.reply(200, encode(Server("headway", headway.__version__, EXTENSIONS)))

    def _live(self, exchange: Exchange, place: Place) -> None:
        exchange.reply(200, encode(Live(True)))

    def _ready(self, exchange: Exchange, place: Place) -> None:
        ready = not self._draining()
        exchange.reply(200 if ready else 503, encode(Ready(ready)))

    def _openapi(self, exchange: Exchange, place: Place) -> None:
        exchange.reply(200, document())

    def _metrics(self, exchange: Exchange, place: Place) -> None:
        versions = {name: release.version for name, release in self._plane.releases.items()}
        exchange.reply(200, self._plane.metrics.text(versions), kind=TEXT)

    def _model(self, exchange: Exchange, place: Place) -> None:
        release = self._find(exchange, place)
        if release is not None:
            exchange.reply(200, release.metadata)

    def _model_ready(self, exchange: Exchange, place: Place) -> None:
        if self._find(exchange, place) is not None:
            exchange.reply(200, encode(ModelReady(place.name, True)))

    def _config(self, exchange: Exchange, place: Place) -> None:
        release = self._find(exchange, place)
        if release is not None:
            exchange.reply(200, encode(config_of(release, max_batch_rows=self._plane.max_batch_rows)))

    def _stats(self, exchange: Exchange, place: Place) -> None:
        release = self._find(exchange, place)
        if release is not None:
            self._answer_stats(exchange, [release])

    def _all_stats(self, exchange: Exchange, place: Place) -> None:
        self._answer_stats(exchange, self._plane.releases.values())

    def _answer_stats(self, exchange: Exchange, releases: Iterable[Loaded]) -> None:
        stats = tuple(stats_of(release, self._plane.metrics.total(release.name)) for release in releases)
        exchange.reply(200, encode(Statistics(stats)))


def find(plane: Plane, name: str, version: str = "") -> Loaded:
    """The release that is live for a name, and is of this version where one is asked for; raises Unanswered."""
    release = plane.find(name)
    if release is None:
        raise Unanswered(404, f"no model '{name}'", hint=f"there are: {', '.join(plane.releases) or 'none'}")
    if version and version != release.version:
        raise Unanswered(404, f"model '{name}' has no version '{version}'", hint=f"it has {release.version}")
    return release


_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def _not_allowed(exchange: Exchange, allowed: bytes) -> None:
    message = f"{exchange.method.decode()} is not answered here; {allowed.decode()} is"
    exchange.reply(405, error_body(message), extra=b"\r\nAllow: " + allowed)
