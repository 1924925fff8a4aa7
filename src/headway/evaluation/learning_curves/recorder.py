"""Records a learning curve during training: which rounds are evaluated, their errors, and what the curve shows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

from msgspec.structs import replace

from headway.core.arrays import Floats
from headway.core.errors import NotApplicable
from headway.core.evidence import Measurement
from headway.core.record import digest_of
from headway.core.student import student_quantile
from headway.core.training import LearningCurve, Reading, Round
from headway.evaluation.learning_curves.data import CurveData
from headway.evaluation.statistics.intervals import LEVEL, MIN_GROUPS


def to_numpy(rows: Any) -> Any:
    """Convert a polars table to numpy; a pandas table keeps its names and categories."""
    return rows.to_numpy() if type(rows).__module__.startswith("polars") else rows


STEP = 1.15
"""Factor between two evaluated rounds, so that n rounds need about log n evaluations."""


class Recorder:
    """Errors of rounds on held-out rows and, if given, on training rows; the test period is never read.

    Parameters
    ----------
    held_out : CurveData
        Rows that the model does not learn from.
    learned : CurveData, optional
        Rows that it learns from.
    every : int, optional
        Evaluate each so-many-th round; by default at geometrically growing steps.

    Notes
    -----
    If answers cannot be judged, the reason is recorded, and training goes on without evaluations. The digest of the
    recipe is taken from what the library was configured with, unless it was given.
    """

    def __init__(self, held_out: CurveData, learned: CurveData | None = None, *, every: int | None = None) -> None:
        self.held_out, self.learned, self.every = held_out, learned, every
        self.digests = {"held_out": "", "learned": "", "recipe": ""}
        self.library = self._why = ""
        self.spent = self._until = 0.0
        self._next = every or 1
        self._rounds: list[Round] = []
        self._sums: list[tuple[Floats, Floats | None]] = []
        self.begin()

    def begin(self) -> None:
        """Start the clock of training."""
        self._began = perf_counter()

    def set_recipe(self, library: str, recipe: object) -> None:
        """Record which library trains, and the digest of its configuration unless a recipe was given."""
        self.library = library
        self.digests["recipe"] = self.digests["recipe"] or digest_of(repr(recipe).encode())

    @property
    def now(self) -> float:
        """Seconds of training so far, without the evaluations."""
        return perf_counter() - self._began - self.spent

    @property
    def last(self) -> int:
        """The round that was evaluated last; 0 before the first."""
        return self._rounds[-1].number if self._rounds else 0

    def due(self, number: int, *, final: bool = False) -> bool:
        """Check whether a round (from 1) is to be evaluated; the final one always is, and none twice."""
        return not self._why and number > self.last and (final or number >= self._next)

    def evaluate(self, number: int, answer: Callable[[Any], Any], *, seconds: float | None = None) -> None:
        """Evaluate the model after a round; `seconds` of training at that round, by default those until now."""
        at, began = self.now if seconds is None else seconds, perf_counter()
        try:
            self._evaluate(number, answer, None if math.isnan(at) else at)
        except NotApplicable as error:
            self._why = str(error)
        self.spent += perf_counter() - began
        self._until = max(self._until, 0.0 if math.isnan(at) else at)
        self._next = number + self.every if self.every else max(number + 1, math.ceil(number * STEP))

    def _evaluate(self, number: int, answer: Callable[[Any], Any], seconds: float | None) -> None:
        found, sums = self.held_out.evaluate(answer(self.held_out.rows))
        own, own_sums = self.learned.evaluate(answer(self.learned.rows)) if self.learned else ((), None)
        self._rounds.append(Round(number=number, held_out=found, learned=own, seconds=seconds))
        self._sums.append((sums, own_sums))

    def record(self) -> LearningCurve:
        """Return the curve so far, with every round compared with the last."""
        rounds = tuple(self._compare_with_last(index) for index in range(len(self._rounds)))
        reading = diagnose(rounds, self.held_out.error)
        if self._why or not rounds:
            reading = Reading(answer="not drawn", why=self._why or "no round was evaluated")
        return LearningCurve(
            library=self.library,
            error=self.held_out.error,
            rounds=rounds,
            reading=reading,
            seconds=self._until,
            spent=self.spent,
            **self.digests,
        )

    def _compare_with_last(self, index: int) -> Round:
        if index == len(self._rounds) - 1:
            return self._rounds[index]
        (sums, own), (last, last_own) = self._sums[index], self._sums[-1]
        own_ahead = None
        if self.learned is not None and own is not None and last_own is not None:
            own_ahead = self.learned.between(own - last_own)
        return replace(
            self._rounds[index],
            ahead=self.held_out.between(sums - last),
            learned_ahead=own_ahead,
        )


MARGIN = 0.01
"""A curve is flat from where stopping is shown to cost less than this share of the last error."""
TAIL = 0.8
"""Conclusions on the last rounds start at this share of all rounds."""


def diagnose(rounds: Sequence[Round], error: str) -> Reading:
    """Diagnose from the curve whether more rounds, or fewer, would help; undecided if the intervals leave it open."""
    if len(rounds) < 3:
        return Reading(answer="undecided", why=f"{len(rounds)} evaluated rounds are too few for a curve")
    *before, last = rounds
    ends = {point.number: _simultaneous_interval(point.ahead, len(before)) for point in before if point.ahead}
    if any(point.ahead is None or point.ahead.se is None for point in before):
        groups = last.held_out[0].n_groups
        return Reading(answer="undecided", why=f"{groups} groups are too few: {MIN_GROUPS} at least")
    measured = last.error(error)
    margin = MARGIN * abs(measured.value) if measured else 0.0
    return (
        _find_overfitting(before, ends) or _find_plateau(ends, margin, last.number) or _diagnose_tail(ends, last.number)
    )


def _find_overfitting(before: Sequence[Round], ends: dict[int, tuple[float, float]]) -> Reading | None:
    """Find the best round since which the held-out error is shown to have grown."""
    shown = [point for point in before if point.ahead and ends[point.number][1] < 0]
    if not shown:
        return None
    best = min(shown, key=lambda point: point.ahead.value if point.ahead else 0.0)
    low, high = ends[best.number]
    fell = best.learned_ahead is not None and _simultaneous_interval(best.learned_ahead, len(before))[0] > 0
    return Reading(answer="memorises" if fell else "worsens", since=best.number, low=-high, high=-low)


def _find_plateau(ends: dict[int, tuple[float, float]], margin: float, last: int) -> Reading | None:
    """Find the round from which no later one is shown to be worse than the last by more than the margin."""
    since = last
    for number in sorted(ends, reverse=True):
        if ends[number][1] > margin:
            break
        since = number
    if since > TAIL * last:
        return None
    low, high = ends[since]
    return Reading(answer="flat", since=since, low=-high, high=-low)


def _diagnose_tail(ends: dict[int, tuple[float, float]], last: int) -> Reading:
    """Check whether the error is shown to have fallen over the last rounds."""
    since = max((number for number in ends if number <= TAIL * last), default=min(ends))
    low, high = ends[since]
    return Reading(answer="learning" if low > 0 else "undecided", since=since, low=-high, high=-low)


def _simultaneous_interval(seen: Measurement, among: int) -> tuple[float, float]:
    """Return one of `among` intervals that hold at once (Bonferroni, Student t)."""
    if seen.se is None or seen.dof is None:
        return seen.low, seen.high
    reach = student_quantile(1 - (1 - LEVEL) / (2 * among), seen.dof) * seen.se
    return seen.value - reach, seen.value + reach
