"""Find out whether other processes take the cores: a time measured then says how busy the machine was.

The machine is busy if the timing thread waited for a core for more than a tenth of the time, if a call on one thread
takes a tenth longer by the clock than in CPU time, or if the same call of the baseline takes more than 1.5 times as
long in one block of time as in another. A machine that is not busy may be shared: the thread has its core, but other
processes work on the other cores, which may be a second thread of the same core, and use its caches.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from headway.core.errors import NotApplicable

BUSY = "E002"
"""Code of the finding on a timing that other processes disturbed."""

WAITING, WALL_PER_CPU, VARIATION = 0.1, 1.1, 1.5
SHARED = 0.1
"""Share of the time of all cores from which on other processes make a call slower, though it does not wait."""
QUIET_HINT = (
    "measure on a quiet machine: headway optimize --wait-quiet, in Python wait_quiet=True; or compare CPU times: "
    "cost.cpu_s.one_row.speedup"
)
_SPIN_NS = 4_000_000
_PROBES, _PROBE_S, _PAUSE_S, _REPORT_S = 3, 0.2, 1.0, 10.0
_WAITED = Path("/proc/thread-self/schedstat")
_STAT = Path("/proc/stat")
_WORK_FIELDS = (1, 2, 3, 6, 7)
"""Fields of the line `cpu` of /proc/stat that count work: user, nice, system, interrupts."""


class MachineBusy(NotApplicable):
    """Other processes took the cores while something was timed; `measured` is the figure that is over its `limit`.

    `sign` is what showed it, for a record.
    """

    def __init__(self, what: str, *, measured: float, limit: float) -> None:
        super().__init__(
            f"other processes used the cores during the timing ({what}): no wall-clock times", hint=QUIET_HINT
        )
        self.sign, self.measured, self.limit = what, measured, limit


def waited_ns() -> int | None:
    """Return how long this thread has waited for a core in its life, ns; None where the system does not say (macOS)."""
    try:
        return int(_WAITED.read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None


def all_work_ns(stat: Path = _STAT) -> int | None:
    """Return the CPU time of all processes since the start of the system, ns; None where it does not say."""
    try:
        fields = stat.read_text(encoding="ascii").split("\n", 1)[0].split()
        ticks = sum(int(fields[at]) for at in _WORK_FIELDS)
    except (OSError, ValueError, IndexError):
        return None
    return ticks * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Clocks:
    """The clocks that a meter reads, all in ns.

    Wall time, CPU time of this thread, its time in the run queue, and the CPU time of this process and of all.
    """

    wall: Callable[[], int] = time.perf_counter_ns
    cpu: Callable[[], int] = time.thread_time_ns
    waited: Callable[[], int | None] = waited_ns
    own_work: Callable[[], int] = time.process_time_ns
    all_work: Callable[[], int | None] = all_work_ns


class LoadMeter:
    """Watches whether other processes take the cores, from when it is made until `busy` is called."""

    def __init__(self, clocks: Clocks | None = None, *, spin_ns: int = _SPIN_NS) -> None:
        self._clocks, self._spin_ns = clocks or Clocks(), spin_ns
        self._spun_wall = self._spun_cpu = 0
        self._began, self._waited = self._clocks.wall(), self._clocks.waited()
        self._own_work, self._all_work = self._clocks.own_work(), self._clocks.all_work()

    def spin(self) -> None:
        """Work on this thread for some CPU time (4 ms by default), and note how long that took by the clock."""
        wall, cpu = self._clocks.wall(), self._clocks.cpu()
        while (spent := self._clocks.cpu() - cpu) < self._spin_ns:
            pass
        self._spun_cpu += spent
        self._spun_wall += self._clocks.wall() - wall

    def is_shared(self) -> bool:
        """Return whether other processes used more than a tenth of the time of all cores."""
        now, own = self._clocks.all_work(), self._clocks.own_work() - self._own_work
        if now is None or self._all_work is None:
            return False
        capacity = (self._clocks.wall() - self._began) * (os.cpu_count() or 1)
        return now - self._all_work - own > SHARED * capacity

    def busy(self, baseline_ns: Sequence[float] = ()) -> MachineBusy | None:
        """Return what shows that the machine was busy, or None.

        Parameters
        ----------
        baseline_ns : sequence of float
            Time of the same call of the baseline in each block of time.
        """
        waited, wall = self._clocks.waited(), self._clocks.wall() - self._began
        if waited is not None and self._waited is not None:
            share = (waited - self._waited) / max(wall, 1)
            if share > WAITING:
                return MachineBusy(f"{share:.0%} of the time was spent waiting", measured=share, limit=WAITING)
        slowdown = self._spun_wall / self._spun_cpu if self._spun_cpu else 1.0
        if slowdown > WALL_PER_CPU:
            what = f"one thread took {slowdown:.2f} times its CPU time"
            return MachineBusy(what, measured=slowdown, limit=WALL_PER_CPU)
        spread = max(baseline_ns) / max(min(baseline_ns), 1.0) if baseline_ns else 1.0
        if spread > VARIATION:
            what = f"the same call of the baseline varied by a factor of {spread:.2f}"
            return MachineBusy(what, measured=spread, limit=VARIATION)
        return None


def wait_until_quiet(
    *,
    timeout_s: float,
    callback: Callable[[str], object],
    meter: Callable[[], LoadMeter] = LoadMeter,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> bool:
    """Wait until other processes leave the cores to this one; report every ten seconds, and give up after a time.

    Returns
    -------
    bool
        Whether the machine became quiet: three probes of 0.2 s in a row found nothing.
    """
    began = reported = now()
    quiet = 0
    while True:
        probe, until = meter(), now() + _PROBE_S
        while now() < until:
            probe.spin()
        reason = probe.busy()
        quiet = 0 if reason else quiet + 1
        if quiet == _PROBES:
            return True
        if now() - began >= timeout_s:
            return False
        if reason is not None:
            if reported == began or now() - reported >= _REPORT_S:
                reported = now()
                callback(
                    f"waiting for a quiet machine: {reported - began:.0f} s of at most {timeout_s:.0f} s; {reason.what}"
                )
            sleep(_PAUSE_S)
