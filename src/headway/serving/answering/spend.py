"""What the remote stage has spent on a day: over the workers of a machine in a file, or over machines in their state.

Both survive kills: a cost is written before its call is made.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from headway.core.contracts import State
from headway.core.errors import LeaseHeld, StoreError
from headway.core.record import kind_of, read, write
from headway.core.selective import RemoteSpend
from headway.storage import atomic

FOLDER = "answers"
"""Folder in the state."""
_UNITS = 1_000_000  # of a unit of the currency
_WIDTH = 20
WAIT_S = 5.0
"""Time that a reservation waits for those of other processes."""
_POLL_S = 0.01


class Spend(Protocol):
    """The cost of calls on a day."""

    def reserve(self) -> bool:
        """Reserve the cost of a call; False if the cap would be exceeded. Raises StoreError if it cannot be written."""
        ...

    def spent(self) -> float:
        """Return what was spent today."""
        ...


class DailySpend:
    """Reserves the cost of calls against a cap per day (UTC); calls without a cost need no cap.

    A cost is written before its call is made, so a worker that is killed has spent no more than the file says. It is
    not given back if the call fails.
    """

    def __init__(
        self, state: Path, *, cost_per_call: float, cap_per_day: float, clock: Callable[[], float] = time.time
    ) -> None:
        self._folder = state / FOLDER
        self._cost, self._cap = round(cost_per_call * _UNITS), round(cap_per_day * _UNITS)
        self._clock = clock

    def reserve(self) -> bool:
        """Reserve the cost of a call; False if the cap would be exceeded. Raises StoreError if it cannot be written."""
        if not self._cost:
            return True
        try:
            return self._reserve()
        except (OSError, ValueError) as error:
            raise StoreError(f"the spend of the day cannot be kept: {error}", where=str(self._path)) from error

    def spent(self) -> float:
        """Return what was spent today; 0 if nothing was, and the cap if the file cannot be read."""
        try:
            return int(self._path.read_bytes()) / _UNITS
        except FileNotFoundError:
            return 0.0
        except (OSError, ValueError):
            return self._cap / _UNITS

    @property
    def _path(self) -> Path:
        day = time.strftime("%Y-%m-%d", time.gmtime(self._clock()))
        return self._folder / f"spend-{day}"

    def _reserve(self) -> bool:
        atomic.make_folder(self._folder)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            content = os.pread(descriptor, _WIDTH, 0)
            after = (int(content) if content else 0) + self._cost
            if after > self._cap:
                return False
            os.pwrite(descriptor, b"%0*d" % (_WIDTH, after), 0)
            os.fsync(descriptor)
            return True
        finally:
            os.close(descriptor)


class SharedSpend:
    """Reserves the cost of calls of all machines that share a state against one cap per day (UTC).

    A reservation is a record, saved while a lease is held. One whose lease was lost, so that another one has
    its number, makes no call, and its cost counts.
    """

    def __init__(
        self,
        state: State,
        *,
        name: str,
        cost_per_call: float,
        cap_per_day: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._state, self._name, self._clock = state, name, clock
        self._cost, self._cap = round(cost_per_call * _UNITS), round(cap_per_day * _UNITS)
        self._lock = threading.Lock()
        self._seen = ("", 0)  # day and units, as this process last read them

    def reserve(self) -> bool:
        """Reserve the cost of a call; False if the cap would be exceeded.

        Raises StoreError if the state is away, or if others reserve for `WAIT_S`.
        """
        if not self._cost:
            return True
        with self._lock:
            return self._reserve_in_turn(time.monotonic() + WAIT_S)

    def spent(self) -> float:
        """Return what was spent today, as this process last read it."""
        day, units = self._seen
        return units / _UNITS if day == self._day() else 0.0

    def _reserve_in_turn(self, until: float) -> bool:
        while True:
            try:
                return self._reserve()
            except LeaseHeld:
                if time.monotonic() > until:
                    raise
            time.sleep(_POLL_S)

    def _reserve(self) -> bool:
        day, kind = self._day(), kind_of(RemoteSpend)
        name = f"{self._name}/{day}"
        with self._state.lease(f"spend of {self._name}") as lease:
            content = self._state.latest(kind, name=name)
            last = read(RemoteSpend, content) if content else None
            number, units = self._state.count(kind, name=name), last.units if last else 0
            lost = number - last.number if last else 0  # saved under the number of another one
            units += (lost + 1) * self._cost
            self._seen = day, units - self._cost
            if units > self._cap:
                return False
            spend = RemoteSpend(name=self._name, day=day, number=number + 1, units=units, by=secrets.token_hex(8))
            lease.expect_held()
            self._state.save(kind, write(spend), name=name)
            self._seen = day, units
            return self._state.count(kind, name=name) == spend.number

    def _day(self) -> str:
        return time.strftime("%Y-%m-%d", time.gmtime(self._clock()))
