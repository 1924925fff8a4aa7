"""The supervisor of a fleet: forks workers and the process of the log, replaces who dies, and passes orders on.

It has no threads and no event loop, and opens no model and no database, so that it can be forked at any time.
"""

from __future__ import annotations

import logging
import select
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic

from headway.core.config import Config
from headway.core.errors import EngineError
from headway.serving.auth.authenticator import shared_rate_limits
from headway.serving.telemetry.metrics import ALIVE, LOGS, WORKERS, Metrics, SharedMetrics
from headway.serving.workers import log_writer as log_writer
from headway.serving.workers import sockets, worker
from headway.serving.workers.channel import (
    Channel,
    CommandResult,
    Message,
    ModelCommand,
    ModelLoaded,
    Shutdown,
    StartupFailed,
    WorkerReady,
)
from headway.serving.workers.child import ChildProcess, fork
from headway.serving.workers.dispatcher import Dispatcher
from headway.serving.workers.log_writer import LogBuffers, LogWriter
from headway.serving.workers.worker import WorkerConfig

_ENDS = (signal.SIGTERM, signal.SIGINT)
_EARLY_S = 10.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 10.0
_LEAVE_S = worker.DRAIN_S + 5.0
_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Place:
    """A worker's number, None for the log; who holds it, and when its next holder is due."""

    number: int | None
    child: ChildProcess | None = None
    ready: bool = False
    early: int = 0
    due: float = 0.0

    def lost(self, child: ChildProcess) -> float:
        """Be free again; gives the seconds until the next holder is due, more where they die one after the other."""
        self.child, self.ready = None, False
        self.early = self.early + 1 if monotonic() - child.born < _EARLY_S else 1
        pause = 0.0 if self.early == 1 else min(_FIRST_PAUSE_S * 2 ** (self.early - 2), _LONGEST_PAUSE_S)
        self.due = monotonic() + pause
        return pause


