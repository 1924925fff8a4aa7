"""The live release trained anew and recalibrated, each judged against it."""

from __future__ import annotations

import shutil
from datetime import datetime

import numpy as np
import polars as pl
import pytest
from msgspec.structs import replace
from tests.pipeline import watched

from headway import pipeline
from headway.core.errors import ConfigError, DataError
from headway.core.training import Training
from headway.core.verdict import Rule
from headway.evaluation.calibration.apply import calibration_function
from headway.monitoring.deployed_release import open_deployed_release
from headway.monitoring.retraining.comparison import promotion_rules, recalibration_rules
from headway.registry.project import open_project

pytestmark = pytest.mark.slow
KEPT = "[retrain]\njudged_days = 25\nrecalibrate_days = 20\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A project whose world turned in April, its release live and a ticket open."""
    folder = watched.write(tmp_path_factory.mktemp("turned"), table=watched.turned())
    pipeline.watch(watched.released(folder))
    return folder


def test_it_learns_from_all_that_is_labelled_but_the_days_that_it_is_judged_on(folder):
    project = open_project(folder)
    found = pipeline.retrain(project)
    kept = project.records(Training)
    anew = [each for each in kept if each.seed is not None]

    assert found.trainings == 3 and [each.seed for each in anew] == [0, 1, 2]
    assert {each.since for each in anew} == {"2013-01-01"}
    assert {each.until for each in anew} == {each.judged_since for each in anew}
    assert anew[0].n_rows + found.frontier.winner.evidence.find("brier.drop").n_rows == 7200


def test_it_is_judged_against_live_with_the_variance_of_seeds_in_the_interval(folder):
    project = open_project(folder)
    found = pipeline.retrain(project)
    loss = found.frontier.winner.evidence.find("brier.drop")

    assert found.frontier.winner.evidence.reference == found.live == open_deployed_release(project).digest
    assert "mean of 3 seeds" in loss.method
    assert [rule_result.rule.measure for rule_result in found.frontier.winner.verdict.rule_results] == [
        "brier.drop",
        "roc_auc.drop",
    ]


def test_it_has_the_form_that_live_has(folder):
    project = open_project(folder)
    winner = pipeline.retrain(project).frontier.winner.variant
    live = open_deployed_release(project).release.variant

    assert (winner.engine, winner.steps) == (live.engine, live.steps)
    assert winner.artifact.digest != live.artifact.digest


def test_done_again_nothing_is_trained_and_the_outcome_is_the_one_kept(folder):
    project = open_project(folder)
    told = []

    assert pipeline.retrain(project) == pipeline.retrain(project, callback=told.append)
    assert [line[:4] for line in told] == ["D057"], "nobody checked these data, and nothing was trained"


def test_what_passed_begins_a_rollout_of_the_release_that_was_judged(folder, tmp_path):
    project = open_project(shutil.copytree(folder, tmp_path / "copy"))
    begun = pipeline.renew(project, pipeline.retrain(project), who="ada")
    shipped = project.register.resolve("small@canary").release

    assert begun.stands == "rolling out" and begun.rollout.live == open_deployed_release(project).digest
    assert shipped.variant == pipeline.retrain(project).frontier.winner.variant
    assert shipped.verdict == pipeline.retrain(project).frontier.winner.verdict and shipped.made_by == "ada"
    assert pipeline.ticket_of(project) is not None


def test_followed_where_nobody_asks_the_rollout_is_left_as_it_stands(folder, tmp_path):
    project = open_project(shutil.copytree(folder, tmp_path / "copy"), flags={"rollout.quiet_s": "0.001"})
    pipeline.renew(project, pipeline.retrain(project), who="ada")
    told: list[str] = []
    left = pipeline.follow(project, callback=told.append, wait=lambda _: None)

    assert left.stands == "rolling out" and "headway serve small@live" in told[-1]


def test_days_that_live_learned_from_are_not_held_out(folder):
    with pytest.raises(DataError, match="the live release was trained on days up to 2013-02-10"):
        pipeline.retrain(open_project(folder), until=datetime(2013, 2, 20))


