"""Read what a CatBoost model knows of categories: one-hot splits, and statistics (CTRs) of categories and combinations.

A statistic is a number for each combination of categories and binary tests that training saw, stored under a hash of
the combination. Every size and index is checked here, so the library can be given the same bytes. The rules follow
CatBoost's static_ctr_provider.cpp, ctr_provider.h and ctr_data.fbs, versions 0.26 to 1.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from headway.core.arrays import Floats, Ints
from headway.engines.formats.flatbuffer import FlatTable, root_table

CATEGORIES = "headway_categories"
"""Key of a model's own notes: for each categorical column the strings that ranks stand for, or null for integers."""
MAX_INTEGER = 2**53
"""Largest magnitude of a category that is an integer: a row holds all digits up to here."""
_PART = "static_provider_v1"
_BORDERS, _BUCKETS, _BINARY_MEAN, _FLOAT_MEAN, _COUNTER, _FREQUENCY = range(6)
_MEANS, _COUNTS = (_BINARY_MEAN, _FLOAT_MEAN), (_COUNTER, _FREQUENCY)
_MAX_BORDERS, _MAX_COLUMNS = 2**15, 2**20
_SLOT = np.dtype([("hash", "<u8"), ("index", "<u4")])
_EMPTY = np.uint64(2**64 - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Combination:
    """What a statistic is of: categorical columns, then tests `column > border`, then tests `column == hash`.

    Columns are indices among the categorical ones, or among the numeric ones for `above`.
    """

    categories: tuple[int, ...]
    above: tuple[tuple[int, float], ...] = ()
    equal: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistic:
    """A column that the model computes: the number of `borders` below a statistic of the row's combination.

    `hashes` [m] are the combinations that training saw, and `bins` [m] their values; all others have `unseen_bin`. A
    one-hot column is the same, with the position of a category among those that are split on.
    """

    combination: Combination
    hashes: NDArray[np.uint64]
    bins: Ints
    unseen_bin: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryColumns:
    """The categorical columns of a model, and the columns that are computed from them.

    Attributes
    ----------
    columns, numbers : ndarray
        Index in a row of each categorical and of each numeric column.
    names : tuple of str
        Names of the categorical columns.
    one_hot, statistics : tuple of Statistic
        The computed columns, in the order of their splits.
    splits : ndarray
        Number of splits of each computed column.
    listed : tuple of (tuple of str, or None)
        For each categorical column, the strings whose ranks a row holds; None if it holds integers. Empty if the model
        was not bound to a table.
    """

    columns: Ints
    numbers: Ints
    names: tuple[str, ...]
    one_hot: tuple[Statistic, ...]
    statistics: tuple[Statistic, ...]
    splits: Ints
    listed: tuple[tuple[str, ...] | None, ...]

    @property
    def computed(self) -> tuple[Statistic, ...]:
        """All computed columns, which follow those of the row."""
        return (*self.one_hot, *self.statistics)


NO_CATEGORIES = CategoryColumns(
    columns=np.zeros(0, np.int64),
    numbers=np.zeros(0, np.int64),
    names=(),
    one_hot=(),
    statistics=(),
    splits=np.zeros(0, np.int64),
    listed=(),
)
"""Those of a model that reads numbers only."""


def combine_hashes(first: NDArray[np.uint64], second: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Add one part to the hash of a combination, as the library does."""
    multiplier = np.uint64(0x4906BA494954CB65)
    with np.errstate(over="ignore"):
        combined: NDArray[np.uint64] = multiplier * (first + multiplier * second)
    return combined


def read_categories(
    trees: FlatTable, parts: Sequence[str], content: bytes, *, numbers: Ints, borders: Sequence[Floats], notes: str
) -> CategoryColumns | None:
    """Read the categorical columns of a model, None if it has none.

    Parameters
    ----------
    trees : FlatTable
        The trees of the model.
    parts : sequence of str
        Names of the parts behind the trees.
    content : bytes
        These parts.
    numbers : ndarray
        Index in a row of each numeric column.
    borders : sequence of ndarray
        Borders of each numeric column.
    notes : str
        What `bind` stored under CATEGORIES, or an empty string.

    Raises
    ------
    ValueError
        If an index or a size is invalid.
    """
    fields = trees.tables(4)
    one_hot_tables, statistic_tables = trees.tables(6), trees.tables(7)
    if not fields:
        _require(not one_hot_tables, "one-hot splits without a column")
        _require(not statistic_tables, "statistics of categories without a column")
        _require(not parts, "parts after the trees")
        return None
    _require(len(fields) <= _MAX_COLUMNS, f"{len(fields)} categorical columns")
    _require([field.integer(0, "<i", -1) for field in fields] == list(range(len(fields))), "reordered categories")
    one_hot = [_one_hot(table, len(fields)) for table in one_hot_tables]
    _require(len({column for column, _ in one_hot}) == len(one_hot), "one-hot columns that repeat")
    values = dict(one_hot)
    _require(list(parts) == ([_PART] if parts else []), "unknown parts after the trees")
    tables = _read_tables(content) if parts else {}
    statistics = [_statistic(table, len(fields), borders, values, tables) for table in statistic_tables]
    return CategoryColumns(
        columns=np.array([field.integer(1, "<i", -1) for field in fields], np.int64),
        numbers=numbers,
        names=tuple(field.string(2) for field in fields),
        one_hot=tuple(_one_hot_statistic(column, hashes) for column, hashes in one_hot),
        statistics=tuple(statistic for statistic, _ in statistics),
        splits=np.array([*(len(hashes) for _, hashes in one_hot), *(count for _, count in statistics)], np.int64),
        listed=_listed(notes, len(fields)),
    )


def category_notes(listed: Sequence[tuple[str, ...] | None]) -> str:
    """Return the strings of each categorical column as `read_categories` expects them."""
    return msgspec.json.encode(listed).decode()


def _require(holds: bool | np.bool_, reason: str) -> None:
    if not holds:
        raise ValueError(reason)


def _listed(notes: str, columns: int) -> tuple[tuple[str, ...] | None, ...]:
    if not notes:
        return ()
    try:
        listed = msgspec.json.decode(notes, type=tuple[tuple[str, ...] | None, ...])
    except msgspec.MsgspecError as error:
        raise ValueError(f"the notes on categories are damaged: {error}") from error
    _require(len(listed) == columns, "notes on other categorical columns")
    return listed


def _one_hot(table: FlatTable, columns: int) -> tuple[int, Ints]:
    column, hashes = table.integer(0, "<i", -1), table.array(1, np.int32).astype(np.int64)
    _require(0 <= column < columns, "a one-hot column that does not exist")
    _require(len(np.unique(hashes)) == len(hashes) < _MAX_BORDERS, "one-hot values that repeat")
    return column, hashes


def _one_hot_statistic(column: int, hashes: Ints) -> Statistic:
    keys = combine_hashes(np.zeros(len(hashes), np.uint64), hashes.astype(np.uint64))
    return Statistic(
        combination=Combination(categories=(column,)),
        hashes=keys,
        bins=np.arange(len(hashes)),
        unseen_bin=len(hashes),
    )


_Base = tuple[Combination, int, int]


@dataclass(frozen=True, slots=True)
class _StatisticTable:
    hashes: NDArray[np.uint64]
    index: Ints
    blob: bytes
    denominator: int
    classes: int


def _base(table: FlatTable | None) -> _Base:
    """Return what a statistic is of; its columns and borders are not looked up."""
    parts = None if table is None else table.table(0)
    if table is None or parts is None:
        raise ValueError("a statistic without a combination")
    above, equal = parts.array(1, np.int32, 2).astype(np.int32), parts.array(2, np.int32, 2).astype(np.int64)
    combination = Combination(
        categories=tuple(parts.array(0, np.int32).tolist()),
        above=tuple(zip(above[::2].tolist(), above[1::2].copy().view(np.float32).tolist(), strict=True)),
        equal=tuple(zip(equal[::2].tolist(), equal[1::2].tolist(), strict=True)),
    )
    kind, target = table.integer(1, "<b", 0), table.integer(2, "<i", 0)
    _require(_BORDERS <= kind <= _FREQUENCY, f"a statistic of kind {kind}")
    return combination, kind, target


def _check_combination(
    combination: Combination, columns: int, borders: Sequence[Floats], values: dict[int, Ints]
) -> None:
    """Check that a combination names columns, borders and categories of the model."""
    _require(all(0 <= column < columns for column in combination.categories), "a combination of unknown columns")
    _require(
        all(0 <= column < len(borders) and border in borders[column] for column, border in combination.above),
        "a combination with an unknown border",
    )
    _require(
        all(column in values and value in values[column] for column, value in combination.equal),
        "a combination with an unknown category",
    )


def _read_tables(content: bytes) -> dict[_Base, _StatisticTable]:
    """Return all tables; those that only dropped trees used stay in the file, with borders that it no longer has."""
    count, at = int.from_bytes(content[:4], "little"), 4
    found: dict[_Base, _StatisticTable] = {}
    for _ in range(count):
        size = int.from_bytes(content[at : at + 4], "little")
        _require(0 < size <= len(content) - at - 4, "a table of statistics that is truncated")
        table = root_table(content[at + 4 : at + 4 + size])
        base = _base(table.table(0))
        _require(base not in found, "tables of statistics that repeat")
        found[base] = _read_table(table, base[1])
        at += 4 + size
    _require(at == len(content), "bytes behind the statistics")
    return found


def _read_table(table: FlatTable, kind: int) -> _StatisticTable:
    slots = table.array(1, np.uint8)
    count = len(slots) // _SLOT.itemsize
    _require(len(slots) == count * _SLOT.itemsize and count.bit_count() == 1, "a hash table that is not a power of two")
    entries = slots.view(_SLOT)
    entries = entries[entries["hash"] != _EMPTY]
    _require(len(entries) < count, "a hash table without an empty slot")  # the library would search for ever
    _require(len(np.unique(entries["hash"])) == len(entries), "a hash table with a repeated hash")
    blob, classes = table.array(2, np.uint8).tobytes(), table.integer(4, "<i", 0)
    size = 8 if kind in _MEANS else 4 if kind in _COUNTS else 4 * classes
    _require(kind in (*_MEANS, *_COUNTS) or 2 <= classes <= 2**16, f"statistics of {classes} classes")
    index = entries["index"].astype(np.int64)
    _require(len(blob) % size == 0 and np.all(index < len(blob) // size), "a statistic that does not exist")
    return _StatisticTable(entries["hash"].astype(np.uint64), index, blob, table.integer(3, "<i", 0), classes)


def _statistic(
    feature: FlatTable,
    columns: int,
    borders: Sequence[Floats],
    values: dict[int, Ints],
    tables: dict[_Base, _StatisticTable],
) -> tuple[Statistic, int]:
    """Return a computed column and its number of borders."""
    statistic = feature.table(0)
    if statistic is None:
        raise ValueError("a statistic without a definition")
    base = _base(statistic.table(0))
    _check_combination(base[0], columns, borders, values)
    table = tables.get(base)
    if table is None:
        raise ValueError("a statistic without a table")
    with np.errstate(all="ignore"):  # as float32 arithmetic goes in the library
        edges = feature.array(1, np.float32).astype(np.float32)
        _require(len(edges) < _MAX_BORDERS and np.all(np.isfinite(edges)) and np.all(np.diff(edges) > 0), "borders")
        good, total = _counts(table, base[1], statistic.integer(1, "<i", 0))
        prior, weight, shift, scale = (
            np.float32(statistic.number(field, "<f", absent))
            for field, absent in ((2, 0.0), (3, 1.0), (4, 0.0), (5, 1.0))
        )
        numbers = ((good + prior) / (total + weight) + shift) * scale
    bins = np.where(np.isnan(numbers), 0, np.searchsorted(edges, numbers))  # a NaN is above none
    found = Statistic(combination=base[0], hashes=table.hashes, bins=bins[:-1], unseen_bin=int(bins[-1]))
    return found, len(edges)


def _counts(table: _StatisticTable, kind: int, target: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return both counts of each combination as float32; the last one is that of an unseen combination."""
    none = np.zeros(1, np.float32)
    if kind in _MEANS:
        pairs = np.frombuffer(table.blob, [("sum", "<f4"), ("count", "<i4")])[table.index]
        return np.append(pairs["sum"].astype(np.float32), none), np.append(pairs["count"].astype(np.float32), none)
    if kind in _COUNTS:
        seen = np.append(np.frombuffer(table.blob, "<i4")[table.index].astype(np.float32), none)
        return seen, np.full(len(seen), np.float32(table.denominator))
    counts = np.frombuffer(table.blob, "<i4").reshape(-1, table.classes)[table.index].astype(np.int64)
    if kind == _BUCKETS:
        _require(0 <= target < table.classes, "a statistic of an unknown class")
        good: Ints = counts[:, target]
    else:
        _require(0 <= target < table.classes - 1, "a statistic of an unknown class")
        good = counts[:, target + 1 :].sum(axis=1) if table.classes > 2 else counts[:, 1]
    total = counts.sum(axis=1)
    return np.append(good.astype(np.float32), none), np.append(total.astype(np.float32), none)
