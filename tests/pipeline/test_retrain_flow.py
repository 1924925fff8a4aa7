"""Retraining and recalibration of the live release, each judged against it."""

from __future__ import annotations

import shutil
from datetime import datetime

import numpy as np
import polars as pl
import pytest
from msgspec.structs import replace
from tests.pipeline import watched

from headway import pipeline
from headway.core.assessment import Assessment
from headway.core.errors import ConfigError, DataError
from headway.core.training import Training
from headway.core.verdict import Rule
from headway.data.open import open_dataset
from headway.data.settings.policy import PolicySection
from headway.evaluation.calibration.apply import calibration_function
from headway.monitoring.deployed_release import open_deployed_release
from headway.monitoring.retraining.promotion import force_promotion
from headway.monitoring.retraining.retrain import promotion_rules, recalibration_rules
from headway.registry.project import Project, open_project
from headway.security.threats.assessment import assess_threats

pytestmark = pytest.mark.slow
RETRAIN = '[retrain]\njudged_days = 25\nrecalibrate_days = 20\naccept_out_of_range = ["hour"]\n'


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a project with a shift in April, a live release and an open ticket."""
    folder = watched.write(tmp_path_factory.mktemp("shifted"), table=watched.shifted())
    pipeline.watch(watched.released(folder))
    return folder


def test_retraining_learns_from_all_labeled_days_except_those_it_is_judged_on(folder):
    project = open_project(folder)
    found = pipeline.retrain(project)
    trainings = project.records(Training)
    retrained = [training for training in trainings if training.seed is not None]

    assert found.search_result.baseline.training.is_known
    assert found.trainings == 3 and [training.seed for training in retrained] == [0, 1, 2]
    assert {training.since for training in retrained} == {"2013-01-01"}
    assert {training.until for training in retrained} == {training.judged_since for training in retrained}
    assert retrained[0].n_rows + found.search_result.winner.evidence.find("brier.drop").n_rows == 7200


def test_the_retrained_model_is_compared_with_live_over_several_seeds(folder):
    project = open_project(folder)
    found = pipeline.retrain(project)
    loss = found.search_result.winner.evidence.find("brier.drop")

    assert found.search_result.winner.evidence.reference == found.live == open_deployed_release(project).digest
    assert "mean of 3 seeds" in loss.method
    assert [rule_result.rule.measure for rule_result in found.search_result.winner.verdict.rule_results] == [
        "brier.drop",
        "roc_auc.drop",
    ]


def test_the_retrained_model_has_the_engine_and_steps_of_live(folder):
    project = open_project(folder)
    winner = pipeline.retrain(project).search_result.winner.variant
    live = open_deployed_release(project).release.variant

    assert (winner.engine, winner.steps) == (live.engine, live.steps)
    assert winner.artifact.digest != live.artifact.digest


def test_a_repeated_retraining_trains_nothing_and_returns_the_saved_result(folder):
    project = open_project(folder)
    messages = []

    assert pipeline.retrain(project) == pipeline.retrain(project, callback=messages.append)
    assert messages == [], "the first run checked these data, and nothing was trained"


def test_a_passed_retraining_starts_a_rollout_of_the_judged_release(folder, tmp_path):
    project = open_project(shutil.copytree(folder, tmp_path / "copy"))
    promotion = pipeline.promote(project, pipeline.retrain(project), who="ada")
    canary = project.registry.resolve("small@canary").release

    assert promotion.status == "rolling out" and promotion.rollout.live == open_deployed_release(project).digest
    assert canary.variant == pipeline.retrain(project).search_result.winner.variant
    assert canary.verdict == pipeline.retrain(project).search_result.winner.verdict and canary.made_by == "ada"
    assert pipeline.open_ticket(project) is not None


def unchecked(project: Project) -> set[str]:
    """Return the checks that the live release lacks as evidence, apart from those that ran and could not judge."""
    gaps = [gap for row in assess_threats(project, who="ada").now.requirements for gap in row.missing]
    return {gap.key for gap in gaps if gap.key.startswith("check:") and gap.code != "contradicted"}


def test_the_checks_of_a_retraining_are_evidence_of_its_release(tmp_path):
    project = watched.released(watched.write(tmp_path, table=watched.shifted()))
    assert "check:backdoor" in unchecked(project)
    found = pipeline.retrain(project, who="ada")
    (checked,) = project.records(Assessment)
    pipeline.promote(project, found, who="ada")
    force_promotion(project, who="ada", why="a test")

    assert checked.by == "ada" and checked.data == found.search_result.baseline.data
    assert project.registry.resolve("small@live").release.data.items() >= checked.data.items()
    assert unchecked(project) == set()
    measured = [gap for row in assess_threats(project, who="ada").now.requirements for gap in row.missing]
    assert {gap.command for gap in measured if gap.key == "measure:attack.success"} == {"headway optimize"}

    repeated = pipeline.assess(project, open_dataset(project.config), who="bob")
    assert repeated.same, "a check of the same table covers the retrained release, and finds nothing new"
    later = pl.read_parquet(f"{project.config.folder}/table.parquet").with_columns(pl.col("at") + pl.duration(days=200))
    table = pl.concat([pl.read_parquet(f"{project.config.folder}/table.parquet"), later])
    table.write_parquet(f"{project.config.folder}/table.parquet")
    again = pipeline.assess(project, open_dataset(project.config), who="bob").now
    assert again.by == "bob" and again.data == checked.data and unchecked(project) == set()


def test_a_check_of_the_same_table_is_not_repeated_by_a_retraining(tmp_path):
    project = watched.released(watched.write(tmp_path, table=watched.shifted()))
    before = pipeline.assess(project, open_dataset(project.config), who="bob").now
    found = pipeline.retrain(project)
    assert pipeline.retrain(project) == found

    saved = project.records(Assessment)
    assert [one.at for one in saved] == [before.at, before.at] and saved[0].data != saved[1].data
    assert saved[1] == replace(before, data=found.search_result.baseline.data, sample="")


def test_follow_leaves_a_rollout_without_requests_at_its_stage(folder, tmp_path):
    project = open_project(shutil.copytree(folder, tmp_path / "copy"), flags={"rollout.quiet_s": "0.001"})
    pipeline.promote(project, pipeline.retrain(project), who="ada")
    messages: list[str] = []
    promotion = pipeline.follow_promotion(project, callback=messages.append, wait=lambda _: None)

    assert promotion.status == "rolling out" and "headway serve small@live" in messages[-1]


def test_days_that_live_learned_from_are_not_held_out(folder):
    with pytest.raises(DataError, match="the live release was trained on days up to 2013-02-10"):
        pipeline.retrain(open_project(folder), until=datetime(2013, 2, 20))


def test_a_training_without_a_seed_is_refused(folder, tmp_path):
    watched.write(tmp_path, table=watched.shifted())
    (tmp_path / "mine.py").write_text(watched.projects.TRAIN)
    project = watched.released(tmp_path)

    with pytest.raises(ConfigError, match="takes no seed"):
        pipeline.retrain(project)
    (tmp_path / "headway.toml").write_text(watched.TOML + watched.RETRAIN.replace("seeds = 3", "seeds = 1"))
    assert pipeline.retrain(open_project(tmp_path)).trainings == 1


def test_the_promotion_rules_are_configured_or_the_relative_rules_and_a_brier_score_no_worse(folder):
    policy = open_project(folder).config[PolicySection]
    own = (Rule(measure="ece", at_most=0.2),)

    assert [str(rule) for rule in promotion_rules(policy).release] == [
        "brier.drop at most 0",
        "roc_auc.drop at most 0.01",
    ]
    assert promotion_rules(replace(policy, retrain=own)).release == own
    assert [str(rule) for rule in recalibration_rules(policy).release] == ["brier.drop at most 0"]


def test_recalibration_shifts_the_live_model_and_is_judged_by_day(folder):
    (folder / "headway.toml").write_text(watched.TOML + RETRAIN)
    project = open_project(folder)
    live = open_deployed_release(project)
    found = pipeline.recalibrate(project)

    assert found.search_result.winner.variant == live.release.variant
    assert found.search_result.baseline.calibrator.n_groups == 20
    assert found.search_result.winner.evidence.find("brier.drop").n_groups == 20
    messages: list[str] = []
    assert pipeline.recalibrate(project, callback=messages.append) == found
    assert {line[:4] for line in messages} <= {"D057"}, "these data were not checked, or only by a retraining"


def test_changed_training_rows_of_live_are_reported(folder, tmp_path):
    project = open_project(shutil.copytree(folder, tmp_path / "copy"))
    table = pl.read_parquet(project.config.folder + "/table.parquet")
    first = pl.int_range(pl.len()) < 60
    table.with_columns(late=pl.when(first).then(1 - pl.col("late")).otherwise("late")).write_parquet(
        project.config.folder + "/table.parquet"
    )
    messages: list[str] = []
    (found,) = pipeline.retrain(project, callback=messages.append).findings

    assert (found.code, found.severity) == ("D065", "warn")
    assert any(line.startswith("warn D065: ") for line in messages)


def test_removed_training_rows_of_live_are_reported(folder, tmp_path):
    project = open_project(shutil.copytree(folder, tmp_path / "copy"))
    path = project.config.folder + "/table.parquet"
    pl.read_parquet(path).filter(pl.col("at") >= datetime(2013, 2, 10)).write_parquet(path)
    assert [finding.code for finding in pipeline.retrain(project).findings] == ["D065"]


def test_a_recalibrated_release_answers_with_its_shift(tmp_path):
    watched.write(tmp_path, retrain=RETRAIN, table=watched.shifted())
    (tmp_path / "headway.toml").write_text(
        watched.TOML + RETRAIN + '[[policy.retrain]]\nmeasure = "ece"\nat_most = 1.0\n'
    )
    project = watched.released(tmp_path)
    before = open_deployed_release(project)
    found = pipeline.recalibrate(project)
    pipeline.release(project, found.search_result, who="ada", why=found.message)
    after = open_deployed_release(project)
    rows = np.array([[8.0, 10.0, 1.0]])

    assert after.release.calibrator.shift == found.search_result.baseline.calibrator.shift != 0
    assert after.predict(rows) == calibration_function(after.release.calibrator)(before.predict(rows))
    assert after.training == before.training


@pytest.mark.parametrize(("days", "message"), [(3, "a shift needs 7 groups"), (20, "labeled groups have arrived")])
def test_recalibration_without_enough_groups_is_refused(folder, days, message):
    (folder / "headway.toml").write_text(watched.TOML + f"[retrain]\nrecalibrate_days = {days}\n")
    with pytest.raises(DataError, match=message):
        pipeline.recalibrate(open_project(folder), until=datetime(2013, 2, 20) if days > 7 else None)
