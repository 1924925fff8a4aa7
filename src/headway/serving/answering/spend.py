"""What the remote stage has spent on a day, over all workers of a machine, in one file that survives kills."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path

from headway.core.errors import StoreError
from headway.storage import atomic

FOLDER = "answers"
"""Folder in the state."""
_UNITS = 1_000_000  # of a unit of the currency
_WIDTH = 20


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
