"""Rows of the prediction log that people labeled, for the retraining of a release that answers selectively.

People answer what the model handed on, and check a drawn share of what it answered. So labels of handed-on messages are
far too frequent to judge by. Keys that are drawn for the audit, answered by the model or not, are a sample of all
messages: only these are held out to judge by and to certify; all others may be trained on.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import msgspec
import polars as pl

from headway.core.dataset import Dataset
from headway.core.release import Release
from headway.monitoring.certificate import labels_of_people
from headway.monitoring.deployed_release import DeployedRelease
from headway.monitoring.prediction_log import answered_requests
from headway.monitoring.scored_rows import request_column
from headway.registry.key_assignment import is_drawn_for_audit
from headway.registry.project import Project
from headway.storage.addresses import log_root

TIME = "__time"
"""Column of times of a table that has none."""
_AT, _DRAWN, _LABEL = "__at", "__drawn", "__label"


def with_logged_labels(project: Project, deployed: DeployedRelease, dataset: Dataset) -> tuple[Dataset, Dataset]:
    """Return the dataset with all logged rows that people labeled, and with only those drawn for the audit.

    Both are the dataset itself for a release that answers every row, or without labels. Rows of a table without times
    get the time of the first training, which is before everything logged. Rows whose inputs the table has are left out:
    a person may have added them. So are labels of the remote stage: they train once they pass the checks of the table.
    """
    release = deployed.release
    if release.answers is None:
        return dataset, dataset
    if not dataset.roles.time:
        dataset = _with_times(dataset, datetime.fromisoformat(deployed.training.since))
    labeled = _labeled_messages(project, release, deployed.digest)
    if labeled.is_empty():
        return dataset, dataset
    names = [name for name in release.variant.signature.names if name in dataset.table.columns]
    rows = (
        labeled.select(*(_column(dataset, release, name) for name in dataset.table.columns), _DRAWN)
        .filter(pl.col(dataset.roles.target).is_not_null())
        .join(dataset.table.select(names), on=names, how="anti", nulls_equal=True, maintain_order="left")
    )
    return _joined(dataset, rows), _joined(dataset, rows.filter(_DRAWN))


def _with_times(dataset: Dataset, at: datetime) -> Dataset:
    times = pl.lit(at).cast(pl.Datetime("us")).alias(TIME)
    return replace(
        dataset, table=dataset.table.with_columns(times), roles=msgspec.structs.replace(dataset.roles, time=TIME)
    )


def _labeled_messages(project: Project, release: Release, digest: str) -> pl.DataFrame:
    """Return the inputs of logged requests with a label of a person, the first row of each key."""
    rows = answered_requests(log_root(project.config, project.name), project.name, digest)
    if rows.is_empty():
        return rows
    share = project.config.answer.audit_share
    first = rows.unique("key", keep="first", maintain_order=True).join(
        labels_of_people(project), on="key", how="inner", maintain_order="left"
    )
    return first.select(
        *(request_column(field) for field in release.variant.signature.inputs),
        "key",
        pl.col("at_us").cast(pl.Datetime("us")).alias(_AT),
        pl.col("label").alias(_LABEL),
        pl.Series(_DRAWN, [is_drawn_for_audit(key, digest, share) for key in first["key"]], dtype=pl.Boolean),
    )


def _classes(dataset: Dataset, release: Release) -> dict[float, float]:
    """Return the number of a class in the table by its number in the log; classes of one of them only are left out."""
    names = release.class_names
    known = dataset.roles.classes or names
    return {float(number): float(known.index(name)) for number, name in enumerate(names) if name in known}


def _column(dataset: Dataset, release: Release, name: str) -> pl.Expr:
    """Return a column of the table from logged rows; what the log does not have is missing."""
    roles, dtype = dataset.roles, dataset.table.schema[name]
    if name == roles.target:
        found = pl.col(_LABEL).replace_strict(_classes(dataset, release), default=None, return_dtype=pl.Float64)
    elif name == roles.time:
        found = pl.col(_AT)
        if isinstance(dtype, pl.Datetime) and dtype.time_zone:
            found = found.dt.replace_time_zone("UTC")
    elif name in release.variant.signature.names:
        found = pl.col(name)
    elif name == roles.groups:
        found = pl.col(_AT) if dtype.is_temporal() else pl.format("log {}", pl.col("key"))
    else:
        found = pl.lit(None)
    return found.cast(dtype, strict=False).alias(name)


def _joined(dataset: Dataset, rows: pl.DataFrame) -> Dataset:
    return replace(dataset, table=pl.concat([dataset.table, rows.drop(_DRAWN)]), all_rows=None)
