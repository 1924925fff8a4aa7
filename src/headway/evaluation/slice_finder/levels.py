"""Every column as a few levels: a number by its quantiles, a text by its value; each level can be said in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from headway.core.contracts import Comparison, SliceColumn
from headway.core.variant import Field
from headway.evaluation.statistics.tables import Floats, tally

Codes = NDArray[np.int16]
Bools = NDArray[np.bool_]

BINS = 5
FEW_VALUES = 8
SAMPLED = 4_096


@dataclass(frozen=True, slots=True, kw_only=True)
class Levelled:
    """One column: the level of every row, int16 [n] in 0..count-1, or `count` where the row is in no level of note.

    `said` gives a level in words: `carrier=EV`, `hour 18-20`, `seats missing`.
    """

    name: str
    codes: Codes
    count: int
    said: Callable[[int], str]

    def of(self, chosen: Bools) -> Levelled:
        """The chosen rows alone; words are still those of all rows."""
        return replace(self, codes=self.codes[chosen])


def levels_of(subject: Comparison, least: int) -> list[Levelled]:
    """The inputs of a subject's model, and its other slice columns; columns with a single level are left out.

    Texts of fewer than `least` rows are in no level: no part of the rows that is large enough can lie within them.
    """
    inputs = subject.variant.signature.inputs
    found = [_input(field, subject.rows[:, place], least) for place, field in enumerate(inputs)]
    named = {field.name for field in inputs}
    found += [_column(name, column, least) for name, column in subject.slices.items() if name not in named]
    return [each for each in found if each.count > 1]


def most_telling(columns: Sequence[Levelled], values: Sequence[Floats], most: int) -> list[Levelled]:
    """Up to `most` columns, in their order: those whose levels say most of one of `values`, each float64 [n]."""
    if len(columns) <= most:
        return list(columns)
    told = [max(_told(each, value) for value in values) for each in columns]
    chosen = sorted(np.argsort(told, kind="stable")[-most:])
    return [columns[at] for at in chosen]


def _told(column: Levelled, values: Floats) -> float:
    """The variance between levels of a column, for a level more than one, as part of that of the values."""
    codes = column.codes.astype(np.int64)
    rows, sums = tally(codes, column.count + 1), tally(codes, column.count + 1, values - values.mean())
    between = float((np.square(sums) / np.maximum(rows, 1)).sum()) / column.count
    return between / max(float(np.square(values - values.mean()).sum()), np.finfo(float).tiny)


def _input(field: Field, values: Floats, least: int) -> Levelled:
    if field.datatype != "BYTES":
        return _number(field.name, np.ascontiguousarray(values))
    known = len(field.categories)
    ranks = np.where(np.isnan(values), known + 1, values).astype(np.int64)
    texts = (*(f"{field.name}={text}" for text in field.categories), f"{field.name} unseen", f"{field.name} missing")
    return _texts(field.name, ranks, texts, least)


def _column(name: str, column: SliceColumn, least: int) -> Levelled:
    return _texts(name, column.codes, tuple(f"{name}={value}" for value in column.values), least)


def _texts(name: str, ranks: NDArray[np.int64], texts: tuple[str, ...], least: int) -> Levelled:
    """Ranks int64 [n] into texts, those of fewer than `least` rows in no level."""
    kept = np.flatnonzero(np.bincount(ranks, minlength=len(texts)) >= least)
    places = np.full(len(texts), len(kept), dtype=np.int16)
    places[kept] = np.arange(len(kept))
    return Levelled(name=name, codes=places[ranks], count=len(kept), said=lambda level: texts[kept[level]])


def _number(name: str, values: Floats) -> Levelled:
    """A level a value where there are few, else one a fifth of the rows; a level of its own for what is missing."""
    missing = np.isnan(values)
    edges = _edges(values[:: max(len(values) // SAMPLED, 1)])
    codes = np.zeros(len(values), dtype=np.int16)
    for edge in edges:
        codes += values >= edge
    codes[missing] = len(edges) + 1

    def said(level: int) -> str:
        return f"{name} missing" if level > len(edges) else f"{name}{_range(values[codes == level])}"

    return Levelled(name=name, codes=codes, count=len(edges) + 1 + bool(missing.any()), said=said)


def _edges(values: Floats) -> Floats:
    """Where levels begin, but for the first; a value that fills a fifth by itself has a level of its own."""
    ordered = np.sort(values[~np.isnan(values)])
    distinct, first = np.unique(ordered, return_index=True)
    if len(distinct) <= FEW_VALUES:
        return np.asarray(distinct[1:], dtype=np.float64)
    begins = np.unique(np.searchsorted(first, np.arange(1, BINS) * len(ordered) // BINS, side="right") - 1)
    filling = np.diff(first, append=len(ordered)) * BINS >= len(ordered)
    edges: Floats = distinct[np.union1d(begins, np.flatnonzero(filling[:-1]) + 1)]
    above: Floats = edges[edges > distinct[0]]
    return above


def _range(values: Floats) -> str:
    low, high = f"{values.min():.6g}", f"{values.max():.6g}"
    if low == high:
        return f"={low}"
    return f" {low} to {high}" if "-" in low + high else f" {low}-{high}"
