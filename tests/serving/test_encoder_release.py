"""A sentence encoder from optimize to a signed release in a process of `headway serve`, and through a rollback."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from plain_client import post
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from tests.engines import encoders
from tests.pipeline.serve_command import served

import headway
from headway.cli import main as cli
from headway.core.errors import RowRefused
from headway.core.release import version_of
from headway.engines.estimators.encoders import SentenceEncoder
from headway.registry.bundle import Bundle
from headway.registry.project import open_project

pytestmark = [pytest.mark.slow, pytest.mark.services]
TEXTS = ("where is my parcel", "money back please", "late refund", "please where", "")
KEYS = [f"k-{number}" for number in range(40)]


def released(folder: Path, pipeline: Pipeline) -> Bundle:
    """Release a pipeline as the engine of encoders, and return the verified release."""
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(encoders.snapshots.WORDS[4:], 5)) for _ in range(900)]
    labels = [str(label) for label in pipeline.predict(texts)]
    best = headway.optimize(pipeline, texts, labels, transforms=["encoder"], budget="20s", folder=folder)
    assert best.variant.engine == "encoder"
    with pytest.raises(RowRefused, match="row 1"):
        best.predict([texts[0], None])
    best.release(who="ann", why="a test")
    return open_project(folder).registry.resolve("shop@live")


def run(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as ended:
        cli.main([*words])
    shown = capsys.readouterr()
    assert ended.value.code in (cli.PASS, cli.UNDECIDED), shown
    return shown.out


def test_an_encoder_is_released_served_in_a_canary_and_rolled_back(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HEADWAY_TRUST_PUBLISHER_KEY", str(tmp_path / "publisher.pem"))
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "headway.toml").write_text('[project]\nname = "shop"\n[policy]\nfloor = "none"\n')
    encoder = SentenceEncoder(encoders.bert())
    pipelines = [
        make_pipeline(encoder, LogisticRegression(C=cost, max_iter=500)).fit(encoders.TEXTS, encoders.LABELS)
        for cost in (1.0, 100.0)
    ]
    first, second = (released(folder, pipeline) for pipeline in pipelines)
    expected = {
        bundle.digest: pipeline.predict_proba(list(TEXTS))
        for bundle, pipeline in zip((first, second), pipelines, strict=True)
    }

    with served("shop@live", "--port", "0", folder=folder) as line:
        port = int(re.search(r":(\d+)", line)[1])

        def ask(key: str) -> str:
            """Return the version that answers a key, whose probabilities must be those of its pipeline."""
            inputs = [{"name": "text", "shape": [len(TEXTS)], "datatype": "BYTES", "data": TEXTS}]
            found = post(port, "/v2/models/shop/infer", {"inputs": inputs, "parameters": {"key": key}})
            assert found.status == 200, found.json
            version = found.json["model_version"]
            digest = next(digest for digest in expected if version_of(digest) == version)
            answer = np.reshape(found.json["outputs"][0]["data"], (len(TEXTS), -1))
            assert np.abs(answer - expected[digest]).max() < 1e-5
            return digest

        assert {ask(key) for key in KEYS} == {second.digest}
        start = ("rollout", "start", f"shop@{first.digest[7:19]}", "--shares", "0.5", "--project", str(folder))
        run(capsys, *start)
        assert until_versions(ask, {first.digest, second.digest})
        run(capsys, "rollout", "rollback", "shop", "--from", first.digest, "--why", "no", "--project", str(folder))
        assert until_versions(ask, {second.digest})
    assert json.loads(run(capsys, "verify", "shop@live", "--project", str(folder), "--json"))


def until_versions(ask: Callable[[str], str], wanted: set[str]) -> bool:
    """Ask until the releases that answer are these; servers follow a pointer within a second."""
    return any({ask(key) for key in KEYS} == wanted for _ in range(600))
