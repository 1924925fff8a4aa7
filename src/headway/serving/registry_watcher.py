"""Watch the registry: a thread detects when a pointer moves, loads the release that it points to, and switches over.

It reads little, often: the end of the chain, and if that has moved, the last update of each pointer; and the rollout.
Only a verified release is served; after an update that does not verify, or while a store is away, the previous release
stays.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import NamedTuple, TypeVar

from headway.core.contracts import OnlineStore, Signed
from headway.core.errors import HeadwayError, Refused, StoreUnavailable
from headway.core.record import read
from headway.core.release import PointerUpdate, TrafficAssignment
from headway.core.rollout import Rollout
from headway.registry.bundle import Bundle
from headway.registry.model_registry import ModelRegistry
from headway.registry.withdrawals import AUDIT_KIND, remote_audit, withdrawn_classes
from headway.registry.withdrawals import KIND as WITHDRAWAL
from headway.serving.batching.answers import SelectiveModel
from headway.serving.loading import LoadedModel, load_model
from headway.serving.protocol.admission import RequestLimits
from headway.serving.routing.traffic_split import TrafficSplit
from headway.serving.store_health import StoreHealth
from headway.serving.telemetry.logs import Throttle

LIVE, CANARY = "live", "canary"
POLL_S, REMOTE_POLL_S, FED_POLL_S = 0.1, 0.25, 0.5
"""Between two polls: of a state on this machine, of one on another, and of that with a change feed."""
RETRY_S = 5.0
_LIMITS = RequestLimits()
_log = logging.getLogger(__name__)
T = TypeVar("T")


class PointerState(NamedTuple):
    """The polled records as bytes: any change triggers a closer look."""

    pointer: bytes | None
    canary: bytes | None = None
    rollout: bytes | None = None
    withdrawal: bytes | None = None
    audit: bytes | None = None


class RegistryWatcher:
    """Keeps the traffic splits of a server in line with the pointers.

    `on_change` is called from the thread of the watcher with each new split. `refused` holds for each pointer whether
    its last update was refused; `health` notes stores that are away. It polls every `poll_s` seconds, and at once
    after `wake`. `on_poll` is called with each poll, and may raise StoreUnavailable.
    """

    def __init__(
        self,
        register: ModelRegistry,
        *,
        online: OnlineStore | None,
        on_change: Callable[[TrafficSplit], None],
        refused: MutableMapping[str, bool],
        health: StoreHealth | None = None,
        poll_s: float = POLL_S,
        limits: RequestLimits = _LIMITS,
        audit_share: float = 0.0,
        on_poll: Callable[[], object] = lambda: None,
    ) -> None:
        self._register = register
        self._online = online
        self._on_change = on_change
        self._refused = refused
        self._health = health or StoreHealth({})
        self._poll_s = poll_s
        self._retry_polls = max(1, round(RETRY_S / poll_s))
        self._limits, self._audit_share = limits, audit_share
        self._on_poll = on_poll
        self._end: Signed | None = None
        self._polled: dict[str, PointerState] = {}
        self._waiting = False  # a release could not be loaded because a store was away
        self._splits: dict[str, TrafficSplit] = {}
        self._loaded: dict[str, LoadedModel] = {}
        self._polls = 0
        self._lock = threading.Lock()  # held while polling, and while the watched pointers change
        self._stopping = threading.Event()
        self._woken = threading.Event()
        self._throttle = Throttle()
        self._thread = threading.Thread(target=self._run, name="registry-watcher", daemon=True)

    def start(self, addresses: Mapping[str, LoadedModel]) -> None:
        """Watch these pointers (`name@pointer`), each with the model that was loaded for it, until `close`."""
        for address, model in addresses.items():
            self._splits[address] = TrafficSplit(live=model)
            self._loaded[model.digest] = model
            self._refused[address] = False
            with suppress(HeadwayError):  # the first poll reports it
                self._withdraw(self._splits[address])
        self._thread.start()

    def load(self, address: str) -> LoadedModel:
        """Load the release at one more pointer, serve it, and watch the pointer.

        Raises HeadwayError if the release does not verify or cannot be opened; then nothing changes.
        """
        with self._lock:
            model = self._load(self._register.resolve(address))
            self._splits[address] = TrafficSplit(live=model)
            self._withdraw(self._splits[address])
            self._refused[address] = False
            self._polled.pop(address, None)
            self._on_change(self._splits[address])
        return model

    def unload(self, address: str) -> None:
        """Stop watching a pointer."""
        with self._lock:
            self._splits.pop(address, None)
            self._refused.pop(address, None)
            self._loaded = {digest: model for digest, model in self._loaded.items() if self._is_used(digest)}

    def close(self) -> None:
        """End the thread."""
        self._stopping.set()
        self._woken.set()
        self._thread.join()

    def wake(self) -> None:
        """Poll now; any thread may call it."""
        self._woken.set()

    def poll(self) -> None:
        """Check every pointer once, and switch over if one has moved."""
        self._polls += 1
        with self._lock:
            self._poll()

    def _poll(self) -> None:
        complete = self._polls % self._retry_polls == 0
        retry = complete and (any(self._refused.values()) or self._waiting)
        try:
            end = self._register.state.last()
            self._on_poll()
            self._health.found("state")
        except StoreUnavailable as error:
            self._health.lost(error)
            return
        except HeadwayError:  # it is damaged, which each pointer reports
            end, complete = None, True
        complete = complete or end != self._end
        self._end, self._waiting = end, self._waiting and not retry
        for address, split in tuple(self._splits.items()):
            try:
                state = self._read_state(address, None if complete else self._polled.get(address))
                if state != self._polled.get(address) or retry:
                    self._polled[address] = state
                    self._update(address, split, state)
            except StoreUnavailable as error:
                self._health.lost(error)
                self._end = None
            except Exception as error:  # noqa: BLE001 - the state store, whose content anyone may have changed
                self._refuse(address, error)

    def _run(self) -> None:
        """Poll until closed; after any failure the next poll is made."""
        with ThreadPoolExecutor(1, thread_name_prefix="registry-poll") as pool:
            while True:
                self._woken.wait(self._poll_s)
                self._woken.clear()
                if self._stopping.is_set():
                    return
                error = pool.submit(self.poll).exception()
                if error is not None and self._throttle.count("poll"):
                    _log.error("polling the registry failed", exc_info=error)

    def _read_state(self, address: str, known: PointerState | None) -> PointerState:
        """Read what is polled of a pointer; `known` is what is known of it, if the chain has not moved since."""
        name, _, pointer = address.partition("@")
        state = self._register.state
        if known is None:
            last, canary = state.last(name, pointer), state.last(name, CANARY) if pointer == LIVE else None
            known = PointerState(last.content if last else None, canary.content if canary else None)
        if _selective_models(self._splits[address]):
            known = known._replace(
                withdrawal=state.latest(WITHDRAWAL, name=name), audit=state.latest(AUDIT_KIND, name=name)
            )
        return known._replace(rollout=state.latest("rollout", name=name)) if pointer == LIVE else known

    def _update(self, address: str, split: TrafficSplit, state: PointerState) -> None:
        """Load the releases that the pointers point to, and replace the split if any of them is new.

        A pointer that does not verify blocks no other: live can roll back next to a canary that does not verify, and a
        canary can end next to a live release that does not.
        """
        live = self._verified(address, lambda: self._load(self._register.resolve(address)))
        new = self._new_split(address, live or split.live, state)
        self._withdraw(new)
        if new == split:
            return
        self._on_change(new)
        self._splits[address] = new
        previous = {model.digest: model for model in (split.live, new.live, new.canary) if model}
        used = {digest: model for digest, model in self._loaded.items() if self._is_used(digest)}
        self._loaded = used | previous
        canary = f", with canary {new.canary.digest} at a share of {new.share:g}" if new.canary else ""
        _log.warning("%s now serves release %s%s", address, new.live.digest, canary)

    def _withdraw(self, split: TrafficSplit) -> None:
        """Have the models of a split answer no class whose certificate was withdrawn, and follow the remote audit."""
        for model, selective in _selective_models(split):
            state = self._register.state
            selective.remote_audit = remote_audit(state, name=model.name, digest=model.digest)
            found = withdrawn_classes(state, selective.plan, name=model.name, digest=model.digest)
            if selective.withdraw(found):
                message = "the certificate of %s is withdrawn for %s: these answers are handed on"
                _log.warning(message, model.digest, ", ".join(sorted(found)))

    def _verified(self, address: str, load: Callable[[], T]) -> T | None:
        """Return what a pointer points to; None if it does not verify, which is logged once."""
        try:
            found = load()
        except StoreUnavailable as error:
            self._health.lost(error)
            self._waiting = True
            return None
        except Exception as error:  # noqa: BLE001 - whatever it is, the previous release stays and the alarm rises
            self._refuse(address, error)
            return None
        self._refused[address] = False
        if self._health.is_away("blobs"):
            self._health.found("blobs")
        return found

    def _assigned_canary(self, address: str) -> tuple[LoadedModel, TrafficAssignment]:
        """Return the canary at a pointer, and the traffic that its signed update assigns to it."""
        model, signed = self._load(self._register.resolve(address)), self._register.head(address)
        if signed is None or signed.assignment is None or signed.release != model.digest:
            raise Refused(f"{address} assigns no traffic to {model.digest}", hint="headway rollout start")
        return model, signed.assignment

    def _is_used(self, digest: str) -> bool:
        return any(
            digest in (split.live.digest, split.canary and split.canary.digest) for split in self._splits.values()
        )

    def _new_split(self, address: str, live: LoadedModel, state: PointerState) -> TrafficSplit:
        canary_address = f"{live.name}@{CANARY}"
        rollout = read(Rollout, state.rollout) if state.rollout else None
        if rollout is None or rollout.status != "running" or rollout.release == live.digest:
            self._refused.pop(canary_address, None)
            return TrafficSplit(live=live)
        update = read(PointerUpdate, state.canary) if state.canary else None
        if update is None or update.release != rollout.release:
            return TrafficSplit(live=live)
        found = self._verified(canary_address, lambda: self._assigned_canary(canary_address))
        if found is None:
            return TrafficSplit(live=live)
        # From the signed update: write access to the rollout record alone must not assign traffic to a canary.
        canary, assignment = found
        return TrafficSplit(
            live=live, canary=canary, share=assignment.share, salt=assignment.salt, stage=assignment.stage
        )

    def _load(self, bundle: Bundle) -> LoadedModel:
        """Load a verified release, unless it is loaded already."""
        known = self._loaded.get(bundle.digest)
        if known is None:
            known = self._loaded[bundle.digest] = load_model(
                bundle, self._online, limits=self._limits, audit_share=self._audit_share
            )
        return known

    def _refuse(self, address: str, error: Exception) -> None:
        if not self._refused.get(address):
            defect = None if isinstance(error, HeadwayError) else error
            message = "%s points to a release that cannot be loaded; the previous one stays: %s"
            _log.error(message, address, error, exc_info=defect)
        self._refused[address] = True


def _selective_models(split: TrafficSplit) -> list[tuple[LoadedModel, SelectiveModel]]:
    """Return the models of a split that answer selectively, each with its decisions."""
    return [(model, model.selective) for model in (split.live, split.canary) if model and model.selective]
