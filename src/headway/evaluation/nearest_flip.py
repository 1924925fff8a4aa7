"""Nearest flips: the closest row that a model decides otherwise, found from decisions alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from headway.core.arrays import Bools, Floats, Ints
from headway.evaluation.decision_attack import SEED, AttackColumn, DecisionOracle, differ

STARTS, QUERIES_OF_A_START, LINE_HALVINGS, COLUMN_HALVINGS, MAX_POOL = 8, 60, 4, 5, 2_000

SHUFFLED = 0.5
"""Share of the points whose columns are moved back in an order that is drawn, and not by their distance alone."""
Plausible = Callable[[Floats], Bools]
"""Returns which rows (n, d) keep the relations of a contract."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NearestFlips:
    """Result of a search for rows of shape (n, d).

    Attributes
    ----------
    rows, flipped_rows : ndarray of shape (n, d)
        The rows before and after; equal where no flip was found.
    distances : ndarray of shape (n,)
        Distance of each flip; infinite where none was found.
    decisions : ndarray of shape (n,)
        Decisions before.
    queries : ndarray of shape (n,)
        Decisions queried for each row until this flip was found.
    """

    rows: Floats
    flipped_rows: Floats
    distances: Floats
    decisions: Ints
    queries: Ints


def find_nearest_flips(
    rows: Floats,
    decide: DecisionOracle,
    columns: Sequence[AttackColumn],
    *,
    pool: Floats,
    queries: int,
    plausible: Plausible | None = None,
) -> NearestFlips:
    """Search the nearest flip of each row, all rows in one batch, with at most `queries` decisions per row.

    The distance is Euclidean over the columns: a number counts its move in interquartile ranges, a category 1 if it
    changes, each times the cost of its column. A search starts from the nearest rows of the pool (m, d) that the model
    decides otherwise and goes towards the row on a line; then each column in turn, the most distant first, is reset or
    moved back as far as the decision stays flipped. Later rounds move one more column of the best flip, and repeat
    that: columns of a flip can replace one another.
    """
    search = _NearestSearch(rows, decide, columns, queries, plausible)
    if columns:
        search.run(pool)
    return search.found()


