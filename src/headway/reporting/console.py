"""Print results: tables and lines for people, one JSON object with `--json`; write files atomically."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import msgspec
from rich.console import Console, RenderableType


def print_result(value: object, text: RenderableType, *, json: bool) -> None:
    """Print `value` as one JSON object, or `text` for people; tables are never cut at the width of a pipe."""
    if json:
        Console(soft_wrap=True, highlight=False, emoji=False).print(msgspec.json.encode(value).decode(), markup=False)
    else:
        make_console().print(text)


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
    """Yield a progress callback: the given one, else a line of the terminal that is cleared at the end."""
    if callback is not None:
        yield callback
        return
    terminal = Console(stderr=True, highlight=False, markup=False)
    with terminal.status("headway", spinner="line") as status:
        yield status.update
