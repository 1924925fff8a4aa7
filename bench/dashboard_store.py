"""A large store for bench/dashboard.py: a small project with a past, its releases, searches and log many times over.

Everything is written by the functions of the store, signed and chained as always. Only the wait for the disk is left
out, because this store need not survive a power cut.
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from msgspec.structs import replace

sys.path.append(str(Path(__file__).parents[1]))

from tests.dashboard import lived_in

from headway.core.action import PersonAction
from headway.core.evidence import Evidence
from headway.core.monitoring import MonitoringReport
from headway.core.record import digest_of, read, write
from headway.core.release import PointerUpdate
from headway.core.search_result import SearchResult
from headway.registry.project import Project, open_project
from headway.registry.sign import load_publisher
from headway.storage import segments, traffic

NAME = "small"
RELEASES, SEARCHES, LOG_ROWS, SEGMENT_ROWS = 10_000, 1_000, 5_000_000, 50_000
TINY = {"RELEASES": 20, "SEARCHES": 5, "LOG_ROWS": 2_000, "SEGMENT_ROWS": 500}
BEGINS = datetime(2020, 1, 1, tzinfo=UTC)


def build(folder: Path) -> Path:
    """Build the project in a folder, and return its own folder."""
    path = lived_in.write(folder)
    flush, os.fsync = os.fsync, lambda _: None
    try:
        project = open_project(path)
        project.state._db.execute("PRAGMA synchronous = OFF")  # type: ignore[attr-defined]
        _releases(project)
        _searches(project)
        project.registry.history()  # verified once, as by the first `headway verify`
        project.state.close()
    finally:
        os.fsync = flush
    _log(path)
    return path


def _releases(project: Project) -> None:
    bundle, publisher = project.registry.resolve(f"{NAME}@live"), load_publisher(project.registry.publisher_key)
    signed, (evidence, *_) = project.state.updates()[-1], project.records(Evidence)
    own = project.state.last(NAME, "live")
    assert own is not None
    last = read(PointerUpdate, own.content)
    for number in range(1, RELEASES + 1):
        at = (BEGINS + timedelta(hours=5 * number)).isoformat(timespec="seconds")
        project.save(replace(evidence, at=at))
        digest = project.registry.publish(replace(bundle.release, made_at=at), dict(bundle.files))
        last = replace(
            last,
            number=last.number + 1,
            release=digest,
            previous=digest_of(signed.content),
            at=at,
            why=f"release {number}",
        )
        signed = publisher.sign(write(last))
        assert project.state.append(signed)
        project.save(replace(lived_in.SAVED, at=at, action="release.approved", subject=digest))


def _searches(project: Project) -> None:
    found, report = project.records(SearchResult)[-1], project.records(MonitoringReport)[-1]
    for number in range(1, SEARCHES + 1):
        at = (BEGINS + timedelta(days=2 * number)).isoformat(timespec="seconds")
        project.save(replace(found, at=at))
        project.save(replace(report, period=f"period {number}", since=at, until=at))
        project.save(PersonAction(name=NAME, at=at, who="ben", role="labeller", action="label.given", subject=at))


def _log(path: Path) -> None:
    """Write the log of the release that was live before, as that of a server over 100 days."""
    folder = max(traffic.log_folders(path / ".headway", NAME), key=lambda one: len(list(one.iterdir())))
    columns = segments.load(next(segments.segments(folder)))
    n = len(next(iter(columns.values())))
    rows = np.random.default_rng(0).integers(0, n, SEGMENT_ROWS)
    live = _live_digest(path)
    target = traffic.log_folder(path / ".headway", NAME, live)
    step = 100 * 86_400_000_000 // max(1, LOG_ROWS // SEGMENT_ROWS)
    for part in range(LOG_ROWS // SEGMENT_ROWS):
        taken = {
            name: values[rows] if isinstance(values, np.ndarray) else [values[row] for row in rows]
            for name, values in columns.items()
        }
        taken["at_us"] = int(datetime.now(UTC).timestamp() * 1e6) - 100 * 86_400_000_000 + part * step + rows.cumsum()
        taken["key"] = [f"{part}-{number}" for number in range(SEGMENT_ROWS)]
        segments.save(target, taken)


def _live_digest(path: Path) -> str:
    project = open_project(path)
    update = project.registry.head(f"{NAME}@live")
    project.state.close()
    assert update is not None
    return update.release
