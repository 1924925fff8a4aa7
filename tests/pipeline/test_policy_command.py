"""`headway policy test`: a gate that holds refuses what is broken by name, and one with a gap is told the rule it lacks."""

from __future__ import annotations

import json

import pytest
from tests.pipeline.projects import TOML

from headway.cli import main as cli

pytestmark = pytest.mark.slow
RULES = "".join(
    f'\n[[policy.release]]\nmeasure = "{measure}"\nat_most = {most}'
    for measure, most in (
        ("probability_shift", 0.02),
        ("worst_slice.decision_churn", 0.1),
        ("missing.decision_churn", 0.05),
    )
)
SMALL = "\n[policy]\nslice_rows = 50\n"


def drilled(run, folder, toml):
    (folder / "headway.toml").write_text(toml)
    code, out, err = run("policy", "test", "--project", folder, "--json")
    return code, json.loads(out), err


def test_a_policy_that_asks_for_all_three_holds_and_says_by_which_rule(run, searched):
    _, _, folder = searched
    code, found, err = drilled(run, folder, TOML + SMALL + RULES)
    assert code == cli.PASS, (err, found)
    assert [each["rule_result"]["rule"]["measure"] for each in found[:3]] == [
        "probability_shift",
        "worst_slice.decision_churn",
        "missing.decision_churn",
    ]
    assert [each["verdict"]["answer"] for each in found] == ["fail", "fail", "fail", "pass"]
    assert found[1]["what"].startswith("every decision turned in one slice, carrier=")


def test_a_policy_with_a_gap_does_not_hold_and_is_given_the_rule_that_would(run, searched):
    _, _, folder = searched
    code, found, _ = drilled(run, folder, TOML + SMALL)
    assert code == cli.FAIL
    assert 'measure = "missing.decision_churn"' in found[2]["hint"] and not found[2]["held"]
    out = run("policy", "test", "--project", folder)[1]
    assert "did not hold" in out and "no rule of the policy asks for this" in out


def test_a_drill_spends_no_look_at_test_and_keeps_nothing(run, searched):
    project, frontier, folder = searched
    kept = {kind: len(project.state.records(kind)) for kind in ("evidence", "verdict", "frontier")}
    looks = project.state.looks(project.name, frontier.winner.evidence.dataset)
    drilled(run, folder, TOML + SMALL)
    assert project.state.looks(project.name, frontier.winner.evidence.dataset) == looks
    assert {kind: len(project.state.records(kind)) for kind in kept} == kept
