"""Statistics of categories are read completely, or the model is rejected with the reason."""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path

import numpy as np
import pytest
from tests.engines.catboosters import category_cbm
from tests.engines.category_worlds import make_world

from headway.core.categories import category_hash
from headway.core.errors import EngineError
from headway.engines.catboost import Catboost
from headway.engines.formats.catboost import read_catboost
from headway.engines.formats.catboost_ctr import Combination, _check_combination, _read_tables, combine_hashes
from headway.engines.formats.flatbuffer import FlatTable, root_table


def behind(content: bytes) -> int:
    """Where the statistics begin."""
    return 8 + int.from_bytes(content[4:8], "little")


def table_start(content: bytes) -> int:
    """Where the first table of statistics begins, after the number of tables and its size."""
    return behind(content) + 8


def first_table(content: bytes) -> FlatTable:
    return root_table(content[table_start(content) :])


def with_number(content: bytes, at: int, kind: str, value: int) -> bytes:
    return content[:at] + struct.pack(kind, value) + content[at + struct.calcsize(kind) :]


def slots(content: bytes) -> tuple[int, int]:
    """Position and number of the slots of the first hash table."""
    table = first_table(content)
    at, size = table._vector(table._find(1))
    return table_start(content) + at, size // 12


def test_the_columns_of_a_model_with_categories_are_found() -> None:
    model = read_catboost(category_cbm())
    assert model.names == ("port", "gap", "hour", "leg") and model.categories is not None
    assert model.categories.columns.tolist() == [0, 2, 3] and model.categories.numbers.tolist() == [1]
    assert len(model.categories.one_hot) == 1 and model.categories.statistics and model.categories.listed == ()


def test_a_category_is_found_by_its_hash() -> None:
    categories = read_catboost(category_cbm()).categories
    assert categories is not None
    (one_hot,) = categories.one_hot
    hashes = np.array([category_hash(name) for name in "abc"], np.uint32).view(np.int32).astype(np.int64)
    keys = combine_hashes(np.zeros(3, np.uint64), hashes.astype(np.uint64))
    assert set(one_hot.hashes.tolist()) <= set(keys.tolist())
    single = next(found for found in categories.statistics if len(found.combination.categories) == 1)
    assert len(single.hashes) in (5, 9)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda content: content[:-1], "truncated"),
        (lambda content: content + b"\0", "bytes behind the statistics"),
        (lambda content: with_number(content, behind(content), "<I", 1), "bytes behind the statistics"),
        (lambda content: with_number(content, slots(content)[0] - 4, "<I", 11), "not a power of two"),
        (lambda content: with_number(content, slots(content)[0] - 4, "<I", 36), "not a power of two"),
        (lambda content: content.replace(b"static_provider_v1", b"static_provider_v9"), "unknown parts"),
    ],
)
def test_damaged_statistics_are_rejected(spoil, message: str) -> None:
    with pytest.raises(EngineError, match="not a CatBoost model") as refusal:
        read_catboost(spoil(category_cbm()))
    assert message in refusal.value.what


def positions(content: bytes, *, used: bool) -> list[int]:
    """Positions of the slots of the first hash table that are used, or that are empty."""
    start, count = slots(content)
    every = [start + 12 * slot for slot in range(count)]
    return [at for at in every if (content[at : at + 8] != b"\xff" * 8) == used]


def filled(content: bytes) -> bytes:
    """A hash table without an empty slot, in which the library would search for ever."""
    for number, at in enumerate(positions(content, used=False)):
        content = with_number(content, at, "<Q", number + 1)
    return content


def repeated(content: bytes) -> bytes:
    """A hash table with one hash twice."""
    first, second = positions(content, used=True)[:2]
    return content[:second] + content[first : first + 8] + content[second + 8 :]


def far(content: bytes) -> bytes:
    """A hash table with an entry that does not exist."""
    return with_number(content, positions(content, used=True)[0] + 8, "<I", 10**6)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (filled, "without an empty slot"),
        (repeated, "a repeated hash"),
        (far, "a statistic that does not exist"),
    ],
)
def test_hash_tables_that_the_library_would_misread_are_rejected(spoil, message: str) -> None:
    with pytest.raises(EngineError) as refusal:
        Catboost(spoil(category_cbm()), {})
    assert message in refusal.value.what


@pytest.mark.parametrize("notes", ["[", "[null]", '[["a"], null, [1]]'])
def test_damaged_notes_on_categories_are_rejected(notes: str) -> None:
    model = Catboost(category_cbm(), {})._model
    model.get_metadata()["headway_categories"] = notes
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.cbm"
        model.save_model(str(path))
        content = path.read_bytes()
    with pytest.raises(EngineError, match="not a CatBoost model"):
        read_catboost(content)


def test_a_model_that_its_library_truncated_is_read_though_unused_statistics_name_dropped_borders() -> None:
    world = make_world(
        0, rows=400, categories=60, iterations=60, depth=6, max_ctr_complexity=4, grow_policy="SymmetricTree"
    )
    content, _ = world.bound()
    first = Catboost.truncate(content, 6)
    core = root_table(first[8 : behind(first)])
    trees = core.table(1)
    assert trees is not None
    borders = [column.array(3, np.float32).tolist() for column in trees.tables(5)]
    named = [test for combination, *_ in _read_tables(first[behind(first) :]) for test in combination.above]
    assert any(border not in borders[column] for column, border in named), "the library kept statistics of later trees"
    assert len(read_catboost(first).sizes) == 6


def test_a_statistic_in_use_of_an_unknown_border_is_rejected() -> None:
    combination = Combination(categories=(0,), above=((0, 0.25),), equal=((1, 7),))
    values = {1: np.array([7])}
    _check_combination(combination, 2, [np.array([0.25])], values)
    for columns, borders, known, message in (
        (0, [np.array([0.25])], values, "unknown columns"),
        (2, [np.array([0.5])], values, "unknown border"),
        (2, [np.array([0.25])], {}, "unknown category"),
    ):
        with pytest.raises(ValueError, match=message):
            _check_combination(combination, columns, borders, known)
