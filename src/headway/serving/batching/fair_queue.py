"""A queue of calls by caller: bounded in rows, and taken from its callers in turn, so that each gets an equal share."""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Iterator
from typing import NamedTuple

from headway.serving.batching.executor import InferCall
from headway.serving.loading import LoadedModel

Queued = tuple[LoadedModel, InferCall]


class _Scheduled(NamedTuple):
    """When a caller is next: after the rows of it that were taken."""

    taken_rows: int
    number: int
    caller: str


class FairQueue:
    """Calls of several callers, at most `max_rows` rows; a single larger call is accepted if nothing waits.

    The caller of which the fewest rows were taken is next. A full queue refuses the last calls of the caller with the
    most rows in it.
    """

    def __init__(self, max_rows: int) -> None:
        self.rows = 0
        self._max_rows = max_rows
        self._calls: dict[str, deque[Queued]] = {}
        self._waiting: Counter[str] = Counter()  # rows by caller
        self._turns: list[_Scheduled] = []
        self._now = 0  # rows that were taken of the caller that was last
        self._number = 0

    def add(self, model: LoadedModel, call: InferCall) -> list[Queued]:
        """Queue a call, and return those that are refused for it, or the call itself."""
        caller, n, refused = call.caller, len(call.rows), list[Queued]()
        while self.rows and self.rows + n > self._max_rows:
            largest, rows = self._waiting.most_common(1)[0]
            if rows <= self._waiting[caller] + n:
                return [*refused, (model, call)]
            refused.append(self._removed(largest, self._calls[largest].pop()))
        if caller not in self._calls:
            self._calls[caller] = deque()
            heapq.heappush(self._turns, _Scheduled(self._now, self._number, caller))
            self._number += 1
        self._calls[caller].append((model, call))
        self._waiting[caller] += n
        self.rows += n
        return refused

    def take(self, max_rows: int) -> Iterator[Queued]:
        """Remove and yield the next calls, until they have `max_rows` rows or the queue is empty."""
        while self._turns and max_rows > 0:
            self._now, number, caller = heapq.heappop(self._turns)
            if not self._calls[caller]:  # its last call was taken or refused
                del self._calls[caller], self._waiting[caller]
                continue
            queued = self._calls[caller].popleft()
            n = len(queued[1].rows)
            heapq.heappush(self._turns, _Scheduled(self._now + n, number, caller))
            max_rows -= n
            yield self._removed(caller, queued)

    def _removed(self, caller: str, queued: Queued) -> Queued:
        n = len(queued[1].rows)
        self._waiting[caller] -= n
        self.rows -= n
        return queued
