"""A small dated table for the tests of data: 40 days, ten rows a day."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import polars as pl

from headway.core.dataset import Dataset, Roles


def small(**roles: object) -> Dataset:
    """400 rows over 40 days; `late` follows `hour` weakly, and is missing in every 20th row."""
    draw = np.random.default_rng(0)
    hour = draw.integers(0, 24, 400)
    late = (draw.random(400) < hour / 30).astype(int)
    at = [datetime(2013, 1, 1) + timedelta(days=row // 10, hours=int(hour[row])) for row in range(400)]
    table = pl.DataFrame(
        {
            "at": at,
            "day": [moment.date() for moment in at],
            "hour": hour,
            "carrier": draw.choice(["AA", "UA", None], 400).tolist(),
            "late": [None if row % 20 == 0 else int(late[row]) for row in range(400)],
        },
        schema_overrides={"late": pl.Int8, "carrier": pl.String},
    )
    declared = {"target": "late", "time": "at", "groups": "day", **roles}
    return Dataset(name="small", table=table, roles=Roles(**declared))


def with_column(dataset: Dataset, **columns: pl.Series | list[object]) -> Dataset:
    """The dataset with columns added or replaced."""
    table = dataset.table.with_columns(**{name: pl.Series(values) for name, values in columns.items()})
    return Dataset(name=dataset.name, table=table, roles=dataset.roles)
