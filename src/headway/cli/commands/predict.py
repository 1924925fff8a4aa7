"""Score a file of any size with a release: parquet, csv or Arrow, on all cores, resumable after a kill."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as ProgressBar

from headway.batch.journal import Receipt
from headway.batch.predict import predict
from headway.batch.scorer import Progress
from headway.cli.exit_codes import FAIL, PASS
from headway.cli.main import AsJson, ProjectFolder
from headway.core import config
from headway.reporting.console import print_result, print_status

_LINE_EVERY_S = 10.0
_STDERR = 2
_ENDED = "ended"
_WATCHER = f"""
import sys
row = "0"
for line in sys.stdin:
    if line.strip() == "{_ENDED}":
        break
    row = line.strip()
else:
    sys.stderr.write(
        f"the process died while it read {{sys.argv[1]}}, from row {{row}} on\\n"
        "  try: is the file complete? If the process was killed, the same command continues\\n"
    )
"""
# Set before polars is loaded, because this process only scores: memory that is reused is not returned in between
# (saves 0.3 us of 5.5 us per row), and all threads share it. Few threads decode next to those that run the engine; two,
# so that a part that is encoded does not wait for all that is decoded ahead. Two row groups are read ahead: with one,
# cores were idle for a tenth of the time (10 million rows of 25 columns; it takes 130 MB).
_POLARS = {
    "_RJEM_MALLOC_CONF": "dirty_decay_ms:-1,muzzy_decay_ms:-1,narenas:1",
    "POLARS_MAX_THREADS": str(max(2, (os.cpu_count() or 1) // 8)),
    "POLARS_ROW_GROUP_PREFETCH_SIZE": "2",
}

Report = Callable[[Progress], object]


def plugin(
    reference: str,
    source: str,
    out: str,
    *,
    keep: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = (),
    spreadsheet_safe: bool = False,
    threads: int = 0,
    project: ProjectFolder = Path("."),
    json: AsJson = False,
) -> int:
    """Score a file. Exit 0 every row was scored, 1 rows were rejected (null in OUT, reasons in OUT.refused.csv).

    After a kill, the same command resumes where it stopped. A run with another release, file or option never mixes with
    an unfinished one.

    Example: headway predict flight-delays@live flights.parquet scores.parquet --project headway-demo --keep key

    Parameters
    ----------
    reference
        NAME@POINTER or NAME@DIGEST.
    source
        A .parquet, .csv or .arrow file with every column that the model reads, or a folder or
        s3://BUCKET/PREFIX of .parquet files.
    out
        Output in row order: .parquet, .csv or .arrow; for a folder, a folder of the same files. Each may be
        s3://BUCKET/NAME.
    keep
        Columns of the file to copy into the output, such as a key.
    spreadsheet_safe
        Put a quote before each formula in the strings of these columns and of rejected rows, for files that are opened
        in a spreadsheet.
    threads
        Threads that run the engine; 0 uses every core.
    """
    for name, value in _POLARS.items():
        os.environ.setdefault(name, value)
    with name_crash(source) as name_row, only_python_writes_errors(), show_progress() as show:

        def report(done: Progress) -> None:
            name_row(done)
            show(done)

        receipt = predict(
            config.load(project),
            reference,
            source if source.startswith("s3://") else Path(source),
            out if out.startswith("s3://") else Path(out),
            keep=keep,
            spreadsheet_safe=spreadsheet_safe,
            threads=threads,
            callback=report,
        )
    print_result(receipt, summarize(receipt, out), json=json)
    return FAIL if receipt.refused else PASS


@contextmanager
def name_crash(source: Path | str) -> Iterator[Report]:
    """Print the file and the row at which this process died: some malformed files make polars abort it.

    A small process waits for the end; it prints nothing if the run ends by itself, even with an error.
    """
    watcher = subprocess.Popen(
        [sys.executable, "-S", "-c", _WATCHER, str(source)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )

    def send(line: str) -> None:
        with suppress(OSError):
            os.write(watcher.stdin.fileno(), f"{line}\n".encode())  # type: ignore[union-attr]

    try:
        yield lambda done: send(str(done.rows))
    finally:
        send(_ENDED)
        watcher.communicate()


@contextmanager
def only_python_writes_errors() -> Iterator[None]:
    """Keep stderr for messages of headway: polars writes a backtrace there when a damaged file makes it panic."""
    python, native = sys.stderr, os.dup(_STDERR)
    with open(native, "w", buffering=1, encoding=python.encoding, errors="backslashreplace") as terminal:
        with suppress(OSError):
            sys.stderr = terminal if python.fileno() == _STDERR else python
        try:
            with open(os.devnull, "wb") as nothing:
                os.dup2(nothing.fileno(), _STDERR)
            yield
        finally:
            os.dup2(native, _STDERR)
            sys.stderr = python


@contextmanager
def show_progress() -> Iterator[Report]:
    """Report progress on stderr: a bar on a terminal, a line every ten seconds elsewhere."""
    terminal = Console(stderr=True, highlight=False, markup=False)
    if not terminal.is_terminal:
        yield in_lines(print_status)
        return
    columns = (BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TextColumn("{task.description}"))
    with ProgressBar(*columns, console=terminal, transient=True) as bar:
        task = bar.add_task("verifying the release", total=1.0)
        yield lambda done: bar.update(task, completed=done.share, description=progress_line(done))


def progress_line(done: Progress) -> str:
    """Return the progress of a run in words: rows, rows per second, time left."""
    rate = done.run_rows / max(done.seconds, 1e-9)
    left_s = (done.rows / max(done.share, 1e-9) - done.rows) / max(rate, 1e-9)
    refused = f", {done.refused:,} rejected" if done.refused else ""
    minutes, seconds = divmod(round(left_s), 60)
    return f"{done.rows:,} rows, {rate:,.0f} rows/s, {f'{minutes} min ' if minutes else ''}{seconds} s left{refused}"


def in_lines(print_line: Callable[[str], object]) -> Report:
    """Return a callback that prints a progress line at most every ten seconds."""
    printed_s = 0.0

    def report(done: Progress) -> None:
        nonlocal printed_s
        if done.seconds >= printed_s + _LINE_EVERY_S:
            printed_s = done.seconds
            print_line(progress_line(done))

    return report


def summarize(receipt: Receipt, out: Path | str) -> str:
    """Return the result of a run: rows scored and rejected, and the release that scored them."""
    lines = [
        f"{receipt.rows:,} rows of {receipt.terms.file} scored by {receipt.terms.name} {receipt.terms.release}",
        f"{out} has digest {receipt.digest}",
    ]
    if receipt.refused:
        by_column = ", ".join(f"{column} {count:,}" for column, count in sorted(receipt.columns.items()))
        lines.append(f"{receipt.refused:,} rows rejected, scored as null ({by_column}): {out}.refused.csv")
    return "\n".join(lines)
