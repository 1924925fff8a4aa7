"""Where shared work runs: this process, or the workers of Ray, whose inputs and results are checked."""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from random import SystemRandom
from typing import Any

import msgspec

import headway
from headway.batch.settings.compute import ComputeSection
from headway.core.config import Config
from headway.core.errors import ConfigError, HeadwayError, Refused
from headway.core.plugins import load_sibling
from headway.core.record import Record, digest_of
from headway.core.workers import Compute, Result, Shared, Task, Workers, always, here

_LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Ray reads it when it is imported: with 0 a Ray of one machine listens on 127.0.0.1 on Linux as well."""


def open_workers(config: Config, *, alone: bool = False) -> Compute:
    """Return the workers of `[compute] ray`, with their results checked; this process if it is not set.

    Parameters
    ----------
    config
        Project configuration.
    alone
        Whether tasks measure speed. A Ray of our own has this machine alone, so they run in this process then.
    """
    address = config[ComputeSection].ray
    return here() if not address or (alone and _is_own(address)) else _checked(address)


@contextmanager
def _checked(address: str) -> Iterator[Workers]:
    with open_ray(address) as workers:
        yield CheckedWorkers(workers)


def open_ray(address: str) -> Compute:
    """Return the workers of `[compute] ray`; raise PluginError with a hint if Ray is not installed.

    Parameters
    ----------
    address
        `auto` for the cluster that RAY_ADDRESS names, else a Ray of its own on this machine; or `ray://HOST:PORT`.
    """
    if address != "auto" and not address.startswith("ray://"):
        raise ConfigError(
            f"'{address}' is not an address of Ray",
            where="[compute] ray",
            hint='ray = "auto", or ray = "ray://HOST:10001"',
        )
    own = _is_own(address)
    if own:
        os.environ.setdefault(_LOOPBACK, "0")
    module: Any = load_sibling(__name__, "ray", reads="[compute] ray")
    workers: Compute = module.open_workers(address, own=own)
    return workers


def _is_own(address: str) -> bool:
    return address == "auto" and not os.environ.get("RAY_ADDRESS")


class _Packer(pickle.Pickler):
    """Pickles what goes to a worker or comes from it.

    A record goes as its own bytes: pickle would make new objects of its defaults, and its digest leaves those out by
    their identity. A whole configuration, which says where the keys lie, is refused.
    """

    def reducer_override(self, value: Any) -> Any:
        """Return how a record is built again; raise Refused for the whole configuration of a project."""
        if isinstance(value, Config):
            raise Refused("the settings of a project stay on this machine", hint="send a worker the settings it reads")
        if isinstance(value, Record):
            return _read_record, (type(value), msgspec.msgpack.encode(value))
        return NotImplemented


def _read_record(kind: type[Record], content: bytes) -> Record:
    return msgspec.msgpack.decode(content, type=kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """What a worker is given or returns: pickled, with its digest and the version of headway that packed it."""

    content: bytes
    digest: str
    version: str

    @classmethod
    def of(cls, value: object) -> Packed:
        """Pack a value; raises Refused for what must not leave this machine."""
        buffer = io.BytesIO()
        _Packer(buffer, protocol=pickle.HIGHEST_PROTOCOL).dump(value)
        content = buffer.getvalue()
        return cls(content=content, digest=digest_of(content), version=headway.__version__)

    def open(self) -> Any:
        """Return the value; raise Refused if its bytes were changed, or another headway packed it."""
        if self.version != headway.__version__:
            raise Refused(
                f"headway {headway.__version__} was sent work of headway {self.version}",
                hint="pip install the same version on every node",
            )
        if digest_of(self.content) != self.digest:
            raise Refused("work was changed on its way to a worker or back")
        return pickle.loads(self.content)  # noqa: S301 (Ray hands over pickles of the driver anyway)


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedReply:
    """The result of a task, with the digests of what the worker was given for it."""

    inputs: tuple[str, str]
    result: Packed


def run_packed(shared: Packed, task: Packed) -> PackedReply:
    """Run one task in a worker process."""
    if shared.digest not in _opened:
        _opened.clear()
        _opened[shared.digest] = shared.open()
    function, value = _opened[shared.digest]
    return PackedReply(inputs=(shared.digest, task.digest), result=Packed.of(function(value, task.open())))


_opened: dict[str, tuple[Callable[[Any, Any], Any], Any]] = {}
"""The function and the shared value that this worker opened last, by their digest: it runs many tasks with them."""


class CheckedWorkers:
    """Workers whose results name their inputs, and of which this process computes two tasks of each map again.

    One is the first that ends, the other is drawn from the rest after the fact. No result is handed out before both
    were compared to the bit. Tasks that run alone are handed out at once and not repeated: a time is never the same
    twice.
    """

    def __init__(self, workers: Workers) -> None:
        self._workers, self._draw = workers, SystemRandom()

    def map(
        self,
        function: Callable[[Shared, Task], Result],
        shared: Shared,
        tasks: Iterable[Task],
        *,
        proceed: Callable[[], bool] = always,
        alone: bool = False,
    ) -> Iterator[tuple[int, Result]]:
        """Yield the number and the result of each task; raise Refused if one is not that of its inputs.

        `function` is one of a module, and it, `shared` and each task can be pickled.
        """
        packed, sent = Packed.of((function, shared)), dict[int, tuple[Task, str]]()

        def packed_tasks() -> Iterator[Packed]:
            for number, task in enumerate(tasks):
                content = Packed.of(task)
                sent[number] = (task, content.digest)
                yield content

        found: dict[int, tuple[Task, Result]] = {}
        replies = self._workers.map(run_packed, packed, packed_tasks(), proceed=proceed, alone=alone)
        for number, reply in replies:
            task, digest = sent.pop(number)
            result = reply.result.open()
            if reply.inputs != (packed.digest, digest):
                raise Refused("a worker returned the result of another task")
            if alone:
                yield number, result
                continue
            if not found:  # work that is never the same twice is noticed now, and not after the last task
                _compare(function(shared, task), result)
            found[number] = task, result
        if len(found) > 1:
            task, result = self._draw.choice(list(found.values())[1:])
            _compare(function(shared, task), result)
        for number, (_, result) in found.items():
            yield number, result


def _compare(here: object, there: object) -> None:
    """Raise Refused if two results differ in one bit."""
    if fingerprint(here) != fingerprint(there):
        raise Refused(
            "a worker's result differs from that of the same task on this machine",
            where="[compute] ray",
            hint="set the seed, one thread and deterministic = true of the library in the training function, and use "
            'nodes of one kind; or run on this machine alone: ray = ""',
        )


def fingerprint(result: object) -> str:
    """Return the digest of a result: of a dataclass those fields that take part in a comparison."""
    if is_dataclass(result):
        result = [getattr(result, field.name) for field in fields(result) if field.compare]
    return digest_of(msgspec.msgpack.encode(result, enc_hook=_parts_of))


def _parts_of(error: HeadwayError) -> list[str]:
    """Return what is compared of an error that stands for a result."""
    return [type(error).__name__, error.what, error.where, error.hint]
