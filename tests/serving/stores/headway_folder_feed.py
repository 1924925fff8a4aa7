"""A change feed in a folder, for servers of one machine; it does not answer while a file named `away` is in it."""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from headway.core.errors import StoreUnavailable

ADDRESS = "folder://FOLDER"


class plugin:
    def __init__(self, address: str) -> None:
        self._folder = Path(address.removeprefix("folder://"))
        self._heard = -1

    def announce(self) -> None:
        with self._numbers() as numbers:
            numbers["hints"] = numbers.get("hints", 0) + 1

    def wait(self, timeout_s: float) -> bool:
        ends = time.monotonic() + timeout_s
        while True:
            with self._numbers() as numbers:
                hints = numbers.get("hints", 0)
            if hints != self._heard:
                self._heard = hints
                return True
            if time.monotonic() >= ends:
                return False
            time.sleep(0.01)

    def spend(self, spent_ns: Mapping[str, int]) -> dict[str, int]:
        now = time.time_ns()
        with self._numbers() as numbers:
            for name, spent in spent_ns.items():
                numbers[name] = max(numbers.get(name, 0), now) + spent
            return {name: numbers[name] - now for name in spent_ns}

    def add(self, name: str, numbers: Sequence[int], *, keep_s: int) -> list[int]:
        with self._numbers() as known:
            for index, number in enumerate(numbers):
                known[f"{name}.{index}"] = known.get(f"{name}.{index}", 0) + number
            return [known[f"{name}.{index}"] for index in range(len(numbers))]

    def close(self) -> None:
        pass

    @contextmanager
    def _numbers(self) -> Iterator[dict[str, int]]:
        if (self._folder / "away").exists():
            self._heard = -1
            raise StoreUnavailable("the feed does not answer", role="feed")
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "numbers.json").open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            numbers = json.loads(file.read() or "{}")
            yield numbers
            file.seek(0)
            file.truncate()
            file.write(json.dumps(numbers))
