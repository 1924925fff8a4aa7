"""Callers timed in turns: each is a separate process (optimization/worker.py), and only one of them works at a time."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cache import HERE, Absent, folder, home

ROUNDS, MS = 9, {"one_row": 40, "batch256": 80}
OPENS_S, ANSWERS_S, PREDICTS_S = 240.0, 300.0, 15.0
RUN = "from optimization import worker; worker.main()"
NONE = np.empty(0)
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
TINY = {"ROUNDS": 1, "MS": {"one_row": 2, "batch256": 2}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """One way to call a model: `call` is `file:function` of bench/callers, `home` the environment with its libraries.

    `threads` 0 is the default of the library. `rows` is a file that numpy or joblib reads. A caller that is not
    `judged` is only timed.
    """

    name: str
    call: str
    model: Path
    rows: Path
    home: str = ""
    threads: int = 1
    options: Mapping[str, Any] = field(default_factory=dict)
    judged: bool = True
    batch_rows: int = 256


class Worker:
    """The process of a caller; raises Absent, with its last output, if it does not open or answer."""

    def __init__(self, caller: Caller) -> None:
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by `end`
        module, name = caller.call.split(":")
        code = (HERE / f"callers/{module}.py").read_text("utf-8")
        directory = folder(f"kept-{module}-{name}", of=[code, str(caller.model), str(home(caller.home))])
        order = {"call": caller.call, "options": dict(caller.options), "directory": str(directory)}
        order |= {"model": str(caller.model), "rows": str(caller.rows), "batch_rows": caller.batch_rows}
        self._process = subprocess.Popen(
            [str(home(caller.home)), "-c", RUN, json.dumps(order)],
            env=_environment(caller.threads),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            bufsize=1,
        )
        self._receive(OPENS_S)

    def ask(self, what: str, *, s: float = ANSWERS_S, **task: Any) -> Any:
        """Run a task in the worker, and return its result."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps({"do": what, **task}) + "\n")
        return self._receive(s)

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()
        self._said.close()

    def _receive(self, s: float) -> Any:
        assert self._process.stdout
        with selectors.DefaultSelector() as ready:
            ready.register(self._process.stdout, selectors.EVENT_READ)
            line = self._process.stdout.readline() if ready.select(s) else None
        if line:
            return json.loads(line)
        self._said.seek(0)
        last = (self._said.read().strip().splitlines() or [f"ended with {self._process.poll()}"])[-1][:200]
        self.end()
        raise Absent(f"no answer within {s:.0f} s" if line is None else last)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """Times of a caller by round: us of one row (wall clock), us of CPU time of a batch; its predictions, if judged."""

    one_row: tuple[float, ...]
    batch256: tuple[float, ...]
    answers: NDArray[np.float64]

    def us(self, kind: str) -> float:
        """Return the median over the rounds."""
        return float(median(getattr(self, kind)))


def race(callers: Sequence[Caller], *, rounds: int = ROUNDS) -> tuple[dict[str, Timed], dict[str, str]]:
    """Time all callers that open in turns; return their times, and by name why the others did not open or answer."""
    with _opened(callers) as (workers, absent):
        judged = {caller.name for caller in callers if caller.judged}
        answers, found = dict[str, NDArray[np.float64]](), list[dict[tuple[str, str], float]]()
        for name in list(workers):
            with _left_out(name, workers, absent):
                answers[name] = _answers(workers[name]) if name in judged else NONE
        for turn in range(rounds):
            found.append(_round(workers, turn, absent))
    timed = {
        name: Timed(answers=answers[name], **{kind: tuple(times[name, kind] for times in found) for kind in MS})
        for name in workers
    }
    return timed, absent


def _round(workers: dict[str, Worker], turn: int, absent: dict[str, str]) -> dict[tuple[str, str], float]:
    """Return each worker's time of each kind, one after the other; the first worker changes from round to round."""
    order, times = list(workers) if turn % 2 else list(workers)[::-1], dict[tuple[str, str], float]()
    for kind, name in product(MS, order):
        if name in workers:
            with _left_out(name, workers, absent):
                times[name, kind] = workers[name].ask(kind, ms=MS[kind])
    return times


@contextmanager
def _left_out(name: str, workers: dict[str, Worker], absent: dict[str, str]) -> Iterator[None]:
    """Leave a worker out from now on if it fails or does not answer in time; it has ended then."""
    try:
        yield
    except Absent as reason:
        absent[name] = str(reason)
        del workers[name]


@contextmanager
def _opened(callers: Sequence[Caller]) -> Iterator[tuple[dict[str, Worker], dict[str, str]]]:
    workers: dict[str, Worker] = {}
    absent: dict[str, str] = {}
    try:
        for caller in callers:
            try:
                workers[caller.name] = Worker(caller)
            except Absent as reason:
                absent[caller.name] = str(reason)
        yield workers, absent
    finally:
        for worker in workers.values():
            worker.end()


def _answers(worker: Worker) -> NDArray[np.float64]:
    with tempfile.TemporaryDirectory() as name:
        file = str(Path(name) / "answers.npy")
        worker.ask("answers", file=file, s=ANSWERS_S, until_s=PREDICTS_S)
        found: NDArray[np.float64] = np.load(file)
        return found


def _environment(threads: int) -> dict[str, str]:
    paths = [HERE, HERE.parent / "src"]
    own = {key: value for key, value in os.environ.items() if key not in THREADS and key != "PYTHONPATH"}
    bound = dict.fromkeys(THREADS, str(threads)) if threads else {}
    bound["HF_HUB_OFFLINE"] = "1"  # libraries of models look nothing up
    return own | bound | {"PYTHONPATH": os.pathsep.join(map(str, paths))}
