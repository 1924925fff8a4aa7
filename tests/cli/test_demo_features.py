"""The feature views of the demo: its sources, the stream that pushes their rows, and a job that pushes wrong ones."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from headway import pipeline
from headway.cli.demo import flights
from headway.cli.demo.run import HERE, describe_join, in_celsius, open_demo
from headway.cli.demo.stream import FeatureStream, plan_batches
from headway.core.errors import DataError
from headway.features.catalog import resolve_view
from headway.features.definitions import read_views
from headway.storage.addresses import open_online

STREAMED = [view for view in read_views(HERE) if view.source and view.source.event_time]
ZERO = dict.fromkeys(flights.WEATHER, 0.0) | {"wind_dir": 0}


def flight(origin, tailnum, temp, last_delay):
    """Return a flight as the demo sends it, with what was known of its airport and plane."""
    history = {"last_delay": last_delay, "usual_delay": 1.0}
    return {"origin": origin, "tailnum": tailnum, **ZERO, "temp": temp, **history}


def sent(*rows):
    return pl.DataFrame(list(rows), schema_overrides={"temp": pl.Float64, "last_delay": pl.Float64})


def shown(batches, value):
    """Return the values of a feature that are pushed before each flight."""
    return {
        index: [row[value] for rows in of_flight.values() for row in rows if value in row]
        for index, of_flight in batches.items()
    }


def test_a_batch_ends_where_an_entity_gets_other_values():
    rows = sent(
        flight("JFK", "N1", 40, 1), flight("LGA", "N2", 41, 2), flight("JFK", "N3", 40, 3), flight("JFK", "N1", 42, 9)
    )
    batches = plan_batches(rows, STREAMED, at_most=100)
    assert shown(batches, "temp") == {0: [40, 41], 3: [42]}
    assert shown(batches, "last_delay") == {0: [1, 2, 3], 3: [9]}


def test_a_batch_has_no_more_flights_than_allowed_and_no_row_without_its_entity():
    rows = sent(flight("JFK", "N1", 40, 1), flight("JFK", None, 40, 2), flight("JFK", "N3", 40, 3))
    assert shown(plan_batches(rows, STREAMED, at_most=2), "last_delay") == {0: [1], 2: [3]}


def test_missing_values_equal_each_other():
    rows = sent(flight("JFK", "N1", float("nan"), 1), flight("JFK", "N2", None, 1))
    assert shown(plan_batches(rows, STREAMED, at_most=100), "temp") == {0: [None]}


def test_the_wrong_job_changes_the_temperatures_alone():
    wrong = in_celsius({"origin": "JFK", "temp": 50.0, "dewp": None, "wind_speed": 9.0})
    assert wrong == {"origin": "JFK", "temp": 10.0, "dewp": None, "wind_speed": 9.0}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return open_demo(tmp_path_factory.mktemp("demo"))


@pytest.mark.slow
def test_the_project_joins_what_a_program_without_a_store_does(project):
    data, alone = pipeline.periods(project), flights.load()
    joined = pl.concat([period.table for period in data.values()]).select(alone.columns)
    assert joined.sort(pl.all()).equals(alone.sort(pl.all()))
    assert "joined to 336,776 flights; known are weather of 99.8%" in describe_join(data)


@pytest.mark.slow
def test_the_stream_pushes_to_the_store_and_the_source_and_a_wrong_job_to_the_store_alone(project):
    views = [resolve_view(project.state, view.name) for view in STREAMED]
    rows = sent(flight("JFK", "N1", 50, 1), flight("JFK", "N1", 68, 2))
    temps, began = [], datetime.now(UTC)
    with closing(open_online(project.config)) as store:
        with FeatureStream(project, views, rows, wrong={"weather": in_celsius}, wrong_from=1) as stream:
            for index in range(len(rows)):
                stream.before(index)
                [(values, times_us)] = store.read([("weather.v1", ["JFK"])])
                temps.append(values[0, 0])
                assert times_us[0] >= began.timestamp() * 1e6
        assert store.read([("plane_history.v1", ["N1"])])[0][0][0, 0] == 2
    assert temps == [50, 20]
    source = pl.read_parquet(f"{project.config.folder}/weather.parquet").filter(pl.col("observed_at") >= began)
    assert source["temp"].to_list() == [50, 68]
    flights.write_sources(Path(project.config.folder))  # another run continues from here
    assert len(pl.read_parquet(f"{project.config.folder}/weather.parquet")) == len(flights.weather()) + 2


def test_a_row_that_the_view_refuses_ends_the_demo(project):
    views = [resolve_view(project.state, "plane_history")]
    stream = FeatureStream(project, views, sent(flight("JFK", "N1", 50, 1)).with_columns(last_delay=pl.lit("late")))
    with stream, pytest.raises(DataError, match="a row of the stream was refused"):
        stream.before(0)
