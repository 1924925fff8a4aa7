"""The supervisor: forks the workers and the log writer, replaces those that die, and dispatches operators' commands.

It has no threads and no event loop, and opens no model and no database, so that it can fork at any time.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import NamedTuple, NoReturn

from headway.core.config import Config
from headway.core.errors import EngineError
from headway.core.settings.store import StoreSection
from headway.serving.auth.authenticator import shared_rate_limits
from headway.serving.auth.tokens import shared_keys
from headway.serving.http.listener import close_sockets
from headway.serving.settings.serve import ServeSection
from headway.serving.store_health import StoreHealth
from headway.serving.telemetry.metrics import ALIVE, LOGS, WORKERS, Metrics, SharedMetrics
from headway.serving.telemetry.prediction_log import LogBuffers
from headway.serving.workers import worker
from headway.serving.workers.channel import (
    Channel,
    CommandResult,
    Dispatcher,
    Message,
    ModelCommand,
    ModelLoaded,
    Shutdown,
    StartupFailed,
    WorkerReady,
)
from headway.serving.workers.log_shipper import shipping
from headway.serving.workers.log_writer import LogWriter, run_log_writer
from headway.serving.workers.worker import WorkerConfig
from headway.storage.addresses import open_logs

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_EARLY_S = 10.0
_FIRST_PAUSE_S, _MAX_PAUSE_S = 0.1, 10.0
_SPARE_S = 5.0  # for a worker to end, beyond the time that its requests may take
_log = logging.getLogger(__name__)


class Companion(NamedTuple):
    """A process of another kind that runs as long as the server: its name for messages, what it runs, its sockets."""

    name: str
    run: Callable[[Channel], object]
    listening: Sequence[socket.socket] = ()


@dataclass(frozen=True, slots=True, eq=False)
class ChildProcess:
    """A forked process and its channel, which closes when it ends; `name` is for messages."""

    name: str
    pid: int
    channel: Channel
    born: float = field(default_factory=monotonic)

    def kill(self) -> None:
        """Kill the process; it must still be waited for."""
        os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> str:
        """Wait for the end of the process, and return how it ended."""
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self.channel.close()
        return f"ended by signal {-code}" if code < 0 else f"ended with exit code {code}"


def fork(name: str, run: Callable[[Channel], object], *, close: Iterable[Channel | socket.socket]) -> ChildProcess:
    """Fork a child that runs a function with its end of the channel, and then exits.

    `close` lists what the child does not need.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    ours, theirs = (Channel(end) for end in socket.socketpair())
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)  # until the child ignores them
    pid = os.fork()
    if not pid:
        _run_child(run, theirs, (ours, *close))
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    theirs.close()
    return ChildProcess(name, pid, ours)


def _run_child(
    run: Callable[[Channel], object], channel: Channel, close: Iterable[Channel | socket.socket]
) -> NoReturn:
    """Run the child and exit here, because the stack above belongs to the supervisor.

    It ignores the stop signals: a terminal, and systemd, send them to every process, but the supervisor decides when
    each child stops.
    """
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in _STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        for unused in close:
            unused.close()
        run(channel)
        code = 0
    finally:
        if code:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


@dataclass(slots=True, eq=False)
class _Slot:
    """The place of a worker, of the log writer or of a companion: its process, and when the next one is started.

    The log writer and a companion have no number.
    """

    number: int | None
    companion: Companion | None = None
    child: ChildProcess | None = None
    ready: bool = False
    early_deaths: int = 0
    due: float = 0.0

    @property
    def name(self) -> str:
        """Name for messages."""
        if self.companion:
            return self.companion.name
        return "the log process" if self.number is None else f"worker {self.number}"

    @property
    def is_awaited(self) -> bool:
        """Whether the server begins, and a stop goes on to the log, only with this process."""
        return self.number is not None or self.companion is not None

    def release(self, child: ChildProcess) -> float:
        """Free the slot; returns the seconds until a restart, which grow if processes die soon after their start."""
        self.child, self.ready = None, False
        self.early_deaths = self.early_deaths + 1 if monotonic() - child.born < _EARLY_S else 1
        pause = 0.0 if self.early_deaths == 1 else min(_FIRST_PAUSE_S * 2 ** (self.early_deaths - 2), _MAX_PAUSE_S)
        self.due = monotonic() + pause
        return pause


