"""What a process that can wait asks of the scheduler, so that those who answer requests need not wait for it."""

from __future__ import annotations

import ctypes
import os
import platform
import struct

_SCHED_SETATTR = {("Linux", "x86_64"): 314, ("Linux", "aarch64"): 274}
_ATTRIBUTES = struct.Struct("=IIQiIQQQ")
_TURN_NS = 100_000_000


def request_long_time_slices() -> None:
    """Let whoever wakes on this processor go before the calling thread; where that cannot be asked for, do nothing.

    Linux (6.12 and later, `sched_setattr(2)`) lets a thread of shorter turns cut into a longer one at once, where it
    would else wait for milliseconds: so this asks for long turns. Over time it keeps its share of a processor, as a log
    that is starved would drop rows.
    """
    number = _SCHED_SETATTR.get((platform.system(), platform.machine()))
    if number is not None:
        asked = _ATTRIBUTES.pack(_ATTRIBUTES.size, os.SCHED_OTHER, 0, os.nice(0), 0, _TURN_NS, 0, 0)
        ctypes.CDLL(None).syscall(number, 0, asked, 0)
