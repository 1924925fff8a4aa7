"""Features of the rows in FOLDER by Feast: `values_of_feast.py FOLDER FEATURE...` writes two files there."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

import pandas
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.types import Float64, Int64, String

CONFIG = """
project: bench
registry: {folder}/registry.db
provider: local
offline_store: {{type: duckdb}}
online_store: {{type: sqlite, path: {folder}/online.db}}
entity_key_serialization_version: 3
"""
TYPES = {"temp": Float64, "gusts": Int64, "sky": String}


def main() -> None:
    """Join the rows of FOLDER, materialize the view, and look its entities up."""
    folder, names = Path(sys.argv[1]), sys.argv[2:]
    (folder / "feature_store.yaml").write_text(CONFIG.format(folder=folder))
    store = FeatureStore(repo_path=str(folder))
    origin = Entity(name="origin", join_keys=["origin"], value_type=ValueType.STRING)
    weather = FeatureView(
        name="weather",
        entities=[origin],
        ttl=timedelta(hours=6),
        schema=[Field(name="origin", dtype=String), *(Field(name=name, dtype=TYPES[name]) for name in names)],
        source=FileSource(path=str(folder / "weather.parquet"), timestamp_field="observed_at"),
    )
    store.apply([origin, weather])
    features = [f"weather:{name}" for name in names]
    rows = pandas.read_parquet(folder / "rows.parquet")
    store.get_historical_features(rows, features, full_feature_names=True).to_df().to_parquet(folder / "joined.parquet")
    store.materialize(datetime(2020, 1, 1, tzinfo=UTC), datetime.now(UTC))
    entities = json.loads((folder / "entities.json").read_text())
    online = store.get_online_features(features=features, entity_rows=entities)
    found = {"version": version("feast"), "online": online.to_dict(include_event_timestamps=True)}
    (folder / "online.json").write_text(json.dumps(found))


main()
