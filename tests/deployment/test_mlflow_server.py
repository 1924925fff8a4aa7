"""A real tracking server of MLflow: import, optimize, release, export, and MLflow's own client reads it back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from importlib import import_module
from pathlib import Path

import lightgbm
import numpy as np
import polars as pl
import pytest
from msgspec.structs import replace
from tests.deployment.mlflow_server import server
from tests.pipeline import projects
from tests.pipeline.test_pages import FEW
from tests.pipeline.test_pages import run as run_page

import headway as hw
from headway.core.errors import ConfigError, DataError, StoreError
from headway.core.plugins import load_sibling
from headway.deployment.mlflow import ExportedVersion, export
from headway.optimization.importers import mlflow as importer
from headway.optimization.importers.models import import_fitted_model, open_model_file
from headway.registry.bundle import open_bundle, open_release
from headway.registry.model_registry import UpdateReason
from headway.registry.project import Project, open_project
from headway.registry.sign import load_trusted

pytestmark = [pytest.mark.slow, pytest.mark.services, pytest.mark.filterwarnings("ignore")]

NAMES = ["hour", "wind"]
TOML = (
    projects.TOML.replace('carrier = "request"\n', "")
    .replace('slices = ["carrier"]\n', "")
    .replace('train = "mine:train"', 'file = "models:/late@champion"')
)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    load_sibling(importer.__name__, "mlflow", reads="the test")
    with server() as address:
        os.environ["MLFLOW_TRACKING_URI"] = address
        yield address
        del os.environ["MLFLOW_TRACKING_URI"]


@pytest.fixture(scope="module")
def client(address):
    return import_module("mlflow").MlflowClient(tracking_uri=address)


@pytest.fixture(scope="module")
def champion(address, client) -> lightgbm.Booster:
    """A model of MLflow with an alias, logged by MLflow's own LightGBM flavour with its signature."""
    mlflow, flavor = import_module("mlflow"), import_module("mlflow.lightgbm")
    table = projects.table().filter(pl.col("at") < datetime(2013, 2, 10))
    rows, labels = table.select(NAMES).to_pandas().astype(float), table["late"].to_numpy()
    settings = {"objective": "binary", "verbose": -1, "num_threads": 1}
    booster = lightgbm.train(settings, lightgbm.Dataset(rows, labels), 40)
    with mlflow.start_run() as run:
        flavor.log_model(
            booster, name="model", signature=mlflow.models.infer_signature(rows, labels), registered_model_name="late"
        )
    client.set_registered_model_alias("late", "champion", "1")
    booster.run = run.info.run_id
    return booster


@pytest.fixture(scope="module")
def released(champion, address, tmp_path_factory) -> Project:
    """A project whose model is that of MLflow, optimized, released and exported as the page says."""
    folder = tmp_path_factory.mktemp("small")
    projects.write(folder, TOML)
    table = projects.table().drop("carrier").with_columns(pl.col("hour").cast(float))
    table.write_parquet(folder / "table.parquet")
    table.select(*NAMES, "late", date="day").write_parquet(folder / "rows.parquet")
    run_page("docs/mlflow.md", folder, at_most_s="600", **FEW)
    return open_project(folder)


@pytest.fixture(scope="module")
def exported(released) -> ExportedVersion:
    [version] = export(released)
    return version


def test_addresses_give_the_model_with_its_signature(champion, client):
    rows = np.random.default_rng(0).normal(size=(50, 2)) * 10
    run = client.get_model_version("late", "1").run_id
    for name in ("models:/late@champion", "models:/late/1", f"runs:/{run}/model"):
        found = import_fitted_model(open_model_file(Path(name)))
        assert (found.engine, found.names) == ("lightgbm", tuple(NAMES))
        assert [column.name for column in found.columns] == NAMES
        again = lightgbm.Booster(model_str=found.content.decode())
        assert np.array_equal(again.predict(rows), champion.predict(rows))


def test_another_table_is_named(champion, tmp_path):
    table = projects.table().head(500)
    with pytest.raises(DataError, match="columns that the table lacks: wind"):
        hw.evaluate("models:/late@champion", table.select("hour"), table["late"])


def test_what_the_server_lacks_and_a_server_that_is_away_are_errors(address, monkeypatch):
    with pytest.raises(StoreError, match="does not give models:/gone@champion"):
        open_model_file(Path("models:/gone@champion"))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t0ken")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(StoreError, match="does not give models:/late@champion") as refusal:
        open_model_file(Path("models:/late@champion"))
    assert "t0ken" not in str(refusal.value)


