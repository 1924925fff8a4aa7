"""A training function that accepts a curve records it: it is saved and shown, without an evaluation of `test`."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.pipeline.projects import TRAIN, write

from headway import pipeline
from headway.cli.commands import history
from headway.core.training import LearningCurve
from headway.data.provenance.fingerprint import table_digest
from headway.registry.project import Project, open_project
from headway.reporting.page import render_report
from headway.reporting.read_report_data import read_report_data
from headway.reporting.text import curves

pytestmark = pytest.mark.slow
WATCHED = TRAIN.replace("labels):", "labels, *, curve=None):").replace("=40)", "=40, callbacks=[curve.lightgbm])")


def trained(folder: Path, train: str) -> tuple[Project, pipeline.Data]:
    """Return a project whose model was trained by this code."""
    (write(folder) / "mine.py").write_text(train)
    project = open_project(folder)
    data = pipeline.periods(project)
    pipeline.train(project, data)
    return project, data


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, pipeline.Data]:
    return trained(tmp_path_factory.mktemp("watched"), WATCHED)


def test_the_curve_is_saved_with_the_digests_of_rows_and_recipe(watched):
    project, data = watched
    [curve] = project.records(LearningCurve)
    assert (curve.held_out, curve.learned) == (
        table_digest(data["validation"].table),
        table_digest(data["train"].table),
    )
    assert curve.recipe.startswith("sha256:") and curve.rounds[-1].number == 40
    assert curve.rounds[-1].held_out[0].n_groups == data["validation"].table["day"].n_unique()


def test_the_test_set_is_not_evaluated(watched):
    project, data = watched
    assert project.state.test_evaluations("small", table_digest(data["test"].table)) == 0


def test_history_and_report_describe_the_curve(watched, capsys):
    project, _ = watched
    history.plugin(project=Path(project.config.folder))
    message = curves.describe_curve(curves.last_curve(project))
    assert message in " ".join(capsys.readouterr().out.split())
    page = render_report(read_report_data(project))
    assert "Learning curve" in page and message.partition(" (")[0] in page and "Rounds of training" in page


@pytest.mark.parametrize("train", [TRAIN, TRAIN.replace("labels):", "labels, *, curve=None):")])
def test_a_training_that_ignores_the_curve_works_and_saves_none(tmp_path, train):
    project, _ = trained(tmp_path, train)
    assert curves.last_curve(project) is None
