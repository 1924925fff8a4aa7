"""A project whose work can be shared: its training takes a seed, its positive class is rare, and it has a key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl
from tests.pipeline import projects, watched

from headway import pipeline
from headway.core import config
from headway.core.evidence import Evidence, Measurement
from headway.core.search_result import SearchResult
from headway.evaluation.variant_tasks import TIMED
from headway.registry.project import Project, open_project
from headway.registry.sign import init_keys, load_publisher

AUDITS = ("ablation", "attack", "conformal", "imbalance", "robustness")
KEY = "keys/publisher.pem"


def searched(
    folder: Path, *, change: Callable[[Path], object] | None = None
) -> tuple[Project, SearchResult, pipeline.Data]:
    """Return a project with the result of a search, and its data; `change` edits the folder before the training."""
    every_eighth = (pl.col("index") % 8 == 0).cast(pl.Int8)
    table = projects.table().with_row_index().with_columns(late=pl.col("late") * every_eighth).drop("index")
    watched.write(folder, retrain="[attack]\nrows = 125\nqueries = 50\n", table=table)
    code = folder / "mine.py"
    code.write_text(code.read_text().replace('["carrier"]', '"auto"'))  # it may be left out
    if change:
        change(folder)
    project = open_project(folder)
    init_keys(folder / KEY, folder / "keys/trusted_keys.txt", comment="a test")
    data = pipeline.periods(project)
    return project, pipeline.optimize(project, pipeline.train(project, data), data), data


def on_ray(project: Project) -> Project:
    """Return the project with `[compute] ray`."""
    return replace(project, config=config.load(Path(project.config.folder), flags={"compute.ray": "auto"}))


def audited(project: Project, result: SearchResult, data: pipeline.Data) -> list[Measurement]:
    """Return what the audits measure that can be shared."""
    evidence = pipeline.audit_winner(project, result, data, audits=AUDITS).winner.evidence
    return [found for found in evidence.measurements if found.name.partition(".")[0] in AUDITS]


def exact(evidence: Evidence) -> dict[tuple[str, str], Measurement]:
    """Return the measurements of evidence that repeat exactly, by name and slice."""
    timed = ("latency", "throughput", "test_evaluations", *TIMED)
    found = (measured for measured in evidence.measurements if measured.name.partition(".")[0] not in timed)
    return {(measured.name, measured.slice): measured for measured in found}


def secrets_of(folder: Path) -> list[bytes]:
    """Return the forms in which the private key of a project could be sent, and the name of its file."""
    raw = load_publisher(folder / KEY).private.private_bytes_raw()
    return [raw, *(folder / KEY).read_bytes().splitlines(), Path(KEY).name.encode()]
