"""Servers for the tests of this folder: echo models, served in a thread or in a separate process."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from headway.core import config
from headway.core.config import Config
from headway.core.record import digest_of, write
from headway.core.release import Release, SelfTest
from headway.core.settings.project import ProjectSection
from headway.core.variant import Artifact, Field, Signature, Variant
from headway.core.verdict import Verdict
from headway.evaluation.settings.answer import AnswerSection
from headway.features.online.sqlite import SqliteOnlineStore
from headway.registry.bundle import Bundle
from headway.registry.model_registry import ModelRegistry, UpdateReason
from headway.registry.settings.trust import TrustSection
from headway.registry.sign import init_keys
from headway.serving.answering.endpoint import AnswerStages, open_stages
from headway.serving.auth.authenticator import Authenticator, RateLimiter, shared_rate_limits
from headway.serving.auth.keys import digest
from headway.serving.auth.tokens import TokenVerifier
from headway.serving.batching.data_plane import DataPlane, InferenceSettings
from headway.serving.grpc.transport import ServerContext
from headway.serving.http.connection import Connection, ConnectionLimits
from headway.serving.http.devices import DeviceReceiver
from headway.serving.http.feature_push import FeaturePusher
from headway.serving.http.labels import LabelCollector
from headway.serving.http.listener import Listener, bind_sockets, socket_address
from headway.serving.http.routes import BodyDecoder, Routes
from headway.serving.http.tls import TlsContext
from headway.serving.loading import LoadedModel, load_model
from headway.serving.protocol.admission import RequestLimits
from headway.serving.repository import ModelRepository
from headway.serving.settings.serve import ServeSection
from headway.serving.telemetry.prediction_log import PredictionLog
from headway.storage.addresses import LateState

TESTS = Path(__file__).parent.parent
LIMITS = ConnectionLimits()
OPEN = ServeSection()
NUMBERS = Signature(inputs=tuple(Field(name=name) for name in ("a", "b", "c")))
MIXED = Signature(
    inputs=(Field(name="size"), Field(name="carrier", datatype="BYTES", categories=("AA", "UA", "WN"))), output="score"
)


def release(*, name: str = "flights", signature: Signature = NUMBERS, test: SelfTest | None = None) -> Release:
    """Return a release of the echo model, which returns the mean of a row."""
    artifact = Artifact(format="echo", digest=digest_of(b"echo"), size_bytes=4)
    variant = Variant(artifact=artifact, engine="echo", signature=signature)
    width = len(signature.inputs)
    return Release(
        name=name,
        variant=variant,
        evidence=(),
        verdict=Verdict(answer="pass", subject=variant.digest),
        threshold=0.25,
        files={"model.echo": digest_of(b"echo")},
        self_test=SelfTest(rows=((1.0,) * width, (3.0,) * width), answers=((1.0,), (3.0,))) if test is None else test,
    )


def bundle(record: Release, content: bytes = b"echo") -> Bundle:
    """Return a verified release, as the registry does."""
    return Bundle(record, {"model.echo": content}, digest_of(write(record)), "ed25519:a-test")


def loaded(**fields: object) -> LoadedModel:
    """Load a release of the echo model."""
    return load_model(bundle(release(**fields)))


def project(folder: Path, *releases: Release) -> Config:
    """Create a project with keys, whose releases are published and live."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "headway.toml").write_text('[trust]\npublisher_key = "keys/publisher.pem"\n[serve]\nport = 0\n')
    settings = config.load(folder, environment={})
    init_keys(
        settings.path(settings[TrustSection].publisher_key),
        settings.path(settings[TrustSection].trusted_keys),
        comment="a test",
    )
    register = ModelRegistry.from_config(settings)
    for published in releases or (release(),):
        digest = register.publish(published, {"model.echo": b"echo"})
        register.point(
            f"{published.name}@live", digest, UpdateReason(who="ann", why="a test", verdict=published.verdict)
        )
    register.state.close()
    return settings


def started(folder: Path, *references: str, first: str = "", more: str = "") -> subprocess.Popen[str]:
    """Start a server process; `first` is Python code that it runs before, `more` are further arguments of `serve`."""
    code = (
        f"{first}import sys; from pathlib import Path; from headway.core.config import load; "
        "from headway.serving.process import serve; "
        "serve(load(Path(sys.argv[1])), sys.argv[2:], announce=lambda listening: print(listening, flush=True)"
        f", {more})"
    )
    path = os.pathsep.join([str(TESTS / "outside"), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, str(folder), *references],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )


