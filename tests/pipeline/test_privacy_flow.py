"""A rule of the policy on membership inference: the audit judges a variant as its callers see it."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from tests.pipeline.projects import TOML, TRAIN, write

from headway import pipeline
from headway.core.errors import ConfigError
from headway.registry.project import open_project

pytestmark = pytest.mark.slow

RULE = """
[[policy.release]]
measure = "privacy.membership.tpr_1pct"
at_most = {limit}
"""
RATE = "privacy.membership.tpr_1pct"
LEAKY = (
    TRAIN.replace("labels):", "labels, *, seed=0):")
    .replace('["carrier"]', '"auto"')
    .replace('"seed": 0', '"seed": seed')
)
LEAKY = LEAKY.replace('"verbose"', '"min_data_in_leaf": 1, "num_leaves": 63, "verbose"')


def project_in(folder, *, limit):
    toml = TOML.replace('["onnx"]', '["trees", "prune"]').replace("at_most = 0.01", "at_most = 0.05")
    toml += RULE.format(limit=limit)
    write(folder, toml)
    (folder / "mine.py").write_text(LEAKY)
    return open_project(folder, flags={"evaluate.budget_s": "240"})


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    """Return a search, and its baseline and a pruned variant, each audited as if it had won."""
    project = project_in(tmp_path_factory.mktemp("privacy"), limit=0.07)
    data = pipeline.periods(project)
    search = pipeline.optimize(project, pipeline.train(project, data), data)
    pruned = [row for row in search.evaluated if [step.transform for step in row.variant.steps][-1:] == ["prune"]]
    smallest = min(pruned, key=lambda row: row.variant.artifact.size_bytes)
    baseline = next(row for row in search.evaluated if not row.variant.steps)
    won = [replace(search, winner=replace(row, evidence=search.winner.evidence)) for row in (baseline, smallest)]
    return search, [pipeline.audit_winner(project, result, data, audits=["membership"]) for result in won]


@pytest.mark.long  # three minutes of shadow models; tests/evaluation/test_candidate_privacy.py has the parts
def test_a_pruned_model_gives_fewer_rows_away_than_the_model_that_it_was_made_of(audited):
    baseline, pruned = (result.winner.evidence.find(RATE) for result in audited[1])
    assert baseline.low > 0.03
    assert pruned.value < baseline.value
    assert audited[1][1].winner.evidence.find(f"{RATE}.difference").high < 0
    assert audited[1][0].winner.evidence.find(f"{RATE}.difference") is None


@pytest.mark.long
def test_the_judge_answers_the_rule_for_each(audited):
    for result, answer in zip(audited[1], ("fail", "pass"), strict=True):
        (ruled,) = (one for one in result.winner.verdict.rule_results if one.rule.measure == RATE)
        assert ruled.answer == answer
        assert ruled.measurement == result.winner.evidence.find(RATE)


@pytest.mark.long
def test_the_search_chooses_a_variant_that_the_judge_will_pass(audited):
    search, _ = audited
    assert "prune" in search.winner.variant.name
    assert search.row(search.winner.variant.digest).evidence.find(RATE).high < 0.07
    assert search.reasons["lightgbm (baseline)"].startswith(f"fails: {RATE} ")
    trees = next(row for row in search.evaluated if row.variant.name == "trees")
    assert trees.evidence.find(RATE) == search.evaluated_baseline.evidence.find(RATE)  # the same answers


def test_without_a_rule_or_a_setting_no_candidate_is_attacked(tmp_path):
    plain = open_project(write(tmp_path)).config
    assert not pipeline._asks_for_privacy(plain)
    asked = open_project(tmp_path, flags={"optimize.private": "true"}).config
    assert pipeline._asks_for_privacy(asked) and pipeline._private_measures(asked) == {"membership": []}


def test_a_rule_on_a_measure_makes_its_audit_run(tmp_path):
    project = project_in(tmp_path, limit=0.5)
    assert "membership" in pipeline._requested_audits(project.config)
    (tmp_path / "plain").mkdir()
    folder = write(tmp_path / "plain")
    assert "membership" not in pipeline._requested_audits(open_project(folder).config)
    wanted = open_project(folder, flags={"evaluate.audits": '["membership"]'})
    assert "membership" in pipeline._requested_audits(wanted.config)
    wrong = open_project(folder, flags={"evaluate.audits": '["phrenology"]'})
    with pytest.raises(ConfigError, match="unknown audit 'phrenology'"):
        pipeline._requested_audits(wrong.config)


def test_an_epsilon_that_is_declared_for_a_trained_model_is_kept_with_its_baseline(tmp_path):
    folder = write(tmp_path, TOML.replace("[model]", "[model]\nepsilon = 3.0\nmechanism = 'noise'"))
    private = TRAIN.replace("return lightgbm", "model = lightgbm") + "    model.epsilon, model.accountant = 2.0, 1\n"
    (folder / "mine.py").write_text(f"{private}    return model\n")
    project = open_project(folder)
    data = pipeline.periods(project)
    baseline = pipeline.train(project, data)
    assert [(finding.code, finding.measured) for finding in baseline.findings] == [("E010", 2.0), ("E010", 3.0)]
    subject = pipeline.evaluate(
        project, baseline.model, pipeline._evaluation_set(project, baseline, data["validation"])
    )
    assert {finding.measured for finding in subject.evidence.findings if finding.code == "E010"} == {2.0, 3.0}
