"""Rows of the prediction log that people labeled, for the retraining of a release that answers selectively.

People answer what the model handed on, and check a drawn share of what it answered. So labels of handed-on messages are
far too frequent to judge by. Keys that are drawn for the audit, answered by the model or not, are a sample of all
messages: only these are held out to judge by and to certify; all others may be trained on.

The logs of all releases of the model are read, so that a retraining knows what people answered under earlier ones.

D067: Messages that people labeled cannot be trained on, because the release that logged them cannot be opened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import polars as pl

from headway.core.dataset import Dataset
from headway.core.errors import Refused, StoreError
from headway.core.evidence import Finding
from headway.core.release import Release
from headway.evaluation.settings.answer import AnswerSection
from headway.monitoring.certificate import labels_of_people
from headway.monitoring.deployed_release import DeployedRelease
from headway.monitoring.prediction_log import answered_requests, device_requests
from headway.monitoring.scored_rows import request_column
from headway.registry.bundle import Bundle
from headway.registry.key_assignment import is_drawn_for_audit
from headway.registry.project import Project
from headway.registry.settings.fleet import FleetSection
from headway.storage import traffic
from headway.storage.addresses import log_root

TIME = "__time"
"""Column of times of a table that has none."""
_AT, _DRAWN, _KEY, _LABEL = "__at", "__drawn", "__key", "__label"


class LoggedLabels(NamedTuple):
    """A table with the logged rows that people labeled: all of them, and only those drawn for the audit."""

    rows: Dataset
    drawn: Dataset
    findings: tuple[Finding, ...] = ()


def with_logged_labels(project: Project, deployed: DeployedRelease, dataset: Dataset) -> LoggedLabels:
    """Return the dataset with all logged rows that people labeled, and with only those drawn for the audit.

    Both are the dataset itself for a release that answers every row, or without labels. Rows of a table without times
    get the time of the first training, which is before everything logged. Rows whose inputs the table has are left out:
    a person may have added them. So are labels of the remote stage: they train once they pass the checks of the table.
    """
    release = deployed.release
    if release.answers is None:
        return LoggedLabels(dataset, dataset)
    if not dataset.roles.time:
        dataset = _with_times(dataset, datetime.fromisoformat(deployed.training.since))
    labeled, findings = _labeled_messages(project, deployed, dataset)
    if labeled.is_empty():
        return LoggedLabels(dataset, dataset, findings)
    classes = dataset.roles.classes or release.class_names
    names = [name for name in release.variant.signature.names if name in dataset.table.columns]
    rows = (
        labeled.select(*(_column(dataset, labeled, name, classes) for name in dataset.table.columns), _DRAWN)
        .filter(pl.col(dataset.roles.target).is_not_null())
        .join(dataset.table.select(names), on=names, how="anti", nulls_equal=True, maintain_order="left")
    )
    return LoggedLabels(_joined(dataset, rows), _joined(dataset, rows.filter(_DRAWN)), findings)


def _with_times(dataset: Dataset, at: datetime) -> Dataset:
    times = pl.lit(at).cast(pl.Datetime("us")).alias(TIME)
    return replace(
        dataset, table=dataset.table.with_columns(times), roles=msgspec.structs.replace(dataset.roles, time=TIME)
    )


def _labeled_messages(
    project: Project, deployed: DeployedRelease, dataset: Dataset
) -> tuple[pl.DataFrame, tuple[Finding, ...]]:
    """Return the inputs of logged requests of all releases with a label of a person, and what could not be read.

    The oldest row of each key counts, which is the one that people were shown.
    """
    root, findings = log_root(project.config, project.name), list[Finding]()
    opened = _opener(project)
    labels = _with_class_names(project, deployed, labels_of_people(project), opened)
    parts: list[pl.DataFrame] = []
    for digits, rows in _requests(project, root) if len(labels) else ():
        known = rows if rows.is_empty() else rows.join(labels, on="key", how="semi", maintain_order="left")
        if known.is_empty():
            continue
        found = opened(digits)
        if isinstance(found, Bundle):
            parts.append(
                _inputs(known, found.release, found.digest, dataset, share=project.config[AnswerSection].audit_share)
            )
        else:
            findings.append(_unread(digits, known["key"].n_unique(), found))
    if not parts:
        return pl.DataFrame(), tuple(findings)
    first = pl.concat(parts, how="diagonal").sort(_AT, maintain_order=True)
    messages = first.unique(_KEY, keep="first", maintain_order=True)
    return messages.join(
        labels.select(_LABEL, pl.col("key").alias(_KEY)), on=_KEY, how="inner", maintain_order="left"
    ), tuple(findings)


def _requests(project: Project, root: Path) -> Iterator[tuple[str, pl.DataFrame]]:
    """Yield the requests of each release that servers logged, and devices if `[fleet] retrain` admits them."""
    for folder in traffic.log_folders(root, project.name):
        yield folder.name, answered_requests(root, project.name, folder.name)
    if project.config[FleetSection].retrain:
        yield from device_requests(root, project.name)


def _inputs(rows: pl.DataFrame, release: Release, digest: str, dataset: Dataset, *, share: float) -> pl.DataFrame:
    """Return the inputs of logged rows as the table has them, with key and time, and whether the key was drawn.

    People are shown the drawn keys of a release that answers selectively; those that they label of another are not a
    sample of all messages.
    """
    schema = dataset.table.schema
    fields = [field for field in release.variant.signature.inputs if field.name in schema]
    is_sampled = release.answers is not None
    drawn = [is_sampled and is_drawn_for_audit(key, digest, share) for key in rows["key"]]
    return rows.select(
        *(request_column(field).cast(schema[field.name], strict=False) for field in fields),
        pl.col("key").alias(_KEY),
        pl.col("at_us").cast(pl.Datetime("us")).alias(_AT),
        pl.Series(_DRAWN, drawn, dtype=pl.Boolean),
    )


def _opener(project: Project) -> Callable[[str], Bundle | StoreError | Refused]:
    """Return a function that opens a release by digits of its digest, each once, or returns why it cannot."""

    @cache
    def opened(digits: str) -> Bundle | StoreError | Refused:
        try:
            return project.registry.resolve(f"{project.name}@{digits}")
        except (StoreError, Refused) as error:
            return error

    return opened


def _unread(digits: str, n: int, error: StoreError | Refused) -> Finding:
    return Finding(
        code="D067",
        severity="warn",
        message=f"{n:,} labeled messages do not train, because the release that logged them cannot be opened: {error}",
        where=f"release {digits}",
        hint=error.hint or "restore the release",
    )


def _with_class_names(
    project: Project,
    deployed: DeployedRelease,
    labels: pl.DataFrame,
    opened: Callable[[str], Bundle | StoreError | Refused],
) -> pl.DataFrame:
    """Add the name of the class of each label: people choose from the classes of the release that was live then."""
    live = deployed.release.class_names
    moves = project.registry.history(project.name, "live") if len(labels) else ()
    at_us = [int(datetime.fromisoformat(move.at).timestamp() * 1e6) for move in moves]
    names = [_class_names(opened(move.release), live) if move.release else live for move in moves]
    index = np.searchsorted(at_us, labels["labeled_us"].to_numpy(), side="right") - 1
    found = [
        _class_name(names[number] if number >= 0 else live, label)
        for number, label in zip(index.tolist(), labels["label"], strict=True)
    ]
    return labels.with_columns(pl.Series(_LABEL, found, dtype=pl.String))


def _class_names(opened: Bundle | StoreError | Refused, default: tuple[str, ...]) -> tuple[str, ...]:
    return opened.release.class_names if isinstance(opened, Bundle) else default


def _class_name(names: tuple[str, ...], label: float) -> str | None:
    return names[int(label)] if label.is_integer() and 0 <= label < len(names) else None


def _column(dataset: Dataset, labeled: pl.DataFrame, name: str, classes: Sequence[str]) -> pl.Expr:
    """Return a column of the table from logged rows; what the log does not have is missing."""
    roles, dtype = dataset.roles, dataset.table.schema[name]
    if name == roles.target:
        known = {class_name: float(number) for number, class_name in enumerate(classes)}
        found = pl.col(_LABEL).replace_strict(known, default=None, return_dtype=pl.Float64)
    elif name == roles.time:
        found = pl.col(_AT)
        if isinstance(dtype, pl.Datetime) and dtype.time_zone:
            found = found.dt.replace_time_zone("UTC")
    elif name in labeled.columns:
        found = pl.col(name)
    elif name == roles.groups:
        found = pl.col(_AT) if dtype.is_temporal() else pl.format("log {}", pl.col(_KEY))
    else:
        found = pl.lit(None)
    return found.cast(dtype, strict=False).alias(name)


def _joined(dataset: Dataset, rows: pl.DataFrame) -> Dataset:
    return replace(dataset, table=pl.concat([dataset.table, rows.drop(_DRAWN)]), all_rows=None)
