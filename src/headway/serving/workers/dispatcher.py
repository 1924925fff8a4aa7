"""Orders on their way through a fleet: what one worker is told to load or unload, all do, and then it is answered."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass

from headway.core.errors import StoreError
from headway.serving.workers.channel import (
    UNLOADED,
    Channel,
    CommandResult,
    ModelCommand,
    ModelLoaded,
    RemoteError,
    Shutdown,
)
from headway.serving.workers.child import ChildProcess

_GONE = RemoteError.of(StoreError("a worker ended before it had done so", hint="ask once more"))


@dataclass(slots=True)
class _Round:
    """An order that workers are about: who gave it, under which number, who has still to do it, what went wrong."""

    giver: ChildProcess
    number: int
    doing: set[ChildProcess]
    failure: RemoteError | None = None


class Dispatcher:
    """The supervisor's part: asks all workers, and answers the one who gave the order once none is left to do it."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._open: dict[int, _Round] = {}

    def begin(self, order: ModelCommand, giver: ChildProcess, workers: Iterable[ChildProcess]) -> None:
        """Pass an order on to all workers."""
        number, doing = next(self._numbers), set(workers)
        self._open[number] = _Round(giver, order.number, doing)
        for child in doing:
            child.line.say(ModelCommand(number, order.address, order.load))

    def done(self, child: ChildProcess, done: CommandResult) -> None:
        """A worker has done its part."""
        self._take(done.number, child, done.failure)

    def gone(self, child: ChildProcess) -> None:
        """A worker has ended: what it was about is not done."""
        for number in [number for number, each in self._open.items() if child in each.doing]:
            self._take(number, child, _GONE)

    def _take(self, number: int, child: ChildProcess, failure: RemoteError | None) -> None:
        each = self._open[number]
        each.doing.discard(child)
        each.failure = each.failure or failure
        if not each.doing:
            del self._open[number]
            each.giver.line.say(CommandResult(each.number, each.failure))


class CommandClient:
    """The orders of a worker: it passes on what it was told to load or unload, and does what all are told to do."""

    def __init__(self, line: Channel, *, leave: Callable[[], object]) -> None:
        self._line = line
        self._leave = leave
        self._numbers = itertools.count()
        self._given: dict[int, Future[None]] = {}

    def begin(self, act: Callable[[str, bool], Future[None]]) -> None:
        """Hear what is said from now on, and let `act` do it."""
        self._act = act
        asyncio.get_running_loop().add_reader(self._line, self._hear)

    def give(self, address: str, load: bool) -> Future[None]:
        """Have all workers load or unload what is at a pointer."""
        number, future = next(self._numbers), Future[None]()
        self._given[number] = future
        self._line.say(ModelCommand(number, address, load))
        return future

    def _hear(self) -> None:
        said = self._line.hear()
        if said is None:
            asyncio.get_running_loop().remove_reader(self._line)
        for message in [Shutdown()] if said is None else said:
            if isinstance(message, ModelCommand):
                self._do(message)
            elif isinstance(message, CommandResult):
                self._done(message)
            else:
                self._leave()

    def _do(self, order: ModelCommand) -> None:
        def callback(done: Future[None]) -> None:
            error = done.exception()
            if error is None and not order.load:
                self._line.say(ModelLoaded(order.address, UNLOADED))
            self._line.say(CommandResult(order.number, RemoteError.of(error) if error else None))

        self._act(order.address, order.load).add_done_callback(callback)

    def _done(self, done: CommandResult) -> None:
        future = self._given.pop(done.number)
        if done.failure is None:
            future.set_result(None)
        else:
            future.set_exception(done.failure.error)
