"""The commands on a real project, as shown in a terminal and as read by a script."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from tests.pipeline.projects import TOML, TRAIN, table, write

from headway import pipeline
from headway.cli import main as cli
from headway.core import config
from headway.core.record import digest_of
from headway.core.record import write as written
from headway.core.rollout import Rollout
from headway.registry.project import open_project

pytestmark = pytest.mark.slow


def test_check_passes_a_table_in_which_every_feature_is_declared(run, tmp_path):
    code, out, _ = run("check", "--project", write(tmp_path), "--json")
    result = json.loads(out)
    warned = {found["code"] for found in result["findings"] if found["severity"] != "note"}
    assert (code, warned) == (cli.PASS, {"D031"})  # in 2,400 rows of test no carrier has the 1,000 that would judge it
    answers = {kind["answer"] for kind in result["leakage"]}
    assert len(result["leakage"]) == 8 and answers == {"clear", "partly checked"}
    assert all((kind["answer"] == "clear") == (not kind["not_run"]) for kind in result["leakage"])


def test_check_fails_at_a_leak_and_is_undecided_about_an_undeclared_column(run, tmp_path):
    folder = write(tmp_path)
    table().with_columns(extra=pl.col("hour") % 5).write_parquet(folder / "table.parquet")
    assert run("check", "--project", folder)[0] == cli.UNDECIDED
    table().with_columns(leak=pl.col("late")).write_parquet(folder / "table.parquet")
    code, out, _ = run("check", "--project", folder)
    assert code == cli.FAIL and "leak" in out


def test_optimize_prints_the_search_result_and_exits_by_the_verdict(run, tmp_path):
    # this transform is so much faster that a busy machine shows it too
    folder = write(tmp_path, TOML.replace('transforms = ["onnx"]', 'transforms = ["trees"]'))
    code, out, _ = run("optimize", "--project", folder)
    assert code == cli.PASS
    winner, gains, verdict, follow = (out.rindex(label) for label in ("Winner  ", "Gains  ", "Verdict  ", "Next  "))
    assert winner < gains < verdict < follow and "trees" in out[winner:gains]
    assert "✓ pass: all 2 rules pass on the test rows" in out[verdict:follow]
    assert out[follow:].split() == ["Next", "headway", "release", "--project", *str(folder).split()]


def test_a_rollout_of_another_training_is_that_of_a_new_model_with_its_own_limit(run, tmp_path):
    folder = write(tmp_path, TOML + '[[policy.release]]\nmeasure = "decision_churn"\nat_most = 0.01\n')
    for command in ("optimize", "release"):
        assert run(command, "--project", folder)[0] == cli.PASS
    (folder / "mine.py").write_text(TRAIN.replace("num_boost_round=40", "num_boost_round=48"))
    assert run("optimize", "--project", folder)[0] == cli.PASS
    code, out, _ = run("rollout", "start", "--project", folder)
    assert code == cli.PASS
    assert "it is a new model, not another form of live's: at most 0." in out
    leave = ("rollback", "--from", open_project(folder).records(Rollout)[-1].release)
    shown = json.loads(run("rollout", *leave, "--project", folder, "--why", "seen", "--json")[1])
    assert shown["release"] == ""
    rollout = open_project(folder).records(Rollout)[-1]
    assert rollout.change == "new model"
    # twice what the test rows showed against live, and not the 0.01 to which a faster form of one model is held
    assert {rule.measure: rule.at_most for rule in rollout.rules}["decision_churn"] >= 0.05


def test_the_gate_judges_by_the_current_policy_and_runs_nothing(run, searched):
    _, _, folder = searched
    code, out, _ = run("gate", "--first-model", "--project", folder, "--json")
    assert (code, json.loads(out)["answer"]) == (cli.PASS, "pass")

    (folder / "headway.toml").write_text(TOML.replace("at_most = 0.3", "at_most = 0.0"))
    (folder / "mine.py").write_text("raise SystemExit('run')")
    code, out, _ = run("gate", "--first-model", "--project", folder)
    write(folder)
    assert code == cli.FAIL and "outside the limit of 0" in out


def test_a_variant_that_did_not_pass_is_released_only_by_an_override_with_a_reason(run, tmp_path):
    folder = write(tmp_path, TOML.replace("at_most = 0.3", "at_most = 0.0"))
    run("optimize", "--project", folder)
    code, _, err = run("release", "--project", folder, "--who", "ada")
    assert code == cli.FAIL and 'headway release --override "WHY"' in err
    run("release", "--project", folder, "--who", "ada", "--override", "storm days")
    [move] = json.loads(run("history", "--project", folder, "--json")[1])
    assert (move["answer"], move["who"], move["why"]) == ("override", "ada", "override: storm days")
    project = open_project(folder)
    verdict = project.registry.resolve("small@live").release.verdict
    assert (verdict.by, verdict.why) == ("ada", "storm days")
    assert [rule_result.answer for rule_result in verdict.rule_results] == ["pass", "fail"]
    assert digest_of(written(verdict)) == move["verdict"]


def test_release_verify_and_history_agree(run, searched):
    _, _, folder = searched
    code, out, _ = run("release", "--project", folder, "--who", "ada", "--why", "first")
    assert code == cli.PASS and "next: headway serve small@live" in out
    assert "verified: 1 file, " in run("verify", "small@live", "--project", folder)[1]
    verified = json.loads(run("verify", "small@live", "--project", folder, "--json")[1])
    moves = json.loads(run("history", "--project", folder, "--json")[1])

    assert (moves[-1]["release"], moves[-1]["who"], moves[-1]["why"]) == (verified["release"], "ada", "first")
    assert moves[-1]["answer"] == "pass"


def test_history_shows_what_was_live_at_a_time(run, searched):
    project, search_result, folder = searched
    pipeline.release(project, search_result, who="ada")
    assert json.loads(run("history", "--project", folder, "--at", "2001-01-01", "--json")[1]) == []
    assert len(json.loads(run("history", "--project", folder, "--at", "2999-01-01", "--json")[1])) == 1


def test_verify_names_the_file_that_differs_from_what_was_signed(run, searched):
    project, search_result, folder = searched
    digest = pipeline.release(project, search_result, who="ada").move.release.removeprefix("sha256:")
    extra = folder / ".headway/releases/small" / digest / "more.txt"
    extra.write_text("more")
    code, _, err = run("verify", "small@live", "--project", folder)
    extra.unlink()
    assert code == cli.FAIL and "more.txt" in err


def test_config_shows_the_source_of_a_value(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = write(tmp_path)
    monkeypatch.setenv("HEADWAY_SERVE_HOST", "::1")
    assert "serve.host = '::1'  (environment)\n" in run("config", "--project", folder)[1]
    assert run("config", "--project", folder, "--why", "serve.prt")[0] == cli.USAGE


def test_config_explains_why_a_setting_has_its_value(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = write(tmp_path)
    monkeypatch.setenv("HEADWAY_SERVE_PORT", "9000")
    code, out, _ = run("config", "--project", folder, "--why", "serve.port")
    assert code == cli.PASS
    assert [line.split() for line in out.splitlines()] == [
        ["serve.port", "=", "9000", "(environment)"],
        ["flag", "-"],
        [">", "environment", "HEADWAY_SERVE_PORT", "9000"],
        ["file", "headway.toml", "0"],
        ["default", "8080"],
        ["TCP", "port", "of", "HTTP;", "0:", "any", "free", "port."],
    ]
    result = json.loads(run("config", "--project", folder, "--why", "serve.port", "--json")[1])["serve.port"]
    assert result["sources"] == {"environment": 9000, "file": 0, "default": 8080}


def test_config_shows_no_password(run, tmp_path: Path):
    folder = write(tmp_path, TOML.replace("table.parquet", "postgresql://ada:s3cret@db/flights"))
    for words in (["--why", "data.source"], ["--json"], []):
        code, out, _ = run("config", "--project", folder, *words)
        assert (code, "s3cret" in out, "ada:***@db" in out) == (cli.PASS, False, True)


def test_an_error_in_the_project_code_is_printed_with_its_traceback_and_line(run, tmp_path):
    folder = write(tmp_path, TOML.replace("table.parquet", "mine:load"))
    (folder / "mine.py").write_text("import json\ndef load():\n    return json.loads('not JSON')")
    code, _, err = run("check", "--project", folder)
    assert code == cli.USAGE
    assert "JSONDecodeError" in err and f"the project's own code raised this error\n  at: {folder}/mine.py:3" in err


def test_an_unexpected_error_is_printed_with_its_traceback_and_called_a_defect(
    run, tmp_path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(config, "FILE", None)
    code, _, err = run("check", "--project", tmp_path)
    assert code == cli.USAGE
    assert "TypeError" in err and "defect of headway" in err


def test_a_command_whose_library_is_absent_names_the_extra_to_install():
    lacks = "import sys; sys.modules['polars'] = None; from headway.cli import main as cli; cli.main(['check'])"
    ended = subprocess.run([sys.executable, "-c", lacks], check=False, capture_output=True, text=True)
    assert ended.stderr == "this command needs 'polars'\n  try: pip install 'headway[lab]'\n"
    assert ended.returncode == cli.USAGE
