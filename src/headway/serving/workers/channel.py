"""What a supervisor and its workers tell each other: lines of JSON, over a pair of sockets that ends with either."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

import msgspec

from headway.core import errors
from headway.core.errors import HeadwayError

UNLOADED = ""
_KINDS = {name: kind for name, kind in vars(errors).items() if isinstance(kind, type)}


class RemoteError(msgspec.Struct, frozen=True):
    """An error on its way to another process; of one that is not ours, its words alone."""

    kind: str
    what: str
    where: str = ""
    hint: str = ""

    @classmethod
    def of(cls, error: BaseException) -> RemoteError:
        """An error as it can be told."""
        if isinstance(error, HeadwayError):
            return cls(type(error).__name__, error.what, error.where, error.hint)
        return cls("", f"{type(error).__name__}: {error}")

    @property
    def error(self) -> Exception:
        """The error anew."""
        kind = _KINDS.get(self.kind)
        return kind(self.what, where=self.where, hint=self.hint) if kind else RuntimeError(self.what)


class ModelCommand(msgspec.Struct, frozen=True, tag=True):
    """Load what a pointer is at, or unload it: asked by a worker that was told so, and then asked of every worker."""

    number: int
    address: str
    load: bool


class CommandResult(msgspec.Struct, frozen=True, tag=True):
    """What came of an order."""

    number: int
    failure: RemoteError | None = None


class WorkerReady(msgspec.Struct, frozen=True, tag=True):
    """A worker answers requests."""


class ModelLoaded(msgspec.Struct, frozen=True, tag=True):
    """A worker has this release for an address now, by its digest, or `UNLOADED`."""

    address: str
    digest: str


class StartupFailed(msgspec.Struct, frozen=True, tag=True):
    """A worker could not begin."""

    failure: RemoteError


class Shutdown(msgspec.Struct, frozen=True, tag=True):
    """A worker is to answer what is in flight, and to end."""


Message = ModelCommand | CommandResult | WorkerReady | ModelLoaded | StartupFailed | Shutdown
_decode = msgspec.json.Decoder(Message).decode


class Channel:
    """One end of a line; any thread may say, one thread hears."""

    def __init__(self, end: socket.socket) -> None:
        self.socket = end
        self._heard = b""
        self._saying = threading.Lock()

    def fileno(self) -> int:
        """Its descriptor, to wait for what comes."""
        return self.socket.fileno()

    def say(self, message: Message) -> None:
        """Tell the other end, which may be gone."""
        with self._saying, suppress(OSError):
            self.socket.sendall(msgspec.json.encode(message) + b"\n")

    def hear(self) -> list[Message] | None:
        """What has come; None once the other end is gone. Waits where nothing has."""
        try:
            data = self.socket.recv(65_536)
        except OSError:  # it ended with words of ours unread
            data = b""
        if not data:
            return None
        *lines, self._heard = (self._heard + data).split(b"\n")
        return [_decode(line) for line in lines]

    def close(self) -> None:
        """Let go of this end."""
        self.socket.close()
