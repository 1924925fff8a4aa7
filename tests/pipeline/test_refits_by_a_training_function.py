"""Refits of a project's model on some of its rows, by which a student learns answers out of fold."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from tests.pipeline import projects

from headway import pipeline
from headway.data.matrix import target_values
from headway.optimization.training import refit_answers
from headway.registry.project import open_project

pytestmark = pytest.mark.slow
FEATURES = ["hour", "wind", "carrier"]


def test_a_training_function_answers_rows_that_its_model_did_not_see(tmp_path):
    project = open_project(projects.write(tmp_path))
    (tmp_path / "mine.py").write_text(projects.TRAIN.replace("num_boost_round=40", "num_boost_round=len(labels) // 40"))
    train = pipeline.periods(project)["train"]
    learned, answered = np.arange(1_600), np.arange(1_600, train.table.height)
    answers = refit_answers(project.config, train, learned, answered, features=FEATURES)
    fewer = refit_answers(project.config, train, learned[:800], answered, features=FEATURES)
    assert answers.shape == fewer.shape == (len(answered), 1)
    assert not np.array_equal(answers, fewer)
    assert roc_auc_score(target_values(train)[answered], answers[:, 0]) > 0.65
