"""Simulated project-years with a known truth: days are dependent, weeks repeat, and a planted break has a date."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise

import numpy as np
import polars as pl
from numpy.typing import NDArray

from headway.core.arrays import Floats, Ints
from headway.core.config import Config
from headway.core.monitoring import MonitoringReport
from headway.core.record import digest_of
from headway.core.release import Release
from headway.core.training import Training
from headway.core.variant import Artifact, Field, Signature, Variant
from headway.core.verdict import Verdict
from headway.data.context import Window
from headway.monitoring.budget import Budget
from headway.monitoring.deployed_release import DeployedRelease
from headway.monitoring.monitor import MonitoringContext, monitor_window
from headway.monitoring.scored_rows import ScoredRows
from headway.monitoring.settings.retrain import RetrainSection
from headway.monitoring.windows import MonitoringWindow

JUDGED_DAYS, MONTH_DAYS = 92, 30
FIRST = datetime(2021, 1, 4)
NUMBERS = 7
CATEGORIES = ("a", "b", "c", "d")
SHARES = (0.5, 0.25, 0.15, 0.1)
AMOUNT, CATEGORY = NUMBERS - 1, NUMBERS
SIGNATURE = Signature(
    inputs=(
        *(Field(name=f"x{number}") for number in range(NUMBERS - 1)),
        Field(name="amount"),
        Field(name="category", datatype="BYTES", categories=CATEGORIES),
    )
)
_WEIGHTS = np.array([0.9, 0.6, 0.4, 0.0, 0.0, 0.0, 0.4])
_EFFECTS = np.array([0.0, 0.7, -0.7, 0.4])

Break = Callable[[Floats, NDArray[np.bool_]], None]
"""Change the chosen rows of a table in place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Rows float64 [n, d] with their day, the labels {0, 1}, and the scores that the release gave them."""

    rows: Floats
    day: Ints
    labels: Floats
    scores: Floats

    def window(self, since: int, until: int) -> Window:
        """Return the rows of days [since, until) as a detector receives them."""
        here = (self.day >= since) & (self.day < until)
        return Window(rows=self.rows[here], groups=self.day[here])

    def broken(self, change: Break, days: Sequence[int] | Ints) -> World:
        """Return the world with the inputs of some days changed; the labels follow the true ones."""
        rows = self.rows.copy()
        change(rows, np.isin(self.day, days))
        return replace(self, rows=rows, scores=scores(rows))

    def less_ranking(self, since: int, *, drop: float, rng: np.random.Generator) -> World:
        """Return the world with the AUC of the scores lower by `drop` from a day on, the base rate the same."""
        late = self.day >= since
        positives, negatives = self.scores[late & (self.labels == 1)], self.scores[late & (self.labels == 0)]
        area = np.mean(rng.choice(positives, 20_000) > rng.choice(negatives, 20_000))
        again = late & (rng.random(len(self.day)) < drop / (area - 0.5))  # at random, AUC - 1/2 falls by that share
        labels = np.where(again, rng.random(len(self.day)) < self.labels.mean(), self.labels)
        return replace(self, labels=labels.astype(np.float64))


def world(rng: np.random.Generator, *, days: int, rows: int, season: float = 0.0) -> World:
    """Simulate days of `rows` rows; a day shifts each feature, and leans on the day before by 0 to .7.

    `season` is the amplitude of a yearly wave of half of the numbers, in standard deviations of a row.
    """
    lean = np.linspace(0, 0.7, NUMBERS)
    shift = rng.normal(size=(days, NUMBERS))
    for today in range(1, days):
        shift[today] = lean * shift[today - 1] + np.sqrt(1 - lean**2) * shift[today]
    time = np.arange(days)
    shift = 0.5 * shift + 0.5 * np.sin(time * 2 * np.pi / 7)[:, None] * (np.arange(NUMBERS) % 2)
    shift += season * np.sin(time * 2 * np.pi / 365)[:, None] * (np.arange(NUMBERS) % 2 == 0)
    day = np.repeat(time, rows)
    numbers = rng.normal(size=(len(day), NUMBERS)) + shift[day]
    numbers[:, AMOUNT] = np.exp(3 + numbers[:, AMOUNT])
    swing = np.exp(0.2 * rng.normal(size=(days, len(SHARES)))) * SHARES
    edges = np.cumsum(swing / swing.sum(1, keepdims=True), axis=1)[day]
    category = (rng.random(len(day))[:, None] > edges[:, :-1]).sum(1)
    found = np.column_stack([numbers, category])
    odds = _log_odds(found) + 0.2 * rng.normal(size=days)[day]
    labels = (rng.random(len(day)) < 1 / (1 + np.exp(-odds))).astype(np.float64)
    return World(rows=found, day=day, labels=labels, scores=scores(found))


def scores(rows: Floats) -> Floats:
    """Return the scores of the release, which is right about the simulated labels; a missing value counts as usual."""
    found: Floats = 1 / (1 + np.exp(-_log_odds(rows)))
    return found


def _log_odds(rows: Floats) -> Floats:
    numbers = rows[:, :NUMBERS].copy()
    numbers[:, AMOUNT] = np.log(np.maximum(numbers[:, AMOUNT], 1e-9)) - 3
    category = np.nan_to_num(rows[:, CATEGORY]).astype(np.int64)
    odds: Floats = -1.2 + np.nan_to_num(numbers) @ _WEIGHTS + _EFFECTS[category]
    return odds


def watched(simulated: World, *, months: int, stop: bool = False) -> list[MonitoringReport]:
    """Return the reports of the product on each month; with `stop`, only up to the first that shows degradation."""
    config = Config(RetrainSection(rows_grown=1000.0))
    rows, found = _scored(simulated), list[MonitoringReport]()
    ends = [JUDGED_DAYS + MONTH_DAYS * month for month in range(months + 1)]
    for month in range(months):
        context = MonitoringContext(deployed=_deployed(), config=config, budget=Budget(found))
        found.append(monitor_window(context, _window(rows, ends[: month + 2])).report)
        if stop and found[-1].status == "degraded":
            break
    return found


def _window(rows: ScoredRows, ends: Sequence[int]) -> MonitoringWindow:
    times = [FIRST + timedelta(days=end) for end in ends]
    return MonitoringWindow(
        name=f"{times[-2]:%Y-%m-%d}",
        since=times[-2],
        until=times[-1],
        at=times[-1],
        rows=rows,
        base=rows,
        judging=(FIRST, times[0]),
        before=[(FIRST, times[0]), *pairwise(times[:-1])],
        over=True,
        due=True,
        n_trained=10_000,
    )


def _scored(simulated: World) -> ScoredRows:
    start = np.datetime64(FIRST, "us")
    first = int((start - np.datetime64("1970-01-01")) / np.timedelta64(1, "D"))
    times = start + simulated.day * np.timedelta64(1, "D")
    return ScoredRows(
        name="simulated",
        table=pl.DataFrame({"day": simulated.day}),
        times=times,
        rows=simulated.rows,
        scores=simulated.scores,
        labels=simulated.labels,
        labeled_at=times,
        groups=simulated.day + first,
        run=7,
    )


def _deployed() -> DeployedRelease:
    artifact = Artifact(format="simulated", digest=digest_of(b"simulated"), size_bytes=0)
    variant = Variant(artifact=artifact, engine="simulated", signature=SIGNATURE)
    verdict = Verdict(answer="pass", subject=variant.digest, rule_results=())
    training = Training(
        dataset="",
        recipe="",
        model=variant,
        since="2020-01-01",
        until=FIRST.isoformat(),
        judged_since=FIRST.isoformat(),
        judged_until=(FIRST + timedelta(days=JUDGED_DAYS)).isoformat(),
        n_rows=10_000,
        seconds=1.0,
    )
    release = Release(name="simulated", variant=variant, evidence=(), verdict=verdict)
    return DeployedRelease(release=release, digest="sha256:simulated", model=_NoModel(), training=training)


class _NoModel:
    """The release's model, which is not asked: the rows are scored."""

    def predict(self, rows: Floats) -> Floats:
        return scores(rows)[:, None]
