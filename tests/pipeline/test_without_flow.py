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


def allow_any_drop(folder):
    """Let the policy pass whatever a variant costs in quality."""
    settings = folder / "headway.toml"
    settings.write_text(settings.read_text().replace("at_most = 0.01", "at_most = 0.5"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a project whose model reads `wind` and `gust` from the view `weather`."""
    return viewed_project(tmp_path_factory.mktemp("without"))


def searched(folder, *without):
    project = open_project(folder, flags={"optimize.without": json.dumps(without), "evaluate.budget_s": "5"})
    data = pipeline.periods(project)
    return project, data, pipeline.optimize(project, pipeline.train(project, data), data)


def test_every_variant_does_without_the_feature_and_loses_by_the_same_rules(folder):
    _, _, search = searched(folder, "hour")
    others = [row for row in search.evaluated if row.variant.steps]

    assert {row.variant.signature.names for row in others} == {("carrier", "wind", "gust")}
    assert {row.variant.engine for row in others} <= {"lightgbm", "onnxruntime"}  # a slow one may be screened out
    assert {row.verdict.answer for row in others} == {"fail"}
    assert search.winner.variant.steps == ()
    assert all("roc_auc.drop" in search.reasons[row.variant.name] for row in others)


def test_a_release_without_the_view_does_not_look_it_up(folder):
    allow_any_drop(folder)
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

    attacked = pipeline.audit_winner(project, audited, data, audits=["attack", "ablation"], metrics=False).winner
    names = [(one.name, one.slice) for one in attacked.evidence.measurements]
    assert {name for name, _ in names} > measured and any(name.startswith("attack.") for name, _ in names)
    assert len(names) == len(set(names))
    assert attacked.verdict.test_evaluations == audited.winner.verdict.test_evaluations


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


def test_lookups_are_deferred_behind_a_certified_first_model_which_is_signed(folder):
    allow_any_drop(folder)
    project = open_project(folder, flags={"optimize.defer": '["weather"]', "optimize.max_changed": "0.4"})
    data = pipeline.periods(project)
    search = pipeline.optimize(project, pipeline.train(project, data), data)
    winner = search.winner
    pipeline.release(project, search, who="ann", override="a test")
    bundle, engine = pipeline.load(project, "small@live")

    assert winner.variant.steps[-1].transform == "defer"
    assert winner.variant.signature.names == ("hour", "carrier", "wind", "gust")
    risk, coverage = winner.evidence.find("cascade.risk"), winner.evidence.find("cascade.coverage")
    assert risk.value <= risk.high and 0 < coverage.value <= 1, "measured on test"
    assert (engine.columns, engine.certificate.limit) == ((0, 1), 0.4)
    assert engine.certificate.risk.high <= 0.4
    assert [view.name for view in bundle.release.views] == ["weather"]


def test_a_first_model_that_is_not_certified_is_refused_by_name_with_the_groups_it_needs(folder):
    project = open_project(folder, flags={"optimize.defer": '["weather"]', "optimize.max_changed": "0.001"})
    data = pipeline.periods(project)
    search = pipeline.optimize(project, pipeline.train(project, data), data)

    assert {row.variant.engine for row in search.evaluated} == {"lightgbm", "onnxruntime"}
    [refusal] = [finding for finding in search.refusals if finding.plugin == "defer"]
    assert "no first model is certified to change at most 0.1%" in refusal.message
    assert "groups like these" in refusal.message
