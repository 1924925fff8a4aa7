"""`watch` and `retrain` for a model from a file, and for the scores of another system."""

from __future__ import annotations

import lightgbm
import numpy as np
import polars as pl
import pytest
from tests.pipeline import projects, watched

from headway import pipeline
from headway.core.errors import ConfigError, DataError
from headway.registry.project import open_project

pytestmark = pytest.mark.slow

FEATURES = ("hour", "wind", "carrier")
FILE = watched.TOML.replace('train = "mine:train"', 'file = "model.txt"')
FILE = "\n".join(line for line in FILE.splitlines() if not line.startswith("train = ["))
SCORES = FILE.replace('file = "model.txt"', 'scores = "score"')


def model() -> lightgbm.Booster:
    rows = projects.table().filter(pl.col("at").dt.month() == 1)
    codes = rows["carrier"].cast(pl.Enum(["AA", "B6", "UA"])).to_physical()
    data = lightgbm.Dataset(
        rows.select("hour", "wind", carrier=codes).to_numpy(), rows["late"].to_numpy(), feature_name=list(FEATURES)
    )
    return lightgbm.train({"objective": "binary", "verbose": -1, "num_threads": 1}, data, num_boost_round=30)


def with_codes(table: pl.DataFrame) -> pl.DataFrame:
    return table.with_columns(carrier=pl.col("carrier").cast(pl.Enum(["AA", "B6", "UA"])).to_physical().cast(pl.Int64))


@pytest.fixture(scope="module")
def of_file(tmp_path_factory):
    """A live release of a model file, with labels of March flipped: April is degraded."""
    folder = watched.write(tmp_path_factory.mktemp("file"), table=with_codes(watched.shifted()))
    (folder / "headway.toml").write_text(
        FILE + '\n[retrain]\njudged_days = 10\nseeds = 2\naccept_out_of_range = ["hour"]\n'
    )
    model().save_model(folder / "model.txt")
    watched.released(folder)
    return folder


def test_a_model_from_a_file_is_watched_like_any_other(of_file, run):
    (april,) = pipeline.watch(open_project(of_file))
    assert (april.period, april.status) == ("2013-04", "degraded") and april.drift.alarm
    assert april.quality and april.cost and april.find("roc_auc.change").high < 0
    assert april.ticket is None or ("rows" not in april.ticket.reasons and april.ticket.price_s is None)
    assert run("watch", "--project", of_file)[0] == 1
    recalibrated = pipeline.recalibrate(open_project(of_file))
    assert recalibrated.search_result.baseline.calibrator and recalibrated.trainings == 0


def test_retraining_a_model_from_a_file_says_what_to_add_and_then_works(of_file, run):
    pipeline.watch(open_project(of_file))
    code, _, shown = run("retrain", "--project", of_file)
    assert code == 2 and "def train(rows, labels, *, seed=0)" in shown and 'train = "train:train"' in shown
    with pytest.raises(ConfigError, match=r"the model comes from model\.txt"):
        pipeline.retrain(open_project(of_file))
    toml = of_file / "headway.toml"
    toml.write_text(toml.read_text().replace('file = "model.txt"', 'file = "model.txt"\ntrain = "mine:train"'))
    (of_file / "mine.py").write_text(watched.TRAIN)
    found = pipeline.retrain(open_project(of_file))
    assert found.trainings == 2 and not found.findings


@pytest.fixture
def of_scores(tmp_path):
    """A project without a model: the table has a column of scores; from April on the labels are flipped."""
    table = with_codes(watched.shifted())
    scores = model().predict(table.select(FEATURES).to_numpy())
    folder = watched.write(tmp_path, table=table.with_columns(score=pl.Series(scores)))
    (folder / "headway.toml").write_text(SCORES)
    return folder


def test_scores_of_another_system_are_watched_without_a_model(of_scores, run):
    project = open_project(of_scores)
    (april,) = pipeline.watch(project)
    assert april.status == "degraded" and april.drift.alarm and april.find("roc_auc.change").high < 0
    assert april.find("ece") and "hour" in april.message and "score" not in {f.where for f in april.drift.findings}
    assert pipeline.watch(project) == [april]
    assert run("watch", "--project", of_scores)[0] == 1
    with pytest.raises(DataError, match="are in the table, not in a log of headway"):
        pipeline.watch(project, source="log")


def test_without_a_declared_test_period_the_reference_stays_when_rows_arrive(of_scores):
    toml = of_scores / "headway.toml"
    toml.write_text("\n".join(line for line in toml.read_text().splitlines() if not line.startswith(("valid", "test"))))
    full = pl.read_parquet(of_scores / "table.parquet")
    full.filter(pl.col("at").dt.month() < 4).write_parquet(of_scores / "table.parquet")
    before = pipeline.watch(open_project(of_scores))
    full.write_parquet(of_scores / "table.parquet")
    after = pipeline.watch(open_project(of_scores))
    assert [report.since for report in after] == [*(report.since for report in before), "2013-04-01T00:00:00"]
    assert before[0].since == "2013-01-30T00:00:00"  # whole days
    assert {report.release for report in before} == {report.release for report in after}


@pytest.mark.parametrize("words", [("optimize",), ("retrain",), ("retrain", "--recalibrate")])
def test_what_needs_a_model_is_refused_by_name(of_scores, run, words):
    code, _, shown = run(*words, "--project", of_scores)
    assert code == 2 and "the column 'score' holds the scores of another system" in shown


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.rename({"score": "scores"}), "no column 'score'"),
        (lambda table: table.with_columns(score=pl.col("score") * 100), "scores of a binary task are probabilities"),
        (lambda table: table.with_columns(score=pl.lit(np.nan)), "7,200 of 7,200 rows have no score in 'score'"),
    ],
)
def test_a_column_that_holds_no_scores_is_named(of_scores, change, message):
    path = of_scores / "table.parquet"
    change(pl.read_parquet(path)).write_parquet(path)
    with pytest.raises(DataError, match=message):
        pipeline.watch(open_project(of_scores))
