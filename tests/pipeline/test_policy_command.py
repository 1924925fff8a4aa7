"""`headway policy test`: a complete policy refuses each broken variant by the rule on its defect; a gap is reported."""

from __future__ import annotations

import json

import pytest
from tests.pipeline.projects import TOML

from headway.cli import main as cli

pytestmark = pytest.mark.slow
RULES = "".join(
    f'\n[[policy.release]]\nmeasure = "{measure}"\nat_most = {limit}'
    for measure, limit in (
        ("probability_shift", 0.02),
        ("worst_slice.decision_churn", 0.1),
        ("missing.decision_churn", 0.05),
    )
)
SMALL = "\n[policy]\nslice_rows = 50\n"


def run_policy_test(run, folder, toml):
    (folder / "headway.toml").write_text(toml)
    code, out, err = run("policy", "test", "--project", folder, "--json")
    return code, json.loads(out), err


def test_a_policy_with_all_three_rules_holds_and_names_the_rule_of_each(run, searched):
    _, _, folder = searched
    code, found, err = run_policy_test(run, folder, TOML + SMALL + RULES)
    assert code == cli.PASS, (err, found)
    assert [case["rule_result"]["rule"]["measure"] for case in found[:3]] == [
        "probability_shift",
        "worst_slice.decision_churn",
        "missing.decision_churn",
    ]
    assert [case["verdict"]["answer"] for case in found] == ["fail", "fail", "fail", "pass"]
    assert found[1]["what"].startswith("every decision flipped in one slice, carrier=")


def test_a_policy_with_a_gap_fails_with_the_missing_rule_as_hint(run, searched):
    _, _, folder = searched
    code, found, _ = run_policy_test(run, folder, TOML + SMALL)
    assert code == cli.FAIL
    assert 'measure = "missing.decision_churn"' in found[2]["hint"] and not found[2]["passed"]
    out = run("policy", "test", "--project", folder)[1]
    assert "failed" in out and "no rule of the policy asks for this" in out


def test_a_policy_test_neither_evaluates_the_test_set_nor_saves_records(run, searched):
    project, search_result, folder = searched
    saved = {kind: len(project.state.records(kind)) for kind in ("evidence", "verdict", "search_result")}
    evaluations = project.state.test_evaluations(project.name, search_result.winner.evidence.dataset)
    run_policy_test(run, folder, TOML + SMALL)
    assert project.state.test_evaluations(project.name, search_result.winner.evidence.dataset) == evaluations
    assert {kind: len(project.state.records(kind)) for kind in saved} == saved
