"""Rows of point-in-time joins: seconds on the flights next to Feast, and random tables against an oracle."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from cache import Absent, environment
from flight_data import thin
from harness import Result, Row, shown
from headway.cli.demo import flights
from headway.core.feature_view import Feature, FeatureSource, FeatureView
from headway.evaluation.statistics.percentiles import median_interval
from headway.features.historical import get_historical_features

FEAST = ("feast[duckdb,redis]==0.67.0",)
SCRIPT = Path(__file__).parents[1] / "peers/of_feast.py"
REPEATS, FEAST_REPEATS, TABLES = 15, 3, 10_000
TINY = {"REPEATS": 11, "FEAST_REPEATS": 1, "TABLES": 50}
WEATHER = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "precip", "pressure", "visib")
START = datetime(2024, 1, 1, tzinfo=UTC)


def seconds() -> Result:
    """Join all flights of a known plane with eight features of the weather, read from parquet."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = _write_tables(folder)
        found, times, cpu = _timed(rows, [_weather()], folder)
        low, value, high = _interval(times)
        kept = f"{found.drop_nulls('temp').height:,} of {len(found):,} rows with weather"
        ours = Row(
            name="join.seconds",
            measured=value,
            unit="s",
            target="<= 0.15",
            ok=value <= 0.15,
            against=f"95 % {low:.3f} to {high:.3f}, {len(times)} runs, {cpu:.3f} s of CPU; {kept}",
        )
        try:
            return [ours, *_of_feast(folder, value)], []
        except Absent as error:
            return [ours], [f"Feast was not measured: {error}"]


