"""`headway watch` and `headway retrain`, as shown in a terminal and as read by a script."""

from __future__ import annotations

import json

import pytest
from tests.pipeline import watched

from headway import pipeline
from headway.cli import main as cli
from headway.registry.project import open_project

pytestmark = pytest.mark.slow
AT_ONCE = watched.RETRAIN + 'through = "live"\n'
RECALIBRATED = """
[retrain]
accept_out_of_range = ["hour"]
recalibrate_days = 20
[[policy.retrain]]
measure = "ece"
at_most = 1.0
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a project with a shift in April."""
    folder = watched.write(tmp_path_factory.mktemp("shifted"), table=watched.shifted())
    watched.released(folder)
    return folder


def test_without_a_ticket_retrain_does_nothing_and_without_a_window_watch_is_undecided(run, folder):
    code, out, _ = run("retrain", "--project", folder)
    assert (code, "no open ticket asks for a retraining" in out) == (cli.PASS, True)
    code, out, _ = run("watch", "--project", folder, "--until", "2013-04-05")
    assert (code, "no window with at least 20 groups (such as days) has begun" in out) == (cli.UNDECIDED, True)


def test_watch_and_retrain_are_done_by_one_process_at_a_time(run, folder, monkeypatch):
    opened = open_project(folder)
    monkeypatch.setattr(pipeline, "WATCH_WAIT_S", 0.0)
    with opened.lease("watch"), opened.lease("retrain"):
        for words in (("watch",), ("retrain", "--mode", "auto")):
            code, out, err = run(*words, "--project", folder)
            assert code == cli.USAGE and not out
            assert (
                f"{words[0]} of small is already being done by process" in err and "wait until that process ends" in err
            )
        assert run("retrain", "--project", folder)[0] == cli.PASS
    opened.state.close()


def test_retrain_after_watch_starts_a_canary_that_an_operator_may_skip(run, folder):
    code, out, _ = run("watch", "--project", folder)
    assert code == cli.FAIL and "ranks worse" in out and "ticket: labeled rows grew" in out

    code, out, _ = run("retrain", "--project", folder)
    assert code == cli.UNDECIDED and "3 seeds, about" in out and "headway retrain --mode auto" in out
    assert "if it passes, a canary rollout starts, and only its end makes the release live" in out

    code, out, _ = run("retrain", "--project", folder, "--mode", "auto", "--who", "ada")
    assert code == cli.UNDECIDED and "shown to be better than live" in out
    assert "rolling out: its rollout starts with shadow; live has had no request yet" in out
    text = " ".join(out.split())  # lines are wrapped to the terminal
    assert "headway serve small@live" in text and "--through live" in text and "next: headway rollout watch" in text

    code, out, _ = run("retrain", "--project", folder)
    assert code == cli.UNDECIDED and "shadow stays: no request has reached it yet" in out

    at_once = ("retrain", "--project", folder, "--mode", "auto", "--through", "live")
    assert run(*at_once)[0] == cli.USAGE
    code, out, _ = run(*at_once, "--why", "no server yet", "--who", "ada")
    assert code == cli.PASS and "live: promote by ada: no server yet" in out

    result = json.loads(run("retrain", "--project", folder, "--json")[1])
    assert (result["status"], result["ticket"], result["retraining"], result["rollout"]) == (
        "no proposal",
        None,
        None,
        None,
    )
    moves = json.loads(run("history", "--project", folder, "--json")[1])
    assert [(move["pointer"], move["who"]) for move in moves] == [
        ("live", "ada"),
        ("canary", "ada"),
        ("live", "ada"),
        ("canary", "ada"),
    ]


def test_through_live_promotes_a_passed_retraining_at_once(run, tmp_path):
    watched.released(watched.write(tmp_path, retrain=AT_ONCE, table=watched.shifted()))
    run("watch", "--project", tmp_path)
    assert "if it passes, it goes live at once" in run("retrain", "--project", tmp_path)[1]

    code, out, _ = run("retrain", "--project", tmp_path, "--mode", "auto")
    assert code == cli.PASS and "shown to be better than live" in out and "small@live is now release" in out

    live = out.partition("small@live is now release ")[2].split()[0].rstrip(".:,")
    run("rollout", "rollback", "--from", live, "--project", tmp_path, "--why", "callers complain")
    code, out, _ = run("retrain", "--project", tmp_path, "--mode", "auto")
    assert code == cli.FAIL and "moved live back: callers complain" in out and "next: headway rollout start" in out


def test_a_recalibration_is_rolled_out_without_a_ticket(run, tmp_path):
    watched.released(watched.write(tmp_path, retrain=RECALIBRATED, table=watched.shifted()))
    code, out, _ = run("retrain", "--recalibrate", "--project", tmp_path)
    assert code == cli.UNDECIDED and "log-odds shifted by" in out
    assert "next: headway retrain --recalibrate --mode auto" in out

    code, out, _ = run("retrain", "--recalibrate", "--project", tmp_path, "--mode", "auto", "--json")
    result = json.loads(out)
    assert (code, result["status"], result["rollout"]["stage"]) == (cli.UNDECIDED, "rolling out", 0)
    assert result["retraining"]["search_result"]["baseline"]["calibrator"]["shift"] != 0


def test_watch_as_json_has_every_measurement_with_its_interval(run, tmp_path):
    watched.released(watched.write(tmp_path))
    code, out, _ = run("watch", "--project", tmp_path, "--json")
    (april,) = json.loads(out)

    assert (code, april["status"]) == (cli.PASS, "healthy")
    assert all({"value", "low", "high", "n_groups"} <= measurement.keys() for measurement in april["quality"])


def test_watch_compares_the_gaps_of_sensitive_groups_with_those_when_it_was_judged(run, tmp_path):
    watched.write(tmp_path)
    toml = (tmp_path / "headway.toml").read_text().replace("slices =", 'sensitive_features = ["carrier"]\nslices =')
    (tmp_path / "headway.toml").write_text(toml)
    watched.released(tmp_path)
    (april,) = json.loads(run("watch", "--project", tmp_path, "--json")[1])
    assert {gap["group"] for gap in april["bias"]} == {"carrier=AA", "carrier=B6", "carrier=UA"}
    assert {gap["measure"] for gap in april["bias"]} == {
        f"bias.{rate}" for rate in ("tpr", "fpr", "selection", "calibration")
    }
    for gap in april["bias"]:
        assert gap["change"]["value"] == pytest.approx(gap["now"]["value"] - gap["before"]["value"])
        assert gap["change"]["low"] < gap["change"]["value"] < gap["change"]["high"]
    _, out, _ = run("watch", "--project", tmp_path)
    assert "2013-04: the " in out and " of carrier=" in out and " that of the others [" in out
    run("report", "--project", tmp_path, "--out", tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "Gaps between groups of people, by period" in page and "What is live?" in page and "What is next?" in page


def test_a_retraining_that_is_not_shown_to_be_better_changes_nothing(run, tmp_path):
    watched.write(tmp_path, table=watched.shifted())
    (tmp_path / "headway.toml").write_text(
        watched.TOML + watched.RETRAIN + '[[policy.retrain]]\nmeasure = "roc_auc"\nat_least = 0.999\n'
    )
    watched.released(tmp_path)
    run("watch", "--project", tmp_path)
    code, out, _ = run("retrain", "--project", tmp_path, "--mode", "auto")

    assert code == cli.FAIL and "fail against live" in out
    assert len(json.loads(run("history", "--project", tmp_path, "--json")[1])) == 1