class Supervisor:
    """Keeps a fleet whole until a signal ends it."""

    def __init__(self, config: Config, references: Sequence[str], bound: Sequence[list[socket.socket]]) -> None:
        workers = len(bound)
        self._config = config
        self._bound = bound
        self._memory = SharedMetrics(workers, models=len(references))
        self._paces = shared_rate_limits(workers)
        self._counts = self._memory.fleet.row(0)
        self._buffers = LogBuffers(workers, config.serve.log_buffer_mb << 20) if config.serve.log else None
        self._present: dict[str, str | None] = dict.fromkeys(references)
        self._workers = [_Place(number) for number in range(workers)]
        self._places = [*self._workers, *([_Place(None)] if self._buffers else [])]
        self._rounds = Dispatcher()
        self._told: list[signal.Signals] = []
        self._began = self._leaving = False
        self._why: Exception | None = None
        self._failed: Exception | None = None

    def run(self, announce: Callable[[str], object]) -> signal.Signals:
        """Serve until a signal comes, and return it once all have left; announces what is served when all are there.

        Raises what kept a worker from beginning.
        """
        with self._hearing_signals():
            try:
                self._begin()
                if not self._told:
                    announce(", ".join(f"{address} {digest}" for address, digest in self._present.items()))
                while not self._told:
                    self._turn()
            finally:
                self._leave()
        return self._told[0]

    def _begin(self) -> None:
        for place in self._places:
            self._fork(place)
        while not self._told and not all(place.ready for place in self._workers):
            self._turn()
            if self._failed:
                raise self._failed
        self._began = True

    def _turn(self, within_s: float | None = None) -> None:
        """Wait until something comes, or somebody is due, and see to it."""
        held = {place.child.line: place for place in self._places if place.child}
        due = [] if self._leaving else [place for place in self._places if not place.child]
        waits = [max(0.0, place.due - monotonic()) for place in due]
        if within_s is not None:
            waits.append(within_s)
        ears: list[socket.socket | Channel] = [self._ears, *held]
        for each in select.select(ears, [], [], min(waits, default=None))[0]:
            if isinstance(each, Channel):
                self._hear(held[each], each)
            else:
                self._told += [signal.Signals(number) for number in self._ears.recv(64) if number in _ENDS]
        for place in [each for each in due if each.due <= monotonic()]:
            self._counts[LOGS if place.number is None else WORKERS] += 1
            self._fork(place)

    def _hear(self, place: _Place, line: Channel) -> None:
        child, said = place.child, line.hear()
        assert child
        if said is None:
            self._lost(place, child)
        for message in said or ():
            self._take(place, child, message)

    def _take(self, place: _Place, child: ChildProcess, message: Message) -> None:
        match message:
            case WorkerReady():
                place.ready = True
                self._count()
            case ModelLoaded(address, digest):
                self._present[address] = digest
            case ModelCommand():
                self._rounds.begin(message, child, [each.child for each in self._workers if each.child])
            case StartupFailed(failure):
                self._why = failure.error
                if self._began:
                    _log.error("%s cannot begin: %s", child.name, failure.error)
            case _:
                assert isinstance(message, CommandResult)
                self._rounds.done(child, message)

    def _lost(self, place: _Place, child: ChildProcess) -> None:
        how, pause = child.wait(), place.lost(child)
        self._count()
        self._rounds.gone(child)
        if self._leaving:
            return
        if not self._began and place.number is not None:
            self._failed = self._why or EngineError(f"{child.name} {how} before it answered")
            return
        when = f"in {pause:g} s" if pause else "at once"
        _log.error("%s (process %d) %s; another takes its place %s", child.name, child.pid, how, when)

    def _count(self) -> None:
        self._counts[ALIVE] = sum(place.ready for place in self._workers)

    def _fork(self, place: _Place) -> None:
        others = [each.child.line for each in self._places if each.child]
        theirs = [each for number, bound in enumerate(self._bound) for each in bound if number != place.number]
        place.child = fork(
            place.number, lambda line: self._be(place.number, line), drop=[self._ears, self._mouth, *others, *theirs]
        )

    def _be(self, number: int | None, line: Channel) -> None:
        """What a child does."""
        buffers, config = self._buffers, self._config
        if number is None:
            assert buffers
            log_writer.run_log_writer(self._keeper(buffers), buffers.wakeup, flush_s=config.serve.log_flush_s)
            return
        if buffers:
            buffers.wakeup.keep_writer()
        post = WorkerConfig(
            config=config,
            number=number,
            sockets=self._bound[number],
            memory=self._memory,
            rate_limits=self._paces,
            buffers=buffers,
            deployed=self._present,
        )
        worker.run_worker(post, line)

    def _keeper(self, buffers: LogBuffers) -> LogWriter:
        dropped = Metrics(self._memory, len(self._workers)).dropped
        return LogWriter(self._config.state, buffers, dropped=dropped)

    def _leave(self) -> None:
        """Take no more connections, let workers answer what is in flight, and see that the log is on disk."""
        self._leaving = True
        sockets.close([each for bound in self._bound for each in bound])
        for place in self._workers:
            if place.child:
                place.child.line.say(Shutdown())
        ends = monotonic() + _LEAVE_S
        while there := [place.child for place in self._workers if place.child]:
            if self._failed or len(self._told) > 1 or monotonic() > ends:
                for child in there:
                    child.kill()
            self._turn(max(0.0, ends - monotonic()))
        if self._buffers:
            self._end_log(self._buffers)

    def _end_log(self, buffers: LogBuffers) -> None:
        """Wait for the process of the log; what it has left undone is done here."""
        buffers.wakeup.keep_reader()
        while any(place.child for place in self._places):
            self._turn()
        self._keeper(buffers).keep()
        buffers.wakeup.keep_writer()

    @contextmanager
    def _hearing_signals(self) -> Iterator[None]:
        self._ears, self._mouth = socket.socketpair()
        self._mouth.setblocking(False)
        wakeup = signal.set_wakeup_fd(self._mouth.fileno(), warn_on_full_buffer=False)
        handlers = {each: signal.signal(each, lambda *_: None) for each in _ENDS}
        try:
            yield
        finally:
            for each, handler in handlers.items():
                signal.signal(each, handler)
            signal.set_wakeup_fd(wakeup)
            sockets.close([self._ears, self._mouth])
