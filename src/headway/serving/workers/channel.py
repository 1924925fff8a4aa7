"""Messages between a supervisor and its workers: lines of JSON over a pair of sockets that ends with either process.

An operator's command to load or unload a model reaches one worker. It is dispatched to all workers, and answered once
all have carried it out.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from headway.core import errors
from headway.core.errors import HeadwayError, StoreError

UNLOADED = ""
_KINDS = {name: kind for name, kind in vars(errors).items() if isinstance(kind, type)}


class RemoteError(msgspec.Struct, frozen=True):
    """An error sent to another process; of an error that is not headway's own, only the message."""

    kind: str
    what: str
    where: str = ""
    hint: str = ""

    @classmethod
    def of(cls, error: BaseException) -> RemoteError:
        """Convert an error for sending."""
        if isinstance(error, HeadwayError):
            return cls(type(error).__name__, error.what, error.where, error.hint)
        return cls("", f"{type(error).__name__}: {error}")

    @property
    def error(self) -> Exception:
        """The error, rebuilt."""
        kind = _KINDS.get(self.kind)
        return kind(self.what, where=self.where, hint=self.hint) if kind else RuntimeError(self.what)


class ModelCommand(msgspec.Struct, frozen=True, tag=True):
    """Load the model at a pointer, or unload it: sent by the worker that was asked, then to all workers."""

    number: int
    address: str
    load: bool


class CommandResult(msgspec.Struct, frozen=True, tag=True):
    """Result of a command."""

    number: int
    failure: RemoteError | None = None


class WorkerReady(msgspec.Struct, frozen=True, tag=True):
    """A worker accepts requests."""


class ModelLoaded(msgspec.Struct, frozen=True, tag=True):
    """A worker now serves this release for an address, by its digest, or `UNLOADED`."""

    address: str
    digest: str


class StartupFailed(msgspec.Struct, frozen=True, tag=True):
    """A worker could not start."""

    failure: RemoteError


class Shutdown(msgspec.Struct, frozen=True, tag=True):
    """A worker shall answer what is in flight, and end."""


Message = ModelCommand | CommandResult | WorkerReady | ModelLoaded | StartupFailed | Shutdown
_decode = msgspec.json.Decoder(Message).decode


class Channel:
    """One end of a channel; any thread may send, one thread receives."""

    def __init__(self, end: socket.socket) -> None:
        self.socket = end
        self._received = b""
        self._sending = threading.Lock()

    def fileno(self) -> int:
        """Return the file descriptor to wait for."""
        return self.socket.fileno()

    def send(self, message: Message) -> None:
        """Send a message; it is lost if the other end is gone."""
        with self._sending, suppress(OSError):
            self.socket.sendall(msgspec.json.encode(message) + b"\n")

    def receive(self) -> list[Message] | None:
        """Return the messages that have arrived, or None once the other end is gone; wait if there are none."""
        try:
            data = self.socket.recv(65_536)
        except OSError:  # the other end closed with messages of ours unread
            data = b""
        if not data:
            return None
        *lines, self._received = (self._received + data).split(b"\n")
        return [_decode(line) for line in lines]

    def close(self) -> None:
        """Close this end."""
        self.socket.close()


_WORKER_GONE = RemoteError.of(StoreError("a worker ended before it carried out the command", hint="try again"))


@dataclass(slots=True)
class _OpenCommand:
    """A command in progress: who sent it under which number, which workers are not done, and the first failure."""

    sender: Channel
    number: int
    pending: set[Channel]
    failure: RemoteError | None = None


class Dispatcher:
    """The supervisor's side of commands: sends them to all workers, and replies to the sender when all are done."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._open: dict[int, _OpenCommand] = {}

    def begin(self, command: ModelCommand, sender: Channel, workers: Iterable[Channel]) -> None:
        """Send a command to all workers."""
        number, pending = next(self._numbers), set(workers)
        self._open[number] = _OpenCommand(sender, command.number, pending)
        for worker in tuple(pending):
            worker.send(ModelCommand(number, command.address, command.load))

    def finish(self, worker: Channel, result: CommandResult) -> None:
        """Take the result of a worker."""
        self._finish(result.number, worker, result.failure)

    def remove(self, worker: Channel) -> None:
        """Fail the commands that a worker had not carried out when it ended."""
        for number in [number for number, command in self._open.items() if worker in command.pending]:
            self._finish(number, worker, _WORKER_GONE)

    def _finish(self, number: int, worker: Channel, failure: RemoteError | None) -> None:
        command = self._open[number]
        command.pending.discard(worker)
        command.failure = command.failure or failure
        if not command.pending:
            del self._open[number]
            command.sender.send(CommandResult(command.number, command.failure))


class CommandClient:
    """A worker's side of commands: sends its own to all workers, and carries out those that it receives."""

    def __init__(self, channel: Channel, *, shut_down: Callable[[], object]) -> None:
        self._channel = channel
        self._shut_down = shut_down
        self._numbers = itertools.count()
        self._sent: dict[int, Future[None]] = {}

    def start(self, load: Callable[[str, bool], Future[None]]) -> None:
        """Receive messages from now on; `load` carries out a command."""
        self._load = load
        asyncio.get_running_loop().add_reader(self._channel, self._receive)

    def send(self, address: str, load: bool) -> Future[None]:
        """Load or unload the model at a pointer in all workers."""
        number, future = next(self._numbers), Future[None]()
        self._sent[number] = future
        self._channel.send(ModelCommand(number, address, load))
        return future

    def _receive(self) -> None:
        received = self._channel.receive()
        if received is None:
            asyncio.get_running_loop().remove_reader(self._channel)
        for message in [Shutdown()] if received is None else received:
            if isinstance(message, ModelCommand):
                self._execute(message)
            elif isinstance(message, CommandResult):
                self._finish(message)
            else:
                self._shut_down()

    def _execute(self, command: ModelCommand) -> None:
        def reply(done: Future[None]) -> None:
            error = done.exception()
            if error is None and not command.load:
                self._channel.send(ModelLoaded(command.address, UNLOADED))
            self._channel.send(CommandResult(command.number, RemoteError.of(error) if error else None))

        self._load(command.address, command.load).add_done_callback(reply)

    def _finish(self, result: CommandResult) -> None:
        future = self._sent.pop(result.number)
        if result.failure is None:
            future.set_result(None)
        else:
            future.set_exception(result.failure.error)
