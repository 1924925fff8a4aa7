"""The rows `leakage.*` of bench/data.py: columns of the outcome, and injected copies, entities and joins.

Only target, time and groups are declared, so that each column is found by its content. The flights with a known
outcome are cut into train (January to April), validation (to June), test (to August) and the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from time import process_time

import numpy as np
import polars as pl
from msgspec.structs import replace as with_roles

import flight_data
from evaluation.flight_rows import NUMBERS, TEXTS
from harness import Row, shown
from headway.cli.demo import flights
from headway.core.dataset import ASKED_AT, Dataset, Roles
from headway.core.evidence import Finding
from headway.data.check import run_checks
from headway.data.context import CheckContext, load_detector
from headway.data.settings.split import SplitSection
from headway.data.split import split_dataset

CLEAN = (*TEXTS, *NUMBERS)
FAMILIES = ("leakage", "split")
SPLIT = SplitSection(
    train=("2013-01-01", "2013-05-01"),
    validation=("2013-05-01", "2013-07-01"),
    test=("2013-07-01", "2013-09-01"),
    live=("2013-09-01", "2014-01-01"),
)
DECISION = "2h before departs_at"
SHARE, JITTER, PLANES = 0.05, 0.002, 4_000
TIMES, MOST_S, ASKED = 5, 0.5, 100_000
GRAVE = ("stop", "warn")
TINY = {"PLANES": 100, "TIMES": 1, "ASKED": 1_000}


@dataclass(frozen=True, slots=True, kw_only=True)
class Injected:
    """A leak added to the flights: the context, and the code and location of the finding that must name it."""

    context: CheckContext
    code: str
    where: str


def rows() -> tuple[list[Row], list[str]]:
    """Measure the leaks that are found, the false findings, and the cost of the checks."""
    dataset = _dataset()
    learned = surveyed(replace(dataset, table=dataset.table.filter(pl.col("late").is_not_null())))
    stopped = {
        finding.where.removeprefix("column ")
        for finding in grave_findings(surveyed(dataset))
        if finding.severity == "stop"
    }
    put_in = _injections(_without_outcome(learned))
    grave = {name: grave_findings(injected.context) for name, injected in put_in.items()}
    caught = [name for name, injected in put_in.items() if _names(grave[name], injected)]
    found = [*sorted(stopped & set(flights.OUTCOME)), *caught]
    missed = [name for name in (*flights.OUTCOME, *put_in) if name not in found]
    total = len(flights.OUTCOME) + len(put_in)
    false = _false(stopped, grave, put_in)
    seconds, served_s = _seconds(learned), _seconds(served(learned))
    size = f"{len(learned.dataset.table):,} rows x {len(learned.dataset.table.columns)}"
    return [
        Row(
            name="leakage.found",
            measured=len(found) / total,
            unit="share",
            target="1",
            ok=not missed,
            against=f"{len(found)} of {total}: {', '.join(found)}",
        ),
        Row(
            name="leakage.false",
            measured=float(len(false)),
            unit="features",
            target="0",
            ok=not false,
            against=f"of {len(CLEAN)} clean features in {len(put_in) + 1} tables: {', '.join(sorted(false)) or 'none'}",
        ),
        Row(
            name="leakage.cpu_seconds",
            measured=seconds,
            unit="CPU s",
            target=f"<= {MOST_S}",
            ok=seconds <= MOST_S,
            against=f"all checks of {' and '.join(FAMILIES)}, {size}, best of {TIMES}",
        ),
        shown("leakage.cpu_seconds_served", served_s, "CPU s", f"the same with {ASKED:,} requests of 120 days"),
    ], [f"leakage.found: {', '.join(missed)} not found"] if missed else []


def grave_findings(context: CheckContext) -> list[Finding]:
    """Return the grave findings of the checks of leakage and of the split."""
    return [finding for finding in run_checks(context, families=FAMILIES) if finding.severity in GRAVE]


def surveyed(dataset: Dataset) -> CheckContext:
    """Return the dataset and its periods."""
    return CheckContext(dataset=dataset, periods=split_dataset(dataset, SPLIT))


def served(context: CheckContext) -> CheckContext:
    """Return the context with requests: the last flights of the year, as a live model would receive them."""
    last = context.periods["live"].table.tail(ASKED)
    requests = last.select(*CLEAN, pl.col("departs_at").alias(ASKED_AT))
    return replace(context, requests=lambda: requests, detector=load_detector("group_permutation"))


def _dataset() -> Dataset:
    """Return all flights, also those without an outcome: 29 columns with the day and the time of the weather report."""
    seen = pl.col("departs_at").dt.offset_by("-2h").dt.truncate("1h").alias("observed_at")
    table = flight_data.load().with_columns(pl.col("departs_at").dt.day().alias("day"), seen)
    roles = Roles(target="late", time="departs_at", groups="date", ignore=("observed_at",), decision=DECISION)
    return Dataset(name="flights", table=table, roles=roles)


def _without_outcome(context: CheckContext) -> Dataset:
    dataset = context.dataset
    return replace(dataset, table=dataset.table.drop(*flights.OUTCOME))


def _injections(clean: Dataset) -> Mapping[str, Injected]:
    """Return one leak each, added to clean flights."""
    return {
        "duplicates": Injected(context=_copied(clean, lambda rows: rows), code="D023", where="[split] test"),
        "near-duplicates": Injected(context=_copied(clean, _jittered), code="D024", where="[split] test"),
        "entity overlap": Injected(context=_planes(clean), code="D029", where="column plane"),
        "future join": Injected(context=_future(clean), code="D025", where="column temp"),
    }


def _copied(clean: Dataset, change: Callable[[pl.DataFrame], pl.DataFrame]) -> CheckContext:
    """Replace a twentieth of the test by flights of train, features and outcome, on days of the test."""
    periods = split_dataset(clean, SPLIT)
    test, train = periods["test"].table, periods["train"].table
    count = int(SHARE * len(test))
    source = train.sample(count, seed=0).select(*CLEAN, "late")
    source_rows = test.head(count).drop(*CLEAN, "late")
    copies = source_rows.hstack(change(source)).select(test.columns)
    mixed = replace(periods["test"], table=pl.concat([copies, test.tail(-count)], how="vertical_relaxed"))
    later = [periods[name].table for name in ("train", "validation", "live")]
    dataset = replace(clean, table=pl.concat([*later, mixed.table], how="vertical_relaxed"))
    return CheckContext(dataset=dataset, periods={**periods, "test": mixed})


def _jittered(rows: pl.DataFrame) -> pl.DataFrame:
    """Change each measured value slightly, and one whole number."""
    draw = np.random.default_rng(0)
    off = {
        name: rows[name] + JITTER * (rows[name].std() or 0) * pl.Series(draw.normal(size=len(rows)))
        for name in flights.WEATHER
        if rows[name].dtype.is_float()
    }
    return rows.with_columns(day=(rows["day"] % 28) + 1, **off)


def _planes(clean: Dataset) -> CheckContext:
    """Declare the plane as the group; each plane flies in all months."""
    plane = pl.Series("plane", np.random.default_rng(0).integers(0, PLANES, len(clean.table)))
    roles = with_roles(clean.roles, groups="plane", ignore=("observed_at", "date"))
    return surveyed(replace(clean, table=clean.table.with_columns(plane), roles=roles))


def _future(clean: Dataset) -> CheckContext:
    """Join each flight with the next weather report after the decision; `seen` holds its time."""
    feed = clean.table.select("origin", pl.col("observed_at").alias("seen"), "temp")
    feed = feed.unique(("origin", "seen"), keep="first").sort("seen")
    decided = clean.table.drop("temp").with_columns(decides=pl.col("departs_at").dt.offset_by("-2h")).sort("decides")
    joined = decided.join_asof(
        feed, left_on="decides", right_on="seen", by="origin", strategy="forward", check_sortedness=False
    )
    roles = with_roles(clean.roles, known={"temp": "seen"}, ignore=("observed_at", "seen", "decides"))
    return surveyed(replace(clean, table=joined, roles=roles))


def _names(found: list[Finding], injected: Injected) -> bool:
    return any((finding.code, finding.where) == (injected.code, injected.where) for finding in found)


def _false(stopped: set[str], grave: Mapping[str, list[Finding]], put_in: Mapping[str, Injected]) -> set[str]:
    """Return clean features with a grave finding, in the clean table or in one with a leak elsewhere."""
    wrong = stopped & set(CLEAN)
    for name, found in grave.items():
        others = {finding.where for finding in found} - {put_in[name].where}
        wrong |= {where.removeprefix("column ") for where in others} & set(CLEAN)
    return wrong


def _seconds(context: CheckContext) -> float:
    """Return the CPU seconds of all checks of both families over all threads, the best of several runs."""
    times = []
    for _ in range(TIMES):
        began = process_time()
        run_checks(context, families=FAMILIES)
        times.append(process_time() - began)
    return min(times)
