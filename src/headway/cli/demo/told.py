"""Stages of a run with their times, said as they begin and end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, RenderableType

from headway.reporting.story import Stage


class StageReporter:
    """Tells a person what goes on, and remembers how long each stage took."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.stages: list[Stage] = []

    @contextmanager
    def stage(self, title: str) -> Iterator[None]:
        """A stage: its title when it begins, its seconds when it ends."""
        self._console.rule(f"{len(self.stages) + 1}. {title}", align="left")
        began = time.perf_counter()
        yield
        seconds = time.perf_counter() - began
        self.stages.append(Stage(name=title, seconds=seconds))
        self._console.print(f"{seconds:.1f} s")

    def callback(self, what: RenderableType) -> None:
        """A line of progress, or a table."""
        self._console.print(what)
