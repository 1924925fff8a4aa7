"""The work of the tasks of `headway run`: what each did, and whether a person should look."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from getpass import getuser

from headway import pipeline
from headway.cli.commands import retrain
from headway.cli.commands.watch import NO_WINDOW
from headway.cli.feature_rows import materialize_project
from headway.core.feature_report import FeatureReport
from headway.data.sampled import open_for_checks
from headway.data.settings.personal import PersonalSection
from headway.monitoring.erasure.erase import ErasureRequest
from headway.monitoring.feature_status import last_of_release, live_views
from headway.monitoring.labeling.imports import import_labels
from headway.monitoring.settings.schedule import ScheduleSection
from headway.monitoring.settings.threats import ThreatsSection
from headway.monitoring.task import TaskResult
from headway.monitoring.task_runs import unwatched_reason
from headway.registry.project import Project
from headway.reporting.console import print_status
from headway.reporting.text.feature_tables import describe_value_replay
from headway.reporting.text.formatting import join_names
from headway.reporting.text.threats import describe_threats
from headway.security.threats.assessment import assess_threats

REPORT_EVERY = timedelta(days=7)


def run_labels(project: Project) -> TaskResult:
    """Import each new file of labels."""
    found = import_labels(project, who=getuser())
    if not found.files:
        return "done", "no new file of labels"
    unknown = f"; {found.unknown:,} keys belong to no logged request" if found.unknown else ""
    return "attention" if unknown else "done", f"{found.labels:,} labels of {found.files:,} new files{unknown}"


def run_materialize(project: Project) -> TaskResult:
    """Store the newest values of the feature views."""
    done = materialize_project(project, callback=print_status)
    return "done", "; ".join(f"{one.view}: {one.stored:,} of {one.entities:,} entities" for one in done)


def run_data_check(project: Project) -> TaskResult:
    """Check the data, and open an assessment if they changed."""
    with open_for_checks(project.config) as dataset:
        found = pipeline.assess(project, dataset, who=getuser())
    findings = [finding for finding in found.now.findings if finding.severity == "stop"]
    text = f"assessment {found.now.number}"
    if found.same:
        text += ", nothing has changed"
    elif found.now.why:
        text += f" was opened: {'; '.join(finding.message for finding in found.now.why)}"
    if findings:
        text += f"; {len(findings)} findings need a decision: {findings[0].message}"
    return "attention" if findings else "done", text


def run_watch(project: Project) -> TaskResult:
    """Judge the periods that ended, and audit the certificate and the API keys."""
    settings = project.config[ScheduleSection]
    audit = pipeline.audit_certificate(project)
    audited = f"{audit.message}; " if audit else ""
    is_broken = audit is not None and audit.status == "broken"
    probed = pipeline.audit_probing(project, callback=print_status)
    if probed is not None and probed.found:
        audited += f"API keys that copy or probe the model: {join_names([key.api_key for key in probed.found])}; "
        is_broken = True
    if reason := unwatched_reason(project.config):
        return "attention" if is_broken else "done", audited + reason
    reports = pipeline.watch(project, every=settings.window, source=settings.source, callback=print_status)
    ended = [report for report in reports if report.is_complete]
    if not ended:
        return "attention" if is_broken else "done", audited + (reports[-1].message if reports else NO_WINDOW)
    needs = is_broken or ended[-1].status in ("degraded", "unknown") or ended[-1].ticket is not None
    return "attention" if needs else "done", audited + ended[-1].message


def run_replay(project: Project) -> TaskResult:
    """Compare the values of views that were served with those of the table."""
    release, views = live_views(project)
    found = pipeline.replay_former(project)
    messages = [f"release {one.release[:19]}, which is not live: {describe_value_replay(one)}" for one in found]
    if views:
        found.append(pipeline.replay_features(project, only_new=True))
        messages = [describe_value_replay(found[-1]), *messages, _refresh_report(project, release)]
    else:
        messages.insert(0, "the live release looks up no feature view" if release else "no release is live")
    if any(one.unknown and one.n_rows for one in found):
        return "failed", "; ".join(messages)
    return "done" if all(one.status == "equal" for one in found) else "attention", "; ".join(messages)


def _refresh_report(project: Project, release: str) -> str:
    """Measure cost and worth of the features once a week, and of a new release; return what was done."""
    last = last_of_release(project, FeatureReport, release)
    if last and datetime.now(UTC) - datetime.fromisoformat(last.at) < REPORT_EVERY:
        return f"cost and worth were measured on {last.at[:10]}"
    unknown = pipeline.report_features(project).unknown
    return f"cost and worth were measured{f', but not known: {join_names(unknown)}' if unknown else ''}"


def run_retrain(project: Project) -> TaskResult:
    """Retrain, promote or follow a retraining, as far as the settings allow."""
    outcome, _, _ = retrain.act(project, who=getuser(), why="")
    pipeline.send_lineage(project, callback=print_status)
    done = outcome.status in ("no proposal", "live", "rolling out")
    return "done" if done else "attention", f"{outcome.status}: {' '.join(outcome.message.split())}"


def run_erase(project: Project) -> TaskResult:
    """Erase rows that are older than the retention."""
    retention = project.config[PersonalSection].retention
    request = ErasureRequest(older=retention, who=getuser(), why="retention")
    erasure = pipeline.erase(project, request)
    rows = f"{erasure.rows:,} rows older than {retention} were erased"
    return "done" if erasure.is_complete else "attention", rows


def run_threats(project: Project) -> TaskResult:
    """Assess which threats the live release has evidence on."""
    found = assess_threats(project, who=getuser()).now
    if not found.release:
        return "done", "no release is live"
    level = project.config[ThreatsSection].level
    opened = [row for row in found.open_gaps(level=level) if row.id in found.opened]
    return "attention" if opened else "done", describe_threats(found)
