"""Run `headway` such that each worker measures how long its event loop is occupied, in CPU time of its thread.

`main` takes a folder and the arguments of `headway`. A worker writes the longest time in ms to FOLDER/PID; who reads it
sets it to 0. CPU time does not depend on what else the machine does.
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

    def beat(last: float) -> None:
        now = time.thread_time()
        stall_ms = 1e3 * (now - last)
        if stall_ms > _LONGEST.unpack_from(memory)[0]:
            _LONGEST.pack_into(memory, 0, stall_ms)
        loop.call_later(PERIOD_S, beat, time.thread_time())

    loop.call_soon(lambda: beat(time.thread_time()))


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
