"""The flights of 2013 that most benchmarks read, and the demo's project over them.

One flight in twelve in tiny mode.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from headway.cli.demo import flights
from headway.cli.demo.run import open_demo
from headway.core.dataset import Dataset
from headway.data.open import make_dataset
from headway.features.join import join_views
from headway.registry.project import Project
from tiny import is_tiny

_TINY_STEP = 12
_THIN = f"""

_all_scheduled = scheduled


def scheduled():
    return _all_scheduled().gather_every({_TINY_STEP})
"""


def thin(rows: pl.DataFrame) -> pl.DataFrame:
    """Return one row in twelve in tiny mode, else all."""
    return rows.gather_every(_TINY_STEP) if is_tiny() else rows


def load() -> pl.DataFrame:
    """Return the flights with local times."""
    return thin(flights.load())


def load_utc() -> pl.DataFrame:
    """Return the flights with scheduled times taken as UTC, which is wrong."""
    return thin(flights.load_utc())


def with_utc_times(project: Project, right: Dataset) -> Dataset:
    """Return all flights with scheduled times in UTC, and the features of the views of `right`."""
    wrong = make_dataset(thin(flights.scheduled_utc()), right.roles, name="flights:scheduled_utc")
    return join_views(wrong, right.views, folder=Path(project.config.folder))


def demo_project(folder: Path, *, flags: Mapping[str, str] | None = None) -> Project:
    """Create the demo's project in a folder and open it."""
    return open_demo(folder, flags=flags, more=_THIN if is_tiny() else "")
