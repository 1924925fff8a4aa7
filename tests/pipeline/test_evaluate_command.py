"""`headway evaluate` on a real project: the last winner is evaluated in full and judged again."""

from __future__ import annotations

import json

import polars as pl
import pytest
from tests.pipeline.projects import TOML, table, write

from headway import pipeline
from headway.cli import main as cli

pytestmark = pytest.mark.slow
RULE = '\n[[policy.release]]\nmeasure = "start.seconds"\nat_least = 0\n'
"""Undecided until it is measured, and then always met, however long a start takes on this machine."""
RELATIVE_RULE = '\n[[policy.release]]\nmeasure = "{}"\nat_most = 0.02\n'


def test_a_rule_on_an_audit_measure_is_undecided_until_the_winner_is_evaluated(run, searched):
    project, _, folder = searched
    (folder / "headway.toml").write_text(TOML + RULE)
    assert run("gate", "--first-model", "--project", folder)[0] == cli.UNDECIDED
    code, out, err = run("evaluate", "--project", folder, "--audit", "start", "--budget", "10m")
    assert code == cli.PASS, err
    assert "start.seconds" in out and "audit start" in out
    assert run("gate", "--first-model", "--project", folder)[0] == cli.PASS
    assert pipeline.last_search(project).winner.evidence.find("start.memory_mb").value > 0


def test_evaluate_counts_one_more_evaluation_of_the_test_set(run, searched):
    project, _, folder = searched
    before = pipeline.last_search(project).winner.verdict.test_evaluations
    shown = json.loads(run("evaluate", "--project", folder, "--audit", "conformal", "--json")[1])
    counted = (
        measurement["value"]
        for measurement in shown["evidence"]["measurements"]
        if measurement["name"] == "test_evaluations"
    )
    assert [shown["verdict"]["test_evaluations"], *counted] == [before + 1, before + 1]


def test_rows_other_than_those_of_the_search_are_refused(run, searched):
    _, _, folder = searched
    table().with_columns(wind=pl.col("wind") + 1).write_parquet(folder / "table.parquet")
    code, _, err = run("evaluate", "--project", folder)
    write(folder)
    assert code != cli.PASS and "not those that the last search was judged on" in err and "headway optimize" in err


def test_a_rule_on_missing_values_holds_for_every_feature_relative_to_the_baseline(run, searched):
    project, _, folder = searched
    (folder / "headway.toml").write_text(TOML + RELATIVE_RULE.format("robustness.missing.drop"))
    code, out, err = run("evaluate", "--project", folder, "--audit", "robustness")
    assert code == cli.PASS, err
    assert "robustness.missing.drop" in out and "Missing value" in out and "worst of 4" in out
    evidence = pipeline.last_search(project).winner.evidence
    assert evidence.find("robustness.missing.excess", "hour").low > 0
    assert evidence.find("robustness.missing.drop", "wind").high < 1e-12


def test_an_exact_variant_is_attacked_as_easily_as_the_baseline_and_fixed_features_are_not_changed(run, searched):
    project, _, folder = searched
    attack = '[attack]\nfixed = ["hour"]\nrows = 300\nqueries = 100\n[attack.bounds]\nwind = [0, 40]\n'
    (folder / "headway.toml").write_text(TOML + attack + RELATIVE_RULE.format("attack.success.drop"))
    code, out, err = run("evaluate", "--project", folder, "--audit", "attack", "--budget", "10m")
    assert code == cli.UNDECIDED and "with 100 of 1,000 queries" in out, out + err
    assert "Decisions flipped" in out and "changed alone" in out
    evidence = pipeline.last_search(project).winner.evidence
    assert evidence.find("attack.column.success", "wind").low > 0
    assert evidence.find("attack.column.success", "hour") is None
    assert evidence.find("attack.success.drop").high == 0


def test_invalid_attack_settings_are_an_error_with_a_hint(run, searched):
    _, _, folder = searched
    (folder / "headway.toml").write_text(f"{TOML}\n[attack.bounds]\nwind = [40, 0]\n")
    code, _, err = run("evaluate", "--project", folder, "--audit", "attack")
    assert code != cli.PASS and "the bounds of 'wind' are empty" in err and "wind = [0, 40]" in err
