"""A project folder that commit e9932e7 wrote opens, verifies, serves and is monitored.

`tests/fixtures/older_store.tar.xz` holds headway.toml and contract.toml, a store with two signed releases, log, labels
and records of every kind, the keys, and the answers that its server gave.
"""

from __future__ import annotations

import json
import sqlite3
import tarfile
import warnings
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from headway import pipeline
from headway.core import config
from headway.core.assessment import Assessment
from headway.core.evidence import Evidence
from headway.core.labeling import Agreement, Correction, Suspects
from headway.core.monitoring import MonitoringReport, Ticket
from headway.core.provenance import Provenance
from headway.core.record import StoredRecord
from headway.core.renamed import RenamedWarning
from headway.core.rollout import Rollout
from headway.core.search_result import Baseline, SearchResult
from headway.core.training import Retraining, Training
from headway.core.verdict import Verdict
from headway.data.open import open_dataset
from headway.data.settings.data import DataSection
from headway.data.settings.model import Costs, ModelSection
from headway.data.settings.policy import PolicySection
from headway.data.settings.split import SplitSection
from headway.monitoring.erasure.proofs import load_erasures
from headway.registry.bundle import open_release
from headway.registry.project import Project, open_project
from headway.storage import segments, traffic

ARCHIVE = Path(__file__).parents[1] / "fixtures" / "older_store.tar.xz"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    for name in ("publisher.pem", "personal.key"):
        (tmp_path / "project" / "keys" / name).chmod(0o600)
    return tmp_path / "project"


@pytest.fixture
def project(folder: Path) -> Iterator[Project]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RenamedWarning)
        opened = open_project(folder)
    yield opened
    opened.state.close()


@pytest.mark.slow
def test_each_old_setting_is_accepted_with_a_warning_that_names_the_new_one(folder: Path) -> None:
    with pytest.warns(RenamedWarning) as caught:
        found = config.load(folder, environment={})
    renamed = {tuple(str(warning.message).split("'")[1:4:2]) for warning in caught}
    assert renamed == {
        ("choose", "validation"),
        ("people", "sensitive_features"),
        ("class_weights", "class_weight"),
        ("as_they_come", "none"),
        ("false_alarm", "false_positive"),
        ("miss", "false_negative"),
        ("roc_auc.loss", "roc_auc.drop"),
        ("flipped_decisions", "decision_churn"),
        ("calibration.moved", "probability_shift"),
    }
    assert found[SplitSection].validation == ("2013-02-10", "2013-03-10")
    assert found[DataSection].sensitive_features == ("carrier",)
    assert (found[ModelSection].class_weight, found[ModelSection].costs) == ("none", Costs(false_negative=2.0))
    assert [rule.measure for rule in found[PolicySection].release[:3]] == [
        "roc_auc.drop",
        "decision_churn",
        "probability_shift",
    ]


@pytest.mark.slow
def test_the_history_and_the_live_release_are_verified(project: Project) -> None:
    history = project.registry.history()
    assert [(update.pointer, update.who) for update in history] == [("live", "ada"), ("canary", "root")]
    for update in history:
        bundle = project.registry.resolve(f"small@{update.release}")
        assert bundle.digest == update.release and set(bundle.release.data) == {"train", "validation", "test"}
        assert {result.rule.measure for result in bundle.release.verdict.rule_results} >= {"roc_auc.drop", "ece"}


@pytest.mark.slow
def test_the_live_release_answers_as_it_did(project: Project, folder: Path) -> None:
    bundle = project.registry.resolve("small@live")
    engine, categories = open_release(bundle), bundle.release.variant.signature.inputs[2].categories
    for columns, answers in json.loads((folder / "answers.json").read_text()):
        wind = columns["wind"][0]
        row = [columns["hour"][0], np.nan if wind is None else wind, categories.index(columns["carrier"][0])]
        np.testing.assert_allclose(engine.predict(np.array([row], dtype=np.float64)), answers, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "count"),
    [
        (Agreement, 1),
        (Assessment, 1),
        (Baseline, 1),
        (Correction, 1),
        (Evidence, 9),
        (SearchResult, 2),
        (Provenance, 5),
        (Retraining, 1),
        (Rollout, 1),
        (Suspects, 1),
        (Ticket, 1),
        (Training, 2),
        (Verdict, 6),
        (MonitoringReport, 3),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_records_of_every_kind_are_read(project: Project, kind: type[StoredRecord], count: int) -> None:
    assert len(project.records(kind)) == count


@pytest.mark.slow
def test_periods_and_measures_of_stored_evidence_have_todays_names(project: Project) -> None:
    found = project.records(Evidence)
    assert {evidence.period for evidence in found} >= {"validation", "test"}
    names = {measurement.name for evidence in found for measurement in evidence.measurements}
    assert {"roc_auc.drop", "decision_churn", "probability_shift"} <= names
    assert not any(name.endswith(".loss") or name in ("flipped_decisions", "calibration.moved") for name in names)


@pytest.mark.slow
def test_the_rollout_that_was_running_has_the_terms_that_were_signed(project: Project) -> None:
    [rollout] = project.records(Rollout)
    [update] = project.registry.history("small", "canary")
    assert update.assignment is not None and update.assignment.terms == rollout.terms


@pytest.mark.slow
def test_the_proof_of_an_erasure_is_read(project: Project) -> None:
    [erasure] = load_erasures(project)
    assert erasure.rows == 2 and erasure.message


@pytest.mark.slow
def test_log_and_labels_are_read(project: Project) -> None:
    state = project.config.state
    folder = traffic.log_folder(state, "small", project.registry.resolve("small@live").digest)
    log = pl.concat([pl.read_ipc_stream(path) for path in segments.segments(folder)])
    labels = pl.concat([pl.read_ipc_stream(path) for path in segments.segments(traffic.labels_folder(state, "small"))])
    assert len(log) == len(labels) == 39 and "customer-7" not in log["key"].to_list()


@pytest.mark.slow
def test_answers_of_monitored_periods_are_kept_and_inputs_that_could_not_be_judged_are_judged(project: Project) -> None:
    before = project.records(MonitoringReport)
    again = pipeline.watch(project, until=datetime(2013, 5, 11), every="14d")
    assert {report.period for report in again} == {report.period for report in before}
    kept = [(report.period, answer) for report in before for answer in report.answers]
    assert set(kept) <= {(report.period, answer) for report in again for answer in report.answers}
    assert all(report.reply("drift") for report in again if report.is_complete)


@pytest.mark.slow
def test_renamed_settings_do_not_open_a_new_assessment(project: Project) -> None:
    [before] = project.records(Assessment)
    data = open_dataset(project.config)
    with pytest.warns(RenamedWarning) as caught:
        now = pipeline.assess(project, data, who="ada").now  # a label was corrected since, so it is another one
    assert (now.number, now.why) == (before.number, ())
    assert before.settings.items() <= now.settings.items()  # newer settings have their defaults
    assert any("contract.toml, columns.hour.type: 'whole' was renamed to 'integer'" in str(w.message) for w in caught)


@pytest.mark.slow
def test_the_schema_version_makes_an_older_headway_ask_for_an_upgrade(project: Project, folder: Path) -> None:
    with closing(sqlite3.connect(folder / ".headway" / "state.sqlite")) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (4,)
