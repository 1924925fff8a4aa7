"""A project over texts, from `headway init` to a release that reads sentences."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from tests.pipeline.messages import messages, write
from tests.pipeline.serve_command import served

import headway
from headway import pipeline
from headway.cli import main as cli
from headway.core import config
from headway.data.settings.data import DataSection
from headway.registry.project import open_project
from headway.serving.client import Client
from headway.storage import traffic
from headway.storage.segments import segments

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def isolated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep keys in the folder of the test, and search with one transform."""
    monkeypatch.setenv("HEADWAY_TRUST_PUBLISHER_KEY", str(tmp_path / "publisher.pem"))
    monkeypatch.setenv("HEADWAY_OPTIMIZE_TRANSFORMS", '["text"]')
    monkeypatch.setenv("HEADWAY_SERVE_PORT", "0")


def test_a_project_of_messages_alone_is_released_and_answers_a_sentence(run, tmp_path, monkeypatch):
    messages(900).select("message", "intent").write_csv(tmp_path / "messages.csv")
    folder = tmp_path / "support"
    code, out, _ = run("init", folder, "--from", tmp_path / "messages.csv", "--target", "intent", "--text", "message")
    assert (code, "texts: message" in out, "TF-IDF and logistic regression" in out) == (cli.PASS, True, True)
    data = config.load(folder)[DataSection]
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
    for command in ("watch", "retrain"):
        code, _, err = run(command, "--project", folder)
        assert code == cli.USAGE and "without a time column" in err and 'time = "COLUMN"' in err
    monkeypatch.setenv("HEADWAY_SCHEDULE_TASKS", '["watch", "threats"]')
    code, out, err = run("run", "--once", "--project", folder)
    assert "watch is left out: rows of the table have no time" in err and "watch failed" not in out


def test_texts_are_trained_next_to_numbers_and_categories(run, tmp_path):
    folder = write(tmp_path, messages(1_200))
    assert config.load(folder)[DataSection].text == ("message",)
    assert "NUMBERS: tuple[str, ...] = ('n_orders',)" in (folder / "train.py").read_text()

    for command in ("check", "optimize", "release"):
        assert (command, run(command, "--project", folder)[0]) == (command, cli.PASS)
    with served(folder=folder) as line, Client(line.split()[2]) as client:
        row = {"message": ["reset my password, the login is locked"], "channel": ["fax"], "n_orders": [None]}
        assert client.infer("support", row)[0].argmax() == 0


@pytest.mark.parametrize("columns", [("message", "intent"), ("message", "channel", "n_orders", "intent")])
def test_the_view_of_characters_in_the_template_is_compiled_with_that_of_words(run, tmp_path, columns):
    messages(900).select(columns).write_csv(tmp_path / "messages.csv")
    folder = tmp_path / "support"
    run("init", folder, "--from", tmp_path / "messages.csv", "--target", "intent", "--text", "message")
    code = folder / "train.py"
    code.write_text(code.read_text().replace('# "characters"', '"characters"'))

    project = open_project(folder)
    data = pipeline.periods(project)
    found = pipeline.optimize(project, pipeline.train(project, data), data)

    assert "char_wb" in code.read_text() and found.winner.variant.engine == "text"


PERIODS = {
    "train": '["2025-01-01", "2025-02-15"]',
    "validation": '["2025-02-15", "2025-03-08"]',
    "test": '["2025-03-08", "2025-04-01"]',
}
OTHER = {"delivery": "refund", "refund": "account", "account": "delivery"}


@pytest.fixture(scope="module")
def shifted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project with a live release, whose messages have other intents from April on."""
    folder = tmp_path_factory.mktemp("shifted")
    april = pl.col("at") >= pl.datetime(2025, 4, 1)
    table = messages(2_400).drop("customer")
    table = table.with_columns(intent=pl.when(april).then(pl.col("intent").replace(OTHER)).otherwise(pl.col("intent")))
    project = write(folder, table)
    toml = project / "headway.toml"
    lines = toml.read_text().split("\n")
    for name, period in PERIODS.items():
        lines = [f"{name} = {period}" if line.startswith(f'{name} = ["2025') else line for line in lines]
    keys = f'[trust]\npublisher_key = "{folder}/key.pem"\ntrusted_keys = "{folder}/trusted.txt"\n'
    retrain = "[retrain]\njudged_days = 20\nseeds = 2\n[optimize]\ntransforms = ['text']\n"
    toml.write_text("\n".join([*lines, retrain, keys]))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("HEADWAY_TRUST_PUBLISHER_KEY", raising=False)
        opened = open_project(project)
        data = pipeline.periods(opened)
        pipeline.release(opened, pipeline.optimize(opened, pipeline.train(opened, data), data), who="ada")
    return project


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_file_of_messages_is_scored(run, shifted, tmp_path, suffix):
    rows, source, out = messages().head(40), tmp_path / f"new{suffix}", tmp_path / f"out{suffix}"
    rows.write_csv(source) if suffix == ".csv" else rows.write_parquet(source)
    code, _, _ = run("predict", "support@live", source, out, "--project", shifted)
    scored = pl.read_csv(out) if suffix == ".csv" else pl.read_parquet(out)
    assert (code, len(scored)) == (cli.PASS, 40)
    expected = headway.load("support@live", project=shifted).predict_proba(rows)
    assert abs(scored[:, 1:4].to_numpy() - expected).max() < 1e-9


def test_other_intents_are_learned_by_a_retraining(shifted):
    project = open_project(shifted)
    assert pipeline.watch(project) is not None
    found = pipeline.retrain(project)
    assert found.search_result.winner.verdict.answer == "pass"
    assert found.search_result.winner.variant.engine == "text"


def test_logged_messages_are_erased_with_their_key(run, shifted, monkeypatch):
    monkeypatch.delenv("HEADWAY_TRUST_PUBLISHER_KEY")
    with served(folder=shifted) as line, Client(line.split()[2]) as client:
        for key in ("c1", "c2"):
            row = {"message": [f"password of Ann Example {key}"], "channel": ["mail"], "n_orders": [1]}
            client.infer("support", row, key=key)
    assert logged(shifted) == ["password of Ann Example c1", "password of Ann Example c2"]
    assert run("erase", "c1", "--why", "asked", "--project", shifted)[0] in (cli.PASS, cli.UNDECIDED)
    assert logged(shifted) == ["password of Ann Example c2"]


def logged(folder: Path) -> list[str]:
    """Return the messages of the prediction log, sorted."""
    project = open_project(folder)
    digest = project.registry.resolve("support@live").digest
    parts = [pl.read_ipc_stream(path) for path in segments(traffic.log_folder(project.config.state, "support", digest))]
    return sorted(pl.concat(parts)["text.message"].drop_nulls())