@dataclass
class Running:
    """A server in a thread of this process."""

    address: str
    loop: asyncio.AbstractEventLoop
    plane: DataPlane
    listener: Listener
    stopped_at: float | None = None

    @property
    def port(self) -> int:
        """Its port."""
        return int(self.address.rpartition(":")[2])

    def within(self, function: Callable[[], object]) -> object:
        """Run a function on the server's loop, and return its result."""

        async def run() -> object:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(60)

    @property
    def inside(self) -> ServerContext:
        """The context of the gRPC transport."""
        routes = self.listener._state.application
        return ServerContext(
            plane=self.plane,
            authenticator=routes._authenticator,
            repository=routes._repository,
            soon=self.loop.call_soon_threadsafe,
            draining=lambda: self.listener.draining,
            body_bytes=LIMITS.body_bytes,
            held_bytes=LIMITS.held_bytes,
            max_connections=LIMITS.connections,
            overload=self.listener.overload,
            tls=self.listener._tls,
        )

    def turn(self) -> None:
        """Wait for one iteration of the server's loop. What was sent may be under way still: see `wait_until`."""
        self.within(lambda: None)

    def wait_until(self, condition: Callable[[], object]) -> None:
        """Wait until a condition holds on the server's loop: the kernel delivers what was sent when it likes."""
        while not self.within(condition):
            pass

    def wait_for(self, peer: Peer) -> Connection:
        """Wait until the server has accepted a client, and return its connection."""
        port, found = peer.socket.getsockname()[1], list[Connection]()
        self.wait_until(lambda: found.extend(self.connections_from(port)) or found)
        return found[0]

    def connections_from(self, port: int) -> list[Connection]:
        """Return the open connections of a client's port; on the loop."""
        connections = self.listener._state.connections
        return [one for one in connections if one._transport.get_extra_info("peername")[1] == port]

    def stop_clock(self) -> None:
        """Check the connections only in `later`, at times since now: a busy machine must not make them late."""
        self.within(lambda: self.listener._timer.cancel())  # the timer of now: each one makes the next
        self.stopped_at = self.loop.time()
        self.later(0)

    def later(self, seconds: float) -> None:
        """Check the connections as if this time had passed."""
        since = self.loop.time() if self.stopped_at is None else self.stopped_at
        self.within(lambda: self.listener.sweep(since + seconds))


class StubWatcher:
    """Models by name, for a repository to load."""

    def __init__(self, releases: Sequence[LoadedModel], take: Callable[[LoadedModel], object]) -> None:
        self.releases = {release.name: release for release in releases}
        self._take = take

    def load(self, address: str) -> LoadedModel:
        """Set a model on the data plane."""
        self._take(self.releases[address])
        return self.releases[address]

    def unload(self, address: str) -> None:
        """Do nothing: no pointer is watched."""


def open_authenticator(
    file: Path,
    settings: ServeSection = OPEN,
    *,
    loopback: bool = True,
    workers: int = 1,
    tokens: TokenVerifier | None = None,
) -> Authenticator:
    """Return the authenticator of the first worker, with the keys of a file."""
    limiter = RateLimiter(shared_rate_limits(workers))
    return Authenticator(file, settings, loopback=loopback, limiter=limiter, tokens=tokens)


def with_operator(folder: Path, key: str) -> Path:
    """Write a key file with the operator's key, which may push rows and be a device too, or without keys."""
    known = f'[operator]\nsha256 = "{digest(key.encode()).hex()}"\nscopes = ["operate", "push", "device"]\nmade = ""\n'
    (folder / "keys.toml").write_text(known if key else "")
    return folder / "keys.toml"


def collector(
    folder: Path, soon: Callable[..., object], *, queue_bytes: int = 1 << 20, overload: Callable[..., object] = print
) -> LabelCollector:
    """Return a collector of labels below a folder."""
    return LabelCollector(folder, soon=soon, queue_bytes=queue_bytes, limits=RequestLimits(), overload=overload)


def pusher_of(
    plane: DataPlane,
    state: LateState,
    store: SqliteOnlineStore,
    soon: Callable[..., object],
    *,
    max_rows: int = 100,
    queue_bytes: int = 1 << 20,
    overload: Callable[..., object] = print,
) -> FeaturePusher:
    """Return a pusher of rows to a store."""
    return FeaturePusher(
        state,
        store,
        metrics=plane.metrics,
        max_rows=max_rows,
        soon=soon,
        queue_bytes=queue_bytes,
        overload=overload,
    )


def devices_of(
    folder: Path, state: LateState, soon: Callable[..., object], *, day_bytes: int = 1 << 20
) -> DeviceReceiver:
    """Return a receiver of what devices send."""
    return DeviceReceiver(folder, state, day_bytes=day_bytes, soon=soon, queue_bytes=1 << 20, overload=print)


@contextmanager
def routes_of(
    plane: DataPlane,
    releases: Sequence[LoadedModel],
    soon: Callable[..., object],
    authenticator: Authenticator | None,
    key: str,
    stages: AnswerStages | None = None,
) -> Iterator[Routes]:
    """Return the routes of a server, whose labels and features are in a temporary folder; `key` is the operator's."""
    shelf = StubWatcher(releases, lambda release: soon(plane.set_model, release))
    names = {name: name for name in shelf.releases}
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(collector(Path(folder), soon)) as labels,
        closing(LateState(Config(ProjectSection(state=folder)))) as state,
        closing(SqliteOnlineStore(Path(folder) / "online")) as online,
        closing(pusher_of(plane, state, online, soon)) as pusher,
        closing(devices_of(Path(folder), state, soon)) as devices,
        closing(BodyDecoder(soon=soon)) as decoder,
        closing(ModelRepository(plane, shelf, addresses=names, soon=soon)) as repository,
    ):
        authenticator = authenticator or open_authenticator(with_operator(Path(folder), key))
        yield Routes(
            plane,
            authenticator=authenticator,
            draining=lambda: False,
            labels=labels,
            pusher=pusher,
            devices=devices,
            decoder=decoder,
            repository=repository,
            stages=stages or open_stages(AnswerSection(), Path(folder), plane.metrics),
        )


