"""D041: Nearly all rows with a rare value, or pair of values, have a label that similar rows do not have."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import NormalDist

import numpy as np
import polars as pl

from headway.core.arrays import Bools, Floats, Ints
from headway.core.evidence import Finding
from headway.data.context import CheckContext
from headway.data.labels.out_of_fold import SCREENING_ROWS, OutOfFold, adjust_by_subgroups, prepare_learner
from headway.data.matrix import is_number_or_string

CODES = ("D041",)
MIN_ROWS, MIN_GROUPS = 20, 10
MAX_SHARE = 0.02
MAX_PAIR_VALUES = 400
MIN_PURITY, MIN_MOVED = 0.9, 0.6
MAX_CANDIDATES, MAX_EXAMINED = 60, 2000
MAX_OF_CLASS, MIN_NEIGHBORS, MAX_DIFFERENCE = 0.5, 10, 0.05
"""Share of a class that has a pattern; number of rows with similar values; by how much less pure
these may be."""
MAX_REFITTED, MAX_SEPARABILITY = 10, 0.8
"""ROC AUC of separating the rows of a pattern by their other columns, above which no other row is similar."""
ALPHA = 0.01


def plugin(context: CheckContext) -> list[Finding]:
    """Return a finding per pattern that moves labels to one class, as the trigger of a backdoor does.

    The expected labels come from a model trained without the suspected rows, adjusted by the other rows of each
    group. About 60 rows are needed for a finding. Patterns in fewer than 10 groups are not reported, and neither are
    those that a table has for other reasons than a trigger (`is_natural`).
    """
    dataset = context.dataset
    oof, learner = prepare_learner(dataset, rows=SCREENING_ROWS)

    def fit(out: Bools) -> Floats:
        return learner.fit(~out).predict_proba(np.ones(len(out), dtype=np.bool_))

    return [
        Finding(
            code="D041",
            severity="warn",
            message=f"{trigger.n_labeled:,} of the {trigger.rows:,} rows with {trigger.name} are labeled "
            f"'{trigger.label}'; at least {trigger.low:.0%} of those that should have another label were moved to it",
            where=trigger.name,
            measured=trigger.low,
            limit=MIN_MOVED,
            hint="find out where these rows came from; if that is unknown, remove them and release no model trained on "
            "them",
        )
        for trigger in find_triggers(
            oof, dataset.table[oof.rows].select(dataset.tabular_features), fit, separability=learner.separability
        )
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """A pattern, the number of its rows with `label`, and a lower bound on the share of the others moved to it."""

    name: str
    label: str
    rows: int
    n_labeled: int
    low: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Pattern:
    name: str
    columns: tuple[str, ...]
    rows: Ints
    label: int


FitWithout = Callable[[Bools], Floats]
"""Maps a mask of rows to leave out, shape (n,), to the probabilities of all rows, shape (n, k)."""


Separability = Callable[[Ints, Sequence[str]], float]
"""Maps row indices, and columns to leave out, to the ROC AUC of separating these rows from the rest."""


def find_triggers(
    oof: OutOfFold,
    table: pl.DataFrame,
    fit: FitWithout,
    *,
    separability: Separability = lambda rows, columns: 0.5,
    max_triggers: int = 5,
) -> list[Trigger]:
    """Find patterns that move labels to one class.

    The candidates are the rare patterns with the purest labels. Their expected labels come from a model trained
    without them, adjusted by the other rows of each group. At least MIN_MOVED of the rows that should have
    another label must have been moved, also according to a model that is trained without this pattern alone: it knows
    the similar ones, such as the other ages of children. Patterns in fewer than MIN_GROUPS groups are not reported.

    Parameters
    ----------
    oof : OutOfFold
        The labeled rows.
    table : DataFrame
        Their features.
    fit : callable
        Maps a mask of rows to leave out, shape (n,), to probabilities of all rows, shape (n, k).
    separability : callable
        Maps rows and the columns of their pattern to the ROC AUC of the other columns.
    max_triggers : int
        The most triggers to return.
    """
    found, tested = _candidates(oof, table)
    if not found:
        return []
    out = np.zeros(len(oof.labels), dtype=np.bool_)
    for candidate in found:
        out[candidate.rows] = True
    z = NormalDist().inv_cdf(1 - ALPHA / tested)

    def moved(candidate: _Pattern, probabilities: Floats) -> Trigger | None:
        return _to_trigger(candidate, oof, probabilities, z)

    def expected(without: Bools) -> Floats:
        return adjust_by_subgroups(replace(oof, probabilities=fit(without)), [oof.groups])

    probabilities = expected(out)
    significant = [
        (trigger, candidate)
        for candidate in found
        if (trigger := moved(candidate, probabilities)) is not None and not is_natural(candidate, oof, table)
    ]
    distinct = _without_overlap(sorted(significant, key=lambda pair: -pair[0].low))[:MAX_REFITTED]
    similar = [one for _, one in distinct if separability(one.rows, one.columns) <= MAX_SEPARABILITY]
    again = [moved(candidate, expected(_mask(candidate.rows, len(out)))) for candidate in similar]
    return sorted((one for one in again if one is not None), key=lambda trigger: -trigger.low)[:max_triggers]


def _mask(rows: Ints, size: int) -> Bools:
    found = np.zeros(size, dtype=np.bool_)
    found[rows] = True
    return found


def is_natural(pattern: _Pattern, oof: OutOfFold, table: pl.DataFrame) -> bool:
    """Return whether a pure pattern has other reasons than a trigger.

    - Most rows of the class have the pattern, so that a model trained without them cannot expect it.
    - The next values of a number have the same label: a range, such as the age of children, and not a value.
    - One of two values has the same label without the other one.
    """
    same = oof.labels == pattern.label
    if same[pattern.rows].sum() > MAX_OF_CLASS * same.sum():
        return True
    nearby = [rows for name in pattern.columns for rows in _neighbors(table[name], pattern.rows)]
    if len(pattern.columns) > 1:
        nearby += [_others_with(table[name], pattern.rows) for name in pattern.columns]
    purity = max(MIN_PURITY, float(same[pattern.rows].mean()) - MAX_DIFFERENCE)
    return any(len(rows) >= MIN_NEIGHBORS and same[rows].mean() >= purity for rows in nearby)


def _neighbors(column: pl.Series, rows: Ints) -> list[Ints]:
    """Return the rows with the next lower values, and with the next higher ones; none for strings."""
    if not column.dtype.is_numeric():
        return []
    values = column.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    value = values[rows[0]]
    if not np.isfinite(value):
        return []
    found = []
    for distance in (value - values, values - value):
        order = np.flatnonzero(distance > 0)
        nearest = order[np.argsort(distance[order], kind="stable")[: max(MIN_ROWS, len(rows) // 2)]]
        found.append(nearest)
    return found


def _others_with(column: pl.Series, rows: Ints) -> Ints:
    """Return the rows with the same value of one column that are not of the pattern."""
    same: Bools = column.eq_missing(pl.Series([column[int(rows[0])]], dtype=column.dtype)).to_numpy()
    others = same.copy()
    others[rows] = False
    return np.flatnonzero(others)


def _candidates(oof: OutOfFold, table: pl.DataFrame) -> tuple[list[_Pattern], int]:
    """Return the purest rare patterns by z-score, and the number of patterns."""
    usual = np.bincount(oof.labels, minlength=len(oof.classes)) / len(oof.labels)
    found, tested = [], 0
    for columns, codes, count in _patterns(table):
        rows = np.bincount(codes, minlength=count)
        rare = (rows >= MIN_ROWS) & (rows <= MAX_SHARE * len(codes))
        tested += int(rare.sum())
        for label in range(len(oof.classes)):
            n_labeled_as = np.bincount(codes[oof.labels == label], minlength=count)
            score = (n_labeled_as - rows * usual[label]) / np.sqrt(
                np.maximum(rows * usual[label] * (1 - usual[label]), 1e-9)
            )
            pure = np.flatnonzero(rare & (n_labeled_as >= MIN_PURITY * rows)).tolist()
            found += [(float(score[code]), columns, codes, code, label) for code in pure]
    found.sort(key=lambda item: -item[0])
    patterns: list[_Pattern] = []
    for _, columns, codes, code, label in found[:MAX_EXAMINED]:
        rows = np.flatnonzero(codes == code)
        if len(patterns) < MAX_CANDIDATES and len(np.unique(oof.groups[rows])) >= MIN_GROUPS:
            name = " & ".join(f"{column}={table[column][int(rows[0])]}" for column in columns)
            patterns.append(_Pattern(name=name, columns=columns, rows=rows, label=label))
    return patterns, max(tested, 1)


def _patterns(table: pl.DataFrame) -> Iterator[tuple[tuple[str, ...], Ints, int]]:
    """Yield columns, and pairs of columns with few values, each with the codes of its rows and their number."""
    coded = {}
    for name in (column for column in table.columns if is_number_or_string(table.schema[column])):
        values = table[name] if table.schema[name].is_numeric() else table[name].cast(pl.String)
        codes = values.rank("dense").cast(pl.Int64).fill_null(0).to_numpy()
        coded[name] = (codes, int(codes.max()) + 1)
        yield (name,), codes, coded[name][1]
    few = [name for name, (_, count) in coded.items() if count <= MAX_PAIR_VALUES]
    for first, second in combinations(few, 2):
        (a, _), (b, width) = coded[first], coded[second]
        codes = a * width + b
        yield (first, second), codes, int(codes.max()) + 1


def _to_trigger(found: _Pattern, oof: OutOfFold, probabilities: Floats, z: float) -> Trigger | None:
    """Bound the share of moved labels by a Poisson count of those that were not moved."""
    stayed = (oof.labels[found.rows] != found.label).sum()
    expected = float((1 - probabilities[found.rows, found.label]).sum())
    max_unmoved = stayed + z * np.sqrt(stayed + z * z / 4) + z * z / 2
    low = 1 - max_unmoved / max(expected, 1e-9)
    if low < MIN_MOVED:
        return None
    n_labeled = int((oof.labels[found.rows] == found.label).sum())
    return Trigger(
        name=found.name, label=oof.classes[found.label], rows=len(found.rows), n_labeled=n_labeled, low=float(low)
    )


def _without_overlap(found: Sequence[tuple[Trigger, _Pattern]]) -> list[tuple[Trigger, _Pattern]]:
    """Keep each trigger whose rows are not mostly those of an earlier one."""
    distinct: list[tuple[Trigger, _Pattern]] = []
    seen: set[int] = set()
    for trigger, pattern in found:
        inside = set(pattern.rows.tolist())
        if len(inside & seen) <= len(inside) / 2:
            distinct.append((trigger, pattern))
            seen |= inside
    return distinct
