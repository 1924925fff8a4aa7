"""Run `headway` such that each worker measures how long its event loop is occupied, in CPU time of its thread.

`main` takes a folder and the arguments of `headway`. A worker writes the longest time in ms to FOLDER/PID; who reads it
sets it to 0. CPU time does not depend on what else the machine does. With the variable `OF_PROCESS` it is that of all
threads of the worker: it shows as well a thread that holds the interpreter's lock, for which the loop waits.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import struct
import sys
import time
from pathlib import Path

import uvloop

PERIOD_S = 0.001
OF_PROCESS = "HEADWAY_BENCH_STALLS_OF_PROCESS"
_LONGEST = struct.Struct("<d")


def take_stall_ms(file: Path) -> float:
    """Return the longest stall in a file, and begin again."""
    with file.open("r+b") as opened:
        (longest,) = _LONGEST.unpack(opened.read(_LONGEST.size))
        opened.seek(0)
        opened.write(bytes(_LONGEST.size))
    return float(longest)


def watch(loop: asyncio.AbstractEventLoop, folder: Path) -> None:
    """Measure a loop from its first iteration on."""
    file = folder / str(os.getpid())
    file.write_bytes(bytes(_LONGEST.size))
    with file.open("r+b") as opened:
        memory = mmap.mmap(opened.fileno(), _LONGEST.size)

    clock = time.process_time if OF_PROCESS in os.environ else time.thread_time

    def beat(last: float) -> None:
        now = clock()
        stall_ms = 1e3 * (now - last)
        if stall_ms > _LONGEST.unpack_from(memory)[0]:
            _LONGEST.pack_into(memory, 0, stall_ms)
        loop.call_later(PERIOD_S, beat, clock())

    loop.call_soon(lambda: beat(clock()))


def main() -> None:
    """Run the command line of headway, whose workers create watched loops."""
    folder, new_loop = Path(sys.argv.pop(1)), uvloop.new_event_loop

    def watched() -> asyncio.AbstractEventLoop:
        loop = new_loop()
        watch(loop, folder)
        return loop

    uvloop.new_event_loop = watched  # type: ignore[assignment] # workers create their loop by this name
    from headway.cli.main import main as run  # noqa: PLC0415 - after the change

    run()
