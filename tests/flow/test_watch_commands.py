"""`headway watch` and `headway retrain`, as a person at the terminal and as a script see them."""

from __future__ import annotations

import json

import pytest
from tests.flow import watched

from headway.face import cli

pytestmark = pytest.mark.slow


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]):
    """Run one command; gives its exit code and what it printed."""

    def _run(*words: object) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main([str(word) for word in words])
        return int(ended.value.code or 0), capsys.readouterr().out

    return _run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A project whose world turned in April."""
    folder = watched.write(tmp_path_factory.mktemp("turned"), table=watched.turned())
    watched.released(folder)
    return folder


def test_without_a_ticket_there_is_nothing_to_retrain_and_before_a_period_ends_nothing_to_watch(run, folder):
    code, out = run("retrain", "--project", folder)
    assert (code, "no ticket asks" in out) == (cli.PASS, True)
    code, out = run("watch", "--project", folder, "--until", "2013-04-05")
    assert (code, "no period has begun" in out) == (cli.UNDECIDED, True)


def test_watch_then_retrain_then_nothing_is_left_to_do(run, folder):
    code, out = run("watch", "--project", folder)
    assert code == cli.FAIL and "ranks worse" in out and "ticket: labelled rows grew" in out

    code, out = run("retrain", "--project", folder)
    assert code == cli.UNDECIDED and "3 seeds, about" in out and "headway retrain --mode auto" in out

    code, out = run("retrain", "--project", folder, "--mode", "auto", "--who", "ada")
    assert code == cli.PASS and "shown to be better than live" in out and "small@live is now release" in out

    assert json.loads(run("retrain", "--project", folder, "--json")[1]) is None
    moves = json.loads(run("history", "--project", folder, "--json")[1])
    assert [(move["number"], move["who"]) for move in moves] == [(1, "ada"), (2, "ada")]


def test_watch_as_json_has_every_measurement_with_its_interval(run, tmp_path):
    watched.released(watched.write(tmp_path))
    code, out = run("watch", "--project", tmp_path, "--json")
    (april,) = json.loads(out)

    assert (code, april["outlook"]) == (cli.PASS, "well")
    assert all({"value", "low", "high", "n_groups"} <= each.keys() for each in april["quality"])


def test_a_retraining_that_is_not_shown_to_be_better_changes_nothing(run, tmp_path):
    watched.write(tmp_path, table=watched.turned())
    (tmp_path / "headway.toml").write_text(
        watched.TOML + watched.RETRAIN + '[[policy.retrain]]\nmeasure = "roc_auc"\nat_least = 0.999\n'
    )
    watched.released(tmp_path)
    run("watch", "--project", tmp_path)
    code, out = run("retrain", "--project", tmp_path, "--mode", "auto")

    assert code == cli.FAIL and "fail against live" in out
    assert len(json.loads(run("history", "--project", tmp_path, "--json")[1])) == 1
