"""Number of cores for threads: affinity, and the CPU quotas of every control group of this process."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from headway.core.errors import EngineError
from headway.core.threads import cores, memory_limit, this_machine, thread_setting, threads_of

MANY = 16


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(MANY)), raising=False)
    return tmp_path


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")


GROUP = "sys/fs/cgroup/apps/scoring/cpu.max"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, MANY),
        ({"sys/fs/cgroup/cpu.max": "400000 100000\n"}, 4),
        ({"sys/fs/cgroup/cpu.max": "350000 100000\n"}, 3),
        ({"sys/fs/cgroup/cpu.max": "50000 100000\n"}, 1),
        ({"sys/fs/cgroup/cpu.max": "max 100000\n"}, MANY),
        ({"sys/fs/cgroup/cpu.max": "9900000 100000\n"}, MANY),
        ({"proc/self/cgroup": "0::/apps/scoring\n", GROUP: "200000 100000\n"}, 2),
        ({"proc/self/cgroup": "0::/apps/scoring\n", "sys/fs/cgroup/apps/cpu.max": "300000 100000\n"}, 3),
        ({"proc/self/cgroup": "0::/elsewhere\n", GROUP: "200000 100000\n"}, MANY),
        ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "500000\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}, 5),
        ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}, MANY),
        (
            {
                "proc/self/cgroup": "4:cpu,cpuacct:/docker/a\n1:name=systemd:/\n",
                "sys/fs/cgroup/cpu/docker/a/cpu.cfs_quota_us": "200000\n",
                "sys/fs/cgroup/cpu/docker/a/cpu.cfs_period_us": "100000\n",
            },
            2,
        ),
    ],
)
def test_cores_are_no_more_than_the_least_quota_of_the_groups_above(root, files, expected):
    write(root, files)
    assert cores(root) == expected


OWN = "proc/self/cgroup"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({"sys/fs/cgroup/memory.max": "max\n"}, None),
        ({"sys/fs/cgroup/memory.max": "268435456\n"}, 2**28),
        ({OWN: "0::/a/b\n", "sys/fs/cgroup/a/memory.max": "100\n", "sys/fs/cgroup/a/b/memory.max": "200\n"}, 100),
        ({"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, None),
        ({OWN: "4:memory:/docker/a\n", "sys/fs/cgroup/memory/docker/a/memory.limit_in_bytes": "300\n"}, 300),
    ],
)
def test_memory_is_at_most_the_least_limit_of_the_groups_above(root, files, expected):
    write(root, files)
    assert memory_limit(root) == expected


def test_where_the_system_knows_no_affinity_the_machine_is_counted(root, monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores(root) == 1


def test_threads_are_a_whole_number_and_the_only_setting():
    assert threads_of({}, engine="echo", default=3) == 3 and threads_of({"threads": 0}, engine="echo", default=1) == 0
    with pytest.raises(EngineError, match="no setting 'cores'"):
        threads_of({"cores": 1}, engine="echo", default=1)
    with pytest.raises(EngineError, match="is True"):
        threads_of({"threads": True}, engine="echo", default=1)


def test_this_machine_is_named():
    machine = this_machine()
    assert machine.cores >= 1 and machine.cpu and machine.python == platform.python_version()


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"sys/fs/cgroup/cpu.max": "100000 100000\n"}, 1),
        ({"sys/fs/cgroup/cpu.max": "50000 100000\n"}, 1),
        ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "100000\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}, 1),
        ({"sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
        ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({}, None),
    ],
)
def test_cores_are_no_more_than_the_quota_of_the_container(tmp_path, files, cores):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert this_machine(tmp_path).cores == (cores or this_machine(tmp_path / "nowhere").cores)


def test_the_cpu_is_named_as_the_system_names_it(tmp_path):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text("processor\t: 0\nmodel name\t: Abacus 9\n")
    assert this_machine(tmp_path).cpu == "Abacus 9"


RESIDENT = """
import ctypes
import sys
import threading
from pathlib import Path
from headway.core.threads import return_freed_memory, share_one_arena, trim_memory

def resident_mb():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 >> 20

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
"""
FREED = """
return_freed_memory()
block = b"x" * (16 << 20)
del block  # glibc alone would take blocks of this size from its heap from now on
before, blocks, between = resident_mb(), [], []
for _ in range(8):
    blocks.append(b"x" * (15 << 20))
    between.append(b"y" * 100_000)
blocks.clear()
print(resident_mb() - before)
"""
TRIMMED = """
before, blocks = resident_mb(), [libc.malloc(1 << 16) for _ in range(512)]
for block in blocks:
    ctypes.memset(block, 1, 1 << 16)
last = libc.malloc(1 << 16)  # glibc alone returns only what is free at the end of its heap
for block in blocks:
    libc.free(block)
kept = resident_mb() - before
trim_memory()
print(kept - (resident_mb() - before))
"""
ARENAS = """
share_one_arena()
threads = [threading.Thread(target=libc.malloc, args=(100,)) for _ in range(4)]
for thread in threads:
    thread.start()
    thread.join()
libc.fopen.restype = ctypes.c_void_p
file = ctypes.c_void_p(libc.fopen(sys.argv[1].encode(), b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
print(Path(sys.argv[1]).read_text().count("<heap nr="))
"""


def printed(lines: str, *arguments: str) -> int:
    """Return the number that lines of Python print in a process of their own."""
    command = [sys.executable, "-c", RESIDENT + lines, *arguments]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def test_the_memory_of_large_bodies_is_returned_once_they_are_freed():
    assert printed(FREED) < 16


def test_trimming_returns_the_memory_between_blocks_that_stay():
    assert printed(TRIMMED) > 16


def test_all_threads_share_one_arena(tmp_path):
    assert printed(ARENAS, str(tmp_path / "heaps")) == 1


def test_the_threads_of_a_library_are_those_of_n_jobs_and_all_but_some_count_the_cores(root: Path) -> None:
    assert [thread_setting(n_jobs) for n_jobs in (1, 3, None, -1, True)] == [1, 3, 0, 0, 0]
    assert [thread_setting(n_jobs) for n_jobs in (-2, -MANY, -MANY - 5)] == [MANY - 1, 1, 1]
