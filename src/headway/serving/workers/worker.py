"""A worker process: load and test the releases, listen, follow their pointers, and shut down in order."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import uvloop

from headway.core.config import Config
from headway.core.errors import HeadwayError, StoreUnavailable
from headway.core.settings.project import ProjectSection
from headway.core.settings.store import StoreSection
from headway.evaluation.settings.answer import AnswerSection
from headway.registry.bundle import Bundle
from headway.registry.fleet import registry_of_server
from headway.registry.model_registry import ModelRegistry
from headway.registry.settings.fleet import FleetSection
from headway.serving.answering.endpoint import open_stages
from headway.serving.auth.authenticator import RateLimiter, SharedRateLimiter, create_authenticator
from headway.serving.auth.shared_keys import SharedKeys
from headway.serving.batching.data_plane import DataPlane, InferenceSettings
from headway.serving.feed_listener import FeedListener
from headway.serving.grpc.transport import ServerContext, open_grpc
from headway.serving.http.connection import ConnectionLimits
from headway.serving.http.devices import DeviceReceiver
from headway.serving.http.feature_push import FeaturePusher
from headway.serving.http.labels import LabelCollector
from headway.serving.http.listener import Listener, allow_files
from headway.serving.http.routes import BodyDecoder, Routes
from headway.serving.http.tls import tls_from_config
from headway.serving.loading import LoadedModel, load_model
from headway.serving.protocol.admission import RequestLimits
from headway.serving.registry_watcher import FED_POLL_S, POLL_S, REMOTE_POLL_S, RegistryWatcher
from headway.serving.repository import ModelRepository
from headway.serving.routing.traffic_split import TrafficSplit
from headway.serving.settings.serve import ServeSection
from headway.serving.settings.slo import SloSection
from headway.serving.store_health import StoreHealth, StoreProbe
from headway.serving.telemetry.metrics import FleetCounts, Metrics, SharedMetrics, gauges, track_objectives
from headway.serving.telemetry.model_gauges import ModelGauges
from headway.serving.telemetry.prediction_log import LogBuffers, PredictionLog
from headway.serving.telemetry.tracing import trace_requests
from headway.serving.workers.channel import (
    UNLOADED,
    Channel,
    CommandClient,
    ModelLoaded,
    RemoteError,
    StartupFailed,
    WorkerReady,
)
from headway.serving.workers.shared_memory import SharedDocument
from headway.storage.addresses import open_logs, open_online

if TYPE_CHECKING:
    from headway.core.contracts import Feed, Ints, OnlineStore

_OWN_FILES = 512
_NO_RELEASE = "sha256:" + 64 * "0"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """Configuration of a worker: its number and sockets, the memory that it shares, and the deployed releases.

    `deployed` maps each address (`name@pointer`) to the digest that is served there now; None: what its pointer says.
    """

    config: Config
    number: int
    sockets: Sequence[socket.socket]
    memory: SharedMetrics
    rate_limits: Ints
    issuer_keys: SharedDocument
    buffers: LogBuffers | None
    deployed: Mapping[str, str | None]


def run_worker(settings: WorkerConfig, channel: Channel) -> None:
    """Serve until a shutdown message, or until the supervisor is gone; report an error that prevents the start."""
    allow_files(settings.config[ServeSection].max_connections + _OWN_FILES)
    try:
        register = registry_of_server(settings.config)
        online = open_online(settings.config)
        with (
            closing(register.state),
            closing(online),
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        ):
            models = _load_models(settings, register, online)
            gc.collect()
            gc.freeze()  # the models stay, so no later collection needs to visit them
            runner.run(_serve(settings, channel, register, online, models))
    except HeadwayError as error:
        channel.send(StartupFailed(RemoteError.of(error)))


def _load_models(settings: WorkerConfig, register: ModelRegistry, online: OnlineStore) -> dict[str, LoadedModel]:
    """Load the deployed releases by address."""
    references = {
        address: address if digest is None else f"{address.partition('@')[0]}@{digest}"
        for address, digest in settings.deployed.items()
        if digest != UNLOADED
    }
    limits, audit_share = RequestLimits.of(settings.config[ServeSection]), settings.config[AnswerSection].audit_share
    return {
        address: load_model(_resolve(register, address, reference), online, limits=limits, audit_share=audit_share)
        for address, reference in references.items()
    }


def _resolve(register: ModelRegistry, address: str, reference: str) -> Bundle:
    """Return the release to serve; while the state is away, the one that this server followed last."""
    try:
        return register.resolve(reference)
    except StoreUnavailable as error:
        bundle = register.resolve_served(address)
        _log.error("%s: starts with release %s, which was verified here last: %s", address, bundle.digest, error.what)
        return bundle


async def _serve(
    settings: WorkerConfig,
    channel: Channel,
    register: ModelRegistry,
    online: OnlineStore,
    models: Mapping[str, LoadedModel],
) -> None:
    loop, stopping, config = asyncio.get_running_loop(), asyncio.Event(), settings.config[ServeSection]
    soon, plane = loop.call_soon_threadsafe, _data_plane(settings, models)
    commands = CommandClient(channel, shut_down=stopping.set)
    health = StoreHealth(plane.metrics.away)
    feed, limiter, fleet = register.feed, RateLimiter(settings.rate_limits, worker=settings.number), None
    exchanges: list[Callable[[Feed], None]] = []
    if feed is not None:
        limiter = shared = SharedRateLimiter(settings.rate_limits, worker=settings.number)
        fleet = _fleet_counts(settings, plane.metrics)
        exchanges = [shared.exchange, fleet.exchange]
    follow_keys = (
        SharedKeys(settings.config, register.state).follow if settings.config[StoreSection].state else _do_nothing
    )
    with suppress(StoreUnavailable):
        follow_keys()
    authenticator = create_authenticator(settings.config, limiter, settings.issuer_keys)
    with ExitStack() as stack:
        stack.callback(plane.close)
        stack.callback(authenticator.close)
        collector = LabelCollector(
            settings.config.state,
            soon=soon,
            queue_bytes=config.label_queue_mb << 20,
            limits=RequestLimits.of(config),
            overload=lambda limit, reason: listener.overload(limit, reason),
        )
        labels = stack.enter_context(closing(collector))
        pusher = FeaturePusher(
            register.state,
            stack.enter_context(closing(open_online(settings.config))),
            metrics=plane.metrics,
            max_rows=config.max_request_rows,
            soon=soon,
            queue_bytes=config.push_queue_mb << 20,
            overload=lambda limit, reason: listener.overload(limit, reason),
        )
        stack.enter_context(closing(pusher))
        devices = DeviceReceiver(
            settings.config.state,
            register.state,
            day_bytes=settings.config[FleetSection].device_mb_per_day << 20,
            soon=soon,
            queue_bytes=config.push_queue_mb << 20,
            overload=lambda limit, reason: listener.overload(limit, reason),
        )
        stack.enter_context(closing(devices))
        models_found = ModelGauges(register.state, {address.partition("@")[0] for address in settings.deployed})
        plane.metrics.model_lines = models_found.lines

        def on_poll() -> None:
            follow_keys()
            models_found.poll()

        watcher = stack.enter_context(
            _watching(settings, channel, register, plane, health, online=online, on_poll=on_poll)
        )
        watcher.start(models)
        if register.shared:
            ask = partial(register.shared.load_release, "probe", _NO_RELEASE)
            stack.enter_context(closing(StoreProbe("blobs", ask, health=health)))
        if settings.config[StoreSection].online:
            stack.enter_context(closing(StoreProbe("online", online.tables, health=health)))
        if feed is not None:
            stack.enter_context(closing(FeedListener(feed, wake=watcher.wake, health=health, exchanges=exchanges)))
        for address, model in models.items():
            channel.send(ModelLoaded(address, model.digest))
        watcher.poll()  # a pointer may have moved since
        addresses = {address.partition("@")[0]: address for address in settings.deployed}
        repository = ModelRepository(plane, watcher, addresses=addresses, soon=soon)
        repository.dispatch = commands.send
        stages = open_stages(
            settings.config[AnswerSection],
            settings.config.state,
            plane.metrics,
            shared=register.state if settings.config[StoreSection].state else None,
            name=settings.config[ProjectSection].name,
            open_logs=partial(open_logs, settings.config),
        )
        routes = Routes(
            plane,
            stages=stages,
            authenticator=authenticator,
            draining=lambda: listener.draining,
            labels=labels,
            pusher=pusher,
            devices=devices,
            decoder=stack.enter_context(closing(BodyDecoder(soon=soon))),
            repository=repository,
        )
        tls = tls_from_config(settings.config)
        listener = Listener(
            stack.enter_context(trace_requests(routes, plane, config)),
            limits=ConnectionLimits(
                body_bytes=config.max_body_bytes,
                connections=config.max_connections,
                held_bytes=config.max_bodies_mb << 20,
            ),
            errors=plane.metrics.errors,
            overloads=plane.metrics.overloads,
            trusted_origins=config.trusted_origins,
            tls=tls,
        )
        context = ServerContext(
            plane=plane,
            authenticator=authenticator,
            repository=repository,
            soon=soon,
            draining=lambda: listener.draining,
            body_bytes=config.max_body_bytes,
            held_bytes=config.max_bodies_mb << 20,
            max_connections=config.max_connections,
            overload=listener.overload,
            tls=tls,
        )
        track_objectives(settings.config[SloSection], plane.metrics, loop, fleet)
        await listener.open(settings.sockets)
        grpc_server = open_grpc(context, config.host, config.grpc_port) if config.grpc_port >= 0 else None
        commands.start(repository.load_here)
        channel.send(WorkerReady())
        await stopping.wait()
        listener.begin_shutdown()
        await asyncio.sleep(config.shutdown_delay_s)
        drains = [listener.drain(config.drain_s)]
        if grpc_server is not None:
            drains.append(asyncio.to_thread(grpc_server.close, config.drain_s))
        await asyncio.gather(*drains)
        await stages.close()
        repository.close()


def _do_nothing() -> None:
    """Servers that share no state read the key file of their machine alone."""


def _fleet_counts(settings: WorkerConfig, metrics: Metrics) -> FleetCounts:
    config = settings.config
    count = partial(metrics.request_counts, config[SloSection].p99_ms)
    return FleetCounts(config[ProjectSection].name, count, adds=settings.number == 0)


def _data_plane(settings: WorkerConfig, models: Mapping[str, LoadedModel]) -> DataPlane:
    metrics, buffers, section = (
        Metrics(settings.memory, settings.number),
        settings.buffers,
        settings.config[ServeSection],
    )
    log = None
    if buffers:
        metrics.log_lines = lambda: gauges(buffers.gauges())
        log = PredictionLog(buffers, settings.number, dropped=metrics.dropped, lost=metrics.lost, settings=section)
    inference = InferenceSettings.of(section)
    return DataPlane(models.values(), loop=asyncio.get_running_loop(), settings=inference, metrics=metrics, log=log)


@contextmanager
def _watching(
    settings: WorkerConfig,
    channel: Channel,
    register: ModelRegistry,
    plane: DataPlane,
    health: StoreHealth,
    *,
    online: OnlineStore,
    on_poll: Callable[[], object],
) -> Iterator[RegistryWatcher]:
    """Watch the registry; each new split is set on the loop, so that all of a release changes at once."""
    loop, addresses = asyncio.get_running_loop(), {address.partition("@")[0]: address for address in settings.deployed}

    def set_split(split: TrafficSplit) -> None:
        loop.call_soon_threadsafe(plane.set_split, split)
        channel.send(ModelLoaded(addresses[split.live.name], split.live.digest))

    store = settings.config[StoreSection]
    poll_s = POLL_S if not store.state else FED_POLL_S if store.feed else REMOTE_POLL_S
    watcher = RegistryWatcher(
        register,
        online=online,
        on_change=set_split,
        refused=plane.metrics.refused,
        health=health,
        poll_s=poll_s,
        limits=RequestLimits.of(settings.config[ServeSection]),
        audit_share=settings.config[AnswerSection].audit_share,
        on_poll=on_poll,
    )
    try:
        yield watcher
    finally:
        watcher.close()
