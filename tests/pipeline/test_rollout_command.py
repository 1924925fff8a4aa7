"""`headway rollout` and `headway labels add`, as a person at the terminal and as a script see them."""

from __future__ import annotations

import json
import re

import polars as pl
import pytest
from tests.monitoring import rollouts

from headway.cli import main as cli
from headway.monitoring import rollout as control
from headway.monitoring.prediction_log import LabelReader

pytestmark = pytest.mark.slow


@pytest.fixture
def project(tmp_path):
    """A project with a release that is live; gives it with the digest of another."""
    opened = rollouts.project(tmp_path)
    rollouts.live(opened, rollouts.release(made_at="1"))
    yield opened, rollouts.publish(opened, rollouts.release(made_at="2"))
    opened.state.close()
    opened.register.state.close()


def test_a_rollout_is_started_stands_goes_forward_and_is_taken_back(run, project):
    opened, digest = project
    folder = opened.config.folder
    code, out, _ = run("rollout", "start", f"flights@{digest[7:19]}", "--project", folder)
    assert code == cli.PASS and "starts with shadow" in out
    code, out, _ = run("rollout", "status", "flights", "--project", folder, "--json")
    assert (code, json.loads(out)["action"]) == (cli.UNDECIDED, "stay")
    code, out, _ = run("rollout", "advance", "--project", folder, "--why", "seen", "--json")
    assert (code, json.loads(out)["action"]) == (cli.PASS, "advance")
    code, out, _ = run("rollout", "rollback", "flights", "--project", folder, "--why", "no")
    assert code == cli.PASS and "flights@canary is now at no release" in out
    code, out, _ = run("rollout", "--project", folder)
    assert code == cli.FAIL and "rolled back" in out
    assert "withdrawn" in run("history", "--project", folder)[1]


def test_a_start_tells_its_stages_who_began_it_that_nobody_asks_and_how_to_go_on(run, project):
    opened, digest = project
    words = ("rollout", "start", f"flights@{digest[7:19]}", "--project", opened.config.folder, "--who", "ada")
    code, out, _ = run(*words, "--shares", "0,0.2", "--min-requests", "300", "--at-most-hours", "6")
    assert code == cli.PASS and "starts with shadow, then canary 20 %, live" in out
    assert "live has had no request yet" in out and "next: headway rollout watch" in out
    begun = control.latest_rollout(opened)
    assert begun.by == "ada" and [stage.share for stage in begun.plan.stages] == [0.0, 0.2]
    assert {(stage.min_requests, stage.at_most_s) for stage in begun.plan.stages} == {(300, 21_600.0)}


def test_stages_that_are_no_stages_are_an_error_that_names_the_flag(run, project):
    opened, digest = project
    start = ("rollout", "start", f"flights@{digest[7:19]}", "--project", opened.config.folder)
    code, _, err = run(*start, "--shares", "0,1.5")
    assert code == cli.USAGE and "flag rollout.shares" in err
    code, _, err = run(*start, "--shares", "0.5,0.1")
    assert code == cli.USAGE and "must rise" in err
    code, _, err = run("rollout", "status", "--project", opened.config.folder, "--shares", "0.5")
    assert (
        code == cli.USAGE
        and "the stages of a rollout are fixed when it starts" in err
        and control.latest_rollout(opened) is None
    )


def test_status_while_it_stays_is_undecided_though_all_rules_are_met(run, project):
    opened, digest = project
    control.start_rollout(opened, digest, who="ann")
    code, out, _ = run("rollout", "status", "--project", opened.config.folder)
    assert code == cli.UNDECIDED and "shadow stays: no request has reached it yet" in out
    assert "headway serve flights@live" in out


def test_to_watch_tells_each_change_on_stderr_and_the_end_on_stdout(run, project):
    opened, digest = project
    control.start_rollout(opened, digest, who="ann")
    rollouts.live(opened, rollouts.release(made_at="3"))
    code, out, err = run("rollout", "watch", "--project", opened.config.folder, "--json")
    assert (code, json.loads(out)["standing"]) == (cli.UNDECIDED, "inconclusive")
    assert re.fullmatch(r"\d\d:\d\d:\d\d flights@live moved to another release during the rollout\n", err)


def test_to_watch_one_whose_files_were_changed_ends_1_with_the_canary_withdrawn(run, project):
    opened, digest = project
    control.start_rollout(opened, digest, who="ann")
    next(opened.register.folder.glob(f"flights/{digest[7:]}/model.echo")).write_bytes(b"evil")
    code, out, err = run("rollout", "watch", "--project", opened.config.folder)
    assert code == cli.FAIL and "rolled back" in out and "model.echo was changed" in err
    assert opened.register.head("flights@canary").release == ""


def test_without_a_rollout_a_rollback_moves_live(run, project):
    opened, digest = project
    second = rollouts.live(opened, rollouts.release(made_at="2"))
    assert second == digest
    code, out, _ = run("rollout", "rollback", "--project", opened.config.folder, "--why", "slow", "--json")
    assert code == cli.PASS and json.loads(out)["pointer"] == "live"


@pytest.mark.parametrize("action", ["advance", "rollback"])
def test_no_reason_is_no_action(run, project, action):
    code, _, err = run("rollout", action, "--project", project[0].config.folder)
    assert code == cli.USAGE and f"{action} needs a reason for the history" in err


def test_another_projects_name_is_an_error(run, project):
    code, _, err = run("rollout", "status", "hotels", "--project", project[0].config.folder)
    assert code == cli.USAGE and "not 'hotels'" in err


@pytest.mark.parametrize("action", ["status", "watch"])
def test_where_nothing_runs_it_is_refused(run, project, action):
    code, _, err = run("rollout", action, "--project", project[0].config.folder)
    assert code == cli.FAIL and "no rollout of flights is running" in err


def test_labels_of_a_csv_and_of_a_parquet_file_are_kept(run, project, tmp_path):
    (tmp_path / "l.csv").write_text("key,label\n007,1\nb,0\n")
    pl.DataFrame({"key": ["b"], "label": [1]}).write_parquet(tmp_path / "l.parquet")
    code, out, _ = run("labels", "add", tmp_path / "l.csv", "--project", tmp_path, "--json")
    assert (code, json.loads(out)) == (cli.PASS, {"kept": 2})
    assert run("labels", "add", tmp_path / "l.parquet", "--project", tmp_path)[0] == cli.PASS
    kept = LabelReader(project[0].config.state, "flights").read()
    assert sorted(kept.select("key", "label").rows()) == [("007", 1.0), ("b", 1.0)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("key,late\na,1\n", "labels cannot be read"),
        ("key,label\na,yes\n", "labels cannot be read"),
        ("key,label\na,\n", "missing"),
    ],
)
def test_a_file_without_labels_is_told(run, project, tmp_path, text, message):
    (tmp_path / "l.csv").write_text(text)
    code, _, err = run("labels", "add", tmp_path / "l.csv", "--project", tmp_path)
    assert code == cli.USAGE and message in err
