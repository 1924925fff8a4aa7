"""Where independent tasks run: the workers of Ray, behind one small protocol."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from headway.core.errors import ConfigError
from headway.core.plugins import load_sibling

_LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Ray reads it when it is imported: with 0 a Ray of one machine listens on 127.0.0.1 on Linux as well."""

Shared = TypeVar("Shared")
Task = TypeVar("Task")
Result = TypeVar("Result")


class Workers(Protocol):
    """Processes that run tasks, on this machine or others."""

    def map(
        self, function: Callable[[Shared, Task], Result], shared: Shared, tasks: Sequence[Task]
    ) -> Iterator[tuple[int, Result]]:
        """Yield the number and the result of each task, in the order in which they end.

        `shared` is sent once to each machine. A task whose worker died runs again elsewhere, so it must be safe to
        repeat. A HeadwayError that a task raises is raised here.
        """
        ...


Compute = AbstractContextManager[Workers]


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
    own = address == "auto" and not os.environ.get("RAY_ADDRESS")
    if own:
        os.environ.setdefault(_LOOPBACK, "0")
    module: Any = load_sibling(__name__, "ray", reads="[compute] ray")
    workers: Compute = module.open_workers(address, own=own)
    return workers
