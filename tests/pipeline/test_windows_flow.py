"""Windows from their declaration to a served model: applied, trained on, materialised, pushed and replayed."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from tests.pipeline import projects
from tests.pipeline.serve_command import served
from tests.serving.plain_client import post

from headway import pipeline
from headway.monitoring.prediction_log import read_predictions
from headway.registry.project import open_project
from headway.storage.addresses import log_root

pytestmark = pytest.mark.slow

VIEWS = """
[views.weather]
entities = ["station"]
source = "weather.parquet"
event_time = "observed_at"
windows = { wind_2d = "mean(wind) over 2d", storms_6h = "count() over 6h" }
when_missing = { wind_2d = { default = -1.0 } }
"""
SETTINGS = projects.TOML.replace('slices = ["carrier"]', 'slices = ["carrier"]\nignore = ["station"]').replace(
    "[split]", '[features]\nviews = ["weather"]\n[split]'
)


def brute_force(weather: pl.DataFrame, station: str, at: datetime) -> tuple[float, int]:
    """Return the mean of two days and the count of six hours, event by event."""
    own = [row for row in weather.iter_rows(named=True) if row["station"] == station and row["observed_at"] <= at]
    winds = [row["wind"] for row in own if row["observed_at"] > at - timedelta(days=2) and np.isfinite(row["wind"])]
    return (float(np.mean(winds)) if winds else -1.0), sum(row["observed_at"] > at - timedelta(hours=6) for row in own)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a project whose wind is observed by stations an hour before each row, and in the last hours."""
    folder = projects.write(tmp_path_factory.mktemp("windows"), SETTINGS)
    table = projects.table().with_row_index("n").with_columns(station=pl.format("S{}", pl.col("n") % 3)).drop("n")
    past = table.select(
        "station", observed_at=(pl.col("at") - timedelta(hours=1)).dt.replace_time_zone("UTC"), wind="wind"
    )
    now = datetime.now(UTC)
    hours = [1, 5, 30, 47]
    recent = {
        "station": ["S0"] * 4,
        "observed_at": [now - timedelta(hours=hour) for hour in hours],
        "wind": [3.0, 9.5, 1.25, 7.0],
    }
    pl.concat([past, pl.DataFrame(recent, schema=past.schema)]).write_parquet(folder / "weather.parquet")
    table.drop("wind").write_parquet(folder / "table.parquet")
    (folder / "features.toml").write_text(VIEWS)
    settings = (folder / "headway.toml").read_text()
    (folder / "headway.toml").write_text(settings.replace('wind = "request"\n', ""))
    return folder


def test_a_window_of_a_served_model_moves_with_a_pushed_event_and_equals_the_events_one_by_one(
    folder, run, monkeypatch, tmp_path
):
    monkeypatch.chdir(folder)
    assert "weather@v1" in run("features", "apply")[1]
    project = open_project(folder)
    data = pipeline.periods(project)
    weather = pl.read_parquet(folder / "weather.parquet")
    for row in data["train"].table.gather_every(131).iter_rows(named=True):
        wind, storms = brute_force(weather, row["station"], row["at"].replace(tzinfo=UTC))
        assert (row["wind_2d"], row["storms_6h"]) == (pytest.approx(wind, rel=1e-12), storms)
    pipeline.release(
        project,
        pipeline.optimize(project, pipeline.train(project, data), data),
        who="ann",
        override="a test of windows",
    )
    assert run("features", "materialize")[1].startswith("weather@v1: full")

    def ask(port: int, station: str) -> float:
        inputs = [
            {"name": "hour", "shape": [1], "datatype": "FP64", "data": [9.0]},
            {"name": "carrier", "shape": [1], "datatype": "BYTES", "data": ["AA"]},
            {"name": "station", "shape": [1], "datatype": "BYTES", "data": [station]},
        ]
        return post(port, "/v2/models/small/infer", {"inputs": inputs}).value

    event = {"station": "S0", "observed_at": (datetime.now(UTC) - timedelta(hours=3)).isoformat(), "wind": 88.5}
    (tmp_path / "events.jsonl").write_text(json.dumps(event) + "\n")
    with served("small@live", "--port", "0", folder=folder) as line:
        port = int(re.search(r":(\d+)", line).group(1))  # type: ignore[union-attr]
        ask(port, "S0")
        for _ in range(2):  # pushed twice, counted once
            run("features", "push", "weather", tmp_path / "events.jsonl")
            ask(port, "S0")
        ask(port, "S1")
    logged = read_predictions(
        log_root(project.config, "small"), "small", [project.registry.resolve("small@live").digest]
    )
    pushed = pl.DataFrame(
        {**event, "observed_at": [datetime.fromisoformat(event["observed_at"])]}, schema=weather.schema
    )
    known = [weather, *[pl.concat([weather, pushed])] * 3]
    seen = logged.select("in.wind_2d", "in.storms_6h", "windows_us", "text.station").rows()
    for (wind, storms, at_us, station), events in zip(seen, known, strict=True):
        expected = brute_force(events, station, datetime.fromtimestamp(at_us / 1e6, UTC))
        assert (wind, storms) == (pytest.approx(expected[0], rel=1e-12), expected[1])
    assert seen[1][0] > seen[0][0] and [row[1] for row in seen] == [2, 3, 3, 0]
    assert [row[0] for row in seen][1] == seen[2][0] and seen[3][0] == -1.0

    code, out, err = run("features", "replay")
    assert code == 1 and "weather@v1" in out, (out, err)  # the source does not have the event yet
    known[-1].write_parquet(folder / "weather.parquet")
    assert run("features", "materialize")[1].startswith("weather@v1: incremental")
    with served("small@live", "--port", "0", folder=folder) as line:
        ask(int(re.search(r":(\d+)", line).group(1)), "S0")  # type: ignore[union-attr]
    logged = read_predictions(
        log_root(project.config, "small"), "small", [project.registry.resolve("small@live").digest]
    )
    assert logged["in.storms_6h"].to_list() == [2, 3, 3, 0, 3], "the event of the source is the one that was pushed"
    code, out, _ = run("features", "replay", "--max-lag", "4h")
    assert code == 0, out
