"""Real processes that are ended by a signal at chosen moments, cheap enough to be ended by the hundred.

To start an interpreter and import takes a second or more, what is to be killed tens of milliseconds. So a stem, which
is a process of its own and has imported all and opened nothing, forks a child for each run. The child opens the store,
has its own threads and connections, and is a process like any other: `kill -9` ends it wherever it stands.
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
    """What to run, and the signal that comes so many seconds after its first word; without those it runs to its end."""

    arguments: list[str]
    output: str
    after_s: float | None = None
    number: int = signal.SIGKILL


@dataclass(frozen=True)
class Ended:
    """How a child ended: its exit code, or minus the signal that ended it; and what it had said until then."""

    code: int
    said: list[str]
    seconds: float

    @property
    def killed(self) -> bool:
        """Whether it was running when `kill -9` came."""
        return self.code == -signal.SIGKILL


class Stem:
    """A stem that forks children which run a job (`module:function`); its output is kept in a file."""

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
        """Run the job once with these arguments, as texts; see `Order`."""
        assert self._process.stdin and self._process.stdout
        order = Order([str(item) for item in arguments], str(self.output), after_s, number)
        self._process.stdin.write(json.dumps(asdict(order)) + "\n")
        self._process.stdin.flush()
        return Ended(**json.loads(self._process.stdout.readline()))

    def whole(self, *arguments: object) -> Ended:
        """A run to its end, which must be a good one."""
        ended = self.run(*arguments)
        assert ended.code == 0, self.output.read_text()
        return ended

    def close(self) -> None:
        """End the stem."""
        self._process.communicate(timeout=10)


@contextlib.contextmanager
def stem(job: str) -> Iterator[Stem]:
    """A stem for a job, with a folder for what its children print."""
    with tempfile.TemporaryDirectory() as folder:
        opened = Stem(job, Path(folder))
        try:
            yield opened
        finally:
            opened.close()


class Moments:
    """Moments drawn evenly from a span, which follows the pace of a machine that others use too.

    For what ends by itself: one that came too late brings the span nearer, one that found it running puts it off.
    """

    def __init__(self, span_s: tuple[float, float], *, seed: int, follow: bool = False) -> None:
        self._span_s, self._draw, self._follow, self._pace = span_s, Random(seed), follow, 1.0

    def next(self) -> float:
        """Seconds after the first word."""
        return self._pace * self._draw.uniform(*self._span_s)

    def found(self, running: bool) -> None:
        """Learn whether the last moment found the process running."""
        self._pace *= (PUT_OFF if running else NEARER) if self._follow else 1.0


def kills(one: Callable[[float], bool], count: int, moments: Moments) -> None:
    """Call `one` with a moment until so many kills found a process running, which it says; a third of them must."""
    landed = 0
    for _ in range(3 * count):
        killed = one(moments.next())
        moments.found(killed)
        landed += killed
        if landed == count:
            return
    raise AssertionError(f"{landed} of {3 * count} kills found the process running, {count} had to")


def left_aside(folder: Path) -> list[Path]:
    """What is lying about half-written anywhere in a folder."""
    return sorted(folder.rglob(".headway-*.new"))


def _run(job: Callable[..., int | None], order: Order) -> Ended:
    ears, mouth = os.pipe()
    child = os.fork()
    if not child:
        os.close(ears)
        _be(job, order, mouth)
    os.close(mouth)
    with os.fdopen(ears, "rb", buffering=0) as said:
        heard = said.read(65536)
        began = time.monotonic()
        if order.after_s is not None:
            heard += _heard(said, until=began + order.after_s)
            os.kill(child, order.number)
        heard += _heard(said, until=time.monotonic() + LONGEST_S)
        seconds = time.monotonic() - began
        os.kill(child, signal.SIGKILL)  # no more than a word to one that has ended, which nobody has waited for yet
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return Ended(code, heard.decode().splitlines(), seconds)


def _be(job: Callable[..., int | None], order: Order, mouth: int) -> None:
    """What the child does until it ends, at once: some libraries can clean up only in the process that loaded them."""
    os.dup2(os.open(order.output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
    os.dup2(1, 2)
    code: object = 1
    try:
        code = job(lambda what: os.write(mouth, f"{what}\n".encode()), *order.arguments)
    except SystemExit as leaving:
        code = leaving.code
    finally:
        if sys.exception() is not None:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # all was said: what coverage writes now is not the command's
        os._exit(int(code or 0))


def _heard(said: IO[bytes], *, until: float) -> bytes:
    """What is said until a time, or until who says it has ended."""
    heard = b""
    while select.select([said], [], [], max(until - time.monotonic(), 0))[0]:
        part = said.read(65536)
        if not part:
            break
        heard += part
    return heard


def main(place: str) -> None:
    """Run the orders that come in, a line each, and answer each with a line."""
    module, _, name = place.partition(":")
    job = getattr(importlib.import_module(module), name)
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
    for line in sys.stdin:
        sys.stdout.write(json.dumps(asdict(_run(job, Order(**json.loads(line))))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
