"""The model repository extension: which models there are, and an operator's word to take one or to let it go.

A release is loaded as its pointer says and as it was signed: no file and no setting of a caller is taken.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import msgspec

from headway.core.errors import HeadwayError
from headway.serving.batching.data_plane import DataPlane
from headway.serving.http.connection import Request
from headway.serving.loading import LoadedModel
from headway.serving.protocol.errors import RequestError, encode, error_body, request_error
from headway.serving.protocol.schemas import ModelIndexEntry

_log = logging.getLogger(__name__)


class IndexRequest(msgspec.Struct):
    """The body of a request for the index: whether only models that take requests are asked for."""

    ready: bool = False


class LoadRequest(msgspec.Struct):
    """The body of a load or unload; a release is taken as it was signed, whatever the parameters."""

    parameters: dict[str, Any] = {}


class Pointers(Protocol):
    """Who keeps the releases at their pointers (`serve.follow.Follower`)."""

    def load(self, address: str) -> LoadedModel:
        """Take what a pointer is at; raises HeadwayError where it does not verify."""
        ...

    def unload(self, address: str) -> None:
        """Follow a pointer no more."""
        ...


class ModelRepository:
    """The models that a server was started with, by name; `addresses` says at which pointer each is.

    Loading takes a thread; `soon` runs a function on the loop (`loop.call_soon_threadsafe`).
    """

    def __init__(
        self,
        plane: DataPlane,
        pointers: Pointers,
        *,
        addresses: Mapping[str, str],
        soon: Callable[[Callable[[], None]], object],
    ) -> None:
        self._plane = plane
        self._pointers = pointers
        self._addresses = addresses
        self._soon = soon
        self.everywhere = self.act  # in a fleet: what has each process act
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="repository")

    def index(self, *, ready: bool) -> list[ModelIndexEntry]:
        """Each model with its state; `ready` leaves out those that were unloaded."""
        here = self._plane.releases
        listed = [ModelIndexEntry(name, release.version, "READY") for name, release in here.items()]
        gone = [ModelIndexEntry(name, "", "UNAVAILABLE", "unloaded") for name in self._addresses if name not in here]
        return listed if ready else listed + gone

    def callback(self, request: Request, name: str, *, load: bool) -> None:
        """Load or unload a model at an operator's word, and answer when it is done."""
        try:
            work = self.order(name, load=load)
        except RequestError as error:
            request.reply(error.status, error_body(error))
            return
        work.add_done_callback(lambda done: self._soon(lambda: _reply(request, done)))

    def order(self, name: str, *, load: bool) -> Future[None]:
        """Begin to load or unload a model at an operator's word; raises Unanswered where none such was there."""
        address = self._addresses.get(name)
        if address is None:
            raise RequestError(404, f"no model '{name}'", hint=f"there are: {', '.join(self._addresses)}")
        return self.everywhere(address, load)

    def act(self, address: str, load: bool) -> Future[None]:
        """Load or unload what is at a pointer, in this process."""
        return self._pool.submit(self._load if load else self._unload, address)

    def close(self) -> None:
        """Do what was taken on, and end the thread."""
        self._pool.shutdown()

    def _load(self, address: str) -> None:
        release = self._pointers.load(address)
        _log.warning("%s was loaded at an operator's word: release %s", address, release.digest)

    def _unload(self, address: str) -> None:
        self._pointers.unload(address)
        name = next(name for name, at in self._addresses.items() if at == address)
        self._soon(lambda: self._plane.leave(name))
        _log.warning("%s was unloaded at an operator's word", address)


def load_error(error: BaseException) -> RequestError:
    """What an operator is told whose word was not done: 503 or 422 with the reason, or that it is a defect of ours."""
    if isinstance(error, HeadwayError):
        return request_error(error)
    _log.error("a model was not loaded", exc_info=error)
    return RequestError(500, "the model was not loaded; the server's log says more")


def _reply(request: Request, done: Future[None]) -> None:
    error = done.exception()
    if error is None:
        request.reply(200, encode({}))
        return
    why = load_error(error)
    request.reply(why.status, error_body(why))
