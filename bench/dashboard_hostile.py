"""A project whose every column, and every value of a category, is a payload: checked, trained, released and drifted.

`bench/dashboard_attacks.py` opens its pages. Records are made by the pipeline itself, as from a table that a person
was sent.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from headway import pipeline
from headway.core import config
from headway.data.contract.check import check_contract, discover_project_contract
from headway.data.open import open_dataset
from headway.registry.project import Project, open_project
from headway.registry.sign import init_keys

DAYS, ROWS = 120, 12
TRAIN = """
import lightgbm
def train(rows, labels):
    data = lightgbm.Dataset(rows.to_numpy(), labels)
    settings = {"objective": "binary", "verbose": -1, "num_threads": 1, "seed": 0, "num_leaves": 7}
    return lightgbm.train(settings, data, num_boost_round=15)
"""
SETTINGS = """
[project]
name = "hostile"
[data]
source = "table.parquet"
target = "late"
time = "at"
groups = "day"
slices = [{category}]
sensitive_features = [{category}]
[data.known]
{known}
[split]
train = ["2013-01-01", "2013-02-10"]
validation = ["2013-02-10", "2013-03-10"]
test = ["2013-03-10", "2013-04-10"]
live = ["2013-04-10", "2013-05-01"]
[model]
train = "mine:train"
costs = {{ false_positive = 1, false_negative = 2 }}
[optimize]
transforms = ["truncate"]
[evaluate]
budget_s = 5
[trust]
publisher_key = "keys/publisher.pem"
trusted_keys = "keys/trusted_keys.txt"
[[policy.release]]
measure = "roc_auc.drop"
at_most = 0.9
[[policy.watch]]
measure = "ece"
at_most = 0.01
"""


def build(folder: Path, payloads: Sequence[str]) -> Path:
    """Build the project in a folder: the first payload names a category, the others numbers that drift at the end."""
    table = hostile_table(payloads)
    table.write_parquet(folder / "table.parquet")
    quoted = [json.dumps(name) for name in payloads]
    known = "\n".join(f'{name} = "request"' for name in quoted)
    (folder / "headway.toml").write_text(SETTINGS.format(category=quoted[0], known=known), encoding="utf-8")
    (folder / "mine.py").write_text(TRAIN)
    settings = config.load(folder)
    discover_project_contract(settings)
    opened = open_project(folder)
    init_keys(opened.registry.publisher_key, opened.registry.trusted_keys, comment=payloads[-1])
    _live_through(opened, payloads)
    delivered = folder / "delivered.parquet"
    table.head(5).with_columns(pl.lit(9e9).alias(payloads[1])).write_parquet(delivered)
    check_contract(settings, file=delivered)
    opened.state.close()
    return folder


def hostile_table(payloads: Sequence[str]) -> pl.DataFrame:
    """Return rows of 120 days, of which the numbers of the last three weeks are others."""
    draw = np.random.default_rng(0)
    n = DAYS * ROWS
    starts = [datetime(2013, 1, 1) + timedelta(days=row // ROWS, hours=row % ROWS) for row in range(n)]
    drifted = np.arange(n) >= (DAYS - 21) * ROWS
    numbers = {name: draw.normal(0, 1, n) + 3 * drifted for name in payloads[1:]}
    score = sum(numbers[name] for name in payloads[1:4])
    return pl.DataFrame(
        {
            "at": starts,
            "day": [start.date() for start in starts],
            payloads[0]: [payloads[index] for index in draw.integers(0, 4, n)],
            **numbers,
            "late": (draw.random(n) < 1 / (1 + np.exp(-score))).astype(np.int8),
        }
    )


def _live_through(opened: Project, payloads: Sequence[str]) -> None:
    """Check, train, search, release and watch, with payloads as the words of people."""
    data = pipeline.periods(opened)
    pipeline.assess(opened, open_dataset(opened.config), who=payloads[2])
    found = pipeline.optimize(opened, pipeline.train(opened, data), data)
    pipeline.release(opened, found, who=payloads[3], why=payloads[4], override=payloads[5])
    pipeline.watch(opened)
