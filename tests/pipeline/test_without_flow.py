"""A feature view is left out of a model by the search: judged as any variant, and no longer looked up when released."""

from __future__ import annotations

import json

import pytest
from tests.pipeline.viewed import viewed_project

from headway import pipeline
from headway.cli.main import main
from headway.core.errors import ConfigError
from headway.registry.project import open_project
from headway.serving.loading import load_model

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a project whose model reads `wind` and `gust` from the view `weather`."""
    return viewed_project(tmp_path_factory.mktemp("without"))


def searched(folder, *without):
    project = open_project(folder, flags={"optimize.without": json.dumps(without)})
    data = pipeline.periods(project)
    return project, data, pipeline.optimize(project, pipeline.train(project, data), data)


def test_every_variant_does_without_the_feature_and_loses_by_the_same_rules(folder):
    _, _, search = searched(folder, "hour")
    others = [row for row in search.evaluated if row.variant.steps]

    assert {row.variant.signature.names for row in others} == {("carrier", "wind", "gust")}
    assert {row.variant.engine for row in others} == {"lightgbm", "onnxruntime"}
    assert {row.verdict.answer for row in others} == {"fail"}
    assert search.winner.variant.steps == ()
    assert all("roc_auc.drop" in search.reasons[row.variant.name] for row in others)


def test_a_release_without_the_view_does_not_look_it_up(folder):
    (folder / "headway.toml").write_text(
        (folder / "headway.toml").read_text().replace("at_most = 0.01", "at_most = 0.5")
    )
    project, data, search = searched(folder, "weather")
    audited = pipeline.audit_winner(project, search, data, audits=["ablation", "components", "load"])
    pipeline.release(project, audited, who="ann", override="a test")
    bundle = project.registry.resolve("small@live")
    model = load_model(bundle, None)

    assert bundle.release.variant.signature.names == model.features.request.names == ("hour", "carrier")
    assert (bundle.release.views, model.features.names, model.features.is_needed) == ((), (), False)
    assert [bounds.name for bounds in bundle.release.contract.columns] == ["hour", "carrier"]
    measured = {one.name for one in audited.winner.evidence.measurements}
    assert {"load.p50", "ablation.trainings", "brier.drop"} & measured
    masked = {one.slice for one in audited.winner.evidence.measurements if one.name.startswith("ablation.masked")}
    assert masked == {"hour", "carrier"}


def test_a_feature_of_a_view_is_left_out_alone(folder):
    _, _, search = searched(folder, "gust")
    [view] = search.baseline.views

    assert {row.variant.signature.names for row in search.evaluated if row.variant.steps} == {
        ("hour", "carrier", "wind")
    }
    assert view.columns == ("wind", "gust")


def test_a_name_that_the_model_does_not_read_is_refused_with_those_that_it_does(folder):
    with pytest.raises(ConfigError) as refused:
        searched(folder, "rain")

    assert "no feature and no view 'rain'" in refused.value.what
    assert "hour, carrier, wind, gust" in refused.value.hint


def test_the_command_takes_the_features_to_leave_out(folder, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["optimize", "--without", "weather", "--project", str(folder), "--json"])

    result = json.loads(capsys.readouterr().out)
    assert ended.value.code in (0, 1, 3)
    assert [step["transform"] for step in result["winner"]["variant"]["steps"]][:1] == ["without"]
