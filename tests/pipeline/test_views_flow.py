"""A project whose model reads a feature view: joined for training, signed with the release, served by its entity."""

from __future__ import annotations

import json
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from msgspec.structs import replace
from tests.pipeline.viewed import WEATHER, apply, viewed_project

from headway import pipeline
from headway.batch.predict import predict
from headway.core.errors import ConfigError, DataError, Refused
from headway.features.join import project_views
from headway.features.online.sqlite import SqliteOnlineStore
from headway.features.rules import views_read
from headway.features.settings.features import FeaturesSection
from headway.monitoring.assessment.history import open_assessed_dataset
from headway.registry.project import open_project
from headway.registry.provenance.lineage import events
from headway.serving.loading import load_model

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return viewed_project(tmp_path_factory.mktemp("viewed"))


@pytest.fixture(scope="module")
def released(folder):
    """Return the project, its search and the release that is live."""
    project = open_project(folder)
    data = pipeline.periods(project)
    search = pipeline.optimize(project, pipeline.train(project, data), data)
    pipeline.release(project, search, who="ann", override="a test of views")
    return project, search, project.registry.resolve("small@live")


def test_views_are_joined_as_they_were_known_at_the_decision(folder):
    periods = pipeline.periods(open_project(folder))
    table = periods["train"].table
    assert {"wind", "gust"} <= set(periods["train"].features) and "station" not in periods["train"].features
    weather = pl.read_parquet(folder / "weather.parquet")
    for row in table.gather_every(97).iter_rows(named=True):
        known = weather.filter(
            (pl.col("station") == row["station"])
            & (pl.col("observed_at") <= row["at"] - timedelta(minutes=30))
            & (pl.col("observed_at") >= row["at"] - timedelta(days=1, minutes=30))
        ).sort("observed_at")
        wind = known["wind"][-1] if len(known) else None
        assert row["wind"] == wind or ((wind is None or np.isnan(wind)) and row["wind"] is None)
        assert row["gust"] == (-1.0 if row["wind"] is None else row["wind"])


def test_the_definitions_are_signed_with_the_release_and_part_of_its_data(released):
    _, search, bundle = released
    assert bundle.release.views == (replace(WEATHER, columns=("wind", "gust")),)
    assert bundle.release.data["view.weather@v1"] == WEATHER.digest
    assert "station" not in bundle.release.variant.signature.names
    assert {"wind", "gust"} <= {bounds.name for bounds in bundle.release.contract.columns}
    assert search.baseline.views == bundle.release.views


def test_the_lineage_of_a_release_names_its_version_of_a_view(released):
    project, _, _ = released
    chain = [event for event in events(project) if event.get("eventType") != "START"]
    made, *joined, _, _, updated = chain
    assert (made["inputs"][0]["name"], made["outputs"][0]["name"]) == ("weather.parquet", "view.weather@v1")
    assert [event["inputs"] for event in joined] == [updated["inputs"][-1:]] * 3
    assert updated["inputs"][-1]["facets"]["version"]["datasetVersion"] == WEATHER.digest
    assert "small.data.view.weather@v1" not in [dataset["name"] for dataset in updated["inputs"]]


def test_the_server_looks_up_what_training_joined(released, tmp_path):
    project, _, bundle = released
    rows = pipeline.periods(project)["test"].table.filter(pl.col("wind").is_not_null()).tail(3)
    store = SqliteOnlineStore(tmp_path)
    now_us = np.full(3, 4_102_444_800_000_000)
    store.write("weather.v1", ["S0", "S1", "S2"], np.repeat(rows["wind"].to_numpy()[:, None], 2, axis=1), now_us)
    loaded = load_model(bundle, store)
    columns = {"hour": rows["hour"].to_list(), "carrier": rows["carrier"].to_list(), "station": ["S0", "S1", "S2"]}
    inputs = [
        {"name": name, "shape": [3], "datatype": "FP64" if name == "hour" else "BYTES", "data": values}
        for name, values in columns.items()
    ]
    decoded = loaded.reader.read(json.dumps({"inputs": inputs}).encode())
    served = loaded.features.get_online_features(decoded.rows, [""] * 3).rows
    signature = bundle.release.variant.signature
    assert served.tolist() == pipeline.matrix(rows, signature).tolist()
    store.close()


def test_a_file_is_scored_with_the_features_of_its_time(released, tmp_path):
    project, _, _ = released
    rows = pipeline.periods(project)["test"].table
    bare = rows.drop("wind", "gust")
    rows.write_parquet(tmp_path / "ready.parquet")
    bare.write_parquet(tmp_path / "bare.parquet")
    bare.write_ipc(tmp_path / "bare.arrow")
    for name in ("ready.parquet", "bare.parquet", "bare.arrow"):
        predict(project.config, "small@live", tmp_path / name, tmp_path / f"scores-{name}.parquet")
    ready, joined, arrow = (
        pl.read_parquet(tmp_path / f"scores-{name}.parquet") for name in ("ready.parquet", "bare.parquet", "bare.arrow")
    )
    assert joined.equals(ready) and arrow.equals(ready) and joined["probability"].null_count() == 0


@pytest.mark.parametrize(
    ("name", "dropped", "message"),
    [
        ("rows.csv", (), "features of weather@v1 cannot be joined to a csv file"),
        ("rows.parquet", ("at",), "the file has no time 'at'"),
        ("rows.parquet", ("station",), "the entity 'station', and the table has no such column"),
    ],
)
def test_a_file_that_cannot_be_joined_says_what_it_lacks(released, tmp_path, name, dropped, message):
    project, _, _ = released
    rows = pipeline.periods(project)["test"].table.drop("wind", "gust", *dropped)
    (rows.write_csv if name.endswith("csv") else rows.write_parquet)(tmp_path / name)
    with pytest.raises(DataError, match=message):
        predict(project.config, "small@live", tmp_path / name, tmp_path / "scores.parquet")


def test_retraining_keeps_the_version_of_live_and_a_release_judged_on_another_is_refused(released):
    project, search, bundle = released
    apply(project, replace(WEATHER, version=2, ttl_s=3_600.0))
    assert [view.version for view in pipeline.periods(project)["train"].views] == [2]
    dataset = open_assessed_dataset(project, lambda _: None, views=bundle.release.views)
    assert [view.version for view in dataset.views] == [1]
    with pytest.raises(Refused, match="judged with weather@v1, and the project reads another version"):
        pipeline.expect_unchanged(project, search)


def test_an_unknown_view_names_the_command_that_applies_it(folder):
    config = open_project(folder).config
    config = config.having(replace(config[FeaturesSection], views=("weather@v7",)))
    with pytest.raises(ConfigError, match="no version 'weather@v7'") as caught:
        project_views(config, open_project(folder).state)
    assert caught.value.hint == "headway features list" and "weather@v1" in caught.value.where


def test_a_view_of_which_nothing_is_read_is_left_out():
    assert views_read([WEATHER], ["hour"]) == ()
    assert views_read([WEATHER], ["gust"])[0].columns == ("gust",)
