"""Small dated tables for the tests of data, and contexts for checks."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from headway.core.dataset import ASKED_AT, Dataset, Roles
from headway.data.context import Check, CheckContext, load_detector
from headway.data.settings.split import SplitSection
from headway.data.split import split_dataset


def small(**roles: object) -> Dataset:
    """400 rows over 40 days; `late` follows `hour` weakly, and is missing in every 20th row."""
    draw = np.random.default_rng(0)
    hour = draw.integers(0, 24, 400)
    late = (draw.random(400) < hour / 30).astype(int)
    at = [datetime(2013, 1, 1) + timedelta(days=row // 10, hours=int(hour[row])) for row in range(400)]
    table = pl.DataFrame(
        {
            "at": at,
            "day": [time.date() for time in at],
            "hour": hour,
            "carrier": draw.choice(["AA", "UA", None], 400).tolist(),
            "late": [None if row % 20 == 0 else int(late[row]) for row in range(400)],
        },
        schema_overrides={"late": pl.Int8, "carrier": pl.String},
    )
    declared = {"target": "late", "time": "at", "groups": "day", **roles}
    return Dataset(name="small", table=table, roles=Roles(**declared))


def with_gaps(**roles: object) -> Dataset:
    """The small table with `landed`, which is missing wherever `late` is; `hour` is not."""
    dataset = small(**roles)
    return with_column(dataset, landed=dataset.table["late"].cast(pl.Float64) * 0 + 5)


def with_column(dataset: Dataset, **columns: pl.Series | list[object]) -> Dataset:
    """The dataset with columns added or replaced."""
    table = dataset.table.with_columns(**{name: pl.Series(values) for name, values in columns.items()})
    return Dataset(name=dataset.name, table=table, roles=dataset.roles)


def wide(rows: int = 2000, **roles: object) -> Dataset:
    """Return rows of six independent numbers and a string, two per hour; `late` depends weakly on the first number."""
    draw = np.random.default_rng(1)
    values = draw.normal(size=(rows, 6)).round(4)
    table = pl.DataFrame({f"x{index}": values[:, index] for index in range(6)}).with_columns(
        at=pl.Series([datetime(2013, 1, 1) + timedelta(minutes=30 * row) for row in range(rows)]),
        carrier=pl.Series(draw.choice(["AA", "UA", "B6"], rows).tolist()),
        late=pl.Series((values[:, 0] + 2 * draw.normal(size=rows) > 0).astype(int)),
    )
    return Dataset(name="wide", table=table, roles=Roles(**{"target": "late", "time": "at", **roles}))


def split_context(dataset: Dataset, test: Dataset | None = None) -> CheckContext:
    """Return the context of a dataset split in time order; the test may be another."""
    periods = split_dataset(dataset, SplitSection())
    return CheckContext(dataset=dataset, periods={**periods, "test": test} if test else periods)


def message(check: Check, context: CheckContext) -> list[str]:
    """Return severity and location of each finding of a check."""
    return [f"{finding.severity} {finding.where}" for finding in check(context)]


def served_context(dataset: Dataset, rows: int = 2000, **columns: pl.Series) -> CheckContext:
    """Return the context of a split dataset whose first rows are requests of the next year, with columns replaced."""
    rows_of_requests = dataset.table.head(rows).select(dataset.features, **{ASKED_AT: pl.col("at").dt.offset_by("1y")})
    requests = rows_of_requests.with_columns(**columns)
    detector = load_detector("group_permutation")
    return replace(split_context(dataset), requests=lambda: requests, detector=detector)
