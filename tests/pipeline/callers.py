"""Run a server of a project in another process, with callers that send requests all the time, each with a new key."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.serving.running import started

from headway.core.errors import HeadwayError
from headway.serving.client import Client


@dataclass
class Callers:
    """Callers of a server, with the number of requests that were answered and that failed."""

    answered: int = 0
    failed: int = 0
    stopping: threading.Event = field(default_factory=threading.Event)

    def call(self, address: str) -> None:
        """Send requests until `stopping` is set."""
        with Client(address) as client:
            while not self.stopping.is_set():
                number = self.answered + self.failed
                columns = {"hour": [number % 24], "wind": [float(number % 30)], "carrier": ["AA"]}
                try:
                    client.infer("small", columns, key=f"caller-{number}")
                    self.answered += 1
                except HeadwayError:
                    self.failed += 1


@contextmanager
def with_callers(folder: Path) -> Iterator[Callers]:
    """Serve `small@live` and send requests for the duration of the block."""
    process = started(folder, "small@live")
    callers = Callers()
    try:
        address = next(word for word in process.stdout.readline().split() if word.startswith("http://"))
        thread = threading.Thread(target=callers.call, args=[address])
        thread.start()
        yield callers
        callers.stopping.set()
        thread.join(30)
    finally:
        callers.stopping.set()
        process.terminate()
        process.communicate(timeout=30)
