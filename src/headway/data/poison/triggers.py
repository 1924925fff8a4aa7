"""Rare values, or pairs of them, whose rows nearly all have one label that rows like them do not have: triggers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import NormalDist

import numpy as np
import polars as pl
from numpy.typing import NDArray

from headway.data.labels.said import Floats, Ints, Said, with_parts
from headway.data.poison.cells import is_read

FEWEST_ROWS, FEWEST_GROUPS = 20, 10
MOST_SHARE = 0.02
MOST_VALUES = 400
PURE, MOVED = 0.9, 0.6
CANDIDATES, EXAMINED = 60, 2000
ALPHA = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """Rows with the pattern `name`: how many have `label`, and the least share of the others that was moved to it."""

    name: str
    label: str
    rows: int
    pure: int
    low: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Candidate:
    name: str
    rows: Ints
    label: int


Learn = Callable[[NDArray[np.bool_]], Floats]
"""From which rows to leave out, bool [n], what a model of the others says of all, [n, k]."""


def triggers(said: Said, table: pl.DataFrame, learn: Learn, *, most: int = 5) -> list[Trigger]:
    """Patterns that move labels to one class: of the rows that should have another, at least MOVED do not.

    `table` has the features of the rows that were told. The candidates are the rare patterns whose labels are purest;
    what their rows should be is said by a model that learned from none of them, and by the other rows of their group.
    Of fewer than FEWEST_GROUPS groups nothing is told.
    """
    found, judged = _candidates(said, table)
    if not found:
        return []
    out = np.zeros(len(said.labels), dtype=np.bool_)
    for each in found:
        out[each.rows] = True
    known = replace(said, probabilities=learn(out))
    probabilities = with_parts(known, [said.groups])
    z = NormalDist().inv_cdf(1 - ALPHA / judged)
    told = [_trigger(each, said, probabilities, z) for each in found]
    kept = [each for each in told if each is not None]
    return _apart(sorted(kept, key=lambda each: -each[0].low))[:most]


def _candidates(said: Said, table: pl.DataFrame) -> tuple[list[_Candidate], int]:
    """The purest rare patterns by how far beyond chance, and how many patterns there were."""
    usual = np.bincount(said.labels, minlength=len(said.classes)) / len(said.labels)
    found, judged = [], 0
    for name, codes, count in _patterns(table):
        rows = np.bincount(codes, minlength=count)
        rare = (rows >= FEWEST_ROWS) & (rows <= MOST_SHARE * len(codes))
        judged += int(rare.sum())
        for label in range(len(said.classes)):
            held = np.bincount(codes[said.labels == label], minlength=count)
            score = (held - rows * usual[label]) / np.sqrt(np.maximum(rows * usual[label] * (1 - usual[label]), 1e-9))
            pure = np.flatnonzero(rare & (held >= PURE * rows)).tolist()
            found += [(float(score[code]), name, codes, code, label) for code in pure]
    found.sort(key=lambda each: -each[0])
    made: list[_Candidate] = []
    for _, name, codes, code, label in found[:EXAMINED]:
        rows = np.flatnonzero(codes == code)
        if len(made) < CANDIDATES and len(np.unique(said.groups[rows])) >= FEWEST_GROUPS:
            made.append(_Candidate(name=name(int(rows[0])), rows=rows, label=label))
    return made, max(judged, 1)


def _patterns(table: pl.DataFrame) -> Iterator[tuple[Callable[[int], str], Ints, int]]:
    """Values of each column, and pairs of values of columns with few; with the name of the pattern of a row."""
    coded = {}
    for name in (each for each in table.columns if is_read(table.schema[each])):
        values = table[name] if table.schema[name].is_numeric() else table[name].cast(pl.String)
        codes = values.rank("dense").cast(pl.Int64).fill_null(0).to_numpy()
        coded[name] = (codes, int(codes.max()) + 1)
        yield _named(table, (name,)), codes, coded[name][1]
    few = [name for name, (_, count) in coded.items() if count <= MOST_VALUES]
    for first, second in combinations(few, 2):
        (a, _), (b, width) = coded[first], coded[second]
        codes = a * width + b
        yield _named(table, (first, second)), codes, int(codes.max()) + 1


def _named(table: pl.DataFrame, names: Sequence[str]) -> Callable[[int], str]:
    return lambda row: " & ".join(f"{name}={table[name][row]}" for name in names)


def _trigger(found: _Candidate, said: Said, probabilities: Floats, z: float) -> tuple[Trigger, Ints] | None:
    """The bound by a Poisson count of the labels that stayed as they should be."""
    stayed = (said.labels[found.rows] != found.label).sum()
    expected = float((1 - probabilities[found.rows, found.label]).sum())
    most = stayed + z * np.sqrt(stayed + z * z / 4) + z * z / 2
    low = 1 - most / max(expected, 1e-9)
    if low < MOVED:
        return None
    pure = int((said.labels[found.rows] == found.label).sum())
    told = Trigger(name=found.name, label=said.classes[found.label], rows=len(found.rows), pure=pure, low=float(low))
    return told, found.rows


def _apart(found: Sequence[tuple[Trigger, Ints]]) -> list[Trigger]:
    """Each whose rows are not for the most part in one before it."""
    told: list[Trigger] = []
    seen: set[int] = set()
    for trigger, rows in found:
        inside = set(rows.tolist())
        if len(inside & seen) <= len(inside) / 2:
            told.append(trigger)
            seen |= inside
    return told
