"""A server of a project in a process of its own, and callers who ask it all the time, each with a key of its own."""

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
    """How many were answered and how many were not."""

    answered: int = 0
    failed: int = 0
    leaving: threading.Event = field(default_factory=threading.Event)

    def ask(self, address: str) -> None:
        """Ask until told to leave."""
        with Client(address) as client:
            while not self.leaving.is_set():
                number = self.answered + self.failed
                columns = {"hour": [number % 24], "wind": [float(number % 30)], "carrier": ["AA"]}
                try:
                    client.infer("small", columns, key=f"caller-{number}")
                    self.answered += 1
                except HeadwayError:
                    self.failed += 1


@contextmanager
def asked(folder: Path) -> Iterator[Callers]:
    """Serve `small@live` and let callers ask for as long as the block lasts."""
    process = started(folder, "small@live")
    callers = Callers()
    try:
        address = next(word for word in process.stdout.readline().split() if word.startswith("http://"))
        thread = threading.Thread(target=callers.ask, args=[address])
        thread.start()
        yield callers
        callers.leaving.set()
        thread.join(30)
    finally:
        callers.leaving.set()
        process.terminate()
        process.communicate(timeout=30)
