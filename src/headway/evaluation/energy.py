"""Energy of the processor packages, by the RAPL counters that Linux shows in its powercap files.

A counter is of a whole package: cores, caches and memory controller, but not the memory. It counts what every process
uses there, and what the package takes when it is idle, so the energy of a block of calls is only shown if other
processes were nearly idle during it. Only root can read a counter on most systems, and few virtual machines have one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import process_time_ns

from headway.core.errors import NotApplicable
from headway.evaluation.machine_load import all_work_ns

ROOT = Path("/")
OTHERS = 0.1
"""Largest share of this process's CPU time that all others may use during a measurement."""
_ZONE, _PACKAGE = re.compile(r"intel-rapl:\d+"), "package-"
_NO_COUNTERS = (
    "the system shows no energy counter of a processor (RAPL), as most virtual machines and containers do not"
)
_READABLE = "sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj"


@dataclass(frozen=True, slots=True)
class EnergyCounter:
    """File of the counter of a package, and the value in microjoules after which it begins again at 0."""

    file: Path
    max_uj: int

    def read_uj(self) -> int:
        """Return the value of the counter; raises NotApplicable if it cannot be read."""
        return _read_number(self.file)

    def since(self, before_uj: int) -> int:
        """Return the energy since an earlier value, in microjoules; it may have begun again at 0 once."""
        now = self.read_uj()
        return now - before_uj if now >= before_uj else now - before_uj + self.max_uj


class EnergyMeter:
    """Reads the counters of all packages, and how much other processes work at the same time.

    Parameters
    ----------
    root : Path, optional
        Root of the system's files.

    Raises
    ------
    NotApplicable
        Without a counter, or if it cannot be read.
    """

    def __init__(self, root: Path | None = None) -> None:
        root = root or ROOT
        self.counters = _find_counters(root / "sys/class/powercap")
        self._stat = root / "proc/stat"
        self._all_ns, self._own_ns = self._work_ns(), process_time_ns()

    def read(self) -> list[int]:
        """Return the value of each counter, in microjoules."""
        return [counter.read_uj() for counter in self.counters]

    def since(self, before: Sequence[int]) -> int:
        """Return the energy of all packages since these values, in microjoules."""
        return sum(counter.since(value) for counter, value in zip(self.counters, before, strict=True))

    def busy(self) -> NotApplicable | None:
        """Return why the energy is not that of this process alone; None if other processes hardly worked."""
        own_ns = process_time_ns() - self._own_ns
        share = (self._work_ns() - self._all_ns - own_ns) / max(own_ns, 1)
        if share <= OTHERS:
            return None
        what = f"other processes worked {share:.0%} of the CPU time of this one, and share its energy: it is not shown"
        return NotApplicable(what, hint="measure on a quiet machine: headway optimize --wait-quiet")

    def _work_ns(self) -> int:
        """Return the CPU time of all processes since the start of the system, in ns."""
        found = all_work_ns(self._stat)
        if found is None:
            raise NotApplicable(f"{self._stat} does not say how much other processes work")
        return found


def _find_counters(folder: Path) -> list[EnergyCounter]:
    """Return the counter of each package; those of its parts, and of the whole platform, would count energy twice."""
    zones = sorted(zone for zone in folder.glob("intel-rapl:*") if _ZONE.fullmatch(zone.name))
    packages = [zone for zone in zones if _name(zone).startswith(_PACKAGE)]
    if not packages:
        raise NotApplicable(_NO_COUNTERS, hint="run headway on the machine itself, or: sudo modprobe intel_rapl_msr")
    counters = [EnergyCounter(zone / "energy_uj", _read_number(zone / "max_energy_range_uj")) for zone in packages]
    for counter in counters:
        counter.read_uj()
    return counters


def _name(zone: Path) -> str:
    try:
        return (zone / "name").read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


def _read_number(file: Path) -> int:
    try:
        return int(file.read_text(encoding="ascii"))
    except OSError as error:
        what = f"{file} cannot be read ({error.strerror}): from energy, other users can guess what a process computes"
        raise NotApplicable(what, hint=f"while you measure, on a machine that no one else uses: {_READABLE}") from error
    except ValueError as error:
        raise NotApplicable(f"{file} holds no number") from error
