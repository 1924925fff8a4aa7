"""The life of a worker: verify, load and test the releases, listen, follow their pointers, and leave in good order."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import uvloop

from headway.core.config import Config
from headway.core.errors import HeadwayError
from headway.registry.register import Register
from headway.serving.auth.gate import gate_of
from headway.serving.auth.pace import Pace
from headway.serving.batching.plane import Plane, Rules
from headway.serving.batching.sampled import sampled
from headway.serving.batching.seat import Seat
from headway.serving.door import Inside, close_doors, open_doors
from headway.serving.follow import Follower
from headway.serving.http.listener import Listener
from headway.serving.http.routes import Routes
from headway.serving.http.site import Limits
from headway.serving.http.tls import tls_of
from headway.serving.labels import Labels
from headway.serving.load import Loaded, load
from headway.serving.repository import Repository
from headway.serving.telemetry.log import PredictionLog
from headway.serving.telemetry.metrics import Memory, Metrics
from headway.serving.telemetry.slo import hold_to
from headway.serving.workers.keeper import Buffers
from headway.serving.workers.line import UNLOADED, Failed, Failure, Line, Ready, Seated
from headway.serving.workers.orders import Orders
from headway.storage import traffic

if TYPE_CHECKING:
    from headway.core.contracts import Ints

DRAIN_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """What a worker is given: its number and sockets, the memory that it shares, and what it is to serve.

    `present` has each address (`name@pointer`) with the digest of what is served there now; None: as its pointer says.
    """

    config: Config
    number: int
    sockets: Sequence[socket.socket]
    memory: Memory
    paces: Ints
    buffers: Buffers | None
    present: Mapping[str, str | None]


def work(post: Post, line: Line) -> None:
    """Serve until told to leave, or until nobody is left who could tell; says so where it cannot begin."""
    try:
        register = Register.from_config(post.config)
        with closing(register.state), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            releases = _opened(post, register)
            gc.collect()
            gc.freeze()  # what was loaded stays; no later collection need look at it
            runner.run(_serve(post, line, register, releases))
    except HeadwayError as error:
        line.say(Failed(Failure.of(error)))


def _opened(post: Post, register: Register) -> dict[str, Loaded]:
    """What is present, verified and opened, by its address."""
    online = traffic.online_folder(post.config.state)
    at = {
        address: address if digest is None else f"{address.partition('@')[0]}@{digest}"
        for address, digest in post.present.items()
        if digest != UNLOADED
    }
    return {address: load(register.resolve(where), online) for address, where in at.items()}


async def _serve(post: Post, line: Line, register: Register, releases: Mapping[str, Loaded]) -> None:
    loop, leaving, config = asyncio.get_running_loop(), asyncio.Event(), post.config.serve
    soon, plane = loop.call_soon_threadsafe, _plane(post, releases)
    orders, gate = Orders(line, leave=leaving.set), gate_of(post.config, Pace(post.paces, worker=post.number))
    with ExitStack() as stack:
        stack.callback(plane.close)
        labels = stack.enter_context(closing(Labels(post.config.state, soon=soon)))
        follower = stack.enter_context(_following(post, line, register, plane))
        follower.begin(releases)
        for address, release in releases.items():
            line.say(Seated(address, release.digest))
        follower.look()  # a pointer may have moved since
        addresses = {address.partition("@")[0]: address for address in post.present}
        repository = Repository(plane, follower, addresses=addresses, soon=soon)
        repository.everywhere = orders.give
        routes = Routes(plane, gate=gate, draining=lambda: listener.draining, labels=labels, repository=repository)
        tls = tls_of(post.config)
        listener = Listener(
            stack.enter_context(sampled(routes, plane, config)),
            limits=Limits(body_bytes=config.max_body_bytes),
            errors=plane.metrics.errors,
            tls=tls,
        )
        inside = Inside(
            plane=plane,
            gate=gate,
            repository=repository,
            soon=soon,
            draining=lambda: listener.draining,
            body_bytes=config.max_body_bytes,
            tls=tls,
        )
        hold_to(post.config.slo, plane.metrics, loop)
        await listener.open(post.sockets)
        doors = open_doors(config, inside)
        orders.begin(repository.act)
        line.say(Ready())
        await leaving.wait()
        await asyncio.gather(listener.drain(DRAIN_S), close_doors(doors, DRAIN_S))
        repository.close()


def _plane(post: Post, releases: Mapping[str, Loaded]) -> Plane:
    metrics, buffers = Metrics(post.memory, post.number), post.buffers
    log = PredictionLog(buffers.rings[post.number], buffers.bell, dropped=metrics.dropped) if buffers else None
    loop, rules = asyncio.get_running_loop(), Rules.of(post.config.serve)
    return Plane(releases.values(), loop=loop, rules=rules, metrics=metrics, log=log)


@contextmanager
def _following(post: Post, line: Line, register: Register, plane: Plane) -> Iterator[Follower]:
    """Each new seat is taken on the loop, between two turns: all of a release changes at once."""
    loop, addresses = asyncio.get_running_loop(), {address.partition("@")[0]: address for address in post.present}

    def take(seat: Seat) -> None:
        loop.call_soon_threadsafe(plane.take, seat)
        line.say(Seated(addresses[seat.live.name], seat.live.digest))

    online = traffic.online_folder(post.config.state)
    follower = Follower(register, online=online, take=take, refused=plane.metrics.refused)
    try:
        yield follower
    finally:
        follower.close()
