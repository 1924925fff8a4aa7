"""A project with a past, for pages that show one: the store of `tests/fixtures`, with settings of today's names."""

from __future__ import annotations

import tarfile
from pathlib import Path

import polars as pl

from headway.core.action import PersonAction
from headway.data.contract.check import check_contract
from headway.registry.project import open_project

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
