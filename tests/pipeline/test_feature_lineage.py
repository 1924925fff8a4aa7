"""Lineage of features: from a source over a version of a view and a training table to the model, column by column."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from typing import Any

import pytest
from msgspec.structs import replace
from openlineage.client.facet_v2 import column_lineage_dataset, schema_dataset, sql_job
from tests.pipeline.receiver import lineage_receiver

from headway.cli import main as cli
from headway.core.search_result import SearchResult
from headway.features import catalog
from headway.features.definitions import feature_view
from headway.registry.project import Project, open_project
from headway.registry.provenance.lineage import events

pytestmark = pytest.mark.slow

WEATHER = feature_view(
    "weather",
    entities=["station"],
    source="weather.parquet",
    event_time="at",
    features=["wind"],
    expressions={"knots": "wind / 1.852", "squall": "knots > 40 and gusts > 50"},
    windows={"rain_2d": "sum(rain) over 2d", "storms_5h": "count() over 5h", "knots_1d": "max(knots) over 1d"},
    when_missing={"wind": {"default": 1.0}},
)
PLANE = feature_view(
    "plane",
    entities=["tailnum"],
    source={"location": "postgresql://ann@db.example/fleet", "query": "SELECT tailnum, seats FROM planes"},
    features=["seats"],
)
PORT = feature_view("port", entities=["origin"], source="s3://team/ports/*.parquet", features=["runways"])
DELAYS = feature_view(
    "delays", entities=["origin"], source="delays.csv", sql="SELECT origin, avg(d) AS d FROM source GROUP BY origin",
    features=["d"],
)  # fmt: skip
TRIP = feature_view("trip", expressions={"rough": "knots * 2 + hour", "rougher": "rough + 1"})


@pytest.fixture
def project(searched, tmp_path, monkeypatch) -> Project:
    """Return a copy of the project whose last search reads views."""
    monkeypatch.setenv("HOME", str(tmp_path))
    opened = open_project(shutil.copytree(searched[2], tmp_path / "copy"))
    applied = catalog.apply(opened.state, [WEATHER, PLANE, PORT, DELAYS, TRIP], who="ann")
    search = opened.latest(SearchResult)
    assert search is not None
    views = tuple(version.view for version in applied)
    fleet = replace(
        views[1].source, location="postgresql://ann:secret@db.example/fleet"
    )  # as none is declared any more
    reading = (replace(views[0], columns=("wind", "rain_2d")), replace(views[1], source=fleet), *views[2:])
    opened.save(replace(search, baseline=replace(search.baseline, views=reading)))
    return opened


def jobs(project: Project) -> dict[str, dict[str, Any]]:
    return {event["job"]["name"]: event for event in events(project) if "run" not in event}


def lineage_of(event: Mapping[str, Any]) -> dict[str, list[tuple[str, ...]]]:
    """Return the origins of each column: dataset, column, and how it is computed."""
    (output,) = event["outputs"]
    return {
        name: [(one["name"], one["field"], *one["transformations"][0].values()) for one in field["inputFields"]]
        for name, field in output["facets"]["columnLineage"]["fields"].items()
    }


def test_a_model_comes_from_sources_over_views_and_its_training_table(project):
    made = jobs(project)
    assert list(made) == [
        *(f"view.{name}@v1" for name in ("weather", "plane", "port", "delays", "trip")),
        *(f"small.features.{period}" for period in ("train", "validation", "test")),
    ]
    weather, joined = made["view.weather@v1"], made["small.features.train"]
    assert [(one["namespace"], one["name"]) for one in weather["inputs"]] == [("file", "weather.parquet")]
    assert weather["outputs"][0]["name"] == "view.weather@v1"
    assert weather["eventTime"] == catalog.versions(project.state, "weather")[0].at
    assert [one["name"] for one in joined["inputs"]] == [
        f"view.{name}@v1" for name in ("weather", "plane", "port", "delays", "trip")
    ]
    training = next(event for event in events(project) if event["job"]["name"] == "small.train")
    rows = {(one["name"], one["facets"]["version"]["datasetVersion"]) for one in training["inputs"]}
    assert (joined["outputs"][0]["name"], joined["outputs"][0]["facets"]["version"]["datasetVersion"]) in rows
    assert training["outputs"][0]["name"] == "small.model"


def test_columns_are_traced_through_expressions_and_windows(project):
    made = jobs(project)
    weather = lineage_of(made["view.weather@v1"])
    assert weather["station"] == [("weather.parquet", "station", "DIRECT", "IDENTITY")]
    assert weather["wind"] == [("weather.parquet", "wind", "DIRECT", "IDENTITY")]
    assert [one[1] for one in weather["squall"]] == ["gusts", "wind"]
    assert weather["squall"][0][3] == "TRANSFORMATION" and "40" in weather["squall"][0][4]
    assert weather["rain_2d"] == [("weather.parquet", "rain", "DIRECT", "AGGREGATION", "sum(rain) over 2d")]
    assert weather["knots_1d"] == [("weather.parquet", "wind", "DIRECT", "AGGREGATION", "max(knots) over 1d")]
    assert weather["storms_5h"] == []
    facet = made["view.weather@v1"]["outputs"][0]["facets"]["columnLineage"]
    assert [(one["field"], one["transformations"][0]) for one in facet["dataset"]] == [
        ("station", {"type": "INDIRECT", "subtype": "GROUP_BY"}),
        ("at", {"type": "INDIRECT", "subtype": "WINDOW"}),
    ]
    trip = lineage_of(made["view.trip@v1"])
    assert [one[:2] for one in trip["rougher"]] == [("small.request", "hour"), ("small.request", "knots")]
    joined = lineage_of(made["small.features.test"])
    assert joined["rain_2d"] == [("view.weather@v1", "rain_2d", "DIRECT", "IDENTITY")]
    assert set(joined) == {"wind", "rain_2d", "seats", "runways", "d", "rough", "rougher"}


def test_a_feature_on_demand_comes_from_the_request_and_from_features_that_the_model_takes(project):
    search = project.latest(SearchResult)
    views = search.baseline.views
    reading = (replace(views[0], columns=("wind", "knots")), views[-1])
    project.save(replace(search, baseline=replace(search.baseline, views=reading)))
    event = [event for event in events(project) if event["job"]["name"] == "view.trip@v1"][-1]
    assert [one["name"] for one in event["inputs"]] == ["small.request", "view.weather@v1"]
    assert [one[:2] for one in lineage_of(event)["rough"]] == [("small.request", "hour"), ("view.weather@v1", "knots")]


def test_sources_are_named_as_openlineage_names_them_without_user_and_password(project):
    made = jobs(project)
    found = {name: [(one["namespace"], one["name"]) for one in event["inputs"]] for name, event in made.items()}
    assert found["view.plane@v1"] == [("postgres://db.example:5432", "fleet")]
    assert found["view.port@v1"] == [("s3://team", "ports/*.parquet")]
    assert made["view.plane@v1"]["job"]["facets"]["sql"]["query"] == "SELECT tailnum, seats FROM planes"
    assert "GROUP BY" in made["view.delays@v1"]["job"]["facets"]["sql"]["query"]
    assert "columnLineage" not in made["view.delays@v1"]["outputs"][0]["facets"]
    assert "secret" not in json.dumps(made) and "ann" not in json.dumps(made["view.plane@v1"]["inputs"])


def test_the_facets_are_those_of_the_client(project):
    checked = 0
    for event in jobs(project).values():
        for facet in event["job"]["facets"].values():
            assert sql_job.SQLJobFacet(query=facet["query"])._schemaURL == facet["_schemaURL"]
        for dataset in (*event["inputs"], *event["outputs"]):
            if schema := dataset["facets"].get("schema"):
                fields = [schema_dataset.SchemaDatasetFacetFields(**field) for field in schema["fields"]]
                assert schema_dataset.SchemaDatasetFacet(fields=fields)._schemaURL == schema["_schemaURL"]
            if lineage := dataset["facets"].get("columnLineage"):
                typed = column_lineage_dataset.ColumnLineageDatasetFacet(
                    fields={
                        name: column_lineage_dataset.Fields(inputFields=[_typed(one) for one in field["inputFields"]])
                        for name, field in lineage["fields"].items()
                    },
                    dataset=[_typed(one) for one in lineage["dataset"]],
                )
                assert typed._schemaURL == lineage["_schemaURL"]
                checked += 1
    assert checked == 7


def _typed(field: Mapping[str, Any]) -> column_lineage_dataset.InputField:
    parts = [column_lineage_dataset.Transformation(**one) for one in field["transformations"]]
    return column_lineage_dataset.InputField(**{**field, "transformations": parts})


def test_a_receiver_gets_the_columns_as_they_are_printed(run, project):
    with lineage_receiver() as receiver:
        toml = project.config.folder + "/headway.toml"
        with open(toml, "a", encoding="utf-8") as file:
            file.write(f'[provenance]\nlineage_to = "{receiver.url}"\n')
        code, _, _ = run("data", "send", "--project", project.config.folder)
        sent = {event["job"]["name"]: event for _, event in receiver.received if "run" not in event}
    assert code == cli.PASS and list(sent) == list(jobs(project))
    for name, event in jobs(project).items():
        facets = event["outputs"][0]["facets"]
        assert sent[name]["outputs"][0]["facets"].get("columnLineage") == facets.get("columnLineage")
