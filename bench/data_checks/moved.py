"""The rows `moved.*` of bench/data.py: how often D060 reports a change where there is none, over all checks together.

Worlds of days without a change: an assessment is opened on the first 28 or 60 days, and data are checked again each
week until there are 200. Features vary by row, by day (weather, independent or lasting from day to day), with the
weekday, or have few classes. A false alarm is a world in which any check opened a new assessment. A detection is a
world in which a feature shifted by half its deviation after the opening.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from harness import Result, Row, shown
from headway.core.assessment import Assessment, DriftTest
from headway.core.contracts import Blobs
from headway.core.dataset import Dataset, Roles
from headway.core.plugins import load_blobs
from headway.monitoring.assessment.changes import (
    ALPHA,
    compare_distributions,
    distribution_finding,
    draw_sample,
    encode_sample,
    last_time,
)

DAYS, ROWS, WEEK, EACH, FEWER = 200, 40, 7, 40, 20
WORLDS = ("rows alone", "weather by day", "weather that lasts", "weekdays", "few classes")
OPENED = (28, 60)
ROLES = Roles(target="late", time="at", groups="day")
TINY = {"EACH": 2, "FEWER": 2}


def rows() -> Result:
    """Measure the share of worlds with a false alarm, and the share of shifts that were detected."""
    with tempfile.TemporaryDirectory() as folder:
        blobs = load_blobs("files")(Path(folder))
        false = {(name, first): _alarms(name, first, EACH, blobs) for name in WORLDS for first in OPENED}
        hits = sum(_alarms(name, OPENED[0], FEWER, blobs, shift=0.5) for name in WORLDS)
    worlds, accused = EACH * len(false), sum(false.values())
    counts = ", ".join(f"{name} from {first} days {count}" for (name, first), count in false.items())
    share = accused / worlds
    return [
        Row(
            name="moved.false",
            measured=share,
            unit="share",
            target=f"<= {ALPHA}",
            ok=share <= ALPHA,
            against=f"{accused} of {worlds} worlds without a change, all weekly checks together: {counts}",
        ),
        shown("moved.found", hits / (FEWER * len(WORLDS)), "share", "a feature moved by half its deviation"),
    ], []


def _alarms(name: str, first: int, worlds: int, blobs: Blobs, *, shift: float = 0.0) -> int:
    return sum(any(_weekly_alarms(name, first, seed, blobs, shift)) for seed in range(worlds))


def _weekly_alarms(name: str, first: int, seed: int, blobs: Blobs, shift: float) -> Iterator[bool]:
    """Yield whether each weekly check of a world raises an alarm."""
    table = _world(name, seed, shift=shift, since=first)
    begun = _until(table, first)
    opening, last = _opening(begun, blobs), DriftTest()
    for day in range(first + WEEK, DAYS + 1, WEEK):
        last = compare_distributions(opening, last, _until(table, day), blobs)
        yield bool(distribution_finding(opening, last))


def _until(table: pl.DataFrame, day: int) -> Dataset:
    return Dataset(name="world", table=table.filter(pl.col("number") < day).drop("number"), roles=ROLES)


def _opening(begun: Dataset, blobs: Blobs) -> Assessment:
    return Assessment(
        name="world",
        at="2026-01-01T00:00:00+00:00",
        by="bench",
        headway="",
        number=1,
        source="world",
        dataset="",
        n_rows=len(begun.table),
        n_groups=begun.table["day"].n_unique(),
        until=last_time(begun),
        columns={},
        settings={},
        check_runs=(),
        findings=(),
        sample=blobs.put(encode_sample(draw_sample(begun))),
    )


def _world(name: str, seed: int, *, shift: float, since: int) -> pl.DataFrame:
    """Generate rows of 200 days; the first feature moves by this share of its deviation from a day on."""
    draw = np.random.default_rng(seed)
    day = np.repeat(np.arange(DAYS), ROWS)
    first = draw.normal(size=len(day)) + shift * (day >= since)
    columns = {"x": first, "hour": draw.integers(0, 24, len(day)), "wind": draw.gamma(2.0, 5.0, len(day))}
    columns["late"] = (draw.random(len(day)) < 1 / (1 + np.exp(1.5 - draw.normal(0, 0.7, DAYS)[day]))).astype(np.int8)
    if name.startswith("weather"):
        warm = draw.normal(0, 1, DAYS)
        for day_number in range(1, DAYS if name.endswith("lasts") else 0):
            warm[day_number] = 0.7 * warm[day_number - 1] + 0.7 * warm[day_number]
        columns["temp"] = warm[day] + 0.3 * draw.normal(size=len(day))
    if name == "weekdays":
        columns["load"] = np.sin(day % WEEK) + 0.5 * draw.normal(size=len(day))
    if name == "few classes":
        columns["kind"] = draw.choice(["a", "b", "c", "d"], len(day), p=[0.6, 0.3, 0.08, 0.02])
    starts = [
        datetime(2013, 1, 1) + timedelta(days=int(day_number), minutes=row % 1440) for row, day_number in enumerate(day)
    ]
    dates = pl.Series([start.date() for start in starts])
    return pl.DataFrame({"at": starts, "day": dates, "number": day, **columns})
