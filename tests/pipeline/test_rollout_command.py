"""`headway rollout` and `headway labels add`, as shown in a terminal and as read by a script."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys

import polars as pl
import pytest
from tests.monitoring import rollouts
from tests.serving.running import started

from headway.cli import main as cli
from headway.monitoring import rollout as control
from headway.monitoring.approvals import pending_releases, save_decision
from headway.monitoring.prediction_log import LabelReader
from headway.registry.sign import init_operator_keys

pytestmark = pytest.mark.slow


@pytest.fixture
def project(tmp_path):
    """Yield a project with a live release, and the digest of another release."""
    toml = rollouts.TOML.replace("[trust]", '[trust]\noperator_key = "keys/operator.pem"')
    opened = rollouts.project(tmp_path, toml=toml)
    rollouts.live(opened, rollouts.release(made_at="1"))
    yield opened, rollouts.publish(opened, rollouts.release(made_at="2"))
    opened.state.close()
    opened.registry.state.close()


def test_a_rollout_is_started_stays_advances_and_is_rolled_back(run, project):
    opened, digest = project
    folder = opened.config.folder
    code, out, _ = run("rollout", "start", f"flights@{digest[7:19]}", "--project", folder)
    assert code == cli.PASS and "starts with shadow" in out
    code, out, _ = run("rollout", "status", "flights", "--project", folder, "--json")
    assert (code, json.loads(out)["action"]) == (cli.UNDECIDED, "stay")
    code, out, _ = run("rollout", "advance", "--from", 1, "--project", folder, "--why", "seen", "--json")
    assert (code, json.loads(out)["action"]) == (cli.PASS, "advance")
    code, out, _ = run("rollout", "rollback", "flights", "--from", digest, "--project", folder, "--why", "no")
    assert code == cli.PASS and "flights@canary is now at no release" in out
    code, out, _ = run("rollout", "--project", folder)
    assert code == cli.FAIL and "rolled back" in out
    assert "withdrawn" in run("history", "--project", folder)[1]


WITHOUT_A_PAUSE = """
import sys, time
from headway.cli import main as cli

def refuse(seconds):
    raise AssertionError(f"a pause of {seconds} s")

time.sleep = refuse
try:
    cli.main(sys.argv[1:])
finally:
    slow = {"headway.pipeline", "headway.serving.process", "onnxruntime", "polars", "scipy", "sklearn"}
    print("loaded:", *slow & {*sys.modules}, file=sys.stderr)
