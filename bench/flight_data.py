"""The flights of 2013 that most benchmarks read, and the demo's project over them.

One flight in twelve in tiny mode.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from headway.cli.demo import flights
from headway.cli.demo.run import FILES
from headway.cli.demo.run import HERE as DEMO
from headway.registry.project import Project, open_project
from tiny import is_tiny

_TINY_STEP = 12
_THIN = f"""

_load_all = load


def load():
    return _load_all().gather_every({_TINY_STEP})
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


def demo_project(folder: Path, *, flags: Mapping[str, str] | None = None) -> Project:
    """Copy the demo's project into a folder and open it."""
    for name in FILES:
        shutil.copyfile(DEMO / name, folder / name)
    if is_tiny():
        with (folder / "flights.py").open("a", encoding="utf-8") as file:
            file.write(_THIN)
    return open_project(folder, flags=dict(flags or {}))
