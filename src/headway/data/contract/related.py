"""Relations that hold in every row and that chance would not bring: what is worth agreeing on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, permutations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from headway.data.contract.hold import validate_table
from headway.data.contract.relations import Relation
from headway.data.contract.rules import SUM_TOLERANCE
from headway.data.contract.terms import ColumnContract, TableContract

MAX_COLUMNS = 60
MIN_PAIRS = 20
SAMPLE_ROWS = 1_000
BY_CHANCE = 0.9
ROWS_PER_VALUE = 10


def find_relations(table: pl.DataFrame, columns: Mapping[str, ColumnContract]) -> tuple[str, ...]:
    """The relations that every row of a table bears out, of its first 60 columns.

    An order is told where it would hold in less than 0.9 of the rows if one column were dealt anew, and no two others
    imply it; what a column tells of another where its values come ten times each, and the other is not nearly always
    the same.
    """
    names = list(columns)[:MAX_COLUMNS]
    some = table.gather_every(max(1, len(table) // SAMPLE_ROWS))
    asked = {name: ColumnContract(type=columns[name].type, missing=1.0) for name in names}
    found = [*_orders(some, asked), *_sums(some, asked), *_dependencies(table, some, asked)]
    contract = TableContract(columns=asked, relations=tuple(map(str, found)))
    violated = {each.rule.reason for each in validate_table(contract, table).violations}
    kept = [each for each in found if f"not {each}" not in violated]
    return tuple(str(each) for each in kept if not _implied(each, kept))


def _orders(some: pl.DataFrame, columns: Mapping[str, ColumnContract]) -> Iterator[Relation]:
    for kinds in (("number", "whole"), ("date",), ("time",)):
        names = [name for name, terms in columns.items() if terms.type in kinds]
        values = _floats(some, names)
        anew = np.random.default_rng(0).permutation(len(values))
        for a, b in permutations(range(len(names)), 2):
            left, right = values[:, a], values[:, b]
            both = ~np.isnan(left) & ~np.isnan(right)
            if both.sum() < MIN_PAIRS or not (left <= right)[both].all():
                continue
            same = bool((left == right)[both].all())
            if same and a < b and len(np.unique(left[both])) > 1:
                yield Relation(kind="==", left=(names[a],), right=names[b])
            dealt = right[anew]
            if not same and (left <= dealt)[both & ~np.isnan(dealt)].mean() < BY_CHANCE:
                yield Relation(kind="<=", left=(names[a],), right=names[b])


def _sums(some: pl.DataFrame, columns: Mapping[str, ColumnContract]) -> Iterator[Relation]:
    names = [name for name, terms in columns.items() if terms.type in ("number", "whole")]
    names = [name for name in names if some[name].drop_nulls().n_unique() > 1]
    values = _floats(some, names)
    for a, b in combinations(range(len(names)), 2):
        total = (values[:, a] + values[:, b])[:, None]
        known = ~np.isnan(total) & ~np.isnan(values)
        off = known & (np.abs(total - values) > SUM_TOLERANCE * np.maximum(np.abs(values), 1.0))
        for c in np.flatnonzero(~off.any(axis=0) & (known.sum(axis=0) >= MIN_PAIRS)):
            if c not in (a, b):
                yield Relation(kind="+", left=(names[a], names[b]), right=names[int(c)])


def _dependencies(table: pl.DataFrame, some: pl.DataFrame, columns: Mapping[str, ColumnContract]) -> Iterator[Relation]:
    named = [name for name, terms in columns.items() if terms.type != "time"]
    counts = {name: table[name].drop_nulls().n_unique() for name in named}
    telling = [each for each in named if 1 < counts[each] * ROWS_PER_VALUE <= len(table)]
    telling = [each for each in telling if columns[each].type not in ("number", "boolean")]
    for name in named:
        most = table[name].drop_nulls().value_counts(sort=True)["count"]
        if len(most) < 2 or most[0] > BY_CHANCE * len(table):
            continue
        for key in telling:
            pairs = some.select(key, name).drop_nulls() if key != name else some.clear()
            if len(pairs) >= MIN_PAIRS and pairs.n_unique() == pairs[key].n_unique():
                yield Relation(kind="->", left=(key,), right=name)


def _floats(some: pl.DataFrame, names: Sequence[str]) -> NDArray[np.float64]:
    """Columns as numbers, float64 [n, d], NaN where missing."""
    columns = [some[name].to_physical().cast(pl.Float64).fill_null(float("nan")).to_numpy() for name in names]
    return np.column_stack(columns) if columns else np.empty((len(some), 0))


def _implied(relation: Relation, kept: Sequence[Relation]) -> bool:
    """Whether an order follows from two others, or what is told from two columns being equal."""
    if relation.kind == "->":
        return any(each.kind == "==" and {*each.columns} == {*relation.columns} for each in kept)
    if relation.kind != "<=":
        return False
    orders = {(each.left[0], each.right) for each in kept if each.kind == "<="}
    middles = {right for left, right in orders if left == relation.left[0]}
    return any((middle, relation.right) in orders for middle in middles - {relation.right})