@contextmanager
def serving(
    *releases: LoadedModel,
    limits: ConnectionLimits = LIMITS,
    host: str = "127.0.0.1",
    key: str = "",
    authenticator: Authenticator | None = None,
    tls: TlsContext | None = None,
    trusted_origins: Sequence[str] = (),
    log: PredictionLog | None = None,
    answer: AnswerSection | None = None,
    state: Path | None = None,
    **settings: Any,
) -> Iterator[Running]:
    """Serve these models, and drain the server at the end; `answer` needs a folder `state`."""
    loop = uvloop.new_event_loop()
    inference = InferenceSettings(**{"max_batch_rows": 1024, **settings})
    plane = DataPlane(releases, loop=loop, settings=inference, log=log)
    stages = open_stages(answer, state, plane.metrics) if answer and state else None

    async def start(routes: Routes) -> Running:
        listener = Listener(
            routes,
            limits=limits,
            errors=plane.metrics.errors,
            overloads=plane.metrics.overloads,
            trusted_origins=trusted_origins,
            tls=tls,
        )
        (bound,) = bind_sockets(host, 0, workers=1)
        await listener.open(bound)
        return Running(socket_address(bound, "https" if tls else "http"), loop, plane, listener)

    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        with routes_of(plane, releases, loop.call_soon_threadsafe, authenticator, key, stages) as routes:
            running = asyncio.run_coroutine_threadsafe(start(routes), loop).result(60)
            routes._draining = lambda: running.listener.draining
            try:
                yield running
            finally:
                asyncio.run_coroutine_threadsafe(running.listener.drain(1), loop).result(60)
    finally:
        if stages:
            asyncio.run_coroutine_threadsafe(stages.close(), loop).result(60)
        loop.call_soon_threadsafe(plane.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@dataclass(frozen=True)
class Answer:
    """One HTTP response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, object]:
        """Its body."""
        return json.loads(self.body)

    @property
    def values(self) -> list[float]:
        """The outputs of an infer request."""
        return json.loads(self.body)["outputs"][0]["data"]


class Peer:
    """A client that sends exact bytes."""

    def __init__(self, server: Running, *, buffer_bytes: int = 0) -> None:
        self.socket = socket.socket()
        if buffer_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        self.socket.settimeout(10)
        self.socket.connect(("127.0.0.1", server.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._stream = self.socket.makefile("rb")

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self.socket.close()

    def send_bytes(self, data: bytes) -> Peer:
        """Send bytes."""
        self.socket.sendall(data)
        return self

    def read_answer(self, *, body: bool = True) -> Answer:
        """Read the next complete response."""
        line = self._stream.readline()
        assert line, "closed without an answer"
        headers = {}
        while (header := self._stream.readline()) != b"\r\n":
            name, _, value = header.decode().strip().partition(": ")
            headers[name] = value
        length = int(headers.get("Content-Length", "0")) if body else 0
        return Answer(int(line.split()[1]), headers, self._stream.read(length))

    def closed(self) -> bool:
        """Return True if the server has closed the connection without sending more.

        A reset is what the kernel makes of it if it delivers more of this client's bytes after that.
        """
        with suppress(ConnectionError):
            return self._stream.read() == b""
        return True


def body_of(*rows: Sequence[float | None], id: str = "") -> bytes:
    """Return the body of an infer request for rows of the columns a, b and c."""
    columns = [
        {"name": name, "shape": [len(rows)], "datatype": "FP64", "data": [row[position] for row in rows]}
        for position, name in enumerate("abc")
    ]
    return json.dumps({"inputs": columns, **({"id": id} if id else {})}).encode()


def request(
    path: str = "/v2/models/flights/infer", body: bytes = b"", *, method: str = "", headers: Sequence[str] = ()
) -> bytes:
    """Return the bytes of a request, with a loopback Host, the length of its body, and for labels and rows its type."""
    method = method or ("POST" if body else "GET")
    length = [f"Content-Length: {len(body)}"] if body else []
    names = {header.partition(":")[0].lower() for header in headers}
    host = [] if "host" in names else ["Host: localhost"]
    kind = (
        ["Content-Type: application/json"]
        if path.endswith(("/labels", "/push")) and "content-type" not in names
        else []
    )
    return "\r\n".join([f"{method} {path} HTTP/1.1", *host, *headers, *kind, *length, "", ""]).encode() + body


def ask(server: Running, path: str, body: bytes = b"", *, method: str = "", headers: Sequence[str] = ()) -> Answer:
    """Send one request on a new connection, and return the response."""
    with Peer(server) as peer:
        return peer.send_bytes(request(path, body, method=method, headers=headers)).read_answer(body=method != "HEAD")
