"""Days for bench/evidence.py: score tables of two models with one line a day, real or simulated with a known truth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headway.core.arrays import Floats, Ints
from headway.core.evidence import Measurement
from headway.evaluation.statistics.intervals import CHANGE, Sample, jackknife_interval
from headway.evaluation.statistics.tables import (
    BinaryAnswers,
    ScoreTable,
    auc,
    leave_one_out_auc,
    leave_one_out_mean,
    score_table,
)

ROWS = 60


class Days:
    """Score tables of two models, their squared errors and rows, one line a day."""

    def __init__(self, tables: list[ScoreTable], squares: list[Floats], rows: Floats) -> None:
        self.tables, self.squares, self.rows = tables, squares, rows

    @classmethod
    def of(cls, answers: BinaryAnswers) -> Days:
        """Tabulate the predictions of a variant and of the baseline."""
        both = (answers.scores, answers.reference)
        squares = [answers.per_block(np.square(scores - answers.labels)) for scores in both]
        return cls([score_table(scores, answers) for scores in both], squares, answers.rows)

    def drawn(self, days: Ints) -> Days:
        """Return a sample of the days, with repetition."""
        tables = [ScoreTable(table.positives[days], table.negatives[days]) for table in self.tables]
        return Days(tables, [squares[days] for squares in self.squares], self.rows[days])

    def swapped(self, swap: NDArray[np.bool_]) -> Days:
        """Swap the two models on some days."""
        (a, b), (e, f), line = self.tables, self.squares, swap[:, None]
        tables = [
            ScoreTable(np.where(line, y.positives, x.positives), np.where(line, y.negatives, x.negatives))
            for x, y in ((a, b), (b, a))
        ]
        return Days(tables, [np.where(swap, f, e), np.where(swap, e, f)], self.rows)

    def values(self) -> dict[str, float]:
        """Return each measure over all days."""
        areas = [float(auc(table.positives.sum(0), table.negatives.sum(0))) for table in self.tables]
        briers = [float(squares.sum() / self.rows.sum()) for squares in self.squares]
        found = {"roc_auc": areas[0], "roc_auc.drop": areas[1] - areas[0]}
        return found | {"brier": briers[0], "brier.drop": briers[0] - briers[1]}

    def measured(self) -> dict[str, Measurement]:
        """Return each measure with its interval."""
        areas = [leave_one_out_auc(table) for table in self.tables]
        briers = [leave_one_out_mean(squares, self.rows) for squares in self.squares]
        without = {"roc_auc": areas[0], "roc_auc.drop": areas[1] - areas[0]}
        without |= {"brier": briers[0], "brier.drop": briers[0] - briers[1]}
        sample = Sample(n_rows=int(self.rows.sum()), n_groups=len(self.rows), bounds=CHANGE)
        return {name: jackknife_interval(name, value, without[name], sample) for name, value in self.values().items()}


def simulated(count: int, lean: float, rng: np.random.Generator) -> Days:
    """Simulate days whose odds shift together with an autocorrelation of `lean`.

    One model knows the odds of each row, but not the day; the other also errs by day and by row.
    """
    shift = rng.normal(size=count)
    for day in range(1, count):
        shift[day] = lean * shift[day - 1] + np.sqrt(1 - lean**2) * shift[day]
    day = np.repeat(np.arange(count), rng.integers(ROWS // 2, ROWS * 3 // 2, count))
    own = rng.normal(-1.2, 0.8, len(day))
    off = 0.25 * (rng.normal(size=count)[day] + rng.normal(size=len(day)))
    late = (rng.random(len(day)) < _chance(own + 0.6 * shift[day])).astype(np.float64)
    answers = {"labels": late, "scores": _chance(own + off), "reference": _chance(own)}
    return Days.of(BinaryAnswers(**answers, groups=day, blocks=day, n_blocks=count, n_groups=count))


def _chance(odds: Floats) -> Floats:
    chance: Floats = 1 / (1 + np.exp(-odds))
    return chance
