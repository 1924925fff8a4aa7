"""Versions of the data that models were trained and evaluated on, and how they differ from the data of today.

D065: rows that a model was trained or evaluated on have changed.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from datetime import UTC, datetime

import numpy as np

from headway.core.dataset import Dataset
from headway.core.errors import Refused, StoreError
from headway.core.evidence import Finding
from headway.core.provenance import JUDGED, Difference, Provenance
from headway.core.verdict import OVERRIDE
from headway.data.provenance import fingerprint
from headway.data.provenance.versions import DataVersion, compare_versions, make_version
from headway.data.settings.provenance import ProvenanceSection
from headway.registry.project import Project


def save_versions(project: Project, data: Mapping[str, Dataset], *, code: str = "") -> dict[str, str]:
    """Save the version of each period, once per content, and return their digests.

    `code` identifies the training code.
    """
    there = {(version.digest, version.period) for version in saved_versions(project)}
    versions = {period: make_version(dataset.table, name=period) for period, dataset in data.items()}
    for period, version in versions.items():
        if (version.digest, period) not in there:
            project.save(_provenance(project, version, data[period], code))
    return {period: version.digest for period, version in versions.items()}


def saved_versions(project: Project) -> list[Provenance]:
    """Return the saved versions of a project's data, oldest first."""
    return project.records(Provenance)


def find(project: Project, digest: str) -> DataVersion:
    """Return the saved version with a digest, or its first 8 or more digits; raises StoreError if there is none."""
    prefix = digest.removeprefix("sha256:")
    saved = saved_versions(project)
    found = (
        [version for version in saved if version.digest.removeprefix("sha256:").startswith(prefix)]
        if prefix[7:]
        else []
    )
    if not found:
        known = ", ".join(version.digest.removeprefix("sha256:")[:12] for version in saved)
        hint = "a file, or the first digits of a digest: headway data"
        raise StoreError(f"no version of data '{digest}' is stored", where=f"known: {known or 'none'}", hint=hint)
    return _version(project, found[-1])


def changed_rows(project: Project, dataset: Dataset, digest: str) -> Finding | None:
    """Return D065 with what is known of the change if a dataset no longer has that digest, else None."""
    now = make_version(dataset.table, name=f"{dataset.name} now")
    if now.digest == digest:
        return None
    before = next((version for version in reversed(saved_versions(project)) if version.digest == digest), None)
    same_form = before is not None and before.form == fingerprint.FINGERPRINT_VERSION
    seen = compare_versions(_version(project, before), now) if before and same_form else None
    gone = None if seen is None else seen.rows_removed
    return Finding(
        code="D065",
        severity="warn",
        message=f"the rows of {dataset.name} have changed: {_describe_change(seen)}",
        where=f"digest {now.digest}, was {digest}",
        measured=None if gone is None or seen is None else gone / max(1, seen.rows[0]),
        limit=0.0,
        hint=f"headway data diff {digest.removeprefix('sha256:')[:12]} {dataset.name}",
    )


def expect_unchanged(project: Project, data: Mapping[str, Dataset], digests: Mapping[str, str]) -> None:
    """Raise Refused if the rows of train, validation or test, or their feature views, no longer have these digests."""
    joined = {f"view.{view.reference}": view.digest for dataset in data.values() for view in dataset.views}
    for name, digest in digests.items():
        if name.startswith("view.") and joined and joined.get(name) != digest:
            raise Refused(
                f"nothing is released: the model was judged with {name.removeprefix('view.')}, and the project reads "
                "another version of that view now",
                where=", ".join(other.removeprefix("view.") for other in joined),
                hint="headway optimize, to judge with it; or name the version in [features] views",
            )
    for period in JUDGED:
        if period not in digests or period not in data:
            continue
        found = changed_rows(project, data[period], digests[period])
        if found is not None:
            raise Refused(
                f"nothing is released: {found.message}",
                where=found.where,
                hint=f"headway optimize, to judge on what the rows are now; what changed: {found.hint}; to release "
                f"it nevertheless: {OVERRIDE}",
            )


def _describe_change(seen: Difference | None) -> str:
    if seen is None:
        return "the old version is not stored"
    names = [f"{column.name} {column.change}" for column in seen.columns]
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    rows = "" if seen.rows_removed is None else f"{seen.rows_removed:,} of {seen.rows[0]:,} rows gone, "
    rows += "" if seen.rows_added is None else f"{seen.rows_added:,} new; "
    return f"{rows}columns: {', '.join(names[:5])}{more}"


def _provenance(project: Project, version: DataVersion, dataset: Dataset, code: str) -> Provenance:
    about = project.config[ProvenanceSection]
    made = {"code": code, "creator": about.creator, "made from": ", ".join(about.made_from)}
    facts = {**dataset.provenance, **made, "headway": importlib.metadata.version("headway")}
    return Provenance(
        period=version.name,
        digest=version.digest,
        n_rows=len(version.rows),
        columns=version.columns,
        rows=project.blobs.put(version.rows.astype("<u8").tobytes()),
        form=fingerprint.FINGERPRINT_VERSION,
        facts={name: value for name, value in facts.items() if value},
        tracked=dataset.tracked,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _version(project: Project, found: Provenance) -> DataVersion:
    rows = np.frombuffer(project.blobs.get(found.rows), dtype="<u8").astype(np.uint64)
    name = f"{found.period} {found.digest.removeprefix('sha256:')[:12]}"
    return DataVersion(name=name, digest=found.digest, columns=found.columns, rows=rows)
