"""Write rows of feature views to the online store, from their sources or pushed, or join rows with them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from datetime import datetime
from pathlib import Path

import msgspec
import polars as pl

from headway.batch.compute import open_workers
from headway.core.errors import ConfigError, DataError
from headway.core.record import Record
from headway.features import catalog
from headway.features.materialize import materialize_views
from headway.features.online_rows import MaterializedView
from headway.features.partitioned_join import write_historical_features
from headway.features.push import PushedRows, RefusedLine, lines_of, push_lines
from headway.registry.project import Project
from headway.storage.addresses import open_online

_SHOWN = 10


def materialize_project(
    project: Project,
    references: Sequence[str] = (),
    *,
    full: bool = False,
    since: str = "",
    until: str = "",
    callback: Callable[[str], object],
) -> list[MaterializedView]:
    """Materialise views of a project, by default all that have rows; times are ISO 8601, empty for none."""
    with closing(open_online(project.config)) as store:
        return materialize_views(
            project.state,
            store,
            references,
            folder=Path(project.config.folder),
            full=full,
            since=read_time(since, "--from"),
            until=read_time(until, "--to"),
            callback=callback,
        )


def push_file(
    project: Project, reference: str, file: str = "", *, refused: str = "", callback: Callable[[str], object]
) -> PushedRows:
    """Push the rows of a file (JSON lines or parquet; empty: the standard input) to a view.

    Refused lines are written to the file `refused` with number and reason, if it is given; the callback is called with
    the first ones.
    """
    view, n_shown = catalog.resolve_view(project.state, reference), 0
    with ExitStack() as stack:
        lines = _lines(file, stack)
        out = stack.enter_context(Path(refused).open("wb")) if refused else None

        def refuse(line: RefusedLine) -> None:
            nonlocal n_shown
            n_shown += 1
            if n_shown <= _SHOWN:
                callback(f"line {line.number}: {line.reason}")
            if out is not None:
                out.write(msgspec.json.encode(line) + b"\n")

        store = stack.enter_context(closing(open_online(project.config)))
        return push_lines(store, view, lines, refuse=refuse)


class JoinedRows(Record, frozen=True, kw_only=True):
    """Rows that were written with the features of views."""

    rows: int
    views: tuple[str, ...]
    file: str


def join_file(
    project: Project, references: Sequence[str], *, rows: Path, time: str, out: Path, memory_mb: int
) -> JoinedRows:
    """Write rows with the features that were known at their time, by default of all views, on `[compute] ray`."""
    views = [catalog.resolve_view(project.state, name) for name in references] or catalog.newest_views(project.state)
    if not views:
        raise ConfigError("no view was applied", where=str(project.config.folder), hint="headway features apply")
    folder, memory_bytes = Path(project.config.folder), max(1, memory_mb) * 10**6
    with open_workers(project.config) as workers:
        count = write_historical_features(
            rows, views, out, time=time, folder=folder, memory_bytes=memory_bytes, workers=workers
        )
    return JoinedRows(rows=count, views=tuple(view.reference for view in views), file=str(out))


def describe_run(done: MaterializedView) -> str:
    """Return what a run wrote, on one line."""
    resumed = f", {done.resumed:,} before" if done.resumed else ""
    return (
        f"{done.view}: {done.mode}, {done.entities:,} entities of {done.rows:,} rows, {done.stored:,} stored{resumed}"
    )


def _lines(file: str, stack: ExitStack) -> Iterator[bytes]:
    if not file:
        return iter(sys.stdin.buffer)
    try:
        if Path(file).suffix == ".parquet":
            return lines_of(pl.read_parquet(file))
        return iter(stack.enter_context(Path(file).open("rb")))
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"the rows cannot be read: {error}", where=file) from error


def read_time(text: str, option: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError as error:
        raise ConfigError(f"{text!r} is not a time", where=option, hint="2026-01-31 or 2026-01-31T12:00:00Z") from error
