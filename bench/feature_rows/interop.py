"""The values of Feast's calls by Feast and by `headway.FeatureStore`, over one parquet file and SQLite files."""

from __future__ import annotations

import json
import subprocess
import tempfile
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import zip_longest
from pathlib import Path

import numpy as np
import polars as pl

import headway as hw
from cache import Absent, environment
from feature_rows.joins import FEAST
from harness import Result, Row
from headway.features import catalog
from headway.features.materialize import materialize_views
from headway.registry.project import open_project
from headway.storage.addresses import open_online

SCRIPT = Path(__file__).parents[1] / "peers/values_of_feast.py"
ROWS, HOURS, PLACES = 5_000, 500, 40
TINY = {"ROWS": 100, "HOURS": 50}
NAMES = ("temp", "gusts", "sky")


def same_values() -> Result:
    """Join rows and look entities up with the same calls; values, columns and event times are compared one by one."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows, entities = _write(folder)
        try:
            found = _of_feast(folder)
        except Absent as error:
            return [], [f"Feast was not compared: {error}"]
        features = [f"weather:{name}" for name in NAMES]
        with hw.FeatureStore(folder) as store:
            joined = store.get_historical_features(rows, features, full_feature_names=True).to_df()
            online = store.get_online_features(features, entities).to_dict(include_event_timestamps=True)
        of_feast = pl.read_parquet(folder / "joined.parquet").sort("row")
    columns = [f"weather__{name}" for name in NAMES]
    differ = sum(int((~joined[one].eq_missing(of_feast[one].cast(joined[one].dtype))).sum()) for one in columns)
    lost = len(rows) - len(of_feast)
    theirs = {name: values for name, values in found["online"].items() if name != "origin__ts"}  # 0 for each entity
    online_differ = sum(
        ours != other
        for name in theirs.keys() | online.keys()
        for ours, other in zip_longest(online.get(name, []), theirs.get(name, []), fillvalue="absent")
    )
    about = (
        f"Feast {found['version']}, {len(rows):,} rows of {PLACES} entities, {joined['weather__temp'].count():,} known"
    )
    return [
        Row(
            name="interop.historical_differ", measured=differ + lost, unit="values", target="0", ok=not differ + lost,
            against=f"{about}; {len(NAMES)} features, TTL 6 h",
        ),
        Row(
            name="interop.online_differ", measured=online_differ, unit="values", target="0", ok=not online_differ,
            against=f"{about}; {len(entities)} entities, values, names and event times of to_dict",
        ),
    ], []  # fmt: skip


def _write(folder: Path) -> tuple[pl.DataFrame, list[dict[str, str]]]:
    """Write the source, the rows and the entities for both; return the latter two."""
    draw = np.random.default_rng(3)
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    begin = end - timedelta(hours=HOURS)
    places = [f"P{number}" for number in range(PLACES)]
    observed = [
        (place, begin + timedelta(hours=hour)) for place in places for hour in range(HOURS) if draw.random() < 0.6
    ]
    newest = [(place, end) for place in places]  # Feast returns older ones too, whatever the TTL
    keys = [*observed, *newest]
    pl.DataFrame(
        {
            "origin": [place for place, _ in keys],
            "observed_at": [at for _, at in keys],
            "temp": draw.normal(size=len(keys)),
            "gusts": draw.integers(0, 90, len(keys)),
            "sky": draw.choice(["clear", "rain", "snow"], len(keys)),
        }
    ).write_parquet(folder / "weather.parquet")
    rows = pl.DataFrame(
        {
            "row": np.arange(ROWS),
            "origin": draw.choice([*places, "unknown"], ROWS),
            "event_timestamp": [begin + timedelta(seconds=float(at)) for at in draw.uniform(-9e4, HOURS * 3600, ROWS)],
        }
    )
    rows.write_parquet(folder / "rows.parquet")
    entities = [{"origin": place} for place in (*places, "unknown")]
    (folder / "entities.json").write_text(json.dumps(entities))
    (folder / "headway.toml").write_text('[project]\nname = "interop"\n')
    view = hw.feature_view(
        "weather",
        entities=["origin"],
        source="weather.parquet",
        event_time="observed_at",
        ttl="6h",
        features=list(NAMES),
        types={"gusts": "integer", "sky": "string"},
    )
    project = open_project(folder)
    catalog.apply(project.state, [view], who="bench")
    with closing(open_online(project.config)) as store:
        materialize_views(project.state, store, folder=folder)
    return rows, entities


def _of_feast(folder: Path) -> dict[str, dict[str, list[object]]]:
    run = subprocess.run(
        [str(environment("feast", FEAST)), str(SCRIPT), str(folder), *NAMES],
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode:
        raise Absent((run.stderr.strip() or "no output").splitlines()[-1])
    found: dict[str, dict[str, list[object]]] = json.loads((folder / "online.json").read_text())
    return found
