"""Compile a CatBoost model with categories: the columns that are computed from them, and the trees that read these.

A computed column is a small integer: the position of a category, or the number of borders below a statistic. Columns
of one combination share a hash table, whose slots hold the hash of a combination and a byte for each of its columns.
Symmetric trees have a form of their own, over bytes; other trees are a forest over the row and the computed columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
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
    *("uint8", "int64", "int32", "uint8", "int64", "uint32", "int64", "int32", "int64", "int32", "uint8", "int32"),
    "float64",
    *("int64", "uint64", "uint64", "int64", "int32"),
    *("int32", "uint8", "int64", "float32", "int64", "int32", "uint8", "uint8", "float64", "float64"),
)
_MAX_BYTE, _BYTES_PER_SLOT, _SLOTS_PER_LINE, _PLANE_BORDERS, _MAX_DEPTH = 255, 8, 4, 254, 8
_EMPTY = 2**64 - 1
_ABOVE, _ABOVE_OR_MISSING, _EQUAL = 0, 1, 2


def compile_categories(model: CatboostModel) -> bytes:
    """Return the bytes of the trees of a model that reads categories, and of what computes its columns.

    Raises NotApplicable if the model was not bound to a table, or a column has more than 255 values.
    """
    categories = model.categories
    if categories is None or not categories.listed:
        raise NotApplicable("the model was not bound to a table, so the strings of its categorical columns are unknown")
    used = set(model.feature.tolist())
    groups: dict[tuple[Combination, int], list[tuple[int, Statistic]]] = {}
    for index, statistic in enumerate(categories.computed, start=model.width):
        if index in used:
            number = 0
            while len(groups.get((statistic.combination, number), ())) == _BYTES_PER_SLOT:
                number += 1
            groups.setdefault((statistic.combination, number), []).append((index, statistic))
    if any(
        statistic.unseen_bin > _MAX_BYTE or statistic.bins.max(initial=0) > _MAX_BYTE
        for statistic in categories.computed
    ):
        raise NotApplicable("a column that it computes has more than 255 values")
    ranks = [[category_hash(text) for text in listed or ()] for listed in categories.listed]
    combinations = [combination for combination, _ in groups]
    tests = [_tests(combination, categories, model.missing_right) for combination in combinations]
    distinct = {test: number for number, test in enumerate(sorted({test for found in tests for test in found}))}
    tables = [_table([statistic for _, statistic in group]) for group in groups.values()]
    forest, symmetric = catboost_forest(model), _symmetric(model)
    if symmetric is not None:
        forest = replace(forest, trees=())
    return pack_arrays(
        _MAGIC,
        _KINDS,
        np.frombuffer(compile_forest(forest), np.uint8),
        np.array([model.width, forest.width]),
        categories.columns,
        np.array([listed is not None for listed in categories.listed]),
        _offsets(ranks),
        np.array([value for values in ranks for value in values], np.uint32),
        _offsets([combination.categories for combination in combinations]),
        np.array([column for combination in combinations for column in combination.categories], np.int32),
        _offsets(tests),
        np.array([distinct[test] for found in tests for test in found], np.int32),
        *(np.array([test[part] for test in distinct], np.float64) for part in range(3)),
        _offsets([slots for slots, _ in tables]),
        np.concatenate([np.zeros((0, 2), np.uint64), *(slots for slots, _ in tables)]).ravel(),
        np.array([unseen for _, unseen in tables], np.uint64),
        _offsets(list(groups.values())),
        np.array([index for group in groups.values() for index, _ in group], np.int32),
        *(symmetric or _NOT_SYMMETRIC),
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


def _table(statistics: list[Statistic]) -> tuple[NDArray[np.uint64], int]:
    """Return the slots of a hash table [size, 2], and the bytes of unseen combinations.

    A slot is a hash and the bytes of its columns, the first one lowest. Four slots are a cache line; a hash is in the
    line that its highest bits number, or, if that is full, in the next one that is not. The library never finds the
    hash that marks an empty slot.
    """
    known = np.unique(np.concatenate([statistic.hashes for statistic in statistics]))
    packed, unseen = np.zeros(len(known), np.uint64), 0
    for number, statistic in enumerate(statistics):
        values = np.full(len(known), statistic.unseen_bin, np.uint64)
        values[np.searchsorted(known, statistic.hashes)] = statistic.bins
        packed |= values << np.uint64(8 * number)
        unseen |= statistic.unseen_bin << 8 * number
    bits = max(len(known).bit_length() - 1, 1)
    lines = 1 << bits
    slots, used = np.full((lines, _SLOTS_PER_LINE, 2), _EMPTY, np.uint64), [0] * lines
    for hash_, bytes_ in zip(known.tolist(), packed.tolist(), strict=True):
        line = hash_ >> (64 - bits)
        while used[line] == _SLOTS_PER_LINE:
            line = (line + 1) % lines
        slots[line, used[line]] = hash_, bytes_
        used[line] += 1
    return slots.reshape(-1, 2), unseen


_NOT_SYMMETRIC = (*(np.zeros(size) for size in (0, 0, 1, 0, 1, 0, 0, 0, 0, 0)),)


def _symmetric(model: CatboostModel) -> tuple[Array, ...] | None:
    """Return the arrays of symmetric trees; None for others, for trees of more than 256 leaves, and for a column with
    more than 255 borders.

    A plane is a byte of each row: the value of a computed column, or the number of borders below a number, among at
    most 254. A split is `(byte ^ flip) >= bound`; equality flips all bits of the value, and no other byte is 255 then.
    """
    if not model.symmetric or model.sizes.max(initial=0) > _MAX_DEPTH:
        return None
    planes: list[tuple[int, NDArray[np.float32]]] = []
    plane, flip = np.zeros(len(model.feature), np.int64), np.zeros(len(model.feature), np.int64)
    bound = np.where(model.feature < model.width, 0, model.border).astype(np.int64) + 1
    for column in np.unique(model.feature).tolist():
        splits = np.flatnonzero(model.feature == column)
        if column >= model.width:
            plane[splits] = len(planes)
            planes.append((column, np.zeros(0, np.float32)))
            continue
        borders, rank = np.unique(model.border[splits].astype(np.float32), return_inverse=True)
        plane[splits], bound[splits] = len(planes) + rank // _PLANE_BORDERS, rank % _PLANE_BORDERS + 1
        planes += [(column, borders[at : at + _PLANE_BORDERS]) for at in range(0, len(borders), _PLANE_BORDERS)]
    if bound.max(initial=0) > _MAX_BYTE:  # a border that no value of its column is above
        return None
    flip[model.equal] = _MAX_BYTE - model.border[model.equal].astype(np.int64)
    bound[model.equal] = _MAX_BYTE
    return (
        np.array([column for column, _ in planes]),
        np.array([_MAX_BYTE * bool(model.missing_right[column]) for column, _ in planes]),
        _offsets([borders for _, borders in planes]),
        np.concatenate([np.zeros(0, np.float32), *(borders for _, borders in planes)]),
        np.cumsum([0, *model.sizes]),
        plane,
        flip,
        bound,
        model.leaf.ravel() * model.scale,
        model.bias,
    )
