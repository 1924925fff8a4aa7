"""A thread that requests long time slices keeps its weight, and is unchanged on unsupported systems."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import threading

from headway.serving.workers.log_writer import request_long_time_slices

SCHED_GETATTR = {"x86_64": 315, "aarch64": 275}


def of_a_thread() -> tuple[int, int]:
    """Return the nice value and the time slice, ns, of a thread that requested long time slices."""
    found: list[tuple[int, int]] = []

    def ask() -> None:
        request_long_time_slices()
        output = ctypes.create_string_buffer(48)
        ctypes.CDLL(None).syscall(SCHED_GETATTR[os.uname().machine], 0, output, 48, 0)
        _, _, _, nice, _, turn_ns, *_ = struct.unpack("=IIQiIQQQ", output.raw)
        found.append((nice, turn_ns))

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    return found[0]


def test_a_thread_keeps_its_weight_and_requests_long_time_slices():
    nice, turn_ns = of_a_thread()
    assert nice == os.nice(0)
    assert turn_ns in (0, 100_000_000)


def test_nothing_changes_on_an_unsupported_system(monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "unknown")
    nice, turn_ns = of_a_thread()
    assert nice == os.nice(0)
    assert turn_ns != 100_000_000