def test_a_server_is_needed_and_its_address_has_no_password(address, released, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with pytest.raises(ConfigError, match="no MLflow tracking server is set"):
        open_model_file(Path("models:/late@champion"))
    with pytest.raises(ConfigError, match="has a password") as refusal:
        export(released, to=address.replace("//", "//ada:s3cret@"))
    assert "s3cret" not in str(refusal.value) and "MLFLOW_TRACKING_PASSWORD" in refusal.value.hint


def test_mlflow_reads_a_release_back(exported, released, client, tmp_path):
    live = released.registry.resolve("small@live")
    version = client.get_model_version_by_alias("small", "live")
    assert (version.version, version.run_id) == (exported.version, exported.run)
    assert version.tags["headway.release"] == live.digest == exported.release
    assert version.tags["headway.live.who"] == "ada" and version.tags["headway.verdict"] in ("pass", "override")

    run = client.get_run(version.run_id)
    assert run.info.status == "FINISHED" and run.data.tags["headway.verdict"] == version.tags["headway.verdict"]
    measured = live.release.evidence[-1].find("roc_auc")
    logged = [run.data.metrics[f"test/roc_auc{end}"] for end in ("", ".low", ".high")]
    assert logged == [measured.value, measured.low, measured.high]

    artifacts = Path(
        import_module("mlflow").artifacts.download_artifacts(run_id=version.run_id, dst_path=str(tmp_path))
    )
    answer = json.loads((artifacts / "verdict.json").read_text())
    assert live.release.verdict.answer in json.dumps(answer)
    rules = json.loads((artifacts / "policy.json").read_text())["rules"]
    assert [rule["measure"] for rule in rules] == [result.rule.measure for result in live.release.verdict.rule_results]
    again = open_bundle(artifacts / "model" / "release", load_trusted(released.registry.trusted_keys))
    assert again.digest == live.digest


def test_mlflow_loads_the_model_and_it_answers_as_the_release(exported, released):
    rows = projects.table().select(NAMES).head(200).to_pandas().astype(float)
    live = released.registry.resolve("small@live")
    loaded = import_module("mlflow.pyfunc").load_model("models:/small@live")
    assert [column.name for column in loaded.metadata.signature.inputs.inputs] == NAMES
    answers = loaded.predict(rows)
    scores = next(iter(answers.values())) if isinstance(answers, dict) else answers  # a graph names its outputs
    expected = open_release(live).predict(rows.to_numpy())[:, 0]
    assert np.allclose(np.asarray(scores, np.float64).reshape(len(rows), -1)[:, -1], expected, atol=1e-5)


def test_the_same_release_exported_twice_is_one_version(exported, released, client):
    [again] = export(released)
    assert not exported.is_new and not again.is_new  # the page exported it
    assert (again.version, again.run) == (exported.version, exported.run)
    assert len(client.search_model_versions("name = 'small'")) == 1


def another(project: Project, made_at: str) -> str:
    """Publish the live release once more, as if it was made at another time; return its digest."""
    live = project.registry.resolve("small@live")
    return project.registry.publish(replace(live.release, made_at=made_at, files={}), dict(live.files))


def test_an_alias_follows_its_pointer(exported, released, client):
    reason = UpdateReason(who="ben", why="newer", verdict=released.registry.resolve("small@live").release.verdict)
    released.registry.point("small@live", another(released, "2026-01-01T00:00:00+00:00"), reason)
    released.registry.point("small@canary", exported.release, reason)
    versions = {version.release: version for version in export(released)}
    assert client.get_model_version_by_alias("small", "live").version == "2"
    assert versions[exported.release].aliases == ("canary",)

    released.registry.roll_back("small@live", who="ben", why="it was wrong")
    released.registry.withdraw("small@canary", who="ben", why="done")
    export(released)
    aliases = client.get_registered_model("small").aliases
    assert {pointer: str(version) for pointer, version in aliases.items()} == {"live": "1"}
    assert client.get_model_version("small", "1").tags["headway.live.why"] == "it was wrong"
    assert len(client.search_model_versions("name = 'small'")) == 2


def test_an_interrupted_export_is_completed_in_its_run(exported, released, client):
    digest = another(released, "2026-02-02T00:00:00+00:00")
    experiment = client.get_experiment_by_name("headway").experiment_id
    begun = client.create_run(experiment, tags={"headway.release": digest})
    reason = UpdateReason(who="ben", why="newer", verdict=released.registry.resolve("small@live").release.verdict)
    released.registry.point("small@live", digest, reason)
    found = next(version for version in export(released) if version.release == digest)
    assert found.run == begun.info.run_id and client.get_run(found.run).info.status == "FINISHED"


def test_two_exports_at_once_leave_one_version(exported, released, client, address):
    digest = another(released, "2026-03-03T00:00:00+00:00")
    reason = UpdateReason(who="ben", why="newer", verdict=released.registry.resolve("small@live").release.verdict)
    released.registry.point("small@live", digest, reason)
    command = [sys.executable, "-m", "headway.cli", "export", "mlflow", address, "--project", released.config.folder]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
    assert [(run.communicate()[1], run.returncode)[1] for run in both] == [0, 0]
    versions = client.search_model_versions("name = 'small'")
    assert [version.tags["headway.release"] for version in versions].count(digest) == 1
    assert client.get_model_version_by_alias("small", "live").tags["headway.release"] == digest
