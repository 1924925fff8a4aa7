"""Feast's point-in-time join on DuckDB: `of_feast.py FOLDER REPEATS FEATURE...` prints seconds and rows as JSON."""

from __future__ import annotations

import json
import sys
import time
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path

import pandas
from feast import Entity, FeatureStore, FeatureView, Field, FileSource
from feast.types import Float64

CONFIG = """
project: bench
registry: {folder}/registry.db
provider: local
offline_store: {{type: duckdb}}
online_store: {{type: sqlite, path: {folder}/online.db}}
entity_key_serialization_version: 3
"""


def main() -> None:
    """Join the rows of FOLDER with the weather."""
    folder, repeats, names = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    (folder / "feature_store.yaml").write_text(CONFIG.format(folder=folder))
    store = FeatureStore(repo_path=str(folder))
    origin = Entity(name="origin", join_keys=["origin"])
    weather = FeatureView(
        name="weather",
        entities=[origin],
        ttl=timedelta(hours=6),
        schema=[Field(name=name, dtype=Float64) for name in names],
        source=FileSource(path=str(folder / "weather.parquet"), timestamp_field="observed_at"),
    )
    store.apply([origin, weather])
    rows = pandas.read_parquet(folder / "rows.parquet", columns=["origin", "decides_at"])
    rows = rows.rename(columns={"decides_at": "event_timestamp"})
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        found = store.get_historical_features(rows, features=[f"weather:{name}" for name in names]).to_df()
        seconds.append(time.perf_counter() - began)
    print(json.dumps({"version": version("feast"), "seconds": seconds, "rows": len(rows), "returned": len(found)}))


main()
