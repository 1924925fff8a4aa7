"""`headway evaluate` on a real project: the last winner examined whole, and judged again."""

from __future__ import annotations

import json

import polars as pl
import pytest
from tests.pipeline.projects import TOML, table, write

from headway import pipeline
from headway.cli import main as cli

pytestmark = pytest.mark.slow
RULE = '\n[[policy.release]]\nmeasure = "start.seconds"\nat_least = 0\n'
"""Undecided until it is measured, and then met however long a start takes on the machine of the test."""
BESIDE = '\n[[policy.release]]\nmeasure = "{}"\nat_most = 0.02\n'


def test_a_rule_on_what_no_search_measures_is_undecided_until_the_winner_is_examined(run, searched):
    project, _, folder = searched
    (folder / "headway.toml").write_text(TOML + RULE)
    assert run("gate", "--project", folder)[0] == cli.UNDECIDED
    code, out, err = run("evaluate", "--project", folder, "--audit", "start", "--budget", "10m")
    assert code == cli.PASS, err
    assert "start.seconds" in out and "audit start" in out
    assert run("gate", "--project", folder)[0] == cli.PASS
    assert pipeline.last_frontier(project).winner.evidence.find("start.memory_mb").value > 0


def test_it_is_one_more_look_at_test(run, searched):
    project, _, folder = searched
    before = pipeline.last_frontier(project).winner.verdict.test_evaluations
    shown = json.loads(run("evaluate", "--project", folder, "--audit", "start", "--json")[1])
    counted = (each["value"] for each in shown["evidence"]["measurements"] if each["name"] == "looks_at_test")
    assert [shown["verdict"]["test_evaluations"], *counted] == [before + 1, before + 1]


def test_rows_that_are_not_those_of_the_search_are_refused(run, searched):
    _, _, folder = searched
    table().with_columns(wind=pl.col("wind") + 1).write_parquet(folder / "table.parquet")
    code, _, err = run("evaluate", "--project", folder)
    write(folder)
    assert code != cli.PASS and "not those that the last search was judged on" in err and "headway optimize" in err


def test_a_rule_on_missing_values_holds_for_every_feature_beside_the_model_as_it_came(run, searched):
    project, _, folder = searched
    (folder / "headway.toml").write_text(TOML + BESIDE.format("robustness.missing.drop"))
    code, out, err = run("evaluate", "--project", folder, "--audit", "robustness")
    assert code == cli.PASS, err
    assert "robustness.missing.drop" in out and "A value is missing" in out and "worst of 4" in out
    evidence = pipeline.last_frontier(project).winner.evidence
    assert evidence.find("robustness.missing.excess", "hour").low > 0
    assert evidence.find("robustness.missing.drop", "wind").high < 1e-12


def test_an_exact_form_is_turned_as_often_as_the_model_as_it_came_and_what_is_fixed_turns_nothing(run, searched):
    project, _, folder = searched
    asked = '[attack]\nfixed = ["hour"]\nrows = 300\nqueries = 100\n[attack.bounds]\nwind = [0, 40]\n'
    (folder / "headway.toml").write_text(TOML + asked + BESIDE.format("attack.success.drop"))
    code, out, err = run("evaluate", "--project", folder, "--audit", "attack", "--budget", "10m")
    assert code == cli.PASS, err
    assert "Who changes" in out and "changed alone" in out
    evidence = pipeline.last_frontier(project).winner.evidence
    assert evidence.find("attack.column.success", "wind").low > 0
    assert evidence.find("attack.column.success", "hour") is None
    assert evidence.find("attack.success.drop").high == 0


def test_attack_settings_that_cannot_be_are_named_with_the_mend(run, searched):
    _, _, folder = searched
    (folder / "headway.toml").write_text(f"{TOML}\n[attack.bounds]\nwind = [40, 0]\n")
    code, _, err = run("evaluate", "--project", folder, "--audit", "attack")
    assert code != cli.PASS and "the bounds of 'wind' are empty" in err and "wind = [0, 40]" in err
