"""Print results: tables and lines for people, one JSON object with `--json`; write files atomically."""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console, RenderableType
from rich.text import Text


def print_result(value: object, text: RenderableType, *, json: bool, wrap: bool = True) -> None:
    """Print `value` as one JSON object, or `text` for people; tables are never cut at the width of a pipe.

    A text with a link is printed without `wrap`: a terminal copies a link whole only if no line end is put into it.
    """
    if json:
        Console(soft_wrap=True, highlight=False, emoji=False).print(msgspec.json.encode(value).decode(), markup=False)
    else:
        make_console().print(text, soft_wrap=not wrap)


def print_text(text: str) -> None:
    """Print a text byte for byte, in UTF-8 and with its own line ends, on every system."""
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode())
    sys.stdout.buffer.flush()


def write_atomically(text: str, path: Path) -> Path:
    """Write a text to `path` in UTF-8, completely or not at all; create the folder and return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    partial.write_text(text, encoding="utf-8", newline="\n")
    partial.replace(path)
    return path


def make_console() -> Console:
    """Return a console as wide as the terminal, or wide enough for full lines in a pipe."""
    plain = Console(highlight=False, markup=False, emoji=False)
    wide = Console(highlight=False, markup=False, emoji=False, width=max(plain.width, 200))
    return plain if plain.is_terminal else wide


def print_status(line: str) -> None:
    """Print a line with the time on stderr; stdout carries only the result."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(f"{datetime.now():%H:%M:%S} {line}", markup=False)


@contextmanager
def progress(callback: Callable[[str], object] | None = None) -> Iterator[Callable[[str], object]]:
    """Yield a progress callback: the given one, else a line of the terminal or notebook; in a pipe nothing is shown.

    The line shows the last step and the time so far. It is cleared at the end in a terminal, and stays with the total
    time in a notebook.
    """
    if callback is not None:
        yield callback
    elif (notebook := _notebook_display()) is not None:
        yield from _notebook_progress(notebook)
    else:
        terminal = Console(stderr=True, highlight=False, markup=False, emoji=False)
        line = _StatusLine()
        if not terminal.is_terminal:
            yield line.show
            return
        with terminal.status(line, spinner="line"):
            yield line.show


class _StatusLine:
    """The last step with the time so far, computed at each refresh of the terminal."""

    def __init__(self) -> None:
        self._began, self._step = time.monotonic(), "headway"

    def show(self, step: str) -> None:
        self._step = step

    def __rich__(self) -> Text:
        return Text(f"{time.monotonic() - self._began:.0f} s  {self._step}", overflow="ellipsis", no_wrap=True)


def _notebook_display() -> Callable[..., Any] | None:
    """Return IPython's `display` where a kernel runs the code; the plain `ipython` of a terminal has no kernel."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None
    if getattr(shell, "kernel", None) is None:
        return None
    display: Callable[..., Any] = importlib.import_module("IPython.display").display
    return display


def _notebook_progress(display: Callable[..., Any]) -> Iterator[Callable[[str], object]]:
    """Yield a callback that rewrites one line of the cell's output, at most ten times a second."""
    began = last = time.monotonic()
    steps = 0
    handle = display({"text/plain": "headway"}, raw=True, display_id=True)

    def show(text: str) -> None:
        nonlocal last, steps
        steps += 1
        now = time.monotonic()
        if now - last >= 0.1 or steps == 1:
            last = now
            handle.update({"text/plain": f"headway, {now - began:.0f} s: {text}"}, raw=True)

    try:
        yield show
    finally:
        done = f"headway: {steps} steps in {time.monotonic() - began:.0f} s"
        handle.update({"text/plain": done}, raw=True)
