"""`[model] class_weight = "balanced"`: a rare class counts as much as the other, by weights or by repeated rows."""

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
BALANCED = projects.TOML.replace('train = "mine:train"', 'train = "mine:train"\nclass_weight = "balanced"')
WITH_WEIGHTS = projects.TRAIN.replace("(rows, labels)", "(rows, labels, weights=None)").replace(
    "labels, feature_name", "labels, weight=weights, feature_name"
)


@pytest.mark.parametrize("code", [projects.TRAIN, WITH_WEIGHTS], ids=["rows", "weights"])
def test_balanced_class_weights_center_the_scores_at_one_half(tmp_path, code):
    folder = projects.write(tmp_path, BALANCED)
    (folder / "mine.py").write_text(code)
    few_late = pl.col("late").is_not_null() & ((pl.col("late") == 0) | (pl.col("hour") % 5 == 0))
    projects.table().filter(few_late).write_parquet(folder / "table.parquet")
    project = open_project(folder)
    data = pipeline.periods(project)
    model = pipeline.train(project, data).model
    scores = open_variant(model, project.blobs).predict(matrix(data["train"].table, model.signature))

    late = data["train"].table["late"].to_numpy()
    assert late.mean() < 0.25
    assert (scores[late == 0].mean() + scores[late == 1].mean()) / 2 == pytest.approx(0.5, abs=0.02)


def test_balanced_class_weights_are_refused_for_a_regression(tmp_path):
    folder = projects.write(tmp_path, BALANCED.replace('target = "late"', 'target = "late"\ntask = "regression"'))
    project = open_project(folder)
    with pytest.raises(ConfigError, match="a target of task 'regression' has no classes to balance"):
        pipeline.train(project, pipeline.periods(project))
