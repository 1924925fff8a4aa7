"""A project over texts, from `headway init` to a release that reads sentences."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.pipeline.messages import messages, write
from tests.pipeline.serve_command import served

import headway
from headway.cli import main as cli
from headway.core import config
from headway.serving.client import Client

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def isolated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep keys in the folder of the test, and search with one transform."""
    monkeypatch.setenv("HEADWAY_TRUST_PUBLISHER_KEY", str(tmp_path / "publisher.pem"))
    monkeypatch.setenv("HEADWAY_OPTIMIZE_TRANSFORMS", '["text"]')
    monkeypatch.setenv("HEADWAY_SERVE_PORT", "0")


def test_a_project_of_messages_alone_is_released_and_answers_a_sentence(run, tmp_path):
    messages(900).select("message", "intent").write_csv(tmp_path / "messages.csv")
    folder = tmp_path / "support"
    code, out, _ = run("init", folder, "--from", tmp_path / "messages.csv", "--target", "intent", "--text", "message")
    assert (code, "texts: message" in out, "TF-IDF and logistic regression" in out) == (cli.PASS, True, True)
    data = config.load(folder).data
    assert (data.text, data.classes, data.ignore) == (("message",), ("account", "delivery", "refund"), ())
    file = folder / "headway.toml"
    file.write_text(file.read_text().replace('# message = "request"', 'message = "request"'))

    for command in ("check", "optimize", "release"):
        assert (command, run(command, "--project", folder)[0]) == (command, cli.PASS)
    with served(folder=folder) as line, Client(line.split()[2]) as client:
        answer = client.infer("support", {"message": ["my money back please, I was charged twice"]})[0]
        assert data.classes[int(answer.argmax())] == "refund"
    model = headway.load("support@live", project=folder)
    assert list(model.predict(["the courier is late and my parcel is not here"])) == ["delivery"]


def test_texts_are_trained_next_to_numbers_and_categories(run, tmp_path):
    folder = write(tmp_path, messages(1_800))
    assert config.load(folder).data.text == ("message",)
    assert "NUMBERS: tuple[str, ...] = ('n_orders',)" in (folder / "train.py").read_text()

    for command in ("check", "optimize", "release"):
        assert (command, run(command, "--project", folder)[0]) == (command, cli.PASS)
    with served(folder=folder) as line, Client(line.split()[2]) as client:
        row = {"message": ["reset my password, the login is locked"], "channel": ["fax"], "n_orders": [None]}
        assert client.infer("support", row)[0].argmax() == 0
