"""Follow the pointers: a thread that sees when one moves, verifies and loads what it moved to, and swaps it in.

It looks at little, often: the bytes of the last move of each pointer, and of the rollout. Only what was verified takes
a seat; what does not verify leaves on it what was there.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from headway.core.contracts import State
from headway.core.errors import HeadwayError
from headway.core.record import read
from headway.core.release import PointerUpdate
from headway.core.rollout import Rollout
from headway.registry.bundle import Bundle
from headway.registry.model_registry import ModelRegistry
from headway.serving.loading import LoadedModel, load_model
from headway.serving.routing.traffic_split import TrafficSplit

LIVE, CANARY = "live", "canary"
POLL_S = 0.1
RETRY_LOOKS = 50
_log = logging.getLogger(__name__)


class PointerState(NamedTuple):
    """What is looked at, as bytes: any change of it is a reason to look closer."""

    pointer: bytes | None
    canary: bytes | None = None
    rollout: bytes | None = None


class RegistryWatcher:
    """Keeps the seats of a plane at what their pointers say: `take` is called from its thread, with each new seat."""

    def __init__(
        self,
        register: ModelRegistry,
        *,
        online: Path,
        take: Callable[[TrafficSplit], None],
        refused: MutableMapping[str, bool],
    ) -> None:
        self._register = register
        self._online = online
        self._take = take
        self._refused = refused
        self._met: dict[str, PointerState] = {}
        self._splits: dict[str, TrafficSplit] = {}
        self._known: dict[str, LoadedModel] = {}
        self._looks = 0
        self._held = threading.Lock()  # of who looks, or changes what is looked at
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._run, name="follow", daemon=True)

    def begin(self, addresses: Mapping[str, LoadedModel]) -> None:
        """Follow these pointers (`name@pointer`), each with the release that it was resolved to, until `close`."""
        for address, release in addresses.items():
            self._splits[address] = TrafficSplit(live=release)
            self._known[release.digest] = release
            self._refused[address] = False
        self._thread.start()

    def load(self, address: str) -> LoadedModel:
        """Follow one more pointer: its release, verified and opened, takes a seat.

        Raises HeadwayError where it does not verify or cannot be opened; then nothing changes.
        """
        with self._held:
            release = self._loaded(self._register.resolve(address))
            self._splits[address] = TrafficSplit(live=release)
            self._refused[address] = False
            self._met.pop(address, None)
            self._take(self._splits[address])
        return release

    def unload(self, address: str) -> None:
        """Follow a pointer no more."""
        with self._held:
            self._splits.pop(address, None)
            self._refused.pop(address, None)
            self._known = {digest: each for digest, each in self._known.items() if self._sits(digest)}

    def close(self) -> None:
        """End the thread."""
        self._leaving.set()
        self._thread.join()

    def look(self) -> None:
        """Look once at every pointer, and act on what has changed."""
        self._looks += 1
        with self._held:
            self._look()

    def _look(self) -> None:
        for address, split in tuple(self._splits.items()):
            try:
                signs = self._signs(address)
                if signs != self._met.get(address) or (any(self._refused.values()) and self._looks % RETRY_LOOKS == 0):
                    self._met[address] = signs
                    self._move(address, split, signs)
            except HeadwayError as error:  # the state itself cannot be read
                self._refuse(address, error)

    def _run(self) -> None:
        """Look until told to leave; whatever a look fails with, the next one is made."""
        with ThreadPoolExecutor(1, thread_name_prefix="look") as pool:
            while not self._leaving.wait(POLL_S):
                error = pool.submit(self.look).exception()
                if error is not None:
                    _log.error("a look at the pointers failed", exc_info=error)

    def _signs(self, address: str) -> PointerState:
        name, _, pointer = address.partition("@")
        state: State = self._register.state
        last = state.last(name, pointer)
        if pointer != LIVE:
            return PointerState(last.content if last else None)
        canary = state.last(name, CANARY)
        rollout = state.latest("rollout", name=name)
        return PointerState(last.content if last else None, canary.content if canary else None, rollout)

    def _move(self, address: str, split: TrafficSplit, signs: PointerState) -> None:
        """Load what the pointers are at, and take the seat if anything of it is new.

        A pointer that cannot be believed holds up no other: live goes back beside a canary that does not verify, and a
        canary leaves beside a live that does not.
        """
        new = self._split_for(address, self._at(address) or split.live, signs)
        if new == split:
            return
        self._take(new)
        self._splits[address] = new
        kept = {each.digest: each for each in (split.live, new.live, new.canary) if each}
        self._known = {digest: each for digest, each in self._known.items() if self._sits(digest)} | kept
        _log.warning("%s is now release %s%s", address, new.live.digest, f" beside {_said(new)}" if new.canary else "")

    def _at(self, address: str) -> LoadedModel | None:
        """What a pointer is at, verified and opened; None where it does not verify, which is told once."""
        try:
            release = self._loaded(self._register.resolve(address))
        except HeadwayError as error:
            self._refuse(address, error)
            return None
        self._refused[address] = False
        return release

    def _sits(self, digest: str) -> bool:
        return any(
            digest in (split.live.digest, split.canary and split.canary.digest) for split in self._splits.values()
        )

    def _split_for(self, address: str, live: LoadedModel, signs: PointerState) -> TrafficSplit:
        canary_at = f"{live.name}@{CANARY}"
        rollout = read(Rollout, signs.rollout) if signs.rollout else None
        if rollout is None or rollout.standing != "running" or rollout.release == live.digest:
            self._refused.pop(canary_at, None)
            return TrafficSplit(live=live)
        move = read(PointerUpdate, signs.canary) if signs.canary else None
        canary = self._at(canary_at) if move and move.release == rollout.release else None
        signed = self._register.head(canary_at) if canary else None
        if canary is None or signed is None or signed.deal is None or signed.release != canary.digest:
            return TrafficSplit(live=live)
        deal = signed.deal  # of the signed move: who can write the record of the rollout cannot deal the canary a key
        return TrafficSplit(live=live, canary=canary, share=deal.share, salt=deal.salt, stage=deal.stage)

    def _loaded(self, bundle: Bundle) -> LoadedModel:
        """The verified release, opened; one that sits or sat last is open already."""
        known = self._known.get(bundle.digest)
        if known is None:
            known = self._known[bundle.digest] = load_model(bundle, self._online)
        return known

    def _refuse(self, address: str, error: HeadwayError) -> None:
        if not self._refused.get(address):
            _log.error("%s moved to what is not loaded, so what was live stays: %s", address, error)
        self._refused[address] = True


def _said(split: TrafficSplit) -> str:
    return f"{split.canary.digest if split.canary else ''} at a share of {split.share:g}"
