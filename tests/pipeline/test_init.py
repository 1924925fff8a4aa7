"""A new project, from `headway init` to a release that answers over HTTP."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from tests.pipeline.projects import table
from tests.pipeline.serve_command import served

import headway
from headway.cli import main as cli
from headway.cli.commands.init import ask, write_project
from headway.core import config
from headway.core.settings.project import ProjectSection
from headway.data.settings.data import DataSection
from headway.registry.settings.rollout import RolloutSection
from headway.serving.client import Client

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def isolated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep keys in the folder of the test, and search with one transform."""
    monkeypatch.setenv("HEADWAY_TRUST_PUBLISHER_KEY", str(tmp_path / "publisher.pem"))
    monkeypatch.setenv("HEADWAY_OPTIMIZE_TRANSFORMS", '["onnx"]')
    monkeypatch.setenv("HEADWAY_SERVE_PORT", "0")


def test_the_sample_project_is_checked_optimized_released_and_served(run, tmp_path):
    folder = tmp_path / "parcels"
    code, out, _ = run("init", folder)
    assert (code, f"headway check --project {folder}" in out) == (cli.PASS, True)

    for command in ("check", "optimize", "release"):
        assert (command, run(command, "--project", folder)[0]) == (command, cli.PASS)
    with served(folder=folder) as line, Client(line.split()[2]) as client:
        row = {"minute": [1020], "depot": ["river"], "distance_km": [12.5], "parcels": [3], "rain_mm": [None]}
        assert 0 < client.infer("parcels", row)[0, 0] < 1


def test_a_project_from_a_table_runs_once_its_features_are_declared(run, tmp_path):
    table().with_columns(late=pl.when(pl.col("late") == 1).then(pl.lit("yes")).otherwise(pl.lit("no"))).write_csv(
        tmp_path / "table.csv"
    )
    folder = tmp_path / "small"
    assert run("init", folder, "--from", tmp_path / "table.csv", "--target", "late")[0] == cli.PASS

    found = config.load(folder)[DataSection]
    assert (found.source, found.positive, found.time, found.groups) == ("../table.csv", "yes", "at", "day")
    code, out, _ = run("check", "--project", folder)
    assert (code, "it is not declared when 3 of 3 features are known" in out) == (cli.UNDECIDED, True)

    declare_every_feature_known(folder)
    for command in ("check", "optimize", "release"):
        assert (command, run(command, "--project", folder)[0]) == (command, cli.PASS)


def declare_every_feature_known(folder: Path) -> None:
    """Remove the comment mark of each feature, as a user would do."""
    file = folder / "headway.toml"
    lines = (line.removeprefix("# ") if '"request"' in line[-10:] else line for line in file.read_text().split("\n"))
    file.write_text("\n".join(lines))


def test_a_target_of_three_strings_is_predicted_by_its_class_names(run, tmp_path):
    kind = pl.when(pl.col("late") == 0).then(pl.lit("punctual")).when(pl.col("hour") > 12).then(pl.lit("evening"))
    table().with_columns(kind=kind.otherwise(pl.lit("delayed"))).drop("late").write_parquet(tmp_path / "table.parquet")
    folder = tmp_path / "kinds"
    run("init", folder, "--from", tmp_path / "table.parquet", "--target", "kind")
    assert config.load(folder)[DataSection].classes == ("delayed", "evening", "punctual")

    declare_every_feature_known(folder)
    for command in ("optimize", "release"):
        assert (command, run(command, "--project", folder)[0]) == (command, cli.PASS)
    model = headway.load("kinds@live", project=folder)
    assert set(model.predict(table().head(500))) == {"delayed", "evening", "punctual"}

    pl.DataFrame({"key": ["a"], "label": ["evening"]}).write_csv(tmp_path / "labels.csv")
    code, out, _ = run("labels", "add", tmp_path / "labels.csv", "--project", folder)
    assert (code, "no request is logged yet" in out) == (cli.UNDECIDED, True)


