"""Black-box attack on decisions: the smallest change of a row that flips one, within declared bounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic

import numpy as np
from msgspec.structs import replace

from headway.core.arrays import Bools, Floats, Ints
from headway.core.contracts import Engine
from headway.core.errors import EngineError, NotApplicable
from headway.core.evidence import AttackEffort, Measurement
from headway.evaluation.context import Comparison
from headway.evaluation.quality.row_errors import decide_class
from headway.evaluation.settings.attack import AttackSection

MAX_DECIMALS, FLAG_VALUES = 6, 2
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AttackColumn:
    """A column that may change, number `at` of a row.

    Numbers stay between `min_value` and `max_value`, move by at most `furthest`, and keep the `decimals` seen if these
    are few; `scale` is their interquartile range. Categories and flags take any value `among` those seen. Missing
    values stay missing, and no value goes missing. `cost` is that of a change.
    """

    at: int
    name: str
    min_value: float
    max_value: float
    scale: float
    max_move: float
    decimals: int | None = None
    among: Floats | None = None
    cost: float = 1.0

    def within(self, was: Floats, wanted: Floats) -> Floats:
        """Return the allowed value nearest to the wanted one, both (n,); the old value if none is allowed."""
        if self.among is not None:
            return np.where(np.isin(wanted, self.among) & np.isfinite(was), wanted, was)
        low, high = self._ends(was)
        near = np.clip(wanted if self.decimals is None else np.round(wanted, self.decimals), low, high)
        allowed = (low <= high) & (near >= self.min_value) & (near <= self.max_value)
        return np.where(allowed, near, was)

    def steps(self, was: Floats, count: int) -> Floats:
        """Return at most `count` values spread over what each of `was` (n,) may become, (n, count)."""
        if self.among is not None:
            some = self.among[np.unique(np.linspace(0, len(self.among) - 1, count).astype(np.int64))]
            return np.stack([self.within(was, np.full_like(was, value)) for value in some], axis=1)
        low, high = self._ends(was)
        return np.stack([self.within(was, low + (high - low) * share) for share in np.linspace(0, 1, count)], axis=1)

    def far(self, was: Floats, draws: Floats) -> Floats:
        """Return one end of what each of `was` (n,) may become, or any category, by draws (n,) in [0, 1)."""
        if self.among is not None:
            return self.within(was, self.among[(draws * len(self.among)).astype(np.int64)])
        low, high = self._ends(was)
        return self.within(was, np.where(draws < 0.5, low, high))

    def moved(self, was: Floats, now: Floats) -> Floats:
        """Return the distance of each move in interquartile ranges, (n,); 0 for categories and flags."""
        if self.among is not None:
            return np.zeros_like(was)
        return np.where(np.isfinite(was), np.abs(now - was) / self.scale, 0.0)

    def distance(self, was: Floats, now: Floats) -> Floats:
        """Return the distance of each change times the cost of the column, (n,): 1 for a category or a flag."""
        if self.among is not None:
            return np.where(differ(was, now), self.cost, 0.0)
        return self.cost * self.moved(was, now)

    def _ends(self, was: Floats) -> tuple[Floats, Floats]:
        low, high = np.maximum(was - self.max_move, self.min_value), np.minimum(was + self.max_move, self.max_value)
        if self.decimals is None:
            return low, high
        units = 10.0**self.decimals
        return np.ceil(low * units - _ROUNDING) / units, np.floor(high * units + _ROUNDING) / units


def attackable_columns(subject: Comparison, limits: AttackSection) -> list[AttackColumn]:
    """Return the columns that may change: neither fixed nor with a single known value."""
    fields = subject.fields
    found = (_attack_column(at, subject, limits) for at, field in enumerate(fields) if field.name not in limits.fixed)
    return [column for column in found if column is not None]


def _attack_column(at: int, subject: Comparison, limits: AttackSection) -> AttackColumn | None:
    field, values = subject.fields[at], subject.rows[:, at]
    if field.is_text:
        return None
    seen = np.unique(values[np.isfinite(values)])
    texts = field.datatype == "BYTES"
    seen = seen[seen < len(field.categories)] if texts else seen
    if not len(seen):
        return None
    min_value, max_value = limits.bounds.get(field.name, (float(seen[0]), float(seen[-1])))
    scale = _scale(values, max_value - min_value)
    few = texts or len(seen) == FLAG_VALUES
    among = seen[(seen >= min_value) & (seen <= max_value)] if few else None
    if min_value == max_value or (among is not None and len(among) < FLAG_VALUES):
        return None
    return AttackColumn(
        at=at,
        name=field.name,
        min_value=min_value,
        max_value=max_value,
        scale=scale,
        max_move=limits.reach * scale,
        decimals=None if few else _decimals(seen),
        among=among,
        cost=limits.cost.get(field.name, 1.0),
    )


def _scale(values: Floats, width: float) -> float:
    """Return the interquartile range; if it is 0 the standard deviation, else the width of the bounds."""
    known = values[np.isfinite(values)]
    low, high = np.quantile(known, (0.25, 0.75))
    return float(high - low) or float(known.std()) or width


def _decimals(seen: Floats) -> int | None:
    """Return the fewest decimals that write all values seen; None if more than six are needed.

    >>> _decimals(np.array([1.0, 2.5, 3.25])), _decimals(np.array([3.0, 60.0])), _decimals(np.array([1 / 3]))
    (2, 0, None)
    """
    for count in range(MAX_DECIMALS + 1):
        if np.array_equal(np.round(seen, count), seen):
            return count
    return None


def with_effort(
    results: Sequence[Measurement | NotApplicable],
    attack: str,
    limits: AttackSection,
    *,
    rows: tuple[int, int],
) -> list[Measurement | NotApplicable]:
    """Return the measurements with the effort of an attack: its rows of those registered, or its queries for a row.

    Fewer rows are a weaker attack: others of them are its starts.
    """
    registered = AttackSection().queries
    effort = AttackEffort(
        attack=attack,
        done=rows[0],
        registered=rows[1],
        unit="rows",
        hint=""
        if rows[0] >= rows[1]
        else f"rows = {AttackSection().rows} under [attack], and headway evaluate --audit {attack} --budget 10m",
    )
    if limits.queries < registered:
        hint = f"queries = {registered} under [attack]"
        effort = AttackEffort(attack=attack, done=limits.queries, registered=registered, unit="queries", hint=hint)
    return [replace(result, effort=effort) if isinstance(result, Measurement) else result for result in results]


SEED, HALVINGS, MIN_STEPS, MAX_STEPS = 0, 5, 2, 16


class DecisionOracle:
    """A model of which only decisions can be read; `queries` counts them."""

    def __init__(self, engine: Engine, threshold: float, until: float) -> None:
        self._engine, self._threshold, self._until = engine, threshold, until
        self.queries = 0

    def __call__(self, rows: Floats) -> Ints:
        """Return the decisions on rows (n, d); raise NotApplicable if time is over, or the model rejects a row."""
        if monotonic() > self._until:
            raise NotApplicable(
                "time ran out before every decision was queried",
                hint="headway evaluate --budget 10m, or fewer [attack] rows or queries",
            )
        self.queries += len(rows)
        try:
            return decide_class(self._engine.predict(rows), self._threshold)
        except EngineError as error:
            raise NotApplicable(f"the model rejects an altered row: {error.what}", where=error.where) from error


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AttackResult:
    """Result of an attack on rows of shape (n, d).

    Attributes
    ----------
    rows, flipped_rows : ndarray of shape (n, d)
        The rows before and after; equal where no change was found.
    decisions : ndarray of shape (n,)
        Decisions before.
    changed : ndarray of shape (n,)
        Columns changed in each row.
    moved : ndarray of shape (n,)
        Largest move of a row, in interquartile ranges.
    alone : ndarray of shape (n, columns)
        Columns that flip the row by themselves.
    queries : float
        Decisions queried per row, on average.
    """

    rows: Floats
    flipped_rows: Floats
    decisions: Ints
    changed: Ints
    moved: Floats
    alone: Bools
    queries: float

    @property
    def robust(self) -> Bools:
        """Rows whose decision was not flipped."""
        return np.asarray(self.changed == 0)


def attack_rows(
    rows: Floats, decide: DecisionOracle, columns: Sequence[AttackColumn], limits: AttackSection
) -> AttackResult:
    """Attack rows (n, d) through these columns, with at most `limits.queries` decisions per row.

    First each column is tried alone. Rows that no column flips then go through rounds: from a distant start that flips
    the decision (another row's values, or ends of the allowed ranges) one column after the other is reset while the
    decision stays flipped, least useful ones first, and the rest is moved closer by bisection. Equal decisions give
    equal results.
    """
    search = _Search(rows, decide, columns, limits)
    if not columns:
        return search.found()
    search.alone()
    for number in range(search.rounds):
        search.round(number)
    return search.found()


class _Search:
    """State of an attack: the best change of each row, by fewest columns, then by the shortest move.

    If no single column flips a row, two are the minimum, so a row flipped by two is finished.
    """

    def __init__(
        self, rows: Floats, decide: DecisionOracle, columns: Sequence[AttackColumn], limits: AttackSection
    ) -> None:
        self._rows, self._decide, self._columns, self._limits = rows, decide, columns, limits
        self._decisions = decide(rows)
        self._best = rows.copy()
        self._changed = np.full(len(rows), len(columns) + 1)
        self._moved = np.full(len(rows), np.inf)
        self._alone = np.zeros((len(rows), len(columns)), dtype=np.bool_)
        self._worth = np.zeros(len(columns))
        self._steps = min(max(limits.queries // 2 // max(len(columns), 1), MIN_STEPS), MAX_STEPS)

    @property
    def rounds(self) -> int:
        """Rounds that the queries per row allow."""
        remaining = self._limits.queries - 1 - self._steps * len(self._columns) - HALVINGS
        return max(remaining // (1 + len(self._columns) + HALVINGS), 0)

    def alone(self) -> None:
        """Try each column by itself."""
        for index, column in enumerate(self._columns):
            for wanted in column.steps(self._rows[:, column.at], self._steps).T:
                which = np.flatnonzero(differ(wanted, self._rows[:, column.at]))
                points = self._rows[which]
                points[:, column.at] = wanted[which]
                turned = self._turns(which, points)
                self._alone[which[turned], index] = True
                self._remember(which[turned], points[turned])
        self._worth += self._alone.mean(0)
        self._come_nearer(np.flatnonzero(self._changed == 1))

    def round(self, number: int) -> None:
        """Start once more for each row that needs several columns."""
        chance = np.random.default_rng([SEED, number])
        starts, noise = self._starts(number, chance), chance.gumbel(size=self._alone.shape)
        which = np.flatnonzero(self._changed > 2)
        which = which[differ(starts[which], self._rows[which]).any(1)]
        which = which[self._turns(which, starts[which])]
        self._come_nearer(self._remember(which, self._gone_back(which, starts[which], noise[which])))

    def found(self) -> AttackResult:
        """Return the result."""
        some = np.isfinite(self._moved)
        return AttackResult(
            rows=self._rows,
            flipped_rows=self._best,
            decisions=self._decisions,
            changed=np.where(some, self._changed, 0),
            moved=np.where(some, self._moved, 0.0),
            alone=self._alone,
            queries=self._decide.queries / len(self._rows),
        )

    def _starts(self, number: int, chance: np.random.Generator) -> Floats:
        """Return distant starts: another row's values, ends of the allowed ranges in all columns, or in a few."""
        others, draws = self._rows[self._of_others(chance)], chance.random(self._alone.shape)
        few = np.argsort(np.argsort(chance.random(self._alone.shape), axis=1), axis=1) < self._limits.columns
        points = self._rows.copy()
        for index, column in enumerate(self._columns):
            was = self._rows[:, column.at]
            far = column.within(was, others[:, column.at]) if number % 3 == 0 else column.far(was, draws[:, index])
            points[:, column.at] = np.where(few[:, index], far, was) if number % 3 == 2 else far
        return points

    def _of_others(self, chance: np.random.Generator) -> Ints:
        """Pick for each row one with another decision; the row itself if a few draws find none."""
        count = len(self._rows)
        found = np.arange(count)
        for drawn in chance.integers(0, count, (8, count)):
            same = self._decisions[found] == self._decisions
            found[same] = drawn[same]
        return found

    def _gone_back(self, which: Ints, points: Floats, noise: Floats) -> Floats:
        """Reset one column after the other of points that flip rows `which`, as long as they still do."""
        order = np.argsort(np.log1p(self._worth * len(self._rows)) + noise, axis=1)
        indices = np.array([column.at for column in self._columns])
        rows = self._rows[which]
        for at in indices[order].T:
            line = np.arange(len(which))
            moved = line[differ(points[line, at], rows[line, at])]
            tried = points[moved].copy()
            tried[np.arange(len(moved)), at[moved]] = rows[moved, at[moved]]
            still = self._turns(which[moved], tried)
            points[moved[still]] = tried[still]
        self._worth += differ(points, rows)[:, indices].sum(0) / len(self._rows)
        return points

    def _come_nearer(self, which: Ints) -> None:
        """Bisect the way back of the best points of rows `which`, keeping them flipped."""
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
                        differ(was, now), column.within(was, was + share * (now - was)), was
                    )
            turned = self._turns(which, points)
            self._remember(which[turned], points[turned])
            near, far = np.where(turned, near, share), np.where(turned, share, far)

    def _remember(self, which: Ints, points: Floats) -> Ints:
        """Store points that are better than those known; return the rows that they flip."""
        rows = self._rows[which]
        changed = differ(points, rows).sum(1)
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


def differ(one: Floats, other: Floats) -> Bools:
    """Return where two arrays differ; two missing values are equal."""
    return np.asarray((one != other) & ~(np.isnan(one) & np.isnan(other)))