"""
"""Runs a command, and shows what it loaded: its time depends on the machine and on what else runs."""


def test_a_rollback_next_to_a_server_waits_for_no_other_process_and_loads_no_library_of_data(project):
    opened, digest = project
    rollback = ["rollout", "rollback", "flights", "--from", digest, "--project", str(opened.config.folder)]
    with started(opened.config.folder, "flights@live") as server:
        try:
            assert "listening" in server.stdout.readline()
            control.start_rollout(opened, digest, who="ann")
            canary = f"with canary {digest}"
            assert any(canary in line for line in server.stderr)
            with opened.lease("rollout"):  # as `headway rollout watch` does
                ended = subprocess.run(
                    [sys.executable, "-c", WITHOUT_A_PAUSE, *rollback, "--why", "callers complain"],
                    capture_output=True,
                    text=True,
                )
            assert ended.stdout == "flights@canary is now at no release: callers complain\n"
            assert (ended.stderr, ended.returncode) == ("loaded:\n", cli.PASS)
            assert any("now serves" in line and canary not in line for line in server.stderr)
        finally:
            server.terminate()


def test_start_shows_the_stages_the_missing_requests_and_the_next_command(run, project):
    opened, digest = project
    words = ("rollout", "start", f"flights@{digest[7:19]}", "--project", opened.config.folder, "--who", "ada")
    code, out, _ = run(*words, "--shares", "0,0.2", "--min-requests", "300", "--at-most-hours", "6")
    assert code == cli.PASS and "starts with shadow, then canary 20 %, live" in out
    assert "live has had no request yet" in out and "next: headway rollout watch" in out
    rollout = control.latest_rollout(opened)
    assert rollout.by == "ada" and [stage.share for stage in rollout.plan.stages] == [0.0, 0.2]
    assert {(stage.min_requests, stage.at_most_s) for stage in rollout.plan.stages} == {(300, 21_600.0)}


def test_invalid_stages_are_an_error_that_names_the_flag(run, project):
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


def test_the_status_of_a_running_stage_is_undecided_even_if_all_rules_pass(run, project):
    opened, digest = project
    control.start_rollout(opened, digest, who="ann")
    code, out, _ = run("rollout", "status", "--project", opened.config.folder)
    assert code == cli.UNDECIDED and out.startswith("stage 1 of ")
    assert "shadow stays: no request has reached it yet" in out
    assert "headway serve flights@live" in out


def test_watch_prints_each_change_on_stderr_and_the_result_on_stdout(run, project):
    opened, digest = project
    control.start_rollout(opened, digest, who="ann")
    rollouts.live(opened, rollouts.release(made_at="3"))
    code, out, err = run("rollout", "watch", "--project", opened.config.folder, "--json")
    assert (code, json.loads(out)["status"]) == (cli.UNDECIDED, "inconclusive")
    assert re.fullmatch(r"\d\d:\d\d:\d\d flights@live moved to another release during the rollout\n", err)


def test_watch_exits_1_and_withdraws_a_canary_whose_files_changed(run, project):
    opened, digest = project
    control.start_rollout(opened, digest, who="ann")
    next(opened.registry.folder.glob(f"flights/{digest[7:]}/model.echo")).write_bytes(b"evil")
    code, out, err = run("rollout", "watch", "--project", opened.config.folder)
    assert code == cli.FAIL and "rolled back" in out and "model.echo was changed" in err
    assert opened.registry.head("flights@canary").release == ""


def test_without_a_rollout_a_rollback_moves_live(run, project):
    opened, digest = project
    second = rollouts.live(opened, rollouts.release(made_at="2"))
    assert second == digest
    rollback = ("rollout", "rollback", "--from", digest[7:19], "--project", opened.config.folder, "--why", "slow")
    code, out, _ = run(*rollback, "--json")
    assert code == cli.PASS and json.loads(out)["pointer"] == "live"
    moved = opened.registry.history()
    code, out, _ = run(*rollback)
    first = moved[-1].release[7:19]
    assert (code, out) == (cli.PASS, f"release {digest[7:19]} was left already; live is {first}\n")
    assert json.loads(run(*rollback, "--json")[1])["number"] == 3 and opened.registry.history() == moved
    forward = ("rollout", "forward", "--from", first, "--project", opened.config.folder, "--why", "it was the network")
    code, out, _ = run(*forward)
    assert (code, out) == (cli.PASS, f"flights@live is now at release {digest[7:19]}: it was the network\n")


def test_a_rollback_that_does_not_name_the_release_shows_the_complete_command(run, project):
    opened, digest = project
    act = ("--project", opened.config.folder, "--why", "slow")
    live = opened.registry.head("flights@live").release
    code, _, err = run("rollout", "rollback", *act)
    assert code == cli.USAGE and f"headway rollout rollback --from {live[7:19]} --why" in err
    control.start_rollout(opened, digest, who="ann")
    code, _, err = run("rollout", "rollback", *act)
    assert code == cli.USAGE and f"headway rollout rollback --from {digest[7:19]} --why" in err
    assert [move.pointer for move in opened.registry.history()] == ["live", "canary"]
    code, _, err = run("rollout", "status", "--from", digest, *act)
    assert code == cli.USAGE and "status leaves no release and no stage" in err


def test_a_rollback_without_a_release_has_nothing_to_leave(run, tmp_path):
    rollouts.project(tmp_path).state.close()
    code, _, err = run("rollout", "rollback", "--project", tmp_path, "--why", "slow")
    assert code == cli.USAGE and "no release of flights is live" in err


def test_of_two_commands_that_roll_back_at_once_one_moves_and_one_reports_it(project):
    opened, _ = project
    second = rollouts.live(opened, rollouts.release(made_at="2"))
    command = [sys.executable, "-m", "headway.cli", "rollout", "rollback", "--from", second[7:19]]
    command += ["--project", str(opened.config.folder), "--why", "callers complain"]
    at_once = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    shown = sorted(process.communicate()[0] for process in at_once)
    first = opened.registry.history("flights", "live")[0].release[7:19]
    assert shown == [
        f"flights@live is now at release {first}: callers complain\n",
        f"release {second[7:19]} was left already; live is {first}\n",
    ]
    assert [process.returncode for process in at_once] == [cli.PASS, cli.PASS]
    assert len(opened.registry.history()) == 3


def test_an_advance_names_the_stage_that_it_leaves(run, project):
    opened, digest = project
    control.start_rollout(opened, digest, who="ann")
    act = ("--project", opened.config.folder, "--why", "I looked at it")
    code, _, err = run("rollout", "advance", *act)
    assert code == cli.USAGE and 'headway rollout advance --from 1 --why "..."' in err
    for number, message in (
        ("2", "has not reached stage 2"),
        ("0", "'0' is not the number"),
        ("shadow", "'shadow' is not the number of a stage"),
    ):
        code, _, err = run("rollout", "advance", "--from", number, *act)
        assert code != cli.PASS and message in err and control.latest_rollout(opened).stage == 0


def test_of_two_commands_that_advance_at_once_one_advances_and_one_reports_it(project):
    opened, digest = project
    control.start_rollout(opened, digest, who="ann")
    command = [sys.executable, "-m", "headway.cli", "rollout", "advance", "--from", "1"]
    command += ["--project", str(opened.config.folder), "--why", "I looked at it"]
    at_once = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    shown = sorted(process.communicate()[0] for process in at_once)
    rollout = control.require_running_rollout(opened)
    assert rollout.stage == 1 and [process.returncode for process in at_once] == [cli.PASS, cli.PASS]
    assert shown[1] == f"stage 1 was left already; the rollout is at stage 2, {rollout.current.name}\n"
    assert [update.pointer for update in opened.registry.history()] == ["live", "canary", "canary"]


@pytest.mark.parametrize("action", ["advance", "rollback"])
def test_an_action_without_a_reason_is_an_error(run, project, action):
    code, _, err = run("rollout", action, "--project", project[0].config.folder)
    assert code == cli.USAGE and f"{action} needs a reason for the history" in err


def test_another_projects_name_is_an_error(run, project):
    code, _, err = run("rollout", "status", "hotels", "--project", project[0].config.folder)
    assert code == cli.USAGE and "not 'hotels'" in err


@pytest.mark.parametrize("action", ["status", "watch"])
def test_an_action_without_a_running_rollout_is_refused(run, project, action):
    code, _, err = run("rollout", action, "--project", project[0].config.folder)
    assert code == cli.FAIL and "no rollout of flights is running" in err


def test_labels_of_a_csv_and_of_a_parquet_file_are_saved(run, project, tmp_path):
    (tmp_path / "l.csv").write_text("key,label\n007,1\nb,0\n")
    pl.DataFrame({"key": ["b"], "label": [1]}).write_parquet(tmp_path / "l.parquet")
    code, out, _ = run("labels", "add", tmp_path / "l.csv", "--project", tmp_path, "--json")
    assert (code, json.loads(out)) == (cli.UNDECIDED, {"kept": 2, "unknown": None, "unknown_keys": []})
    assert run("labels", "add", tmp_path / "l.parquet", "--project", tmp_path)[0] == cli.UNDECIDED
    labels = LabelReader(project[0].config.state, "flights").read()
    assert sorted(labels.select("key", "label").rows()) == [("007", 1.0), ("b", 1.0)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("key,late\na,1\n", "labels cannot be read"),
        ("key,label\na,yes\n", "labels cannot be read"),
        ("key,label\na,\n", "missing"),
        ("key,label\na,NaN\n", "missing"),
    ],
)
def test_a_file_without_valid_labels_is_an_error(run, project, tmp_path, text, message):
    (tmp_path / "l.csv").write_text(text)
    code, _, err = run("labels", "add", tmp_path / "l.csv", "--project", tmp_path)
    assert code == cli.USAGE and message in err


@pytest.mark.slow
def test_an_operator_s_key_rolls_back_and_does_nothing_else(run, project):
    opened, _ = project
    registry = opened.registry
    second = rollouts.live(opened, rollouts.release(made_at="2"))
    named = ("--from", second, "--project", opened.config.folder, "--why", "slow", "--key", "operator")
    rollback = ("rollout", "rollback", *named)
    assert run(*rollback)[0] == cli.USAGE
    init_operator_keys(registry.operator_key, registry.operator_keys, trusted_keys=registry.trusted_keys, comment="b")
    registry.publisher_key.unlink()
    code, out, _ = run(*rollback)
    assert code == cli.PASS and "flights@live is now at release" in out
    assert opened.registry.head("flights@live").number == 3
    act = ("--project", opened.config.folder, "--why", "x", "--key", "operator")
    code, _, err = run("rollout", "advance", "--from", 1, *act)
    assert code == cli.USAGE and "can only roll back" in err


@pytest.mark.slow
def test_approvals_are_completed_by_the_command_of_the_publisher(run, project):
    opened, _ = project
    registry, folder = opened.registry, opened.config.folder
    init_operator_keys(registry.operator_key, registry.operator_keys, trusted_keys=registry.trusted_keys, comment="b")
    code, _, err = run("release", "--approved", "--project", folder)
    assert code == cli.FAIL and "no approval of flights waits" in err
    digest = rollouts.publish(opened, rollouts.release(made_at="9"))
    (found,) = [one for one in pending_releases(opened) if one.subject == digest]
    save_decision(opened, found, approved=True, who="ada", why="good")
    code, out, _ = run("release", "--approved", "--project", folder, "--json")
    assert code == cli.PASS and json.loads(out)[0]["completed"] and registry.head("flights@live").release == digest
    code, _, err = run("release", "--follow", "--project", folder)
    assert code == cli.USAGE and "only approvals can be followed" in err


@pytest.mark.slow
def test_a_process_of_the_publisher_completes_approvals_until_it_is_interrupted(project):
    opened, digest = project
    registry, folder = opened.registry, opened.config.folder
    init_operator_keys(registry.operator_key, registry.operator_keys, trusted_keys=registry.trusted_keys, comment="b")
    (found,) = [one for one in pending_releases(opened) if one.subject == digest]
    command = [sys.executable, "-m", "headway.cli", "release", "--approved", "--follow", "--project", str(folder)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as agent:
        assert "waiting for approvals" in agent.stderr.readline()
        save_decision(opened, found, approved=True, who="ada", why="good")
        assert "approval by ada" in (line := agent.stderr.readline()) and "completed" in line
        agent.send_signal(signal.SIGINT)
        assert agent.wait(60) == cli.INTERRUPTED
    move = registry.head("flights@live")
    assert (move.release, move.who, move.why) == (digest, "ada", "good")