class Supervisor:
    """Runs workers until a signal stops it."""

    def __init__(
        self,
        config: Config,
        references: Sequence[str],
        bound: Sequence[list[socket.socket]],
        companions: Sequence[Companion] = (),
    ) -> None:
        workers = len(bound)
        self._config = config
        self._bound = bound
        self._memory = SharedMetrics(workers, models=len(references))
        self._rate_limits = shared_rate_limits(workers, fed=bool(config[StoreSection].feed))
        self._issuer_keys = shared_keys()
        self._counters = self._memory.fleet.row(0)
        has_log = config[ServeSection].log_mode != "off"
        if has_log:
            open_logs(config)  # refuses a store that cannot keep the log, before anything is served
        self._buffers = LogBuffers(workers, config[ServeSection].log_buffer_mb << 20) if has_log else None
        own = Metrics(self._memory, workers)
        self._health = StoreHealth(own.away)
        self._log_writer = LogWriter(config, self._buffers, lost=own.lost, aside=own.aside) if self._buffers else None
        self._deployed: dict[str, str | None] = dict.fromkeys(references)
        self._workers = [_Slot(number) for number in range(workers)]
        self._slots = [
            *self._workers,
            *([_Slot(None)] if self._buffers else []),
            *(_Slot(None, companion) for companion in companions),
        ]
        self._dispatcher = Dispatcher()
        self._signals: list[signal.Signals] = []
        self._started = self._stopping = False
        self._reason: Exception | None = None
        self._failed: Exception | None = None

    def run(self, announce: Callable[[str], object]) -> signal.Signals:
        """Serve until a signal, and return it once all processes have ended.

        Announces what is served when all workers and companions are ready. Raises what kept one of them from starting.
        """
        with self._receiving_signals():
            try:
                self._start()
                if not self._signals:
                    announce(", ".join(f"{address} {digest}" for address, digest in self._deployed.items()))
                while not self._signals:
                    self._step()
            finally:
                self._stop()
        return self._signals[0]

    def _start(self) -> None:
        for slot in self._slots:
            self._fork(slot)
        while not self._signals and not all(slot.ready for slot in self._slots if slot.is_awaited):
            self._step()
            if self._failed:
                raise self._failed
        self._started = True

    def _step(self, within_s: float | None = None) -> None:
        """Wait for a message, a signal or a due restart, and handle it."""
        by_channel = {slot.child.channel: slot for slot in self._slots if slot.child}
        free = [] if self._stopping else [slot for slot in self._slots if not slot.child]
        waits = [max(0.0, slot.due - monotonic()) for slot in free]
        if within_s is not None:
            waits.append(within_s)
        sources: list[socket.socket | Channel] = [self._signal_reader, *by_channel]
        for source in select.select(sources, [], [], min(waits, default=None))[0]:
            if isinstance(source, Channel):
                self._receive(by_channel[source], source)
            else:
                received = self._signal_reader.recv(64)
                self._signals += [signal.Signals(number) for number in received if number in _STOP_SIGNALS]
        for slot in [slot for slot in free if slot.due <= monotonic()]:
            if slot.companion is None:
                self._counters[LOGS if slot.number is None else WORKERS] += 1
            self._fork(slot)

    def _receive(self, slot: _Slot, channel: Channel) -> None:
        child, messages = slot.child, channel.receive()
        assert child
        if messages is None:
            self._handle_exit(slot, child)
        for message in messages or ():
            self._handle(slot, child, message)

    def _handle(self, slot: _Slot, child: ChildProcess, message: Message) -> None:
        match message:
            case WorkerReady():
                slot.ready = True
                self._count_alive()
            case ModelLoaded(address, digest):
                self._deployed[address] = digest
            case ModelCommand():
                workers = [worker.child.channel for worker in self._workers if worker.child]
                self._dispatcher.begin(message, child.channel, workers)
            case StartupFailed(failure):
                self._reason = failure.error
                if self._started:
                    _log.error("%s cannot start: %s", child.name, failure.error)
            case _:
                assert isinstance(message, CommandResult)
                self._dispatcher.finish(child.channel, message)

    def _handle_exit(self, slot: _Slot, child: ChildProcess) -> None:
        how, pause = child.wait(), slot.release(child)
        self._count_alive()
        self._dispatcher.remove(child.channel)
        if self._stopping:
            return
        if not self._started and slot.is_awaited:
            self._failed = self._reason or EngineError(f"{child.name} {how} before it was ready")
            return
        when = f"in {pause:g} s" if pause else "now"
        _log.error("%s (process %d) %s; it is restarted %s", child.name, child.pid, how, when)

    def _count_alive(self) -> None:
        self._counters[ALIVE] = sum(slot.ready for slot in self._workers)

    def _fork(self, slot: _Slot) -> None:
        channels = [other.child.channel for other in self._slots if other.child]
        theirs = [opened for number, bound in enumerate(self._bound) for opened in bound if number != slot.number]
        companion = slot.companion
        others = [other.companion for other in self._slots if other is not slot and other.companion]
        theirs += [opened for other in others for opened in other.listening]
        slot.child = fork(
            slot.name,
            companion.run if companion else lambda channel: self._run_child(slot.number, channel),
            close=[self._signal_reader, self._signal_writer, *channels, *theirs],
        )

    def _run_child(self, number: int | None, channel: Channel) -> None:
        """Run the log writer or a worker, in the child."""
        buffers, config = self._buffers, self._config
        if number is None:
            assert buffers
            assert self._log_writer
            with shipping(config, buffers, self._health):
                run_log_writer(self._log_writer, buffers.wakeup, flush_s=config[ServeSection].log_flush_s)
            return
        if buffers:
            buffers.wakeup.keep_writer()
        settings = WorkerConfig(
            config=config,
            number=number,
            sockets=self._bound[number],
            memory=self._memory,
            rate_limits=self._rate_limits,
            issuer_keys=self._issuer_keys,
            buffers=buffers,
            deployed=self._deployed,
        )
        worker.run_worker(settings, channel)

    def _stop(self) -> None:
        """Let the workers answer what is in flight, then flush the log to disk."""
        self._stopping, settings = True, self._config[ServeSection]
        close_sockets([opened for bound in self._bound for opened in bound])
        awaited = [slot for slot in self._slots if slot.is_awaited]
        for slot in awaited:
            if slot.child:
                slot.child.channel.send(Shutdown())
        ends = monotonic() + settings.shutdown_delay_s + settings.drain_s + _SPARE_S
        while children := [slot.child for slot in awaited if slot.child]:
            if self._failed or len(self._signals) > 1 or monotonic() > ends:
                for child in children:
                    child.kill()
            self._step(max(0.0, ends - monotonic()))
        if self._buffers and self._log_writer:
            self._finish_log(self._buffers, self._log_writer)

    def _finish_log(self, buffers: LogBuffers, writer: LogWriter) -> None:
        """Wait for the log writer, and write here what it has left."""
        buffers.wakeup.keep_reader()
        while any(slot.child for slot in self._slots):
            self._step()
        if not writer.write():
            writer.give_up()
        buffers.wakeup.keep_writer()

    @contextmanager
    def _receiving_signals(self) -> Iterator[None]:
        self._signal_reader, self._signal_writer = socket.socketpair()
        self._signal_writer.setblocking(False)
        wakeup = signal.set_wakeup_fd(self._signal_writer.fileno(), warn_on_full_buffer=False)
        handlers = {number: signal.signal(number, lambda *_: None) for number in _STOP_SIGNALS}
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(wakeup)
            close_sockets([self._signal_reader, self._signal_writer])
