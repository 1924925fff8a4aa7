"""Compile a CatBoost model with categories: a forest, and the tables that compute its columns from categories.

The kernel adds the computed columns behind those of a row, as small integers. All columns of one combination share a
hash table: from the hash of the combination to an entry, which holds a number for each of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.core.arrays import Bools, Ints
from headway.core.categories import category_hash
from headway.core.errors import NotApplicable
from headway.engines.compiled.artifact import pack_arrays, unpack_arrays
from headway.engines.compiled.forest import compile_forest, read_forest
from headway.engines.formats.catboost import CatboostModel, catboost_forest
from headway.engines.formats.catboost_ctr import CategoryColumns, Combination, Statistic

Array = NDArray[Any]

_MAGIC = b"headway category forest 1\n"
_KINDS = (
    *("uint8", "int64", "int32", "uint8", "int64", "uint32", "int64", "int32", "int64", "uint8", "int32", "float64"),
    *("int64", "uint64", "int32", "int64", "int32", "int64", "uint16"),
)
_ABOVE, _ABOVE_OR_MISSING, _EQUAL = 0, 1, 2


def compile_categories(model: CatboostModel) -> bytes:
    """Return the bytes of the forest of a model that reads categories.

    Raises NotApplicable if the model was not bound to a table.
    """
    forest, categories = catboost_forest(model), model.categories
    if categories is None or not categories.listed:
        raise NotApplicable("the model was not bound to a table, so the strings of its categorical columns are unknown")
    used = {int(column) for tree in forest.trees for column in tree.feature}
    groups: dict[Combination, list[tuple[int, Statistic]]] = {}
    for index, statistic in enumerate(categories.computed, start=model.width):
        if index in used:
            groups.setdefault(statistic.combination, []).append((index, statistic))
    ranks = [[category_hash(text) for text in listed or ()] for listed in categories.listed]
    tests = [_tests(combination, categories, model.missing_right) for combination in groups]
    tables = [_table([statistic for _, statistic in group]) for group in groups.values()]
    return pack_arrays(
        _MAGIC,
        _KINDS,
        np.frombuffer(compile_forest(forest), np.uint8),
        np.array([model.width, forest.width]),
        categories.columns,
        np.array([listed is not None for listed in categories.listed]),
        _offsets(ranks),
        np.array([value for values in ranks for value in values], np.uint32),
        _offsets([combination.categories for combination in groups]),
        np.array([column for combination in groups for column in combination.categories], np.int32),
        _offsets(tests),
        *(np.array([test[part] for found in tests for test in found], np.float64) for part in range(3)),
        _offsets([hashes for hashes, _, _ in tables]),
        np.concatenate([np.zeros(0, np.uint64), *(hashes for hashes, _, _ in tables)]),
        np.concatenate([np.zeros(0, np.int32), *(entries for _, entries, _ in tables)]),
        _offsets(list(groups.values())),
        np.array([index for group in groups.values() for index, _ in group], np.int32),
        _offsets([values for _, _, values in tables]),
        np.concatenate([np.zeros(0, np.uint16), *(values for _, _, values in tables)]),
    )


def is_category_forest(content: bytes) -> bool:
    """Return whether an artifact is a forest with categories."""
    return content.startswith(_MAGIC)


def read_category_forest(content: bytes) -> tuple[list[Array], list[Array]]:
    """Return the arrays of the forest, and those of the categories; raise EngineError for damaged bytes."""
    forest, *arrays = unpack_arrays(content, _MAGIC, _KINDS, "compiled forest")
    return read_forest(forest.tobytes()), arrays


def _offsets(parts: Sequence[Any]) -> Ints:
    return np.cumsum([0, *(len(part) for part in parts)], dtype=np.int64)


def _tests(combination: Combination, categories: CategoryColumns, missing_right: Bools) -> list[tuple[int, int, float]]:
    """Return the kind, column and value of each test of a combination; a test of equality reads a categorical one."""
    found = [(int(categories.numbers[column]), border) for column, border in combination.above]
    above = [(_ABOVE_OR_MISSING if missing_right[column] else _ABOVE, column, border) for column, border in found]
    return above + [(_EQUAL, column, float(value)) for column, value in combination.equal]


def _table(statistics: list[Statistic]) -> tuple[NDArray[np.uint64], NDArray[np.int32], NDArray[np.uint16]]:
    """Return the hashes and entries of the slots of a table, at most half of them used, and the values of its entries.

    Entry 0 is that of combinations that training did not see. A slot without an entry has -1.
    """
    known = np.unique(np.concatenate([statistic.hashes for statistic in statistics]))
    values = np.empty((len(known) + 1, len(statistics)), np.uint16)
    for number, statistic in enumerate(statistics):
        values[:, number] = statistic.unseen_bin
        values[1 + np.searchsorted(known, statistic.hashes), number] = statistic.bins
    size = 2 << len(known).bit_length()
    hashes, entries = np.zeros(size, np.uint64), np.full(size, -1, np.int32)
    for entry, value in enumerate(known.tolist(), start=1):
        slot = value & (size - 1)
        while entries[slot] >= 0:
            slot = (slot + 1) & (size - 1)
        hashes[slot], entries[slot] = value, entry
    return hashes, entries, values.ravel()
