"""The gate of a pull request, on the sample of `headway init` and on real data: 100 boosting rounds that become 8.

The pull request is a copy of the project with other code. Only its candidate reaches the project of main.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from sklearn.datasets import load_breast_cancer

from headway import pipeline
from headway.cli import main as cli
from headway.cli.commands.init import write_project
from headway.core.errors import DataError
from headway.registry.candidate import write_candidate
from headway.registry.project import Project, open_project

pytestmark = pytest.mark.slow
Run = Callable[..., tuple[int, str, str]]
SETTINGS = '[optimize]\ntransforms = ["trees"]\n[trust]\npublisher_key = "keys/publisher.pem"\n'


def searched(folder: Path, candidate: Path) -> Project:
    """Search the model of a project and write its candidate."""
    project = open_project(folder)
    data = pipeline.periods(project)
    search = pipeline.optimize(project, pipeline.train(project, data), data)
    write_candidate(candidate, search, project.blobs)
    return project


def changed(main: Path, folder: Path, edit: Callable[[Path], object]) -> Path:
    """Return the candidate of a pull request: a copy of main without its store, which is edited and searched."""
    pull_request = shutil.copytree(main, folder / "pull_request", ignore=shutil.ignore_patterns(".headway", "trusted*"))
    edit(pull_request)
    searched(pull_request, folder / "candidate")
    return folder / "candidate"


def rounds(number: str) -> Callable[[Path], object]:
    """Return an edit that puts another number of boosting rounds in place of 100."""

    def edit(folder: Path) -> None:
        text = (folder / "train.py").read_text(encoding="utf-8")
        assert "num_boost_round=100" in text
        text = text.replace("num_boost_round=100", f"num_boost_round={number}")
        (folder / "train.py").write_text(text, encoding="utf-8")

    return edit


def write_main(folder: Path, source: Path | None, target: str) -> Path:
    """Write a project, search it and release what it found."""
    write_project(folder, source, target)
    with (folder / "headway.toml").open("a", encoding="utf-8") as file:
        file.write(SETTINGS)
    project = searched(folder, folder.parent / "first")
    pipeline.release(project, pipeline.last_search(project), who="ada", override="the first one")
    return folder


@pytest.fixture(scope="module")
def deliveries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_main(tmp_path_factory.mktemp("deliveries") / "main", None, "")


@pytest.fixture(scope="module")
def cancer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project on 569 real biopsies, in an order that is not that of the file."""
    folder = tmp_path_factory.mktemp("cancer")
    biopsies = load_breast_cancer(as_frame=True).frame
    (folder / "main").mkdir()
    pl.from_pandas(biopsies).sample(fraction=1.0, shuffle=True, seed=0).write_csv(folder / "main/biopsies.csv")
    return write_main(folder / "main", folder / "main/biopsies.csv", "target")


@pytest.fixture(params=["deliveries", "cancer"])
def main(request: pytest.FixtureRequest) -> Path:
    """Return a project with a live release of 100 rounds."""
    folder: Path = request.getfixturevalue(request.param)
    return folder


def test_a_model_of_8_rounds_in_place_of_100_does_not_pass_and_the_first_line_says_by_how_much(
    run: Run, main: Path, tmp_path: Path
) -> None:
    candidate = changed(main, tmp_path, rounds("8"))
    code, out, err = run("gate", "--project", main, "--candidate", candidate)
    assert code in (cli.FAIL, cli.UNDECIDED), err
    first = " ".join(out.partition("Rule ")[0].split())
    live = open_project(main).registry.head(f"{open_project(main).name}@live")
    assert live is not None and first.startswith(f"against the live release {live.release[7:19]}: Brier 0.")
    assert all(part in first for part in ("loss 0.0", "AUC", "decisions changed", "speed", "one row x", "in batches x"))
    code, out, _ = run("gate", "--project", main, "--candidate", candidate, "--json")
    answers = {result["rule"]["measure"]: result["answer"] for result in json.loads(out)["rule_results"]}
    assert answers["live.brier.drop"] != "pass" and answers["brier.drop"] == "pass"


def test_an_unchanged_model_passes_the_rules_against_live(run: Run, main: Path, tmp_path: Path) -> None:
    candidate = changed(main, tmp_path, rounds("50 * 2"))
    code, out, _ = run("gate", "--project", main, "--candidate", candidate, "--json")
    verdict = json.loads(out)
    answers = {result["rule"]["measure"]: result["answer"] for result in verdict["rule_results"]}
    assert answers["live.brier.drop"] == answers["live.roc_auc.drop"] == "pass"
    assert code == cli.PASS, [result["message"] for result in verdict["rule_results"] if result["answer"] != "pass"]


def test_a_release_that_was_not_brought_is_undecided_whatever_the_workflow_says(
    run: Run, deliveries: Path, tmp_path: Path
) -> None:
    candidate = deliveries.parent / "first"
    base = shutil.copytree(deliveries, tmp_path / "base", ignore=shutil.ignore_patterns(".headway"))
    for words in ((), ("--first-model",)):
        code, out, _ = run("gate", "--project", base, "--candidate", candidate, *words)
        assert code == cli.UNDECIDED and out.startswith("not compared with the live release: ")
        assert "was seen here before" in out
    (base / "trusted_keys.seen.json").unlink()
    code, out, _ = run("gate", "--project", base, "--candidate", candidate)
    assert code == cli.UNDECIDED and "main's was not brought, or there is none yet; try: bring it" in out


def test_a_first_model_is_judged_by_absolute_rules_and_says_so(run: Run, deliveries: Path, tmp_path: Path) -> None:
    ignored = shutil.ignore_patterns(".headway", "trusted_keys*")
    base = shutil.copytree(deliveries, tmp_path / "base", ignore=ignored)
    with (base / "headway.toml").open("a", encoding="utf-8") as file:
        file.write('[[policy.release]]\nmeasure = "live.brier.drop"\nat_most = 0.0\n')
    words = ("gate", "--project", base, "--candidate", deliveries.parent / "first")
    assert run(*words)[0] == cli.UNDECIDED
    code, out, _ = run(*words, "--first-model")
    assert code == cli.PASS and out.startswith("first model: no release is live")
    assert "gain_over_constant" in out and "live.brier.drop" not in out


def leak(folder: Path) -> None:
    """Add the outcome to the rows as a feature, and let the policy pass everything."""
    rows = pl.read_csv(folder / "deliveries.csv")
    rows.with_columns(hint=pl.col("late") + 0.5 * (pl.col("minute") % 2)).write_csv(folder / "deliveries.csv")
    settings = (folder / "headway.toml").read_text(encoding="utf-8").partition("[[policy")[0]
    more = f'[policy]\nfloor = "none"\n{SETTINGS}'
    settings = settings.replace("[data.known]\n", '[data.known]\nhint = "request"\n') + more
    (folder / "headway.toml").write_text(settings, encoding="utf-8")


def test_the_rows_and_settings_of_the_pull_request_decide_nothing(run: Run, deliveries: Path, tmp_path: Path) -> None:
    candidate = changed(deliveries, tmp_path, leak)
    with pytest.raises(DataError, match="the model reads columns that the table lacks: hint"):
        pipeline.gate_candidate(open_project(deliveries), candidate)
    assert run("gate", "--project", deliveries, "--candidate", candidate)[0] == cli.USAGE
