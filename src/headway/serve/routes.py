"""What each address answers: health, metadata, inference, labels and metrics."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

import httptools
import msgspec

import headway
from headway.core.errors import DataError, HeadwayError, StoreError
from headway.serve.answers import TEXT, encode, error_body
from headway.serve.connection import Exchange
from headway.serve.labels import Labels
from headway.serve.load import Loaded
from headway.serve.plane import Plane

if TYPE_CHECKING:
    from headway.core.contracts import Floats


class Place(NamedTuple):
    """An address, taken apart: what is asked, of which model and version; empty where none is named."""

    what: str
    name: str = ""
    version: str = ""


class Inference(msgspec.Struct, eq=False):
    """An infer request on its way through the plane."""

    exchange: Exchange
    rows: Floats
    id: str
    key: str
    started_ns: int

    def read_for(self, release: Loaded) -> Floats:
        """The rows as another release asks for them; raises DataError where the request does not bring them."""
        return release.reader.read(self.exchange.body).rows

    def answer(self, release: Loaded, values: list[float]) -> None:
        """Send the answers of a release."""
        self.exchange.reply(200, release.writer.write(self.id, values, len(self.rows)))

    def fail(self, error: Exception) -> None:
        """Send the reason: 422 where the model refuses the rows, 503 where a table is away, else 500."""
        if isinstance(error, StoreError):
            self.exchange.reply(503, error_body(error))
        elif isinstance(error, HeadwayError):
            self.exchange.reply(422, error_body(error))
        else:
            self.exchange.reply(500, error_body("the engine failed on these rows; the server's log says more"))


class Routes:
    """Answers every whole request, or hands it to the plane that will; `draining` says that the server is leaving."""

    def __init__(self, plane: Plane, *, draining: Callable[[], bool], labels: Labels | None = None) -> None:
        self._plane = plane
        self._labels = labels
        self._draining = draining
        self._answers: dict[str, Callable[[Exchange, Place], None]] = {
            "server": self._server,
            "live": self._live,
            "ready": self._ready,
            "metrics": self._metrics,
            "model": self._model,
            "model ready": self._model_ready,
        }

    def __call__(self, exchange: Exchange) -> None:
        """Answer one request."""
        place = locate(exchange.url)
        if place.what == "infer":
            if exchange.method == b"POST":
                self._infer(exchange, place)
            else:
                _not_allowed(exchange, b"POST")
        elif place.what == "labels" and self._labels is not None:
            self._label(exchange, place, self._labels)
        elif place.what not in self._answers:
            exchange.reply(404, error_body("no such address; docs/serving.md lists those there are"))
        elif exchange.method not in (b"GET", b"HEAD"):
            _not_allowed(exchange, b"GET, HEAD")
        else:
            self._answers[place.what](exchange, place)

    def _infer(self, exchange: Exchange, place: Place) -> None:
        started_ns = time.perf_counter_ns()
        release = self._find(exchange, place)
        if release is None:
            return
        try:
            rows, id, key = release.reader.read(exchange.body)
        except DataError as error:
            exchange.reply(400, error_body(error))
            return
        self._plane.submit(release, Inference(exchange=exchange, rows=rows, id=id, key=key, started_ns=started_ns))

    def _label(self, exchange: Exchange, place: Place, labels: Labels) -> None:
        if exchange.method != b"POST":
            _not_allowed(exchange, b"POST")
        elif self._find(exchange, place) is not None:
            labels.take(exchange, place.name)

    def _find(self, exchange: Exchange, place: Place) -> Loaded | None:
        """The release that is asked for; where there is none, that is answered."""
        release = self._plane.find(place.name)
        if release is None:
            there = ", ".join(self._plane.releases) or "none"
            exchange.reply(404, error_body(f"no model '{place.name}'; there are: {there}"))
        elif place.version and place.version != release.version:
            there = f"it has {release.version}"
            exchange.reply(404, error_body(f"model '{place.name}' has no version '{place.version}'; {there}"))
            return None
        return release

    def _server(self, exchange: Exchange, place: Place) -> None:
        exchange.reply(200, encode({"name": "headway", "version": headway.__version__, "extensions": []}))

    def _live(self, exchange: Exchange, place: Place) -> None:
        exchange.reply(200, encode({"live": True}))

    def _ready(self, exchange: Exchange, place: Place) -> None:
        ready = not self._draining()
        exchange.reply(200 if ready else 503, encode({"ready": ready}))

    def _metrics(self, exchange: Exchange, place: Place) -> None:
        versions = {name: release.version for name, release in self._plane.releases.items()}
        exchange.reply(200, self._plane.metrics.text(versions), kind=TEXT)

    def _model(self, exchange: Exchange, place: Place) -> None:
        release = self._find(exchange, place)
        if release is not None:
            exchange.reply(200, release.metadata)

    def _model_ready(self, exchange: Exchange, place: Place) -> None:
        if self._find(exchange, place) is not None:
            exchange.reply(200, encode({"name": place.name, "ready": True}))


@lru_cache(maxsize=256)
def locate(url: bytes) -> Place:
    """The place of a request's target, in any of the forms that HTTP allows; `Place("")` where there is none."""
    try:
        path = (httptools.parse_url(url).path or b"").decode("ascii")
    except (httptools.HttpParserInvalidURLError, UnicodeDecodeError):
        return Place("")
    fixed = _FIXED.get(path)
    if fixed is not None:
        return Place(fixed)
    match = _MODEL.fullmatch(path)
    if match is None:
        return Place("")
    name, version, what = (unquote(part or "") for part in match.groups())
    return Place(_OF_MODEL[what], name, version)


_FIXED = {"/v2": "server", "/v2/health/live": "live", "/v2/health/ready": "ready", "/metrics": "metrics"}
_MODEL = re.compile(r"/v2/models/([^/]+)(?:/versions/([^/]+))?(?:/(infer|ready|labels))?")
_OF_MODEL = {"": "model", "ready": "model ready", "infer": "infer", "labels": "labels"}


def _not_allowed(exchange: Exchange, allowed: bytes) -> None:
    says = f"{exchange.method.decode()} is not answered here; {allowed.decode()} is"
    exchange.reply(405, error_body(says), extra=b"\r\nAllow: " + allowed)
