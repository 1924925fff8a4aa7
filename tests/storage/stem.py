"""Real processes that are ended by a signal at chosen times, cheap enough to be ended by the hundred.

Starting an interpreter and importing takes a second or more, the job to be killed tens of milliseconds. So a parent
process (the stem), which has imported everything and opened nothing, forks a child for each run. The child opens the
store, and has its own threads and connections: `kill -9` ends it at any point.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import IO

ROOT = Path(__file__).parents[2]
LONGEST_S = 60.0
NEARER, PUT_OFF = 0.9, 1.1
Say = Callable[[object], None]


@dataclass(frozen=True)
class Order:
    """A job to run, and the signal that is sent some seconds after its first message.

    Without those it runs to its end.
    """

    arguments: list[str]
    output: str
    after_s: float | None = None
    number: int = signal.SIGKILL


@dataclass(frozen=True)
class Ended:
    """How a child ended: its exit code, or minus the signal that ended it; and the messages it sent until then."""

    code: int
    messages: list[str]
    seconds: float

    @property
    def killed(self) -> bool:
        """True if it was running when `kill -9` came."""
        return self.code == -signal.SIGKILL


class Stem:
    """A parent that forks children which run a job (`module:function`); its output is saved in a file."""

    def __init__(self, job: str, folder: Path) -> None:
        path = os.pathsep.join(["tests/outside", os.environ.get("PYTHONPATH", "")])
        self.output = folder / "output.txt"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.storage.stem", job],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: object, after_s: float | None = None, number: int = signal.SIGKILL) -> Ended:
        """Run the job once with these arguments, as strings; see `Order`."""
        assert self._process.stdin and self._process.stdout
        order = Order([str(item) for item in arguments], str(self.output), after_s, number)
        self._process.stdin.write(json.dumps(asdict(order)) + "\n")
        self._process.stdin.flush()
        return Ended(**json.loads(self._process.stdout.readline()))

    def run_to_end(self, *arguments: object) -> Ended:
        """Run the job to its end, which must be successful."""
        ended = self.run(*arguments)
        assert ended.code == 0, self.output.read_text()
        return ended

    def close(self) -> None:
        """End the stem."""
        self._process.communicate(timeout=60)


@contextlib.contextmanager
def stem(job: str) -> Iterator[Stem]:
    """Start a stem for a job, with a folder for the output of its children."""
    with tempfile.TemporaryDirectory() as folder:
        opened = Stem(job, Path(folder))
        try:
            yield opened
        finally:
            opened.close()


class Moments:
    """Times drawn evenly from a span, which adapts to the speed of the machine.

    For jobs that end by themselves: a kill that came too late shortens the span, one that found it running extends it.
    """

    def __init__(self, span_s: tuple[float, float], *, seed: int, follow: bool = False) -> None:
        self._span_s, self._draw, self._follow, self._pace = span_s, Random(seed), follow, 1.0

    def next(self) -> float:
        """Return the seconds after the first message."""
        return self._pace * self._draw.uniform(*self._span_s)

    def found(self, running: bool) -> None:
        """Record whether the last kill found the process running."""
        self._pace *= (PUT_OFF if running else NEARER) if self._follow else 1.0


def kills(one: Callable[[float], bool], count: int, times: Moments) -> None:
    """Call `one` with a time until enough kills found a process running, which it returns; a third of them must."""
    landed = 0
    for _ in range(3 * count):
        killed = one(times.next())
        times.found(killed)
        landed += killed
        if landed == count:
            return
    raise AssertionError(f"{landed} of {3 * count} kills found the process running, {count} had to")


def left_aside(folder: Path) -> list[Path]:
    """Return the unfinished files anywhere in a folder."""
    return sorted(folder.rglob(".headway-*.new"))


def _run(job: Callable[..., int | None], order: Order) -> Ended:
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        _be(job, order, writing)
    os.close(writing)
    with os.fdopen(reading, "rb", buffering=0) as stream:
        received = stream.read(65536)
        began = time.monotonic()
        if order.after_s is not None:
            received += _receive(stream, until=began + order.after_s)
            os.kill(child, order.number)
        received += _receive(stream, until=time.monotonic() + LONGEST_S)
        seconds = time.monotonic() - began
        os.kill(child, signal.SIGKILL)  # harmless for one that has ended, which was not waited for yet
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return Ended(code, received.decode().splitlines(), seconds)


def _be(job: Callable[..., int | None], order: Order, writing: int) -> None:
    """Run the child until it ends, at once: some libraries can clean up only in the process that loaded them."""
    os.dup2(os.open(order.output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
    os.dup2(1, 2)
    code: object = 1
    try:
        code = job(lambda what: os.write(writing, f"{what}\n".encode()), *order.arguments)
    except SystemExit as leaving:
        code = leaving.code
    finally:
        if sys.exception() is not None:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # all was said: what coverage writes now is not the command's
        os._exit(int(code or 0))


def _receive(stream: IO[bytes], *, until: float) -> bytes:
    """Return the messages until a time, or until the sender has ended."""
    received = b""
    while select.select([stream], [], [], max(until - time.monotonic(), 0))[0]:
        part = stream.read(65536)
        if not part:
            break
        received += part
    return received


def main(reference: str) -> None:
    """Run the orders that arrive, one per line, and answer each with a line."""
    module, _, name = reference.partition(":")
    job = getattr(importlib.import_module(module), name)
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
    for line in sys.stdin:
        sys.stdout.write(json.dumps(asdict(_run(job, Order(**json.loads(line))))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
