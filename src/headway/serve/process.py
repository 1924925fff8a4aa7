"""A server process: verify, load and test the releases, listen, follow their pointers, and leave in good order."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import uvloop

from headway.core.config import Config
from headway.core.errors import ConfigError
from headway.release.register import Register
from headway.serve.access.gate import Gate, gate_of, paces
from headway.serve.access.pace import Pace
from headway.serve.door import Inside, close_doors, open_doors
from headway.serve.follow import Follower
from headway.serve.labels import Labels
from headway.serve.listener import Listener
from headway.serve.load import Loaded, load
from headway.serve.log import PredictionLog
from headway.serve.logs import on_stderr
from headway.serve.metrics import Metrics
from headway.serve.plane import Plane
from headway.serve.repository import Repository
from headway.serve.routes import Routes
from headway.serve.sampled import sampled
from headway.serve.seat import Seat
from headway.serve.site import Limits
from headway.serve.slo import hold_to
from headway.serve.tls import tls_of
from headway.store import traffic

_DRAIN_S = 10.0


def serve(config: Config, references: Sequence[str], *, announce: Callable[[str], object]) -> signal.Signals:
    """Serve the releases at `name@pointer` until SIGTERM or SIGINT, then answer what is in flight, and return which.

    A pointer that moves is followed; a digest (`name@0123abcd`) stays. Announces one line when it listens. Raises
    Refused, and listens nowhere, where a release does not verify or fails its self-test.
    """
    register = Register.from_config(config)
    try:
        gate = gate_of(config, Pace(paces(1)))
        online = traffic.online_folder(config.state)
        releases = {reference: load(register.resolve(reference), online) for reference in references}
        names = [release.name for release in releases.values()]
        if len(set(names)) < len(references) or not names:
            raise ConfigError(f"a server answers each name with one release, given: {', '.join(references) or 'none'}")
        gc.collect()
        gc.freeze()  # what was loaded stays; no later collection need look at it
        with on_stderr(config.serve.log_format), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_serve(config, register, releases, gate=gate, announce=announce))
    finally:
        register.state.close()


async def _serve(
    config: Config,
    register: Register,
    releases: Mapping[str, Loaded],
    *,
    gate: Gate,
    announce: Callable[[str], object],
) -> signal.Signals:
    loop, told = asyncio.get_running_loop(), asyncio.Queue[signal.Signals]()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, told.put_nowait, name)
    soon = loop.call_soon_threadsafe
    labels = Labels(config.state, soon=soon)
    with ExitStack() as stack:
        plane = stack.enter_context(_plane(config, releases, loop))
        follower = stack.enter_context(_following(config, register, releases, plane))
        addresses = {release.name: reference for reference, release in releases.items()}
        repository = Repository(plane, follower, addresses=addresses, soon=soon)
        routes = Routes(plane, gate=gate, draining=lambda: listener.draining, labels=labels, repository=repository)
        application = stack.enter_context(sampled(routes, plane, config.serve))
        listener = Listener(
            application,
            limits=Limits(body_bytes=config.serve.max_body_bytes),
            errors=plane.metrics.errors,
            tls=tls_of(config),
        )
        inside = Inside(
            plane=plane,
            gate=gate,
            repository=repository,
            soon=soon,
            draining=lambda: listener.draining,
            body_bytes=config.serve.max_body_bytes,
        )
        hold_to(config.slo, plane.metrics, loop)
        address = await listener.open(config.serve.host, config.serve.port)
        doors = open_doors(config.serve, inside)
        try:
            also = "".join(f" and {door.address}" for door in doors)
            what = ", ".join(f"{reference} {release.digest}" for reference, release in releases.items())
            announce(f"listening on {address}{also} serving {what}")
            return await told.get()
        finally:
            await asyncio.gather(listener.drain(_DRAIN_S), close_doors(doors, _DRAIN_S))
            labels.close()
            repository.close()


@contextmanager
def _plane(config: Config, releases: Mapping[str, Loaded], loop: asyncio.AbstractEventLoop) -> Iterator[Plane]:
    """The plane with its log, of which all is on disk at the end."""
    metrics, settings = Metrics(), config.serve
    log = (
        PredictionLog(
            config.state, flush_s=settings.log_flush_s, most_rows=settings.log_buffer_rows, dropped=metrics.dropped
        )
        if settings.log
        else None
    )
    plane = Plane(
        releases.values(), soon=loop.call_soon, max_batch_rows=settings.max_batch_rows, metrics=metrics, log=log
    )
    try:
        yield plane
    finally:
        if log:
            log.close()


@contextmanager
def _following(config: Config, register: Register, releases: Mapping[str, Loaded], plane: Plane) -> Iterator[Follower]:
    """Each new seat is taken on the loop, between two turns: all of a release changes at once."""
    loop = asyncio.get_running_loop()

    def take(seat: Seat) -> None:
        loop.call_soon_threadsafe(plane.take, seat)

    online = traffic.online_folder(config.state)
    follower = Follower(register, online=online, take=take, refused=plane.metrics.refused)
    follower.begin(releases)
    try:
        yield follower
    finally:
        follower.close()
