"""Which stores cannot be reached at present: for the log, for metrics, and for the readiness of the server."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, MutableMapping

from headway.core.errors import StoreError, StoreUnavailable

CONSEQUENCES = {
    "state": "the releases that were verified last are served, and no pointer is followed",
    "blobs": "only releases that are on this machine can be loaded",
    "logs": "the prediction log and labels stay on this machine, and are sent later",
    "feed": "pointers are polled, and rate limits count the requests to this server alone",
    "online": "features are missing, and requests are answered as their views declare",
}
PROBE_S = 5.0
_log = logging.getLogger(__name__)


class StoreHealth:
    """Notes for each role of `[store]` whether its store is away; each change is logged once."""

    def __init__(self, away: MutableMapping[str, bool]) -> None:
        self._away = away

    def is_away(self, role: str) -> bool:
        """Return whether the store of a role did not answer last."""
        return self._away.get(role, False)

    def lost(self, error: StoreUnavailable) -> None:
        """Note that a store did not answer."""
        if not self._away.get(error.role):
            _log.error("the store for %s is away; %s: %s", error.role, CONSEQUENCES[error.role], error)
        self._away[error.role] = True

    def found(self, role: str) -> None:
        """Note that a store answered."""
        if self._away.get(role):
            _log.warning("the store for %s is back", role)
        self._away[role] = False


class StoreProbe:
    """A thread that asks a store for something every few seconds, so that an outage shows before it is needed."""

    def __init__(self, role: str, ask: Callable[[], object], *, health: StoreHealth, every_s: float = PROBE_S) -> None:
        self._role = role
        self._ask = ask
        self._health = health
        self._every_s = every_s
        self._stopping = threading.Event()
        threading.Thread(target=self._run, name=f"{role}-probe", daemon=True).start()

    def close(self) -> None:
        """End the thread after its last request, without waiting for it."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._ask()
                self._health.found(self._role)
            except StoreUnavailable as error:
                self._health.lost(error)
            except StoreError as error:
                self._health.lost(StoreUnavailable(error.what, role=self._role, where=error.where, hint=error.hint))
            self._stopping.wait(self._every_s)


def describe_away(away: Mapping[str, bool]) -> str:
    """Return what it means that stores are away, in a sentence; empty if all are there.

    >>> describe_away({"state": False, "feed": True})
    'the store for feed is away: pointers are polled, and rate limits count the requests to this server alone'
    """
    return "; ".join(f"the store for {role} is away: {CONSEQUENCES[role]}" for role, is_away in away.items() if is_away)
