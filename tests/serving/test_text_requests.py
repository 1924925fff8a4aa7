"""A release that reads texts: requests bring strings, the log has them, and monitoring counts their words."""

from __future__ import annotations

import signal
from contextlib import closing
from datetime import UTC, datetime

import numpy as np
import pytest
from running import started
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import headway
from headway.core.training import Training
from headway.monitoring.deployed_release import DeployedRelease
from headway.monitoring.prediction_log import read_predictions
from headway.monitoring.scored_rows import logged_requests, logged_rows
from headway.registry.bundle import open_release
from headway.registry.project import open_project
from headway.serving.client import Client
from headway.storage.addresses import log_root

pytestmark = pytest.mark.slow

ASKED = ["where is my parcel", "money back", "caf\u00e9 \U0001f600", ""]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Return a project whose server answered some texts."""
    folder = tmp_path_factory.mktemp("shop")
    texts = [f"{words} {number}" for number in range(60) for words in ("where is my parcel", "my money back please")]
    labels = ["delivery", "refund"] * 60
    pipeline = make_pipeline(CountVectorizer(), LogisticRegression()).fit(texts, labels)
    headway.optimize(pipeline, texts, labels, budget=5).release(folder=folder)
    with (folder / "headway.toml").open("a") as file:
        file.write("[serve]\nport = 0\n")
    process = started(folder, "model@live")
    try:
        with closing(Client(process.stdout.readline().split()[2])) as client:
            found = client.infer("model", {"text": ASKED})
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert np.abs(np.ravel(found) - pipeline.predict_proba(ASKED)[:, 1]).max() <= 1e-6
    opened = open_project(folder)
    yield opened
    opened.state.close()


def test_the_log_has_the_texts_and_not_the_numbers_of_a_process(project):
    bundle = project.registry.resolve("model@live")
    rows = read_predictions(log_root(project.config, project.name), project.name, [bundle.digest])
    assert rows["text.text"].to_list() == ASKED
    assert rows["in.text"].fill_nan(None).null_count() == len(ASKED)
    assert logged_requests(project)["text"].to_list() == ASKED


def test_detectors_see_the_number_of_words(project):
    bundle = project.registry.resolve("model@live")
    release = bundle.release
    now = datetime.now(UTC).date().isoformat()
    training = Training(
        dataset="",
        recipe="",
        model=release.variant,
        since=now,
        until=now,
        judged_since=now,
        judged_until=now,
        n_rows=120,
        seconds=1.0,
    )
    deployed = DeployedRelease(release=release, digest=bundle.digest, model=open_release(bundle), training=training)
    rows = logged_rows(log_root(project.config, project.name), deployed)
    assert rows.detector_window().rows[:, 0].tolist() == [4, 2, 1, 0]
    assert rows.answers.tolist() == (rows.scores >= release.threshold).astype(int).tolist()
    assert rows.confidence.tolist() == np.maximum(rows.scores, 1 - rows.scores).tolist()
    assert np.abs(deployed.model.predict(rows.rows)[:, 0] - rows.scores).max() <= 1e-6
