"""A release is compared with the one that is live, on the same rows; what was not compared is undecided."""

from __future__ import annotations

from dataclasses import replace

import lightgbm
import pytest
from msgspec.structs import replace as replaced
from tests.pipeline.projects import write

from headway import pipeline
from headway.core.errors import PointerMoved, Refused
from headway.core.evidence import Evidence
from headway.core.threads import this_machine
from headway.core.verdict import Verdict
from headway.evaluation.comparison import build_evaluation_set, compare_with_baseline
from headway.registry.live import JudgedChange, compare_with_live
from headway.registry.project import LiveRelease, find_live, open_project
from headway.reporting.gates.gate import describe_change

METRICS = ["quality", "floor"]


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """Return a project with a live release, its data, its search, and a weaker model with the test rows for it."""
    project = open_project(write(tmp_path_factory.mktemp("live")))
    data = pipeline.periods(project)
    search = pipeline.optimize(project, pipeline.train(project, data), data)
    pipeline.release(project, search, who="ada")
    rows = data["train"].table
    part = lightgbm.Dataset(rows.select("wind").to_numpy(), rows["late"].to_numpy(), feature_name=["wind"])
    model = lightgbm.train({"objective": "binary", "verbose": -1, "num_threads": 1}, part, num_boost_round=5)
    weaker = pipeline.import_model(project, model, data)
    return project, search, weaker, build_evaluation_set(weaker, data["test"], project.blobs)


def judged(released):
    project, _, weaker, rows = released
    return pipeline.evaluate(project, weaker.model, rows, metrics=METRICS)


@pytest.mark.slow
def test_a_model_that_is_worse_than_live_fails_by_the_rule_against_live(released):
    project, search, _, _ = released
    found = judged(released)
    assert found.evidence.live == project.registry.head("small@live").release
    assert found.evidence.find("live.roc_auc.drop").low > 0.01
    churn = found.evidence.find("live.decision_churn")
    assert 0 < churn.low <= churn.high < 1 and churn.n_groups > 20
    last = found.verdict.rule_results[-1]
    assert (last.rule.measure, last.answer) == ("live.roc_auc.drop", "fail")
    assert "; AUC 0." in describe_change(
        JudgedChange(search=replaced(search, winner=found), live=find_live(project, ""))
    )
    # The live model itself has nothing to be compared with.
    assert find_live(project, search.winner.variant.digest) is None
    change = pipeline.gate(project, search)
    assert (change.search.winner.verdict.answer, change.is_live) == ("pass", True)
    assert describe_change(change) == f"against the live release {found.evidence.live[7:19]}: the same model"


@pytest.mark.slow
def test_a_pass_that_was_not_compared_with_live_is_released_only_by_an_override(released):
    project, search, _, _ = released
    other = judged(released)
    live = project.registry.head("small@live").release
    passed = Verdict(answer="pass", subject=other.variant.digest, at="2026-11-27T00:00:00+00:00")
    old = replaced(other, evidence=replaced(other.evidence, live=""), verdict=passed)
    result = replaced(search, winner=old, at="2026-11-27T00:00:00+00:00")
    with pytest.raises(Refused, match="not compared with the live release") as refused:
        pipeline.release(project, result, who="ada")
    assert "was live" in refused.value.where and "headway evaluate" in refused.value.hint
    change = pipeline.gate(project, result)
    assert change.search.winner.verdict.rule_results[-1].answer == "undecided"
    assert "was live; try: headway evaluate" in describe_change(change)
    assert project.registry.head("small@live").release == live
    pipeline.release(project, result, who="ada", override="storm days")
    assert find_live(project, other.variant.digest) is None
    project.registry.roll_back("small@live", who="ada", why="back")


@pytest.mark.slow
def test_a_release_does_not_undo_one_that_came_in_between(released):
    project, search, _, _ = released

    class Busy:
        """The blobs, which are read after the comparison with live; another person releases then."""

        def get(self, digest):
            pipeline.release(project, search, who="bob")
            return project.blobs.get(digest)

    with pytest.raises(PointerMoved, match=r"small@live is at sha256:\w+ by update \d+ \(bob: "):
        pipeline.release(replace(project, blobs=Busy()), search, who="ada")
    assert project.registry.head("small@live").who == "bob"


@pytest.mark.slow
def test_a_live_release_that_cannot_be_compared_leaves_a_finding_and_no_measure(released):
    project, _, weaker, rows = released
    subject = compare_with_baseline(weaker.model, rows, project.blobs)
    live = find_live(project, weaker.model.digest)
    without = replace(rows.labeled, table=rows.labeled.table.drop("hour"))
    other_task = replace(subject, variant=replaced(subject.variant, task="regression"))
    for of, labeled, reason in (
        (subject, without, "hour"),
        (other_task, rows.labeled, "other classes"),
    ):
        found = compare_with_live(live, of, labeled, empty(rows))
        assert [finding.severity for finding in found.findings] == ["undecided"]
        assert reason in found.findings[0].message and not found.measurements
    problem = LiveRelease(digest="", problem="the live release cannot be opened: no key")
    assert "no key" in compare_with_live(problem, subject, rows.labeled, empty(rows)).findings[0].message


@pytest.mark.slow
def test_a_pointer_that_does_not_verify_is_a_problem_and_one_that_was_withdrawn_is_none(released):
    project, _, weaker, _ = released
    trusted = project.registry.trusted_keys
    kept = trusted.read_text()
    trusted.write_text("")
    problem = find_live(project, weaker.model.digest)
    trusted.write_text(kept)
    assert problem is not None and "cannot be opened" in problem.problem
    project.registry.withdraw("small@live", who="ada", why="out of use")
    assert find_live(project, weaker.model.digest) is None


def empty(rows) -> Evidence:
    return Evidence(subject="", dataset=rows.dataset, period="test", machine=this_machine())
