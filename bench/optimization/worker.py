"""A caller of bench/callers in a separate process; it receives tasks as lines of JSON, and answers each with one line.

It is run by any Python that has the caller's libraries: `python -c "from optimization import worker; worker.main()"`.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from time import perf_counter, perf_counter_ns, process_time_ns
from typing import Any

import joblib
import numpy as np

import tiny
from callers.call import Call, Order

BATCHES, SINGLES, CHUNK_ROWS, FEWEST_CALLS = 8, 509, 1_000, 3
TINY = {"BATCHES": 1, "SINGLES": 5, "CHUNK_ROWS": 500}


def main() -> None:
    """Open what the first argument specifies, answer with `ready`, then run tasks from standard input until it ends."""
    tiny.apply()
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # the output of libraries is not an answer
    message = json.loads(sys.argv[1])
    module, _, name = message["call"].partition(":")
    order = Order(model=Path(message["model"]), directory=Path(message["directory"]), options=message["options"])
    call = getattr(importlib.import_module(f"callers.{module}"), name)(order)
    worker = Worker(call, _load(Path(message["rows"])), batch=message["batch_rows"])
    answers.write(json.dumps({"ready": True}) + "\n")
    for line in sys.stdin:
        task = json.loads(line)
        answers.write(json.dumps(getattr(worker, task.pop("do"))(**task)) + "\n")


class Worker:
    """A call and its rows, cut beforehand into single rows and batches."""

    def __init__(self, call: Call, rows: Any, *, batch: int) -> None:
        self._call, self._rows = call, rows
        self._singles = [call.ready(_part(rows, index, 1)) for index in range(SINGLES)]
        self._batches = [call.ready(_part(rows, index * batch, batch)) for index in range(BATCHES)]
        call.predict(self._singles[0])
        call.predict(self._batches[0])

    def one_row(self, *, ms: int) -> float:
        """Return the wall-clock time of one row in us, the 10th percentile of the calls."""
        times: list[int] = []
        for rows in _until(ms, self._singles):
            before = perf_counter_ns()
            self._call.predict(rows)
            times.append(perf_counter_ns() - before)
        return float(np.quantile(times, 0.1)) / 1e3

    def batch256(self, *, ms: int) -> float:
        """Return the CPU time of a batch in us, over all batches: the time of other threads is known only later."""
        before, count = process_time_ns(), 0
        for rows in _until(ms, self._batches):
            self._call.predict(rows)
            count += 1
        return (process_time_ns() - before) / count / 1e3

    def answers(self, *, file: str, until_s: float) -> int:
        """Write the predictions of all rows, or of the first if all take too long; return their number."""
        parts, began = [], perf_counter()
        total = self._rows.shape[0]
        for start in range(0, total, CHUNK_ROWS):
            ready = self._call.ready(_part(self._rows, start, min(CHUNK_ROWS, total - start)))
            parts.append(_scores(self._call.predict(ready)))
            if perf_counter() - began > until_s:
                break
        np.save(file, np.concatenate(parts))
        return sum(len(part) for part in parts)


def _until(ms: int, inputs: list[Any]) -> Iterator[Any]:
    """Yield the inputs repeatedly for this time, at least three of them."""
    ends = perf_counter_ns() + ms * 1_000_000
    for count, rows in enumerate(cycle(inputs)):
        if count >= FEWEST_CALLS and perf_counter_ns() > ends:
            return
        yield rows


def _part(rows: Any, start: int, count: int) -> Any:
    """Return rows of an array, a pandas table or a csr matrix, cyclically, as one of their own."""
    chosen = np.arange(start, start + count) % rows.shape[0]
    return rows.iloc[chosen] if hasattr(rows, "iloc") else rows[chosen]


def _scores(answers: Any) -> Any:
    """Return float64 [n] for two classes or a number, else [n, k]."""
    found = np.array(answers, dtype=np.float64)
    if found.ndim > 2:
        found = found.reshape(len(found), -1)
    if found.ndim == 1 or found.shape[1] > 2:
        return found
    return found[:, -1]


def _load(file: Path) -> Any:
    return joblib.load(file) if file.suffix == ".joblib" else np.load(file)
