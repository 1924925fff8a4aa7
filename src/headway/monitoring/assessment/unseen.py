"""D057: data that no assessment has seen: none was ever made, or the table has grown or changed since the last."""

from __future__ import annotations

from collections.abc import Callable

from headway.core.assessment import Assessment
from headway.core.dataset import Dataset
from headway.core.evidence import Finding
from headway.data.open import open_dataset
from headway.monitoring.assessment.kept import last
from headway.monitoring.assessment.rows import later_rows
from headway.registry.project import Project

MEND = "headway check"


def open_checked(project: Project, callback: Callable[[str], object]) -> Dataset:
    """The data of a project as it is now; tells where no assessment has seen them so."""
    dataset = open_dataset(project.config)
    if (found := unseen(last(project), dataset)) is not None:
        callback(f"{found.code} {found.severity}: {found.message}; try: {found.hint}")
    return dataset


def unseen(before: Assessment | None, dataset: Dataset) -> Finding | None:
    """The finding on data that a model is watched or trained by and nobody checked; None where all were."""
    if before is None:
        return _finding(f"no check was ever made of {dataset.name}", 1.0)
    if before.dataset == dataset.digest:
        return None
    later = later_rows(dataset, before.until)
    if later is None:
        return _finding(f"the data are no longer those that were checked on {before.at[:10]}", None)
    rows, share = len(later.table), len(later.table) / len(dataset.table)
    return _finding(
        f"{rows:,} of {len(dataset.table):,} rows ({share:.1%}) are later than the last check, of {before.at[:10]}",
        share,
    )


def _finding(message: str, measured: float | None) -> Finding:
    limit = None if measured is None else 0.0
    return Finding(
        code="D057", severity="warn", message=message, where="[data] source", measured=measured, limit=limit, hint=MEND
    )
