"""Look for the smallest change of each row that turns its decision, by decisions alone, for all rows at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic

import numpy as np
from numpy.typing import NDArray

from headway.core.contracts import Engine
from headway.core.errors import EngineError, NotApplicable
from headway.core.sections.attack import AttackSection
from headway.evaluation.attacks.columns import Bools, Column
from headway.evaluation.quality.flips import decided
from headway.evaluation.statistics.intervals import Floats

Ints = NDArray[np.int64]
SEED, HALVINGS, FEWEST_STEPS, MOST_STEPS = 0, 5, 2, 16


class Decisions:
    """A model of which nothing but decisions can be read; `asked` counts them."""

    def __init__(self, engine: Engine, threshold: float, until: float) -> None:
        self._engine, self._threshold, self._until = engine, threshold, until
        self.asked = 0

    def __call__(self, rows: Floats) -> Ints:
        """The decisions on rows [n, d]; raises NotApplicable where time is over, or the model refuses a row."""
        if monotonic() > self._until:
            raise NotApplicable(
                "no time was left to ask for every decision",
                hint="headway evaluate --budget 10m, or fewer [attack] rows or queries",
            )
        self.asked += len(rows)
        try:
            return decided(self._engine.predict(rows), self._threshold)
        except EngineError as error:
            raise NotApplicable(f"the model refuses an altered row: {error.what}", where=error.where) from error


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Attacked:
    """Rows float64 [n, d] as they are and as they were `turned`, the same where nothing was found.

    `decisions` [n] are those before; `held` bool [n] says which kept theirs. `changed` counts the columns of each row
    that moved, `moved` is the furthest of them in interquartile ranges. `alone` bool [n, columns] are the columns that
    turn a row by themselves; `asked` is how often a decision was asked for, of a row on average.
    """

    rows: Floats
    turned: Floats
    decisions: Ints
    changed: Ints
    moved: Floats
    alone: Bools
    asked: float

    @property
    def held(self) -> Bools:
        """Rows whose decision nothing turned."""
        return np.asarray(self.changed == 0)


def attack(rows: Floats, decide: Decisions, columns: Sequence[Column], limits: AttackSection) -> Attacked:
    """Attack rows [n, d] through these columns, at most `limits.queries` decisions for each.

    First each column alone, over all that it may become. Then, for rows that no column turns, rounds: a start far away
    that turns the decision (another row's values, ends of what is allowed), of which one column after the other goes
    back while the decision stays turned, those first that were of little worth so far; what is left comes nearer by
    halves. Equal decisions give equal answers.
    """
    search = _Search(rows, decide, columns, limits)
    search.alone()
    for number in range(search.rounds):
        search.round(number)
    return search.found()


class _Search:
    """The state of a search: for each row the best that was found, fewest columns first, then the least move.

    Where no column turns a row alone, two are the fewest, so a row turned by two is looked at no more.
    """

    def __init__(self, rows: Floats, decide: Decisions, columns: Sequence[Column], limits: AttackSection) -> None:
        self._rows, self._decide, self._columns, self._limits = rows, decide, columns, limits
        self._decisions = decide(rows)
        self._best = rows.copy()
        self._changed = np.full(len(rows), len(columns) + 1)
        self._moved = np.full(len(rows), np.inf)
        self._alone = np.zeros((len(rows), len(columns)), dtype=np.bool_)
        self._worth = np.zeros(len(columns))
        self._steps = min(max(limits.queries // 2 // len(columns), FEWEST_STEPS), MOST_STEPS)

    @property
    def rounds(self) -> int:
        """As many as the decisions allow that a row may be asked for."""
        left = self._limits.queries - 1 - self._steps * len(self._columns) - HALVINGS
        return max(left // (1 + len(self._columns) + HALVINGS), 0)

    def alone(self) -> None:
        """Try each column by itself."""
        for place, column in enumerate(self._columns):
            for wanted in column.steps(self._rows[:, column.at], self._steps).T:
                which = np.flatnonzero(_differ(wanted, self._rows[:, column.at]))
                points = self._rows[which]
                points[:, column.at] = wanted[which]
                turned = self._turns(which, points)
                self._alone[which[turned], place] = True
                self._remember(which[turned], points[turned])
        self._worth += self._alone.mean(0)
        self._come_nearer(np.flatnonzero(self._changed == 1))

    def round(self, number: int) -> None:
        """One start for each row that more than one column must turn."""
        chance = np.random.default_rng([SEED, number])
        starts, noise = self._starts(number, chance), chance.gumbel(size=self._alone.shape)
        which = np.flatnonzero(self._changed > 2)
        which = which[_differ(starts[which], self._rows[which]).any(1)]
        which = which[self._turns(which, starts[which])]
        self._come_nearer(self._remember(which, self._gone_back(which, starts[which], noise[which])))

    def found(self) -> Attacked:
        """What was found, of rows that it was found for."""
        some = np.isfinite(self._moved)
        return Attacked(
            rows=self._rows,
            turned=self._best,
            decisions=self._decisions,
            changed=np.where(some, self._changed, 0),
            moved=np.where(some, self._moved, 0.0),
            alone=self._alone,
            asked=self._decide.asked / len(self._rows),
        )

    def _starts(self, number: int, chance: np.random.Generator) -> Floats:
        """Rows far away: with another's values, at the ends of what is allowed in all columns, or in a few."""
        others, draws = self._rows[self._of_others(chance)], chance.random(self._alone.shape)
        few = np.argsort(np.argsort(chance.random(self._alone.shape), axis=1), axis=1) < self._limits.columns
        points = self._rows.copy()
        for place, column in enumerate(self._columns):
            was = self._rows[:, column.at]
            far = column.within(was, others[:, column.at]) if number % 3 == 0 else column.far(was, draws[:, place])
            points[:, column.at] = np.where(few[:, place], far, was) if number % 3 == 2 else far
        return points

    def _of_others(self, chance: np.random.Generator) -> Ints:
        """For each row another that is decided otherwise; itself where a few draws show none."""
        count = len(self._rows)
        found = np.arange(count)
        for drawn in chance.integers(0, count, (8, count)):
            same = self._decisions[found] == self._decisions
            found[same] = drawn[same]
        return found

    def _gone_back(self, which: Ints, points: Floats, noise: Floats) -> Floats:
        """Points that turn rows `which`, with one column after the other as it was, while they still do."""
        order = np.argsort(np.log1p(self._worth * len(self._rows)) + noise, axis=1)
        places = np.array([column.at for column in self._columns])
        rows = self._rows[which]
        for at in places[order].T:
            line = np.arange(len(which))
            moved = line[_differ(points[line, at], rows[line, at])]
            tried = points[moved].copy()
            tried[np.arange(len(moved)), at[moved]] = rows[moved, at[moved]]
            still = self._turns(which[moved], tried)
            points[moved[still]] = tried[still]
        self._worth += _differ(points, rows)[:, places].sum(0) / len(self._rows)
        return points

    def _come_nearer(self, which: Ints) -> None:
        """Halve the way back of the best of rows `which`, as long as they stay turned."""
        which = which[self._moved[which] > 0]
        near, far = np.zeros(len(which)), np.ones(len(which))
        ends = self._best[which].copy()
        for _ in range(HALVINGS):
            share = (near + far) / 2
            points = ends.copy()
            for column in self._columns:
                was, now = self._rows[which, column.at], ends[:, column.at]
                if column.among is None:
                    points[:, column.at] = np.where(
                        _differ(was, now), column.within(was, was + share * (now - was)), was
                    )
            turned = self._turns(which, points)
            self._remember(which[turned], points[turned])
            near, far = np.where(turned, near, share), np.where(turned, share, far)

    def _remember(self, which: Ints, points: Floats) -> Ints:
        """Keep those of points that turn rows `which` that are better than what was known; the rows that they turn."""
        rows = self._rows[which]
        changed = _differ(points, rows).sum(1)
        moves = [column.moved(rows[:, column.at], points[:, column.at]) for column in self._columns]
        moved = np.max(moves, axis=0, initial=0.0)
        fewer = changed < self._changed[which]
        better = (changed <= self._limits.columns) & (
            fewer | ((changed == self._changed[which]) & (moved < self._moved[which]))
        )
        at: Ints = which[better]
        self._best[at], self._changed[at], self._moved[at] = points[better], changed[better], moved[better]
        return at

    def _turns(self, which: Ints, points: Floats) -> Bools:
        if not len(which):
            return np.zeros(0, dtype=np.bool_)
        return np.asarray(self._decide(points) != self._decisions[which])


def _differ(one: Floats, other: Floats) -> Bools:
    """Where two arrays differ; two missing values are alike."""
    return np.asarray((one != other) & ~(np.isnan(one) & np.isnan(other)))
