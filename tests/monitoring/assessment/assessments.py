"""Assessments for tests, as they are kept, and a project with a table of 120 days to assess."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from tests.pipeline.projects import TOML, table, write

from headway.core.assessment import Assessment, CheckRun
from headway.core.dataset import Dataset
from headway.core.evidence import Finding
from headway.data.open import open_dataset
from headway.registry.project import Project, open_project

LEAK = Finding(
    code="D003", severity="stop", message="'x' alone determines the target", where="column x", measured=0.99, limit=0.85
)
SILENT = Finding(code="D005", severity="undecided", message="it is unknown when 'x' is known", where="[data.known]")
LOOKED = (CheckRun(name="target_leak", code="D003"), CheckRun(name="undeclared", code="D005"))


def assessment(**changes: object) -> Assessment:
    """An assessment of flights in which nothing was found, but for what is given."""
    plain: dict[str, object] = {
        "name": "flights",
        "at": "2026-11-01T10:00:00+00:00",
        "by": "ada",
        "headway": "1.0",
        "number": 1,
        "source": "table.parquet",
        "dataset": "sha256:1",
        "n_rows": 100,
        "n_groups": 10,
        "until": "2013-01-31T12:00:00",
        "columns": {"hour": "Int64", "late": "Int8"},
        "settings": {"data.groups": '"day"'},
        "check_runs": LOOKED,
        "findings": (),
    }
    return Assessment(**{**plain, **changes})


def months_of(last: int) -> pl.DataFrame:
    """The rows of the small project's table up to a month of 2013."""
    return table().filter(pl.col("at").dt.month() <= last)


def project_of(folder: Path, rows: pl.DataFrame, toml: str = TOML) -> tuple[Project, Dataset]:
    """The small project with other rows, and its data opened."""
    write(folder, toml)
    rows.write_parquet(folder / "table.parquet")
    opened = open_project(folder)
    return opened, open_dataset(opened.config)
