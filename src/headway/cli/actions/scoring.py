"""How far a file is scored, while it is: a bar on a terminal, a line now and then in a pipe; and what came of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from headway.batch.journal import Receipt
from headway.batch.predict import Order, predict
from headway.batch.predict import Progress as Scored
from headway.cli.output import callback
from headway.core import config

_LINE_EVERY_S = 10.0
# What polars is told before it is loaded, for this process is there to score: memory that is used again and again is
# not handed back in between (0.3 us a row, of 5.5), and threads that decode do not crowd those that ask the engine.
_POLARS = {
    "_RJEM_MALLOC_CONF": "dirty_decay_ms:-1,muzzy_decay_ms:-1",
    "POLARS_MAX_THREADS": str(max(1, (os.cpu_count() or 1) // 8)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """Where the project is, and how a file is scored."""

    project: Path = Path(".")
    "Folder with headway.toml."
    keep: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = ()
    "Columns of the file that are copied through, such as a key."
    threads: int = 0
    "Threads that ask the engine; 0 takes every core."


Callback = Callable[[Scored], object]


def far(done: Scored) -> str:
    """How far a run is, in words: rows, rows a second, time left."""
    rate = done.run_rows / max(done.seconds, 1e-9)
    left = (done.rows / max(done.share, 1e-9) - done.rows) / max(rate, 1e-9)
    refused = f", {done.refused:,} refused" if done.refused else ""
    minutes, seconds = divmod(round(left), 60)
    return f"{done.rows:,} rows, {rate:,.0f} rows/s, {f'{minutes} min ' if minutes else ''}{seconds} s left{refused}"


def carry_out(reference: str, source: Path, out: Path, given: Given) -> Receipt:
    """Score a file, and tell on stderr how far it is; the receipt says what came of it."""
    for name, value in _POLARS.items():
        os.environ.setdefault(name, value)
    order = Order(reference=reference, source=source, out=out, keep=given.keep, threads=given.threads)
    with progress() as callback:
        return predict(config.load(given.project), order, callback=callback)


@contextmanager
def progress() -> Iterator[Callback]:
    """Where a run tells how far it is: on stderr, since stdout carries the result alone."""
    terminal = Console(stderr=True, highlight=False, markup=False)
    if not terminal.is_terminal:
        yield in_lines(callback)
        return
    shown = (BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TextColumn("{task.description}"))
    with Progress(*shown, console=terminal, transient=True) as bar:
        task = bar.add_task("verifying the release", total=1.0)
        yield lambda done: bar.update(task, completed=done.share, description=far(done))


def summary(receipt: Receipt, out: Path) -> str:
    """What came of a run: rows, those without an answer and why, and the release that answered."""
    lines = [f"{receipt.rows:,} rows of {receipt.terms.file} scored by {receipt.terms.name} {receipt.terms.release}"]
    lines.append(f"{out} is {receipt.digest}")
    if receipt.refused:
        by_column = ", ".join(f"{column} {count:,}" for column, count in sorted(receipt.columns.items()))
        lines.append(f"{receipt.refused:,} rows refused, answered by null ({by_column}): {out}.refused.csv")
    return "\n".join(lines)


def in_lines(say: Callable[[str], object]) -> Callback:
    """A line every ten seconds."""
    said = 0.0

    def hear(done: Scored) -> None:
        nonlocal said
        if done.seconds >= said + _LINE_EVERY_S:
            said = done.seconds
            say(far(done))

    return hear
