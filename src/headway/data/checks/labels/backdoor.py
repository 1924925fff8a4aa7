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
ALPHA = 0.01


def plugin(context: CheckContext) -> list[Finding]:
    """Return a finding per pattern that moves labels to one class, as the trigger of a backdoor does.

    The expected labels come from a model trained without the suspected rows, adjusted by the other rows of each
    group. About 60 rows are needed for a finding. Patterns in fewer than 10 groups are not reported.
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
        for trigger in find_triggers(oof, dataset.table[oof.rows].select(dataset.features), fit)
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
    rows: Ints
    label: int


FitWithout = Callable[[Bools], Floats]
"""Maps a mask of rows to leave out, shape (n,), to the probabilities of all rows, shape (n, k)."""


def find_triggers(oof: OutOfFold, table: pl.DataFrame, fit: FitWithout, *, max_triggers: int = 5) -> list[Trigger]:
    """Find patterns that move labels to one class.

    The candidates are the rare patterns with the purest labels. Their expected labels come from a model trained
    without them, adjusted by the other rows of each group. At least MIN_MOVED of the rows that should have
    another label must have been moved. Patterns in fewer than MIN_GROUPS groups are not reported.

    Parameters
    ----------
    oof : OutOfFold
        The labeled rows.
    table : DataFrame
        Their features.
    fit : callable
        Maps a mask of rows to leave out, shape (n,), to probabilities of all rows, shape (n, k).
    max_triggers : int
        The most triggers to return.
    """
    found, tested = _candidates(oof, table)
    if not found:
        return []
    out = np.zeros(len(oof.labels), dtype=np.bool_)
    for candidate in found:
        out[candidate.rows] = True
    known = replace(oof, probabilities=fit(out))
    probabilities = adjust_by_subgroups(known, [oof.groups])
    z = NormalDist().inv_cdf(1 - ALPHA / tested)
    triggers = [_to_trigger(candidate, oof, probabilities, z) for candidate in found]
    significant = [candidate for candidate in triggers if candidate is not None]
    return _without_overlap(sorted(significant, key=lambda candidate: -candidate[0].low))[:max_triggers]


def _candidates(oof: OutOfFold, table: pl.DataFrame) -> tuple[list[_Pattern], int]:
    """Return the purest rare patterns by z-score, and the number of patterns."""
    usual = np.bincount(oof.labels, minlength=len(oof.classes)) / len(oof.labels)
    found, tested = [], 0
    for name, codes, count in _patterns(table):
        rows = np.bincount(codes, minlength=count)
        rare = (rows >= MIN_ROWS) & (rows <= MAX_SHARE * len(codes))
        tested += int(rare.sum())
        for label in range(len(oof.classes)):
            n_labeled_as = np.bincount(codes[oof.labels == label], minlength=count)
            score = (n_labeled_as - rows * usual[label]) / np.sqrt(
                np.maximum(rows * usual[label] * (1 - usual[label]), 1e-9)
            )
            pure = np.flatnonzero(rare & (n_labeled_as >= MIN_PURITY * rows)).tolist()
            found += [(float(score[code]), name, codes, code, label) for code in pure]
    found.sort(key=lambda item: -item[0])
    patterns: list[_Pattern] = []
    for _, name, codes, code, label in found[:MAX_EXAMINED]:
        rows = np.flatnonzero(codes == code)
        if len(patterns) < MAX_CANDIDATES and len(np.unique(oof.groups[rows])) >= MIN_GROUPS:
            patterns.append(_Pattern(name=name(int(rows[0])), rows=rows, label=label))
    return patterns, max(tested, 1)


def _patterns(table: pl.DataFrame) -> Iterator[tuple[Callable[[int], str], Ints, int]]:
    """Yield codes of columns, and of pairs of columns with few values, with a function that names a row's pattern."""
    coded = {}
    for name in (column for column in table.columns if is_number_or_string(table.schema[column])):
        values = table[name] if table.schema[name].is_numeric() else table[name].cast(pl.String)
        codes = values.rank("dense").cast(pl.Int64).fill_null(0).to_numpy()
        coded[name] = (codes, int(codes.max()) + 1)
        yield _pattern_name(table, (name,)), codes, coded[name][1]
    few = [name for name, (_, count) in coded.items() if count <= MAX_PAIR_VALUES]
    for first, second in combinations(few, 2):
        (a, _), (b, width) = coded[first], coded[second]
        codes = a * width + b
        yield _pattern_name(table, (first, second)), codes, int(codes.max()) + 1


def _pattern_name(table: pl.DataFrame, names: Sequence[str]) -> Callable[[int], str]:
    return lambda row: " & ".join(f"{name}={table[name][row]}" for name in names)


def _to_trigger(found: _Pattern, oof: OutOfFold, probabilities: Floats, z: float) -> tuple[Trigger, Ints] | None:
    """Bound the share of moved labels by a Poisson count of those that were not moved."""
    stayed = (oof.labels[found.rows] != found.label).sum()
    expected = float((1 - probabilities[found.rows, found.label]).sum())
    max_unmoved = stayed + z * np.sqrt(stayed + z * z / 4) + z * z / 2
    low = 1 - max_unmoved / max(expected, 1e-9)
    if low < MIN_MOVED:
        return None
    n_labeled = int((oof.labels[found.rows] == found.label).sum())
    trigger = Trigger(
        name=found.name, label=oof.classes[found.label], rows=len(found.rows), n_labeled=n_labeled, low=float(low)
    )
    return trigger, found.rows


def _without_overlap(found: Sequence[tuple[Trigger, Ints]]) -> list[Trigger]:
    """Keep each trigger whose rows are not mostly those of an earlier one."""
    distinct: list[Trigger] = []
    seen: set[int] = set()
    for trigger, rows in found:
        inside = set(rows.tolist())
        if len(inside & seen) <= len(inside) / 2:
            distinct.append(trigger)
            seen |= inside
    return distinct
