"""A project whose rows have several labels, from `headway init` to a release that names the labels of a sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.pipeline.messages import WORDS
from tests.pipeline.serve_command import served

import headway
from headway.cli import main as cli
from headway.core import config
from headway.core.search_result import SearchResult
from headway.data.settings.data import DataSection
from headway.monitoring._paired_traffic import _decisions
from headway.registry.project import open_project
from headway.serving.client import Client

pytestmark = pytest.mark.slow
NAMES = ("account", "delivery", "refund")


@pytest.fixture(autouse=True)
def isolated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep keys and reports in the folder of the test, and search with one transform."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEADWAY_TRUST_PUBLISHER_KEY", str(tmp_path / "publisher.pem"))
    monkeypatch.setenv("HEADWAY_OPTIMIZE_TRANSFORMS", '["text"]')
    monkeypatch.setenv("HEADWAY_SERVE_PORT", "0")


def tickets(rows: int = 900) -> pl.DataFrame:
    """Return messages with the names of their subjects, of which there may be several or none."""
    draw = np.random.default_rng(0)
    texts, subjects = [], []
    for row in range(rows):
        own = [name for name in NAMES if draw.random() < 0.4]
        texts.append(" ".join(["please", *(word for name in own for word in draw.choice(WORDS[name].split(), 3))]))
        texts[-1] += f" {row}"
        subjects.append("|".join(own) or "|")
    return pl.DataFrame({"message": texts, "subjects": subjects})


def test_a_project_of_several_labels_is_checked_judged_released_and_served_with_names(run, tmp_path):
    tickets().write_csv(tmp_path / "tickets.csv")
    folder = tmp_path / "support"
    code, out, _ = run("init", folder, "--from", tmp_path / "tickets.csv", "--target", "subjects", "--text", "message")
    assert (code, "target: subjects (multilabel, 3 labels)" in out) == (cli.PASS, True)
    assert (
        config.load(folder)[DataSection].classes == NAMES and "OneVsRestClassifier" in (folder / "train.py").read_text()
    )
    file = folder / "headway.toml"
    file.write_text(file.read_text().replace('# message = "request"', 'message = "request"'))
    for command in ("check", "optimize", "release", "report"):
        assert (command, run(command, "--project", folder)[0]) == (command, cli.PASS)

    model = headway.load("support@live", project=folder)
    assert model.predict(["my parcel is late, money back please"]).tolist() == [[0, 1, 1]]
    with served(folder=folder) as line, Client(line.split()[2]) as client:
        found = client.infer("support", {"message": ["my parcel is late, money back please"]})[0]
        assert (found > 0.5).tolist() == [False, True, True]
    code, _, _ = run("predict", "support@live", tmp_path / "tickets.csv", tmp_path / "out.csv", "--project", folder)
    scored = pl.read_csv(tmp_path / "out.csv")
    assert code == cli.PASS and scored.columns == ["row", *(f"probability.{name}" for name in NAMES), "decision"]
    assert (scored["decision"] == tickets()["subjects"]).mean() > 0.95

    labels = tmp_path / "labels.csv"
    labels.write_text("key,label\na-1,delivery|refund\n")
    for command in (("labels", "add", labels), ("labels", "suspects")):
        code, _, err = run(*command, "--project", folder)
        assert code == cli.USAGE and "several labels" in err
    release = open_project(folder).registry.resolve("support@live").release
    outputs = [[0.9, 0.1, 0.8], [0.6, 0.4, 0.7], [0.9, 0.9, 0.8], None]
    decided = _decisions(pl.DataFrame({"live.out": pl.Series(outputs, dtype=pl.List(pl.Float64))}), "live", release)
    assert decided[0] == decided[1] != decided[2] and np.isnan(decided[3])

    file = folder / "train.py"
    file.write_text(file.read_text().replace("C=10.0", "C=0.001"))
    assert run("optimize", "--project", folder)[0] == cli.FAIL  # it is worse than live
    evidence = open_project(folder).latest(SearchResult).winner.evidence
    assert evidence.find("live.decision_churn").low > 0
    assert evidence.find("live.micro_f1.drop").low > 0 == evidence.find("micro_f1.drop").value
