"""Workers of the tests that are this process, and are given what a worker of Ray is given: pickled bytes."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import pytest

from headway.batch.compute import Packed
from headway.core.workers import HERE, Workers, always


class PackedWorkers:
    """Runs tasks in this process on pickled copies, and keeps the bytes; `change` is done to each result."""

    def __init__(self, change: Callable[[Any], Any] | None = None) -> None:
        self.sent: list[bytes] = []
        self.alone: list[bool] = []
        self._change = change

    def map(
        self,
        function: Callable[[Any, Any], Any],
        shared: Any,
        tasks: Iterable[Any],
        *,
        proceed: Callable[[], bool] = always,
        alone: bool = False,
    ) -> Iterator[tuple[int, Any]]:
        self.alone.append(alone)
        copies = (self._copy((function, shared, task)) for task in tasks)
        for number, reply in HERE.map(lambda _, copy: copy[0](*copy[1:]), None, copies, proceed=proceed):
            if self._change is not None:
                reply = replace(reply, result=Packed.of(self._change(reply.result.open())))
            yield number, pickle.loads(pickle.dumps(reply))

    def _copy(self, value: Any) -> Any:
        self.sent.append(pickle.dumps(value))
        return pickle.loads(self.sent[-1])


def use(monkeypatch: pytest.MonkeyPatch, workers: Workers) -> None:
    """Let `[compute] ray` open these workers, as a cluster."""

    def opened(_: str) -> AbstractContextManager[Workers]:
        return nullcontext(workers)

    monkeypatch.setattr("headway.batch.compute.open_ray", opened)
    monkeypatch.setenv("RAY_ADDRESS", "of the tests")
