"""A project with a past, for pages that show one: the store of `tests/fixtures`, with settings of today's names."""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from tests.serving.flushed_log import log_writer, worker_log

from headway.core.action import PersonAction
from headway.dashboard._process import prepare_operator_key
from headway.data.contract.check import check_contract
from headway.monitoring.alerts.deliver import update_alerts
from headway.monitoring.task_runs import save_run
from headway.registry.project import Project, open_project
from headway.serving.loading import load_model
from headway.serving.telemetry.prediction_log import LogBuffers, LogEntry
from headway.storage import traffic
from headway.storage.traffic import Label, save_label, save_labels

ARCHIVE = Path(__file__).parents[1] / "fixtures" / "older_store.tar.xz"
SETTINGS = {
    "people =": "sensitive_features =",
    "choose =": "validation =",
    'class_weights = "as_they_come"': 'class_weight = "none"',
    "false_alarm": "false_positive",
    "miss =": "false_negative =",
    "roc_auc.loss": "roc_auc.drop",
    "flipped_decisions": "decision_churn",
    "calibration.moved": "probability_shift",
}
CONTRACT = {
    'type = "time"': 'type = "datetime"',
    'type = "whole"': 'type = "integer"',
    'type = "text"': 'type = "string"',
    "lowest =": "minimum =",
    "highest =": "maximum =",
}
RULE = '[[alert]]\nname = "ops"\nto = "command"\nsettings = { command = ["true"] }\n'
SAVED = PersonAction(
    name="small",
    at="2026-11-28T09:30:00+00:00",
    who="ada",
    role="operator",
    action="rollback",
    reason="too many alarms",
)


def write(folder: Path) -> Path:
    """Write the project `small` into a folder: two releases, a running canary, log, labels, rows in quarantine."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    project = folder / "project"
    for name, renamed in (("headway.toml", SETTINGS), ("contract.toml", CONTRACT)):
        text = (project / name).read_text()
        for old, new in renamed.items():
            text = text.replace(old, new)
        (project / name).write_text(text)
    for name in ("publisher.pem", "personal.key"):
        (project / "keys" / name).chmod(0o600)
    opened = open_project(project)
    opened.save(SAVED)
    delivered = project / "delivered.parquet"
    pl.read_parquet(project / "table.parquet").head(5).with_columns(hour=pl.lit(77)).write_parquet(delivered)
    check_contract(opened.config, file=delivered)
    opened.state.close()
    return project


def offer_every_action(folder: Path) -> None:
    """Bring a project of `write` to where each page has all of its forms and tables.

    The operator has a key, requests wait for a label, two people labeled some, a batch of the log is put aside, a rule
    of alerts fires and sent a message, and two tasks of the schedule ran.
    """
    toml = (folder / "headway.toml").read_text()
    (folder / "headway.toml").write_text(toml.replace("[trust]", '[trust]\noperator_key = "keys/operator.pem"') + RULE)
    project = open_project(folder)
    now = datetime.now(UTC)
    save_run(project, "watch", started_at=now, outcome="failed", message="the table was not there")
    save_run(project, "check", started_at=now - timedelta(days=2), outcome="done", message="nothing has changed")
    update_alerts(project)
    prepare_operator_key(project)
    answer(project, [f"new-{number}" for number in range(24)])
    answer(project, ["aside-1", "aside-2"], put_aside=True)
    seen = [Label(f"new-{number}", float(number % 2)) for number in range(8)]
    save_labels(project.config.state, project.name, seen, who="ben")
    for label in seen[:4]:
        save_label(project.config.state, project.name, label, who="carl", is_second=True)
    project.state.close()


def answer(project: Project, keys: Sequence[str], *, put_aside: bool = False) -> None:
    """Log requests that the live release answered, one for each key, with unsure scores; or put their batch aside."""
    live, count = load_model(project.registry.resolve(f"{project.name}@live")), len(keys)
    log = LogBuffers(1, 1 << 20)
    entry = LogEntry(
        release=live,
        at_us=int(datetime.now(UTC).timestamp() * 1e6),
        requests=np.arange(count),
        keys=list(keys),
        sizes=[1] * count,
        latency_ns=np.full(count, 1_000_000),
        role=traffic.LIVE,
        answered=1,
        stage=traffic.ALONE,
        paired=0,
        rows=np.stack([np.arange(count) % 24, np.linspace(0, 9, count), np.zeros(count)], axis=1),
        answers=np.full((count, 2), 0.5),
        seen=(),
    )
    assert worker_log(log).add(entry)
    state = project.config.state
    segments = traffic.log_folder(state, project.name, live.digest)
    hidden = segments.with_name("hidden")
    if put_aside:  # the log writer cannot write into a file
        segments.rename(hidden)
        segments.write_text("no folder")
    assert log_writer(state, log).write()
    if put_aside:
        segments.unlink()
        hidden.rename(segments)
