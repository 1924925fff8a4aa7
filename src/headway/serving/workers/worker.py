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
from headway.registry.model_registry import ModelRegistry
from headway.serving.auth.authenticator import create_authenticator
from headway.serving.auth.rate_limiter import RateLimiter
from headway.serving.batching.data_plane import DataPlane, InferenceSettings
from headway.serving.door import ServerContext, close_doors, open_doors
from headway.serving.http.listener import Listener
from headway.serving.http.routes import Routes
from headway.serving.http.server_state import ConnectionLimits
from headway.serving.http.tls import tls_from_config
from headway.serving.labels import LabelCollector
from headway.serving.loading import LoadedModel, load_model
from headway.serving.registry_watcher import RegistryWatcher
from headway.serving.repository import ModelRepository
from headway.serving.routing.traffic_split import TrafficSplit
from headway.serving.telemetry.metrics import Metrics, SharedMetrics
from headway.serving.telemetry.prediction_log import PredictionLog
from headway.serving.telemetry.slo import track_objectives
from headway.serving.telemetry.tracing import trace_requests
from headway.serving.workers.channel import UNLOADED, Channel, ModelLoaded, RemoteError, StartupFailed, WorkerReady
from headway.serving.workers.dispatcher import CommandClient
from headway.serving.workers.log_writer import LogBuffers
from headway.storage import traffic

if TYPE_CHECKING:
    from headway.core.contracts import Ints

DRAIN_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """What a worker is given: its number and sockets, the memory that it shares, and what it is to serve.

    `present` has each address (`name@pointer`) with the digest of what is served there now; None: as its pointer says.
    """

    config: Config
    number: int
    sockets: Sequence[socket.socket]
    memory: SharedMetrics
    rate_limits: Ints
    buffers: LogBuffers | None
    deployed: Mapping[str, str | None]


def run_worker(post: WorkerConfig, line: Channel) -> None:
    """Serve until told to leave, or until nobody is left who could tell; says so where it cannot begin."""
    try:
        register = ModelRegistry.from_config(post.config)
        with closing(register.state), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            releases = _opened(post, register)
            gc.collect()
            gc.freeze()  # what was loaded stays; no later collection need look at it
            runner.run(_serve(post, line, register, releases))
    except HeadwayError as error:
        line.say(StartupFailed(RemoteError.of(error)))


def _opened(post: WorkerConfig, register: ModelRegistry) -> dict[str, LoadedModel]:
    """What is present, verified and opened, by its address."""
    online = traffic.online_folder(post.config.state)
    at = {
        address: address if digest is None else f"{address.partition('@')[0]}@{digest}"
        for address, digest in post.deployed.items()
        if digest != UNLOADED
    }
    return {address: load_model(register.resolve(where), online) for address, where in at.items()}


async def _serve(
    post: WorkerConfig, line: Channel, register: ModelRegistry, releases: Mapping[str, LoadedModel]
) -> None:
    loop, leaving, config = asyncio.get_running_loop(), asyncio.Event(), post.config.serve
    soon, plane = loop.call_soon_threadsafe, _plane(post, releases)
    orders, authenticator = (
        CommandClient(line, leave=leaving.set),
        create_authenticator(post.config, RateLimiter(post.rate_limits, worker=post.number)),
    )
    with ExitStack() as stack:
        stack.callback(plane.close)
        labels = stack.enter_context(closing(LabelCollector(post.config.state, soon=soon)))
        watcher = stack.enter_context(_following(post, line, register, plane))
        watcher.begin(releases)
        for address, release in releases.items():
            line.say(ModelLoaded(address, release.digest))
        watcher.look()  # a pointer may have moved since
        addresses = {address.partition("@")[0]: address for address in post.deployed}
        repository = ModelRepository(plane, watcher, addresses=addresses, soon=soon)
        repository.everywhere = orders.give
        routes = Routes(
            plane, authenticator=authenticator, draining=lambda: listener.draining, labels=labels, repository=repository
        )
        tls = tls_from_config(post.config)
        listener = Listener(
            stack.enter_context(trace_requests(routes, plane, config)),
            limits=ConnectionLimits(body_bytes=config.max_body_bytes),
            errors=plane.metrics.errors,
            tls=tls,
        )
        inside = ServerContext(
            plane=plane,
            authenticator=authenticator,
            repository=repository,
            soon=soon,
            draining=lambda: listener.draining,
            body_bytes=config.max_body_bytes,
            tls=tls,
        )
        track_objectives(post.config.slo, plane.metrics, loop)
        await listener.open(post.sockets)
        doors = open_doors(config, inside)
        orders.begin(repository.act)
        line.say(WorkerReady())
        await leaving.wait()
        await asyncio.gather(listener.drain(DRAIN_S), close_doors(doors, DRAIN_S))
        repository.close()


def _plane(post: WorkerConfig, releases: Mapping[str, LoadedModel]) -> DataPlane:
    metrics, buffers = Metrics(post.memory, post.number), post.buffers
    log = PredictionLog(buffers.rings[post.number], buffers.wakeup, dropped=metrics.dropped) if buffers else None
    loop, settings = asyncio.get_running_loop(), InferenceSettings.of(post.config.serve)
    return DataPlane(releases.values(), loop=loop, settings=settings, metrics=metrics, log=log)


@contextmanager
def _following(
    post: WorkerConfig, line: Channel, register: ModelRegistry, plane: DataPlane
) -> Iterator[RegistryWatcher]:
    """Each new seat is taken on the loop, between two turns: all of a release changes at once."""
    loop, addresses = asyncio.get_running_loop(), {address.partition("@")[0]: address for address in post.deployed}

    def take(split: TrafficSplit) -> None:
        loop.call_soon_threadsafe(plane.take, split)
        line.say(ModelLoaded(addresses[split.live.name], split.live.digest))

    online = traffic.online_folder(post.config.state)
    watcher = RegistryWatcher(register, online=online, take=take, refused=plane.metrics.refused)
    try:
        yield watcher
    finally:
        watcher.close()