def test_what_was_ignored_and_what_looks_like_an_outcome_is_shown_and_kept(run, tmp_path):
    leaky = table().with_columns(pl.lit("x").alias("site"), status=pl.col("late") * 2.0, sex=pl.lit("f"))
    leaky = leaky.with_columns(sex=pl.when(pl.int_range(pl.len()) % 2 == 0).then(pl.lit("m")).otherwise("sex")).drop(
        "day"
    )
    leaky.write_parquet(tmp_path / "table.parquet")
    folder = tmp_path / "leaky"
    _, out, _ = run("init", folder, "--from", tmp_path / "table.parquet", "--target", "late")
    assert "ignored: site, one value only" in out
    assert "sensitive_features: sex" in out and "groups: at.day; " in out and "of equal size" in out
    assert "kept, for you to judge: D003: 'status' alone reaches a ROC AUC of 1.000" in out
    assert 'put this under [data.known] in headway.toml: status = "outcome"' in out

    data = config.load(folder)[DataSection]
    assert (data.known, data.groups, data.sensitive_features, data.ignore) == ({}, "at.day", ("sex",), ("site",))
    assert '# status = "outcome"' in (folder / "headway.toml").read_text()
    code, shown, _ = run("check", "--project", folder)
    assert (code, "training is stopped by 1 finding" in shown.splitlines()[-1]) == (cli.FAIL, True)


def test_a_confirmed_outcome_is_declared(tmp_path):
    table().with_columns(status=pl.col("late") * 2.0).write_parquet(tmp_path / "table.parquet")
    write_project(tmp_path / "new", tmp_path / "table.parquet", "late", confirm=lambda suspects: [*suspects])
    assert config.load(tmp_path / "new")[DataSection].known == {"status": "outcome"}


def test_existing_files_are_not_overwritten(run, tmp_path):
    (tmp_path / "train.py").write_text("mine")
    code, _, err = run("init", tmp_path)
    assert (code, f"train.py already exists and is not overwritten\n  at: {tmp_path}" in err) == (cli.USAGE, True)
    assert [path.name for path in tmp_path.iterdir()] == ["train.py"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--target", "late"], "--target is given without a table"),
        (["--from", "none.csv", "--target", "late"], "no file 'none.csv'"),
        (["--from", "headway.toml", "--target", "late"], "cannot read 'headway.toml'"),
    ],
)
def test_a_failed_init_leaves_no_folder_behind(run, tmp_path, words, message):
    code, _, err = run("init", tmp_path / "new", *words)
    assert (code, message in err, (tmp_path / "new").exists()) == (cli.USAGE, True, False)


def test_each_setting_has_a_line_of_help(run, tmp_path):
    assert json.loads(run("init", tmp_path / "a b", "--json")[1])["files"].keys() == {
        str(tmp_path / "a b" / name) for name in ("headway.toml", "train.py", "deliveries.csv")
    }
    text = (tmp_path / "a b/headway.toml").read_text()
    assert f'# {config.described("data.groups")}\ngroups = "day"' in text
    found = config.load(tmp_path / "a b")
    assert found[ProjectSection].name == "a-b"
    assert (found[RolloutSection].churn_same_model, found[RolloutSection].churn_new_model) == (0.01, 0.2)


def test_a_terminal_is_asked_about_each_column_that_looks_like_an_outcome(monkeypatch, capsys):
    answers = iter(["y", "", "no"])
    monkeypatch.setattr("builtins.input", lambda question: next(answers))
    assert ask({"status": "D003: 'status' is late", "delay": "D003: 'delay' is late", "x": "D003"}) == ["status"]
    assert "'status' is late" in capsys.readouterr().err


def test_an_end_of_input_confirms_nothing(monkeypatch):
    def ended(question: str) -> str:
        raise EOFError

    monkeypatch.setattr("builtins.input", ended)
    assert ask({"status": "D003: 'status' is late"}) == []


def test_roles_of_a_large_folder_are_proposed_from_whole_entities(run, tmp_path, monkeypatch):
    rows = table().drop("day", "at").with_row_index("row").with_columns(customer_id=pl.col("row") % 900)
    (tmp_path / "rows").mkdir()
    for part in range(2):
        rows.gather_every(2, part).write_parquet(tmp_path / f"rows/{part}.parquet")
    monkeypatch.setattr("headway.data.scan.MAX_VALUES", 2_000 * rows.width)
    code, _, err = run("init", tmp_path / "new", "--from", tmp_path / "rows", "--target", "late")
    assert code == cli.PASS and "of 7,200 rows all were counted and " in err and "of 900 groups, each whole" in err
    assert config.load(tmp_path / "new")[DataSection].groups == "customer_id"
    (tmp_path / "few").mkdir()
    rows.drop("customer_id").write_parquet(tmp_path / "few/a.parquet")
    _, _, err = run("init", tmp_path / "other", "--from", tmp_path / "few", "--target", "late")
    assert err.strip().endswith("sampled at random")
