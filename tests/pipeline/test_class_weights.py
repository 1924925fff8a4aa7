"""`[model] class_weight = "balanced"`: a rare class counts as much as the other, by weights or by rows that recur."""

from __future__ import annotations

import polars as pl
import pytest
from tests.pipeline import projects

from headway import pipeline
from headway.core.errors import ConfigError
from headway.data.matrix import matrix
from headway.evaluation.comparison import open_variant
from headway.registry.project import open_project

pytestmark = pytest.mark.slow
ALIKE = projects.TOML.replace('train = "mine:train"', 'train = "mine:train"\nclass_weight = "balanced"')
WITH_WEIGHTS = projects.TRAIN.replace("(rows, labels)", "(rows, labels, weights=None)").replace(
    "labels, feature_name", "labels, weight=weights, feature_name"
)


@pytest.mark.parametrize("code", [projects.TRAIN, WITH_WEIGHTS], ids=["rows", "weights"])
def test_the_model_says_one_half_on_average_over_classes_however_rare_one_is(tmp_path, code):
    folder = projects.write(tmp_path, ALIKE)
    (folder / "mine.py").write_text(code)
    kept = pl.col("late").is_not_null() & ((pl.col("late") == 0) | (pl.col("hour") % 5 == 0))
    projects.table().filter(kept).write_parquet(folder / "table.parquet")
    project = open_project(folder)
    data = pipeline.periods(project)
    model = pipeline.train(project, data).model
    scores = open_variant(model, project.blobs).predict(matrix(data["train"].table, model.signature))

    late = data["train"].table["late"].to_numpy()
    assert late.mean() < 0.25
    assert (scores[late == 0].mean() + scores[late == 1].mean()) / 2 == pytest.approx(0.5, abs=0.02)


def test_a_target_without_classes_refuses_it(tmp_path):
    folder = projects.write(tmp_path, ALIKE.replace('target = "late"', 'target = "late"\ntask = "regression"'))
    project = open_project(folder)
    with pytest.raises(ConfigError, match="a target of task 'regression' has no classes to balance"):
        pipeline.train(project, pipeline.periods(project))
