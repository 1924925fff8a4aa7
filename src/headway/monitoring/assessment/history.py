"""Stored assessments, what one found that another did not, and contract evidence.

D057: No assessment covers the data: none was made, or the table has grown or changed since the last one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from headway.core.assessment import Assessment
from headway.core.dataset import Dataset
from headway.core.evidence import Evidence, Finding
from headway.core.feature_view import FeatureView
from headway.core.record import digest_of, read
from headway.core.threads import this_machine
from headway.data.contract.check import ContractReport
from headway.data.sampled import open_sample
from headway.data.settings.data import DataSection
from headway.evaluation.statistics.intervals import exact_measurement
from headway.features.join import open_with_views
from headway.monitoring.assessment.changes import later_rows
from headway.registry.project import Project

FindingKey = tuple[str, str]


def assessment_history(project: Project) -> list[Assessment]:
    """Return all assessments of a project, oldest first."""
    return project.records(Assessment)


def last_assessment(project: Project) -> Assessment | None:
    """Return the last assessment of a project, None if there is none."""
    content = project.state.latest("assessment", name=project.name)
    return read(Assessment, content) if content else None


def new_findings(before: Assessment | None, now: Assessment) -> list[Finding]:
    """Return the findings that are new; none for the first assessment."""
    known = {_finding_key(finding) for finding in before.judged} if before else set()
    return [finding for finding in now.judged if before and _finding_key(finding) not in known]


def resolved_findings(before: Assessment | None, now: Assessment) -> list[Finding]:
    """Return the findings that are gone; not those whose check could not judge now, or did not run."""
    return _absent_findings(before, now, judged=True)


def unverified_findings(before: Assessment | None, now: Assessment) -> list[Finding]:
    """Return the earlier findings whose check could not judge now, so that they may still hold."""
    return _absent_findings(before, now, judged=False)


def _absent_findings(before: Assessment | None, now: Assessment, *, judged: bool) -> list[Finding]:
    """Return the earlier findings that are absent now, of the checks that could judge now or of the others."""
    found = {_finding_key(finding) for finding in now.judged}
    codes = {run.code for run in now.check_runs if not run.unjudged}
    return [
        finding
        for finding in (before.judged if before else ())
        if _finding_key(finding) not in found and (finding.code in codes) == judged
    ]


def _finding_key(finding: Finding) -> FindingKey:
    """Identify a finding across assessments: by code and location, not by its numbers."""
    return finding.code, finding.where


HINT = "headway check"


def open_assessed_dataset(
    project: Project, callback: Callable[[str], object], *, sampled: bool = False, views: Sequence[FeatureView] = ()
) -> Dataset:
    """Open the current data of a project, and warn by `callback` if no assessment covers them.

    With `sampled`, a table larger than memory is sampled as `headway check` does. The feature views are those of the
    release that is monitored or retrained, `views`, in its versions.
    """
    opened = open_sample(project.config) if sampled else None
    dataset = open_with_views(project.config, project.state, pinned=views, opened=opened)
    if (found := unassessed_finding(last_assessment(project), dataset)) is not None:
        callback(f"{found.code} {found.severity}: {found.message}; try: {found.hint}")
    return dataset


def unassessed_finding(before: Assessment | None, dataset: Dataset) -> Finding | None:
    """Return a finding (D057) on data that a model is monitored or trained with and no assessment covers.

    None otherwise.
    """
    if before is None:
        return _unassessed(f"{dataset.name} was never checked", 1.0)
    if before.dataset == dataset.digest:
        return None
    later = later_rows(dataset, before.until)
    if later is None:
        return _unassessed(f"the data are not those that were checked on {before.at[:10]}", None)
    share, about = len(later.table) / len(dataset.table), "about " if dataset.sampled else ""
    n_rows = dataset.sampled.n_rows if dataset.sampled else len(dataset.table)
    counted = f"{about}{round(share * n_rows):,} of {n_rows:,} rows ({share:.1%})"
    return _unassessed(
        f"{counted} are later than the last check, of {before.at[:10]}",
        share,
    )


def _unassessed(message: str, measured: float | None) -> Finding:
    limit = None if measured is None else 0.0
    return Finding(
        code="D057", severity="warn", message=message, where="[data] source", measured=measured, limit=limit, hint=HINT
    )


PERIOD = "contract"
_METHOD = "rows that break a rule of the contract"


def save_contract_evidence(project: Project, found: ContractReport) -> Evidence:
    """Save the share of rows that break the contract, the number of rules, and the findings, as evidence.

    The subject is the digest of the contract file; the dataset is the digest of the table, or of the bytes of a file.
    """
    content = project.config.path(project.config[DataSection].contract).read_bytes()
    share = found.n_failing / found.n_rows if found.n_rows else 0.0
    evidence = Evidence(
        subject=digest_of(content),
        dataset=found.dataset,
        period=PERIOD,
        machine=this_machine(),
        measurements=(
            exact_measurement("contract.failing", share, n_rows=found.n_rows, method=_METHOD),
            exact_measurement("contract.rules", float(found.n_rules), n_rows=found.n_rows, method="count"),
        ),
        findings=found.findings,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    if not _is_saved(project, evidence):
        project.save(evidence)
    return evidence


def _is_saved(project: Project, evidence: Evidence) -> bool:
    """Return whether the last evidence on this contract and data found the same: a nightly check saves only changes."""
    subject = evidence.subject.encode()
    contents = (
        content for content in reversed(project.state.records("evidence", name=project.name)) if subject in content
    )
    of_data = (found for content in contents if (found := read(Evidence, content)).dataset == evidence.dataset)
    last = next(of_data, None)
    return last is not None and last.findings == evidence.findings