class _NearestSearch:
    def __init__(
        self,
        rows: Floats,
        decide: DecisionOracle,
        columns: Sequence[AttackColumn],
        queries: int,
        plausible: Plausible | None,
    ) -> None:
        self._rows, self._decide, self._columns, self._limit = rows, decide, columns, queries
        self._plausible = plausible
        self._decisions = decide(rows)
        self._queries = np.ones(len(rows), dtype=np.int64)
        self._best, self._distances = rows.copy(), np.full(len(rows), np.inf)
        self._found_after = self._queries.copy()
        self._n_starts = min(max(queries // QUERIES_OF_A_START, 1), STARTS)
        self._at = np.array([column.at for column in columns], dtype=np.int64)

    def run(self, pool: Floats) -> None:
        """Search from several starts, then from the best flips, until the queries are used."""
        chance = np.random.default_rng(SEED)
        starts, n_starts = self._nearest_of(pool[:: -(-len(pool) // MAX_POOL)]), self._n_starts
        self._descend(np.tile(np.arange(len(self._rows)), n_starts), np.concatenate(starts), chance)
        while (which := np.flatnonzero(self._has_queries() & np.isfinite(self._distances))).size:
            which = np.tile(which, n_starts)
            self._descend(which, self._with_another_column(which, starts, chance), chance)

    def found(self) -> NearestFlips:
        """Return the result."""
        return NearestFlips(
            rows=self._rows,
            flipped_rows=self._best,
            distances=self._distances,
            decisions=self._decisions,
            queries=self._found_after,
        )

    def _has_queries(self) -> Bools:
        return np.asarray(self._queries < self._limit)

    def _parts(self, which: Ints, points: Floats) -> Floats:
        """Return the part of each column in the distance of points to rows `which`, (n, columns)."""
        rows = self._rows[which]
        return np.stack([column.distance(rows[:, column.at], points[:, column.at]) for column in self._columns], axis=1)

    def _nearest_of(self, pool: Floats) -> list[Floats]:
        """Return starts (n, d): for each row its nearest ones of the pool that are decided otherwise."""
        decided, everyone = self._decide(pool), np.arange(len(self._rows))
        self._queries += -(-len(pool) // len(self._rows))  # the pool is shared by all rows
        far = np.empty((len(self._rows), len(pool)))
        for index in range(len(pool)):
            far[:, index] = np.square(self._parts(everyone, np.broadcast_to(pool[index], self._rows.shape))).sum(1)
        far[decided == self._decisions[:, None]] = np.inf
        order = np.argsort(far, axis=1, kind="stable")
        return [self._moved_to(pool[order[:, min(number, len(pool) - 1)]]) for number in range(self._n_starts)]

    def _moved_to(self, wanted: Floats) -> Floats:
        """Return the rows with the values of others, as far as the columns allow them."""
        points = self._rows.copy()
        for column in self._columns:
            points[:, column.at] = column.within(self._rows[:, column.at], wanted[:, column.at])
        return points

    def _with_another_column(self, which: Ints, far: Sequence[Floats], chance: np.random.Generator) -> Floats:
        """Return the best flips with one or two columns moved towards another start."""
        points = self._best[which].copy()
        source = np.stack([start[which] for start in far])[
            chance.integers(0, len(far), len(which)), np.arange(len(which))
        ]
        for _ in range(2):
            chosen, share = chance.integers(0, len(self._columns), len(which)), chance.random(len(which))
            for index, column in enumerate(self._columns):
                line = np.flatnonzero(chosen == index)
                was, now = points[line, column.at], source[line, column.at]
                wanted = now if column.among is not None else was + share[line] * (now - was)
                points[line, column.at] = column.within(self._rows[which[line], column.at], wanted)
        return points

    def _descend(self, which: Ints, points: Floats, chance: np.random.Generator) -> None:
        """Bring points that flip rows `which` nearer, and store those that are the nearest so far."""
        turned = self._turns(which, points)
        which, points = which[turned], points[turned].copy()
        if not which.size:
            return
        self._come_along_the_line(which, points)
        parts = self._parts(which, points)
        shuffled = chance.random(len(which)) < SHUFFLED
        weights = np.where(shuffled[:, None], chance.random(parts.shape), 1.0)
        order = np.argsort(-parts * weights, axis=1, kind="stable")
        for chosen in order.T:
            self._move_back(which, points, chosen)
        found = np.sqrt(np.square(self._parts(which, points)).sum(1))
        nearest = np.lexsort((found, which))  # of several points of a row, the first of its run
        which, points, found = which[nearest], points[nearest], found[nearest]
        better = (found < self._distances[which]) & np.diff(which, prepend=-1).astype(np.bool_)
        self._best[which[better]], self._distances[which[better]] = points[better], found[better]
        self._found_after[which[better]] = self._queries[which[better]]

    def _come_along_the_line(self, which: Ints, points: Floats) -> None:
        """Bisect the way of all numbers together, keeping points flipped."""
        self._bisect(which, points, np.ones((len(which), len(self._columns)), dtype=np.bool_), LINE_HALVINGS)

    def _move_back(self, which: Ints, points: Floats, chosen: Ints) -> None:
        """Reset one column of each point, or bisect its way back, keeping points flipped."""
        line = np.arange(len(which))
        at = self._at[chosen]
        moved = line[differ(points[line, at], self._rows[which, at])]
        tried = points[moved].copy()
        tried[np.arange(len(moved)), at[moved]] = self._rows[which[moved], at[moved]]
        turned = self._turns(which[moved], tried)
        points[moved[turned]] = tried[turned]
        stayed = moved[~turned]
        if stayed.size:
            some = points[stayed]
            moves = np.zeros((len(stayed), len(self._columns)), dtype=np.bool_)
            moves[np.arange(len(stayed)), chosen[stayed]] = True
            self._bisect(which[stayed], some, moves, COLUMN_HALVINGS)
            points[stayed] = some

    def _bisect(self, which: Ints, points: Floats, moves: Bools, halvings: int) -> None:
        """Move numbers of some columns, bool (n, columns), towards those of rows `which`, keeping points flipped."""
        rows, ends = self._rows[which], points.copy()
        near, far = np.zeros(len(which)), np.ones(len(which))
        for _ in range(halvings):
            share, tried = (near + far) / 2, points.copy()
            for index, column in enumerate(self._columns):
                line = np.flatnonzero(moves[:, index]) if column.among is None else ()
                if len(line):
                    was, now = rows[line, column.at], ends[line, column.at]
                    wanted = column.within(was, was + share[line] * (now - was))
                    tried[line, column.at] = np.where(differ(was, now), wanted, now)
            turned = self._turns(which, tried)
            points[turned] = tried[turned]
            near, far = np.where(turned, near, share), np.where(turned, share, far)

    def _turns(self, which: Ints, points: Floats) -> Bools:
        """Return which points flip their rows; one that is implausible, or beyond the queries of its row, does not."""
        turned = np.zeros(len(which), dtype=np.bool_)
        index = np.arange(len(which))
        if self._plausible is not None:
            index = np.flatnonzero(self._plausible(points))
        index = index[_rank_in_run(which[index]) < (self._limit - self._queries)[which[index]]]
        if index.size:
            np.add.at(self._queries, which[index], 1)
            turned[index] = self._decide(points[index]) != self._decisions[which[index]]
        return turned


def _rank_in_run(which: Ints) -> Ints:
    """Return how often each value occurred before, (n,)."""
    order = np.argsort(which, kind="stable")
    line = np.arange(len(which))
    begins = np.diff(which[order], prepend=-1).astype(np.bool_)
    ranks = np.empty(len(which), dtype=np.int64)
    ranks[order] = line - np.maximum.accumulate(np.where(begins, line, 0))
    return ranks
