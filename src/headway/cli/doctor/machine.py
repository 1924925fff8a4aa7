"""The machine: processor, cores, memory, open files, clock and Python, read from the system's own files."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import resource
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import headway
from headway.cli.doctor.sign import Diagnosis
from headway.evaluation.measure import this_machine

# What the engines and table libraries choose their code by.
FEATURES = ("avx2", "fma", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "amx_bf16", "asimd", "sve")
NEEDED = ("avx2", "asimd")
FEWEST_FILES = 1024
BUILT = 2026
GIB = 2**30


def diagnose_machine(root: Path = Path("/")) -> list[Diagnosis]:
    """What there is of each; `root` is where the system's files lie."""
    return [_python(), _processor(root), _cores(root), _memory(root), _files(), diagnose_clock(root, datetime.now(UTC))]


def _python() -> Diagnosis:
    asked = importlib.metadata.metadata("headway")["Requires-Python"] or ""
    low, high = (tuple(map(int, re.findall(rf"{sign}(\d+)\.(\d+)", asked)[0])) for sign in (">=", "<"))
    message = f"{platform.python_version()} at {sys.prefix}, headway {headway.__version__}"
    if low <= sys.version_info[:2] < high:
        return Diagnosis(what="python", health="well", message=message)
    return Diagnosis(
        what="python", health="broken", message=f"{message}, which needs Python {asked}", hint="make a new environment"
    )


def _processor(root: Path) -> Diagnosis:
    text = _read(root / "proc/cpuinfo")
    listed = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    found = [name for name in FEATURES if name in (listed[1].split() if listed else ())]
    message = f"{this_machine(root).cpu}: {', '.join(found) or 'features not known'}"
    if listed and not set(found) & set(NEEDED):
        hint = "pip install 'polars[rtcompat]'; speeds measured elsewhere do not hold here"
        return Diagnosis(what="processor", health="note", message=f"{message}; it lacks avx2", hint=hint)
    return Diagnosis(what="processor", health="well", message=message)


def _cores(root: Path) -> Diagnosis:
    there, ours = os.cpu_count() or 1, this_machine(root).cores
    if ours == there:
        return Diagnosis(what="cores", health="well", message=f"{there}, all of them ours")
    message = f"{ours} of {there}: the rest is kept from us by affinity or the container's quota"
    return Diagnosis(
        what="cores", health="note", message=message, hint="give threads to match: [optimize] transforms tries them"
    )


def _memory(root: Path) -> Diagnosis:
    sizes = {
        name: int(size) * 1024 for name, size in re.findall(r"^(\w+):\s+(\d+) kB", _read(root / "proc/meminfo"), re.M)
    }
    limits = [_read(root / "sys/fs/cgroup" / name).strip() for name in ("memory.max", "memory/memory.limit_in_bytes")]
    limit = next((int(limit) for limit in limits if limit.isdigit()), None)
    total = sizes.get("MemTotal", 0)
    if not total:
        return Diagnosis(what="memory", health="note", message="not known on this system")
    message = f"{total / GIB:.1f} GiB, {sizes.get('MemAvailable', 0) / GIB:.1f} GiB of them free"
    if limit is not None and limit < total:
        return Diagnosis(
            what="memory", health="note", message=f"{message}; the container may use {limit / GIB:.1f} GiB"
        )
    return Diagnosis(what="memory", health="well", message=message)


def _files() -> Diagnosis:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    message = f"{soft:,} at once ({hard:,} if asked for)"
    if soft < FEWEST_FILES:
        message += ": a server needs one for each connection"
        return Diagnosis(what="open files", health="note", message=message, hint=f"ulimit -n {min(hard, 65536)}")
    return Diagnosis(what="open files", health="well", message=message)


def diagnose_clock(root: Path, now: datetime) -> Diagnosis:
    """The time that moves carry, and the source that latencies are measured by; broken where it is years behind."""
    source = _read(root / "sys/devices/system/clocksource/clocksource0/current_clocksource").strip() or "not known"
    step_ns = time.get_clock_info("perf_counter").resolution * 1e9
    message = f"{now:%Y-%m-%d %H:%M:%S} UTC, source {source}, steps of {step_ns:.0f} ns"
    if now.year < BUILT:
        return Diagnosis(
            what="clock", health="broken", message=f"{message}: it is wrong", hint="set the clock: moves carry its time"
        )
    if source in ("hpet", "acpi_pm"):
        hint = "a clock this slow shows in latencies below 10 us: choose tsc or kvm-clock for the system"
        return Diagnosis(what="clock", health="note", message=message, hint=hint)
    return Diagnosis(what="clock", health="well", message=message)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