def three_views() -> Result:
    """Join the weather, the plane, and the last delay of the plane that was known, which arrives late."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = _write_tables(folder)
        found, times, cpu = _timed(rows, [_weather(), _plane(), _last_delay()], folder)
    low, value, high = _interval(times)
    against = (
        f"95 % {low:.3f} to {high:.3f}, {len(times)} runs, {cpu:.3f} s of CPU; 13 features, "
        f"one view of {len(rows):,} late observations; "
        f"{found['arr_delay'].count():,} rows with a delay"
    )
    ok = value <= 0.4
    return [Row(name="join.three_views", measured=value, unit="s", target="<= 0.4", ok=ok, against=against)], []


def rows_lost() -> Result:
    """Join random tables with ties, late arrivals, missing keys and times, and compare each row with an oracle."""
    draw = np.random.default_rng(21)
    lost = wrong = rows = taken = 0
    for _ in range(TABLES):
        table, source, view = _random_tables(draw)
        found = get_historical_features(table, [view], time="at", sources={view.name: source})
        expected = _oracle(table.rows(named=True), source.rows(named=True), view)
        lost += int(not found.drop("value").equals(table))
        wrong += sum(one != other for one, other in zip(found["value"], expected, strict=True))
        rows += len(expected)
        taken += sum(value is not None for value in expected)
    against = f"brute force, {TABLES:,} random tables with {rows:,} rows, {taken:,} of them with an observation"
    return [
        Row(name="join.rows_lost", measured=lost, unit="tables", target="0", ok=lost == 0, against=against),
        Row(name="join.wrong_values", measured=wrong, unit="rows", target="0", ok=wrong == 0, against=against),
    ], []


def _write_tables(folder: Path) -> pl.DataFrame:
    """Write the sources, and the rows for Feast; return the rows."""
    table = thin(flights.known_flights().filter(pl.col("tailnum").is_not_null()))
    flights.weather().write_parquet(folder / "weather.parquet")
    flights.planes().write_parquet(folder / "planes.parquet")
    departs, minutes = pl.col("departs_at_utc"), pl.col("dep_delay").fill_null(0) + pl.col("air_time").fill_null(0)
    delays = table.select(
        "tailnum",
        "arr_delay",
        "distance",
        departs_at="departs_at_utc",
        arrives_at=departs + pl.duration(minutes=minutes),
    )
    delays.write_parquet(folder / "delays.parquet")
    rows = table.select("origin", "tailnum", "dest", "carrier", "decides_at")
    rows.write_parquet(folder / "rows.parquet")
    return rows


def _weather() -> FeatureView:
    source = FeatureSource(location="weather.parquet", event_time="observed_at")
    features = tuple(Feature(name=name) for name in WEATHER)
    return FeatureView(name="weather", entities=("origin",), source=source, ttl_s=6 * 3600, features=features)


def _plane() -> FeatureView:
    features = tuple(Feature(name=name) for name in ("seats", "engines", "built"))
    return FeatureView(
        name="plane", entities=("tailnum",), source=FeatureSource(location="planes.parquet"), features=features
    )


def _last_delay() -> FeatureView:
    source = FeatureSource(location="delays.parquet", event_time="departs_at", created_time="arrives_at")
    features = (Feature(name="arr_delay"), Feature(name="distance"))
    return FeatureView(name="delay", entities=("tailnum",), source=source, features=features)


def _timed(rows: pl.DataFrame, views: Sequence[FeatureView], folder: Path) -> tuple[pl.DataFrame, list[float], float]:
    """Return the joined rows, the seconds of each run, and the seconds of CPU of one."""
    times, cpu_s = list[float](), list[float]()
    for _ in range(REPEATS + 1):
        began, cpu = time.perf_counter(), time.process_time()
        found = get_historical_features(rows, views, time="decides_at", folder=folder)
        times.append(time.perf_counter() - began)
        cpu_s.append(time.process_time() - cpu)
    return found, times[1:], float(np.median(cpu_s[1:]))


def _interval(times: Sequence[float]) -> tuple[float, float, float]:
    found = median_interval("join.seconds", np.array(times), of="runs")
    return found.low, found.value, found.high


def _of_feast(folder: Path, ours: float) -> list[Row]:
    """Return the rows of the same join by Feast, in an environment of its own."""
    command = [str(environment("feast", FEAST)), str(SCRIPT), str(folder), str(FEAST_REPEATS), *WEATHER]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        raise Absent((run.stderr.strip() or "no output").splitlines()[-1])
    said = json.loads(run.stdout.splitlines()[-1])
    value = float(np.median(said["seconds"]))
    about = f"Feast {said['version']} on DuckDB, {said['returned']:,} of {said['rows']:,} rows, {FEAST_REPEATS} runs"
    return [
        shown("join.feast_seconds", value, "s", about),
        shown("join.feast_ratio", value / ours, "x", f"{about}; headway reads the same file, in the same run"),
    ]


def _random_tables(draw: np.random.Generator) -> tuple[pl.DataFrame, pl.DataFrame, FeatureView]:
    """Return rows, a source and a view: every combination of times, keys, TTL and missing values comes up."""
    timed, created, n_keys = draw.random() < 0.9, draw.random() < 0.6, int(draw.integers(1, 3))
    n_rows, n_seen = int(draw.integers(0, 12)), int(draw.integers(0, 24))

    def keys(count: int) -> dict[str, pl.Series]:
        names = draw.choice(np.array(["A", "B", "C", None], dtype=object), count, p=[0.5, 0.3, 0.1, 0.1])
        gates = draw.choice([1.0, 2.0, np.nan], count, p=[0.5, 0.4, 0.1])
        return {"name": pl.Series(names.tolist(), dtype=pl.String), "gate": pl.Series(gates)}

    def times(count: int) -> pl.Series:
        minutes = [None if draw.random() < 0.05 else int(draw.integers(0, 40)) for _ in range(count)]
        values = [None if minute is None else START + timedelta(minutes=minute) for minute in minutes]
        return pl.Series(values, dtype=pl.Datetime("us", "UTC"))

    rows = pl.DataFrame({**keys(n_rows), "at": times(n_rows)})
    source = pl.DataFrame({**keys(n_seen), "seen": times(n_seen), "stored": times(n_seen), "value": range(n_seen)})
    declared = FeatureSource(location="x", event_time="seen" if timed else "", created_time="stored" if created else "")
    view = FeatureView(
        name="v",
        entities=("name", "gate")[:n_keys],
        source=declared,
        ttl_s=int(draw.integers(0, 3)) * 600 * timed,
        features=(Feature(name="value", dtype="integer"),),
    )
    return rows, source, view


def _oracle(
    rows: Sequence[Mapping[str, object]], source: Sequence[Mapping[str, object]], view: FeatureView
) -> list[int | None]:
    """Return the value of each row by trying every observation."""
    assert view.source is not None
    times = [name for name in (view.source.event_time, view.source.created_time) if name]
    found = list[int | None]()
    for row in rows:
        best: tuple[datetime, datetime, int] | None = None
        for number, one in enumerate(source):
            needed = [*(one[name] for name in (*view.entities, *times)), *(row[name] for name in view.entities)]
            if any(value is None or value != value for value in [*needed, *([row["at"]] if times else [])]):
                continue
            seen = [one[name] for name in times]
            if any(one[name] != row[name] for name in view.entities) or any(moment > row["at"] for moment in seen):  # type: ignore[operator]
                continue
            event = one["seen"] if view.source.event_time else START
            key = (event, one["stored"] if view.source.created_time else event, number)
            best = key if best is None or key > best else best  # type: ignore[operator, assignment]
        stale = best is not None and view.ttl_s and (row["at"] - best[0]).total_seconds() > view.ttl_s  # type: ignore[operator]
        found.append(None if best is None or stale else best[2])
    return found