def test_a_training_that_takes_no_seed_is_told_how_to(folder, tmp_path):
    watched.write(tmp_path, table=watched.turned())
    (tmp_path / "mine.py").write_text(watched.projects.TRAIN)
    project = watched.released(tmp_path)

    with pytest.raises(ConfigError, match="takes no seed"):
        pipeline.retrain(project)
    (tmp_path / "headway.toml").write_text(watched.TOML + watched.RETRAIN.replace("seeds = 3", "seeds = 1"))
    assert pipeline.retrain(open_project(tmp_path)).trainings == 1


def test_the_rules_are_the_owners_or_the_relative_ones_and_a_brier_score_no_worse(folder):
    policy = open_project(folder).config.policy
    own = (Rule(measure="ece", at_most=0.2),)

    assert [str(rule) for rule in promotion_rules(policy).release] == [
        "brier.drop at most 0",
        "roc_auc.drop at most 0.01",
    ]
    assert promotion_rules(replace(policy, retrain=own)).release == own
    assert [str(rule) for rule in recalibration_rules(policy).release] == ["brier.drop at most 0"]


def test_recalibration_shifts_the_live_model_and_is_judged_day_by_day(folder):
    (folder / "headway.toml").write_text(watched.TOML + KEPT)
    project = open_project(folder)
    live = open_deployed_release(project)
    found = pipeline.recalibrate(project)

    assert found.frontier.winner.variant == live.release.variant
    assert found.frontier.baseline.calibrator.n_groups == 20
    assert found.frontier.winner.evidence.find("brier.drop").n_groups == 20
    told: list[str] = []
    assert pipeline.recalibrate(project, callback=told.append) == found
    assert [line[:4] for line in told] == ["D057"], "nobody checked these data"


def test_rows_that_live_learned_from_and_are_others_now_are_told_of(folder, tmp_path):
    project = open_project(shutil.copytree(folder, tmp_path / "copy"))
    table = pl.read_parquet(project.config.folder + "/table.parquet")
    first = pl.int_range(pl.len()) < 60
    table.with_columns(late=pl.when(first).then(1 - pl.col("late")).otherwise("late")).write_parquet(
        project.config.folder + "/table.parquet"
    )
    told: list[str] = []
    (found,) = pipeline.retrain(project, callback=told.append).findings

    assert (found.code, found.severity) == ("D065", "warn")
    assert any(line.startswith("warn D065: ") for line in told)


def test_rows_that_live_learned_from_and_are_gone_are_told_of(folder, tmp_path):
    project = open_project(shutil.copytree(folder, tmp_path / "copy"))
    path = project.config.folder + "/table.parquet"
    pl.read_parquet(path).filter(pl.col("at") >= datetime(2013, 2, 10)).write_parquet(path)
    assert [each.code for each in pipeline.retrain(project).findings] == ["D065"]


def test_a_recalibrated_release_answers_with_its_shift(tmp_path):
    watched.write(tmp_path, retrain=KEPT, table=watched.turned())
    (tmp_path / "headway.toml").write_text(watched.TOML + KEPT + '[[policy.retrain]]\nmeasure = "ece"\nat_most = 1.0\n')
    project = watched.released(tmp_path)
    before = open_deployed_release(project)
    found = pipeline.recalibrate(project)
    pipeline.release(project, found.frontier, who="ada", why=found.message)
    after = open_deployed_release(project)
    rows = np.array([[8.0, 10.0, 1.0]])

    assert after.release.calibrator.shift == found.frontier.baseline.calibrator.shift != 0
    assert after.predict(rows) == calibration_function(after.release.calibrator)(before.predict(rows))
    assert after.training == before.training


@pytest.mark.parametrize(("days", "message"), [(3, "a shift needs 7 groups"), (20, "labeled groups have arrived")])
def test_recalibration_says_what_it_lacks(folder, days, message):
    (folder / "headway.toml").write_text(watched.TOML + f"[retrain]\nrecalibrate_days = {days}\n")
    with pytest.raises(DataError, match=message):
        pipeline.recalibrate(open_project(folder), until=datetime(2013, 2, 20) if days > 7 else None)
