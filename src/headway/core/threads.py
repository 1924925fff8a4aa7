"""This machine, the cores and the memory that a process may use, and the setting `threads` of engines."""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

from headway.core.errors import EngineError
from headway.core.evidence import Machine
from headway.core.record import Settings

_NO_LIMIT = 1 << 60  # version 1 writes a number of this size for none
_MMAP_THRESHOLD, _ARENA_MAX = -3, -8  # in malloc.h


def threads_of(settings: Settings, *, engine: str, default: int) -> int:
    """Return the number of threads in engine settings, 0 for the library's own default.

    Raises EngineError for another setting, or a value that is not a whole number from 0.

    >>> threads_of({"threads": 2}, engine="lightgbm", default=0), threads_of({}, engine="onnxruntime", default=1)
    (2, 1)
    """
    unknown = sorted(set(settings) - {"threads"})
    if unknown:
        raise EngineError(f"engine {engine!r} has no setting {unknown[0]!r}", hint="threads")
    threads = settings.get("threads", default)
    if type(threads) is not int or threads < 0:
        raise EngineError(f"setting 'threads' is {threads!r}, not a whole number of threads", hint="threads = 1")
    return threads


def thread_setting(n_jobs: object) -> int:
    """Return the number of threads that a model's own `n_jobs` asks for; 0 leaves it to its library, as -1 does.

    >>> thread_setting(1), thread_setting(None), thread_setting(-1)
    (1, 0, 0)
    """
    if isinstance(n_jobs, bool) or not isinstance(n_jobs, int) or n_jobs == -1:
        return 0
    return n_jobs if n_jobs >= 0 else max(cores() + 1 + n_jobs, 1)


def this_machine(root: Path = Path("/")) -> Machine:
    """Describe this machine; `cores` is what the process may use by its affinity and a container's CPU quota."""
    return Machine(
        cpu=_cpu(root),
        cores=cores(root),
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
    )


def _cpu(root: Path) -> str:
    lines = read_text(root / "proc/cpuinfo").splitlines()
    named = (value.strip() for key, _, value in (line.partition(":") for line in lines) if key.strip() == "model name")
    return next(named, platform.processor() or platform.machine())


def cores(root: Path = Path("/")) -> int:
    """Return the cores this process may use: its affinity, or less by a CPU quota of its container or a group above.

    A library that counts the cores of the machine starts more threads than a quota lets run.
    """
    ours = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [quota for folder in _groups(root, "cpu") if (quota := _quota(folder)) is not None]
    return max(1, min([ours, *(int(quota) for quota in quotas)]))


def memory_limit(root: Path = Path("/")) -> int | None:
    """Return the memory that this process's container, or a group above it, may use, bytes; None without a limit."""
    files = ("memory.max", "memory.limit_in_bytes")
    texts = (read_text(folder / file).strip() for folder in _groups(root, "memory") for file in files)
    return min((int(text) for text in texts if text.isdigit() and int(text) < _NO_LIMIT), default=None)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of this process's control groups (versions 2 and 1): its own, its parents, the container's."""
    yield from (root / "sys/fs/cgroup", root / "sys/fs/cgroup" / controller)
    for line in read_text(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" or controller in controllers.split(","):
            top = root / "sys/fs/cgroup" / ("" if number == "0" else controller)
            own = PurePosixPath(path.strip("/"))
            yield from (top / folder for folder in (own, *own.parents))


def _quota(folder: Path) -> float | None:
    """Return the CPUs by the quota of a group, or None without one."""
    words = read_text(folder / "cpu.max").split()
    if not words:
        words = [word for name in ("quota", "period") for word in read_text(folder / f"cpu.cfs_{name}_us").split()]
    if len(words) != 2 or words[0] in ("max", "-1"):
        return None
    return int(words[0]) / int(words[1])


def return_freed_memory() -> None:
    """Have glibc return blocks of a MiB or more to the system once they are freed, in this process and its children.

    By itself it raises its threshold to the largest block that was freed, up to 32 MiB, and a worker keeps the memory
    of the largest bodies that it has read (`M_MMAP_THRESHOLD` in mallopt(3)).
    """
    with suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, 1 << 20)


def share_one_arena() -> None:
    """Have glibc serve all threads of this process from one arena: each other one keeps memory of its own.

    Threads then wait for one another when they allocate large objects (`M_ARENA_MAX` in mallopt(3)).
    """
    with suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).mallopt(_ARENA_MAX, 1)


def trim_memory() -> None:
    """Have glibc return all freed pages to the system, which takes some milliseconds."""
    with suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def read_text(path: Path) -> str:
    """Return the text of a file of the system; empty if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
