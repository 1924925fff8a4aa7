"""Where independent tasks run: in this process, or on the workers that a caller passes in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, TypeVar

Shared = TypeVar("Shared")
Task = TypeVar("Task")
Result = TypeVar("Result")


def always() -> bool:
    return True


class Workers(Protocol):
    """Processes that run tasks, on this machine or others."""

    def map(
        self,
        function: Callable[[Shared, Task], Result],
        shared: Shared,
        tasks: Iterable[Task],
        *,
        proceed: Callable[[], bool] = always,
        alone: bool = False,
    ) -> Iterator[tuple[int, Result]]:
        """Yield the number and the result of each task, in the order in which they end.

        `shared` is sent once to each machine. A task whose worker died runs again elsewhere, so it must be safe to
        repeat. A HeadwayError that a task raises is raised here. `proceed` is called once before each task starts, and
        none starts after it returned False. Tasks that run `alone` measure speed: one at a time on each machine, which
        is of the same kind as this one.
        """
        ...


class ThisProcess:
    """Runs each task when its result is asked for, one after the other."""

    def map(
        self,
        function: Callable[[Shared, Task], Result],
        shared: Shared,
        tasks: Iterable[Task],
        *,
        proceed: Callable[[], bool] = always,
        alone: bool = False,  # every task does
    ) -> Iterator[tuple[int, Result]]:
        """Yield the number and the result of each task, in their order."""
        for number, task in enumerate(tasks):
            if not proceed():
                return
            yield number, function(shared, task)


HERE = ThisProcess()
Compute = AbstractContextManager[Workers]


def here() -> Compute:
    """Return this process as the place where tasks run."""
    return nullcontext(HERE)
