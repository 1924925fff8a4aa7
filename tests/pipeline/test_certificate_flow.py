"""A certificate from release to withdrawal, and a retraining from the labels of people to the next certificate."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.pipeline.messages import messages, write

from headway import pipeline
from headway.core.training import Training
from headway.data.settings.data import DataSection
from headway.registry.project import Project, open_project
from headway.registry.withdrawals import withdrawn_classes
from headway.storage import segments, traffic
from headway.storage.traffic import Label

pytestmark = pytest.mark.slow
SETTINGS = """
[answer]
limit = 0.4
audit_share = 0.5

[retrain]
judged_days = 60

[schedule]
tasks = ["watch"]

[[policy.retrain]]
measure = "accuracy.drop"
at_most = 0.5
"""


@pytest.fixture(params=["with times", "without times"])
def project(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project of messages whose live release answers selectively."""
    monkeypatch.setenv("HEADWAY_TRUST_PUBLISHER_KEY", str(tmp_path / "publisher.pem"))
    monkeypatch.setenv("HEADWAY_OPTIMIZE_TRANSFORMS", '["text"]')
    left_out = ["at"] if request.param == "without times" else []
    folder = write(tmp_path, messages(2_400).drop("channel", "n_orders", "customer", *left_out))
    file = folder / "headway.toml"
    file.write_text(file.read_text() + SETTINGS)
    return open_project(folder)


def _log(project: Project, release: str, rows: pl.DataFrame, classes: tuple[str, ...], *, first: int = 0) -> None:
    """Log answers to messages of new days that are all wrong, with the labels that people gave."""
    n = len(rows)
    ones, numbers = np.ones(n, dtype=np.int8), np.arange(n)
    labels = np.array([classes.index(intent) for intent in rows["intent"]])
    outputs = np.full((n, len(classes)), 0.01)
    outputs[numbers, (labels + 1) % len(classes)] = 0.98
    columns: dict[str, segments.Column] = {
        "request": numbers,
        "key": [str(first + number) for number in numbers],
        "at_us": rows["at"].dt.epoch("us").to_numpy().copy(),
        "stage": -ones,
        "paired": ones * 0,
        "answered": ones,
        "status": ones * 0,
        "latency_us": numbers,
        "rate": np.ones(n),
        "in.message": np.zeros(n),
        "text.message": rows["message"].to_list(),
        **{f"out.{index}": outputs[:, index].copy() for index in range(len(classes))},
        "answered_by": ones * 0,
        "audit": ones,
    }
    segments.save(traffic.log_folder(project.config.state, project.name, release), columns)
    found = [Label(str(first + number), float(label)) for number, label in zip(numbers, labels, strict=True)]
    traffic.save_labels(project.config.state, project.name, found, who="ann")


def test_wrong_answers_withdraw_the_certificate_and_a_retraining_makes_a_new_one(project, run):
    folder = Path(project.config.folder)
    run("optimize", "--project", folder)
    code, out, err = run("release", "--project", folder, "--override", "a test")
    assert code == 0, out + err
    bundle = project.registry.resolve(f"{project.name}@live")
    plan, classes = bundle.release.answers, bundle.release.variant.signature.classes
    assert plan is not None and plan.thresholds

    code, out, _ = run("retrain", "--project", folder)
    assert code == 0 and "no open ticket" in out
    shift = timedelta(days=120) if project.config[DataSection].time else datetime.now() - datetime(2024, 12, 31)
    later = messages(600).with_columns(pl.col("at") + shift)
    _log(project, bundle.digest, later, classes)
    audit = pipeline.audit_certificate(project)
    assert audit is not None and audit.status == "broken"
    withdrawn = withdrawn_classes(project.state, plan, name=project.name, digest=bundle.digest)
    assert withdrawn == set(plan.thresholds)

    code, out, _ = run("retrain", "--mode", "suggest", "--project", folder)
    assert code == 3 and "the certificate is broken" in out, out

    code, out, _ = run("run", "--once", "--project", folder)
    assert "watch attention: " in out and ("rows of the table have no time" in out) == (
        not project.config[DataSection].time
    )

    found = pipeline.retrain(project)

    answers = found.search_result.answers
    assert answers is not None and answers.thresholds, found.message
    assert "live answers 0.0%" in found.message and "by its new certificate it answers" in found.message
    coverage = found.search_result.winner.evidence.find("answer.coverage")
    assert coverage is not None and coverage.value > 0.3

    # The next retraining trains on what people answered under both releases.
    at_once = open_project(folder, flags={"retrain.through": "live"})
    assert pipeline.promote(at_once, found, who="ann", why="a test").status == "live"
    second = project.registry.resolve(f"{project.name}@live").digest
    more = later.with_columns(pl.col("at") + timedelta(days=100), pl.format("{} again", "message"))
    _log(project, second, more, classes, first=600)

    again = pipeline.retrain(project)

    assert (again.live, again.findings) == (second, ()), "what live was trained on is found again"
    before, after = sorted({(one.n_rows, one.until) for one in project.records(Training) if one.seed == 0})[-2:]
    since, until = (datetime.fromisoformat(one) for _, one in (before, after))
    newly = later.filter(pl.col("at") >= since).vstack(more).filter(pl.col("at") < until)
    assert after[0] - before[0] == len(newly.join(messages(2_400), on="message", how="anti")) > 400
