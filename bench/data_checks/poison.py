"""The rows `poison.*` of bench/data.py: detections and false findings of the three screens for poisoned labels.

On samples of 60,000 flights of 2013 in whole days. Injected, one at a time: flipped labels of a cell of two columns
(150 to 600 rows in 20 days or more, labels that are predictable), a value that no flight has, with one label (60 to 400
rows), and flipped labels of one of 300 invented sources. A detection names the injected rows; false findings are those
on the original flights, over samples that differ in their days.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from time import process_time

import numpy as np
import polars as pl
from msgspec.structs import replace
from numpy.typing import NDArray

import flight_data
from data_checks.clean_tables import WORLDS, clean_world
from data_checks.labels import ROLES
from harness import Result, Row, shown
from headway.core.dataset import Dataset
from headway.core.evidence import Finding
from headway.data.context import CheckContext, load_check
from headway.data.matrix import CodedColumn, code_columns

ROWS, SAMPLES, PLANTED, EACH, SOURCES = 60_000, 4, 8, 40, 300
SCREENS = ("flipped_labels", "backdoor", "influential_groups")
Planted = tuple[pl.DataFrame, str]
TINY = {"ROWS": 3_000, "SAMPLES": 1, "PLANTED": 1, "EACH": 2, "SOURCES": 80}


def rows() -> Result:
    """Measure the share of injections that each screen detects, and all false findings."""
    table = flight_data.load().filter(pl.col("late").is_not_null())
    samples = [_sample(table, seed) for seed in range(SAMPLES)]
    began = process_time()
    accused = [finding for sample in samples for name in SCREENS for finding in _findings(name, sample)]
    seconds = (process_time() - began) / SAMPLES
    against = "; ".join(finding.where for finding in accused) or f"{SAMPLES} samples of {ROWS:,} flights"
    ways: dict[str, Callable[[pl.DataFrame, int], Planted]] = {
        "flipped_labels": _cell,
        "backdoor": _value,
        "influential_groups": _source,
    }
    shares = {name: _share(name, samples, way) for name, way in ways.items()}
    counts = ", ".join(f"{name} {share:.2f}" for name, share in shares.items())
    return [
        shown("poison.found", float(np.mean(list(shares.values()))), "share", f"{counts}; {PLANTED} injected of each"),
        shown("poison.false", float(len(accused)), "", against),
        _of_worlds(),
        shown("poison.cpu_seconds", seconds, "s", f"the three screens of {ROWS:,} flights"),
    ], []


def _of_worlds() -> Row:
    """Count clean generated tables with a false finding: tables whose days share weather, sizes and trends."""
    false = {
        name: sum(bool(_accused("influential_groups", clean_world(name, seed))) for seed in range(EACH))
        for name in WORLDS
    }
    share, worlds = sum(false.values()) / (EACH * len(WORLDS)), EACH * len(WORLDS)
    counts = ", ".join(f"{name} {count}" for name, count in false.items())
    return Row(
        name="poison.pull_false",
        measured=share,
        unit="share",
        target="<= 0.05",
        ok=share <= 0.05,
        against=f"{worlds} clean tables, {EACH} of each: {counts}",
    )


def _share(name: str, samples: Sequence[pl.DataFrame], plant: Callable[[pl.DataFrame, int], Planted]) -> float:
    hits = 0
    for seed in range(PLANTED):
        table, where = plant(samples[seed % len(samples)], seed)
        hits += any(where in finding.where for finding in _findings(name, table))
    return hits / PLANTED


def _findings(name: str, table: pl.DataFrame) -> Sequence[Finding]:
    roles = replace(ROLES, slices=(*ROLES.slices, "source"), ignore=("source",))
    return _accused(name, Dataset(name="flights", table=table, roles=roles))


def _accused(name: str, dataset: Dataset) -> Sequence[Finding]:
    """Return the findings that suspect rows; a note says what was not judged."""
    return [finding for finding in load_check(name)(CheckContext(dataset=dataset)) if finding.severity != "note"]


def _sample(table: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Draw whole days until there are enough rows; each row has a random source."""
    draw = np.random.default_rng(seed)
    days = table["date"].unique().sort()
    sampled = days[draw.permutation(len(days))[: ROWS * len(days) // len(table)].tolist()]
    chosen = table.filter(pl.col("date").is_in(sampled.implode()))
    return chosen.with_columns(source=pl.Series([f"s{number}" for number in draw.integers(0, SOURCES, len(chosen))]))


def _cell(table: pl.DataFrame, seed: int) -> Planted:
    """Flip the labels of one cell with predictable labels."""
    draw = np.random.default_rng(seed)
    features = Dataset(name="flights", table=table, roles=ROLES).features
    columns = code_columns(table.drop("source"), [name for name in features if name != "source"])
    cells = list(_cells(table, columns, draw))
    inside, where = cells[0]
    late = table["late"].to_numpy()
    return table.with_columns(late=pl.Series(np.where(inside, 1 - late, late))), where


def _cells(
    table: pl.DataFrame, columns: Sequence[CodedColumn], draw: np.random.Generator
) -> Iterator[tuple[NDArray[np.bool_], str]]:
    """Yield cells with predictable labels, in random order."""
    late, day = table["late"].to_numpy(), table["date"].to_physical().to_numpy()
    for _ in range(2000):
        first, second = sorted(draw.choice(len(columns), 2, replace=False))
        a, b = (int(draw.integers(0, len(columns[column].names))) for column in (first, second))
        inside = (columns[first].codes == a) & (columns[second].codes == b)
        few = 150 <= inside.sum() <= 600 and len(np.unique(day[inside])) >= 20
        if few and abs(late[inside].mean() - 0.5) > 0.2:
            yield inside, f"{columns[first].names[a]} & {columns[second].names[b]}"


def _value(table: pl.DataFrame, seed: int) -> Planted:
    draw = np.random.default_rng(seed)
    count, label = int(draw.integers(60, 400)), seed % 2
    name = ("distance", "temp", "pressure", "seats")[seed % 4]
    hit = pl.Series(np.isin(np.arange(len(table)), draw.choice(len(table), count, replace=False)))
    value = float(table[name].median()) + 0.123
    planted = table.with_columns(
        pl.when(hit).then(value).otherwise(pl.col(name)).alias(name),
        late=pl.when(hit).then(label).otherwise("late").cast(pl.Int8),
    )
    return planted, f"{name}={planted[name].filter(hit)[0]}"


def _source(table: pl.DataFrame, seed: int) -> Planted:
    turned = pl.when(pl.col("source") == f"s{seed}").then(1 - pl.col("late")).otherwise("late")
    return table.with_columns(late=turned.cast(pl.Int8)), f"source = s{seed}"
