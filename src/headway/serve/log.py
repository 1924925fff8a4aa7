"""The prediction log: what was answered, handed over in arrays once a batch, written by a thread of its own.

A request never waits for it: what comes while the buffer is full is dropped and counted.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections import Counter, deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from headway.features.online import NEVER_US
from headway.serve.load import Loaded
from headway.store import segments, traffic

if TYPE_CHECKING:
    from headway.core.contracts import Floats, Ints
    from headway.store.segments import Column

_log = logging.getLogger(__name__)


class Entry(NamedTuple):
    """Calls that one release took in one batch; the fields are as `store.traffic` says, one for each call in a list.

    `sizes` are the rows of each call. `rows` float64 [n, d] and `seen` are as the model read them, `answers` as they
    were given; where there was an error they are None.
    """

    release: Loaded
    at_us: int
    requests: Ints
    keys: list[str]
    sizes: list[int]
    latency_ns: Ints
    role: int
    answered: int
    stage: int
    paired: int
    rows: Floats | None
    answers: Floats | None
    seen: tuple[Ints, ...]


class PredictionLog:
    """Takes entries from the loop's thread, and keeps them as segments every `flush_s`, or when half full."""

    def __init__(self, state: Path, *, flush_s: float, most_rows: int, dropped: Counter[str]) -> None:
        self._state = state
        self._flush_s = flush_s
        self._most = most_rows
        self._dropped = dropped
        self._entries: deque[tuple[int, Entry]] = deque()
        self._added = 0  # rows; by the loop's thread alone
        self._taken = 0  # rows; by the writer alone
        self._next = secrets.randbits(61)  # no other process is likely to count within reach of it
        self._due = threading.Event()
        self._leaving = False
        self._writer = threading.Thread(target=self._write, name="prediction log", daemon=True)
        self._writer.start()

    def number(self, count: int) -> Ints:
        """The numbers of the next `count` requests, int64 [count]."""
        first, self._next = self._next, self._next + count
        return np.arange(first, first + count, dtype=np.int64)

    def add(self, entry: Entry) -> None:
        """Take an entry, or drop it where the buffer is full."""
        rows = sum(entry.sizes)
        if self._added - self._taken + rows > self._most:
            self._dropped[entry.release.name] += rows
            return
        self._entries.append((rows, entry))
        self._added += rows
        if 2 * (self._added - self._taken) > self._most:
            self._due.set()

    def close(self) -> None:
        """Write what there is, and end the thread."""
        self._leaving = True
        self._due.set()
        self._writer.join()

    def _write(self) -> None:
        with ThreadPoolExecutor(1, thread_name_prefix="segment") as pool:
            while not self._leaving:
                self._due.wait(self._flush_s)
                self._due.clear()
                self._flush(pool)
            self._flush(pool)

    def _flush(self, pool: ThreadPoolExecutor) -> None:
        """Keep all that waits, a segment for each release; whatever one fails with, the log goes on."""
        of: dict[Loaded, list[Entry]] = {}
        taken = 0
        while self._entries:
            rows, entry = self._entries.popleft()
            of.setdefault(entry.release, []).append(entry)
            taken += rows
        for release, entries in of.items():
            error = pool.submit(self._keep, release, entries).exception()
            if error is not None:
                self._dropped[release.name] += sum(sum(entry.sizes) for entry in entries)
                _log.error("a segment of the log of %s could not be written", release.name, exc_info=error)
        self._taken += taken

    def _keep(self, release: Loaded, entries: Sequence[Entry]) -> None:
        segments.keep(traffic.log_folder(self._state, release.name, release.digest), columns(entries))


def columns(entries: Sequence[Entry]) -> dict[str, Column]:
    """The columns of a segment, of entries of one release; what was not answered is NaN."""
    release = entries[0].release
    calls = [len(entry.keys) for entry in entries]
    sizes = [size for entry in entries for size in entry.sizes]
    keys = list(chain.from_iterable(entry.keys for entry in entries))
    of_entry: dict[str, list[int]] = {
        "at_us": [entry.at_us for entry in entries],
        "role": [entry.role for entry in entries],
        "answered": [entry.answered for entry in entries],
        "status": [int(entry.answers is None) for entry in entries],
        "stage": [entry.stage for entry in entries],
        "paired": [entry.paired for entry in entries],
    }
    of_call: dict[str, Ints] = {name: np.repeat(np.array(each, np.int64), calls) for name, each in of_entry.items()}
    of_call["request"] = np.concatenate([entry.requests for entry in entries])
    of_call["latency_us"] = np.concatenate([entry.latency_ns for entry in entries]) // 1000
    if len(keys) != sum(sizes):
        of_call = {name: np.repeat(each, sizes) for name, each in of_call.items()}
        keys = [key for key, size in zip(keys, sizes, strict=True) for _ in range(size)]
    found: dict[str, Column] = {"key": keys, **of_call}
    found |= _named("in.", release.columns, _stacked([(entry.rows, entry.sizes) for entry in entries]))
    answers = _stacked([(entry.answers, entry.sizes) for entry in entries])
    found |= _named("out.", [str(number) for number in range(answers.shape[1])], answers)
    return found | _seen(release, entries)


def _stacked(parts: Sequence[tuple[Floats | None, list[int]]]) -> Floats:
    """The parts below each other; one that is not there is NaN for each row of its calls."""
    width = next((part.shape[1] for part, _ in parts if part is not None), 0)
    return np.concatenate([np.full((sum(n), width), np.nan) if part is None else part for part, n in parts])


def _named(prefix: str, names: Sequence[str], values: Floats) -> dict[str, Column]:
    if not values.shape[1]:
        return {prefix + name: np.full(len(values), np.nan) for name in names}
    return {prefix + name: column for name, column in zip(names, np.ascontiguousarray(values.T), strict=True)}


def _seen(release: Loaded, entries: Sequence[Entry]) -> dict[str, Column]:
    found: dict[str, Column] = {}
    for number, name in enumerate(release.views.names):
        parts = [entry.seen[number] if entry.seen else np.full(sum(entry.sizes), NEVER_US) for entry in entries]
        found[f"seen_us.{name}"] = np.concatenate(parts)
    return found
