"""A real server log of the small project, moved to the days of two months; in the second one, a feed is broken."""

from __future__ import annotations

import signal
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from tests.pipeline import projects
from tests.serving.running import started

from headway.registry.project import Project
from headway.serving.client import Client
from headway.storage import segments, traffic
from headway.storage.traffic import Label

FIRST = date(2020, 2, 1)
BROKEN = date(2020, 3, 1)
DAYS, A_DAY = 60, 15


def requests() -> pl.DataFrame:
    """Return the requests of callers, 15 rows a day: rows of April by day since FIRST.

    From BROKEN on, every hour is 0.
    """
    april = projects.table().filter(pl.col("at").dt.month() == 4)
    days = april.group_by("day", maintain_order=True).head(2 * A_DAY)
    number = pl.int_range(pl.len()).over("day")
    rows = days.with_columns(served=(pl.col("day").dt.day() - 1) + 30 * (number // A_DAY), number=number % A_DAY)
    broken = pl.col("served") >= (BROKEN - FIRST).days
    hours = pl.when(broken).then(0).otherwise(pl.col("hour"))
    key = pl.format("{}-{}", "served", "number")
    return rows.select("served", "wind", "carrier", "late", hour=hours, key=key).sort("served", maintain_order=True)


def serve(project: Project, rows: pl.DataFrame) -> None:
    """Send each row as one request to a server process; an empty key is not sent."""
    process = started(Path(project.config.folder), f"{project.name}@live")
    with Client(process.stdout.readline().split()[2]) as client:
        for row in rows.iter_rows(named=True):
            columns = {name: [row[name]] for name in ("hour", "wind", "carrier")}
            client.infer(project.name, columns, key=row["key"])
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=20) == ("", "")


def put_on_days(project: Project, rows: pl.DataFrame) -> None:
    """Rewrite the log as if each request had come on its day, one minute after the other."""
    name = project.name
    folder = traffic.log_folder(project.config.state, name, project.registry.resolve(f"{name}@live").digest)
    paths = list(segments.segments(folder))
    table = pl.concat([pl.read_ipc_stream(path) for path in paths]).sort("request")
    start = datetime.combine(FIRST, datetime.min.time(), tzinfo=UTC)
    times = [start + timedelta(days=day, minutes=number % 1440) for number, day in enumerate(rows["served"])]
    moved = table.with_columns(at_us=pl.Series([int(time.timestamp() * 1e6) for time in times]))
    for path in paths:
        path.unlink()
    segments.save(folder, {column.name: _values(column) for column in moved})


def label(project: Project, rows: pl.DataFrame) -> None:
    """Save the true outcomes of these rows as labels."""
    labels = [Label(row["key"], float(row["late"])) for row in rows.iter_rows(named=True)]
    traffic.save_labels(project.config.state, project.name, labels, who="a test")


def _values(column: pl.Series) -> list[str] | np.ndarray:
    return column.to_list() if column.dtype == pl.String else column.to_numpy()
