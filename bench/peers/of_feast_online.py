"""Feast's online features: `of_feast_online.py FOLDER ONLINE_STORE` answers lines `SERVICE COUNT CALLS` with times.

ONLINE_STORE is Feast's setting in JSON. The calls read rows of `planes.parquet` by the feature service `plain`, or
`precomputed`, whose vectors are precomputed; Feast does this for Redis only. Vectors have the names of the views, so
each call asks for full names.
"""

from __future__ import annotations

import json
import random
import sys
import time
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path

import pandas
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource
from feast.types import Float64
from feast.value_type import ValueType


def main() -> None:
    """Fill the online store, then time calls until the input ends."""
    folder, online = Path(sys.argv[1]), json.loads(sys.argv[2])
    registry = {"registry_type": "file", "path": str(folder / "registry.db"), "cache_ttl_seconds": 0}  # never expires
    config = {
        "project": "bench",
        "provider": "local",
        "registry": registry,
        "offline_store": {"type": "duckdb"},
        "online_store": online,
        "entity_key_serialization_version": 3,
    }
    (folder / "feature_store.yaml").write_text(json.dumps(config))
    store, table = FeatureStore(repo_path=str(folder)), pandas.read_parquet(folder / "planes.parquet")
    names = [name for name in table.columns if name not in ("plane", "at")]
    plane = Entity(name="plane", join_keys=["plane"], value_type=ValueType.STRING)
    view = FeatureView(
        name="plane",
        entities=[plane],
        ttl=timedelta(0),
        schema=[Field(name=name, dtype=Float64) for name in names],
        source=FileSource(path=str(folder / "planes.parquet"), timestamp_field="at"),
    )
    services = [FeatureService(name="plain", features=[view])]
    if online["type"] == "redis":
        services.append(FeatureService(name="precomputed", features=[view], precompute_online=True))
    store.apply([plane, view, *services])
    store.write_to_online_store("plane", table)
    written = store.precompute_feature_service() if len(services) > 1 else 0
    print(json.dumps({"version": version("feast"), "precomputed": written}), flush=True)
    known = {service.name: store.get_feature_service(service.name) for service in services}
    planes, draw = table["plane"].tolist(), random.Random(7)
    for line in sys.stdin:
        name, count, calls = line.split()
        service, times = known[name], []
        for _ in range(int(calls)):
            rows = [{"plane": plane} for plane in draw.choices(planes, k=int(count))]
            began = time.perf_counter()
            found = store.get_online_features(features=service, entity_rows=rows, full_feature_names=True)
            times.append((time.perf_counter() - began) * 1e3)
        last = found.to_dict()
        print(json.dumps({"ms": times, "planes": last["plane"], "values": last[f"plane__{names[0]}"]}), flush=True)


main()
