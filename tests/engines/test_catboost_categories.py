"""A CatBoost model with categories answers bit for bit as the library, by its engine and by the compiled form."""

from __future__ import annotations

import functools
from dataclasses import replace

import catboost
import numpy as np
import pandas as pd
import pytest
from tests.engines.category_worlds import CategoryWorld, make_world, raw_trees, rows_of

from headway.core.categories import category_hash
from headway.core.errors import EngineError, NotApplicable
from headway.core.variant import Field, Signature
from headway.engines.catboost import Catboost
from headway.engines.compiled.artifact import LEVELS
from headway.engines.compiled.categories import compile_categories, read_category_forest
from headway.engines.formats.catboost import read_catboost
from headway.engines.trees import Trees
from headway.serving.protocol.tensors import string_codes

DEEP = {"max_ctr_complexity": 4, "one_hot_max_size": 2, "iterations": 25, "grow_policy": "SymmetricTree"}


@functools.cache
def deep_world() -> CategoryWorld:
    """A model with combinations of several columns and binary tests."""
    return make_world(12, **DEEP)


def furthest(world: CategoryWorld, table: pd.DataFrame, level: str) -> float:
    """The largest difference of the raw scores from the library's, of a batch in either order and row by row."""
    content, signature = world.bound()
    trees, rows, wanted = raw_trees(content, level), rows_of(table, signature), world.scores(table)
    single = np.concatenate([trees.predict(row[None]) for row in rows])
    found = (trees.predict(rows), trees.predict(np.asfortranarray(rows)), single)
    return float(max(np.abs(scores - wanted).max() for scores in found))


@pytest.mark.parametrize("seed", range(6))
def test_raw_scores_are_those_of_the_library_bit_for_bit(seed: int) -> None:
    world = make_world(seed)
    level = ("portable", "")[seed % 2]
    assert furthest(world, world.seen, level) == 0
    assert furthest(world, world.unseen, level) == 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 140))
def test_raw_scores_of_many_random_models_are_those_of_the_library(seed: int) -> None:
    world = make_world(seed)
    for level in ("portable", ""):
        assert furthest(world, world.seen, level) == furthest(world, world.unseen, level) == 0


def test_combinations_with_tests_of_numbers_and_categories_are_exact() -> None:
    world = deep_world()
    categories = read_catboost(world.bound()[0]).categories
    assert categories is not None
    parts = [statistic.combination for statistic in categories.statistics]
    assert max(len(part.categories) + len(part.above) + len(part.equal) for part in parts) >= 3
    assert any(part.above for part in parts) or any(part.equal for part in parts)
    assert all(furthest(world, world.unseen, level) == 0 for level in LEVELS[: Trees.kernels.level() + 1])


@pytest.mark.parametrize(("columns", "depth", "planes"), [(90, 7, 128), (220, 8, 256), (350, 4, 400)])
def test_models_of_many_columns_are_exact(columns: int, depth: int, planes: int) -> None:
    random = np.random.default_rng(columns)
    table = pd.DataFrame({f"n{index}": random.normal(size=60) for index in range(columns)})
    table.insert(0, "port", random.choice(["a", "b", "c", "d"], 60))
    settings = {"rsm": 0.05, "depth": depth, "iterations": 100, "border_count": 3, "one_hot_max_size": 9}
    quiet = {"verbose": 0, "allow_writing_files": False, "thread_count": 1, "random_seed": 1}
    pool = catboost.Pool(table, random.normal(size=60), cat_features=["port"])
    world = CategoryWorld(
        model=catboost.CatBoost(settings | quiet).fit(pool), seen=table, unseen=table.assign(port="e"), listed=3
    )
    content = world.bound()[0]
    found = len(read_category_forest(compile_categories(read_catboost(content)))[1][17])
    assert planes / 2 < found <= planes
    for level in LEVELS[: Trees.kernels.level() + 1]:
        assert furthest(world, world.seen, level) == furthest(world, world.unseen, level) == 0


def test_a_batch_of_any_number_of_rows_has_the_scores_of_its_rows_alone() -> None:
    random = np.random.default_rng(7)
    ports, carriers = random.integers(0, 23, 300), random.integers(0, 3, 300)
    table = pd.DataFrame({"port": [f"p{port}" for port in ports], "carrier": [f"c{carrier}" for carrier in carriers]})
    table["far"], table["near"] = random.normal(size=300), random.integers(0, 9, 300) / 4
    label = table["far"] * (1 + carriers) + table["near"] * (ports % 5) + random.normal(size=300)
    settings = {"iterations": 60, "depth": 6, "border_count": 254, "one_hot_max_size": 2, "max_ctr_complexity": 3}
    quiet = {"verbose": 0, "allow_writing_files": False, "thread_count": 1, "random_seed": 1}
    pool = catboost.Pool(table, label, cat_features=["port", "carrier"])
    table.loc[::7, "far"], table.loc[::11, "port"] = np.nan, "nan"
    world = CategoryWorld(model=catboost.CatBoost(settings | quiet).fit(pool), seen=table, unseen=table, listed=25)
    content, signature = world.bound()
    rows, wanted = rows_of(table, signature), world.scores(table)
    borders = np.diff(read_category_forest(compile_categories(read_catboost(content)))[1][19])
    assert (borders > 31).any()
    assert ((borders > 0) & (borders <= 31)).any()
    for level in LEVELS[: Trees.kernels.level() + 1]:
        trees = raw_trees(content, level)
        assert np.array_equal(np.concatenate([trees.predict(row[None]) for row in rows]), wanted)
        for count in (15, 16, 17, 63, 64, 65, 129, 255, 256, 257, 300):
            assert np.array_equal(trees.predict(rows[:count]), wanted[:count])


def test_a_border_that_no_byte_reaches_is_below_no_value() -> None:
    content, signature = deep_world().bound()
    model, rows = replace(read_catboost(content), loss="RMSE"), rows_of(deep_world().unseen, signature)
    computed = (model.feature >= model.width) & ~model.equal

    def scores(border: int) -> np.ndarray:
        altered = replace(model, border=np.where(computed, border, model.border))
        return Trees(compile_categories(altered), {}).predict(rows)

    assert computed.any() and np.array_equal(scores(254), scores(255))


def test_the_engine_predicts_as_the_library_with_strings_that_no_list_has() -> None:
    world = deep_world()
    content, signature = world.bound()
    engine = Catboost(content, {})
    engine._kind = "RawFormulaVal"
    found = engine._answers(rows_of(world.unseen, signature)).reshape(len(world.unseen), -1)
    assert np.array_equal(found, world.scores(world.unseen))


def test_counters_are_read_as_counts() -> None:
    world = make_world(3, simple_ctr=["Counter"], combinations_ctr=["Counter"], one_hot_max_size=0, depth=3)
    content, signature = world.bound()
    rows = rows_of(world.unseen, signature)
    assert read_catboost(content).categories.statistics
    assert np.array_equal(raw_trees(content).predict(rows), world.scores(world.unseen))


def frame(count: int = 120) -> pd.DataFrame:
    random = np.random.default_rng(5)
    return pd.DataFrame(
        {
            "port": random.choice(["a", "b", "c"], count),
            "gap": random.normal(size=count),
            "hour": random.integers(0, 9, count),
        }
    )


@functools.cache
def small() -> catboost.CatBoostClassifier:
    table = frame()
    labels = (table["port"] == "a") ^ (table["hour"] % 2 == 0)
    model = catboost.CatBoostClassifier(
        iterations=8, depth=3, verbose=0, allow_writing_files=False, thread_count=1, one_hot_max_size=3
    )
    return model.fit(table, labels.astype(int), cat_features=["port", "hour"])


FIELDS = (Field(name="port", datatype="BYTES", categories=("a", "b")), Field(name="gap"), Field(name="hour"))


def test_a_bound_model_hashes_the_strings_that_the_table_does_not_list() -> None:
    content, signature = Catboost.bind(Catboost.import_model(small()).content, Signature(inputs=FIELDS))
    assert [field.unseen for field in signature.inputs] == ["hashed", "missing", "missing"]
    rows = np.array([[0, 0.1, 3], [2 + category_hash("c"), 0.1, 3], [2 + category_hash("z"), -1.0, 77], [np.nan, 0, 4]])
    table = pd.DataFrame(
        {"port": ["a", "c", "z", "nan"], "gap": [0.1, 0.1, -1.0, 0.0], "hour": np.array([3, 3, 77, 4])}
    )
    wanted = small().predict_proba(table)[:, 1]
    assert np.array_equal(Catboost(content, {}).predict(rows)[:, 0], wanted)
    assert np.allclose(Trees(compile_categories(read_catboost(content)), {}).predict(rows)[:, 0], wanted, atol=1e-15)
    assert np.array_equal(Catboost(content, {}).decide(rows), small().predict(table))


@pytest.mark.parametrize("cell", [(0, -1.0), (0, 0.5), (0, 3 + 2.0**32), (2, 0.5), (2, np.inf), (2, 2.0**54)])
def test_numbers_that_are_no_category_are_rejected(cell: tuple[int, float]) -> None:
    content, _ = Catboost.bind(Catboost.import_model(small()).content, Signature(inputs=FIELDS))
    row = np.array([[0.0, 0.0, 1.0]])
    row[0, cell[0]] = cell[1]
    with pytest.raises(EngineError, match="categorical column holds other numbers"):
        Catboost(content, {}).predict(row)
    with pytest.raises(EngineError, match="not categories"):
        Trees(compile_categories(read_catboost(content)), {}).predict(row)


def test_rows_of_objects_are_scored_as_rows_of_numbers() -> None:
    world = deep_world()
    content, signature = world.bound()
    trees, wanted = raw_trees(content), world.scores(world.unseen)
    codes = tuple(string_codes(field) for field in signature.inputs)
    cells = world.unseen[list(signature.names)].to_numpy(object)
    for rows in (cells, np.asfortranarray(cells), cells.tolist(), tuple(map(tuple, cells))):
        assert np.array_equal(trees.predict_cells(rows, codes), wanted)
    backwards = trees.predict_cells(cells[::-1], codes)
    assert np.array_equal(backwards, wanted[::-1])
    assert trees.predict_cells([], codes).shape == (0, wanted.shape[1])


def test_strings_of_any_length_are_hashed_as_the_library_does() -> None:
    table = pd.DataFrame({"c": ["", *(("é" + "abcdefghij" * 15)[:length] for length in range(1, 150))]})
    settings = {"iterations": 60, "depth": 6, "one_hot_max_size": 255, "learning_rate": 1.0, "l2_leaf_reg": 0}
    quiet = {"verbose": 0, "allow_writing_files": False, "thread_count": 1, "random_seed": 1}
    pool = catboost.Pool(table, np.random.default_rng(1).normal(size=150), cat_features=["c"])
    world = CategoryWorld(model=catboost.CatBoost(settings | quiet).fit(pool), seen=table, unseen=table, listed=0)
    content, signature = world.bound()
    categories = read_catboost(content).categories
    assert categories is not None
    assert len(categories.one_hot[0].hashes) > 100
    codes = tuple(string_codes(field) for field in signature.inputs)
    surrogate = [["\ud800"]]
    assert np.array_equal(raw_trees(content).predict_cells(table.to_numpy(object), codes), world.scores(table))
    assert raw_trees(content).predict_cells(surrogate, codes) == raw_trees(content).predict_cells([["?"]], codes)


class Clearing:
    """A number that empties its row when it is read."""

    def __init__(self, row: list[object]) -> None:
        self.row = row

    def __float__(self) -> float:
        self.row.clear()
        return 1.0


def test_cells_unlike_the_rows_of_the_model_are_rejected() -> None:
    content, signature = Catboost.bind(Catboost.import_model(small()).content, Signature(inputs=FIELDS))
    trees = Trees(compile_categories(read_catboost(content)), {})
    codes = tuple(string_codes(field) for field in signature.inputs)
    cleared: list[object] = ["a", 0.0, 3]
    cleared[1] = Clearing(cleared)
    for rows, error in (
        ([["a", "b", 3]], TypeError),
        ([["a", None, 3]], TypeError),
        ([[3, 0.1, 3]], TypeError),
        ([[[], 0.1, 3]], TypeError),
        ([["a", 0.1]], ValueError),
        (["abc"], ValueError),
        (np.zeros((1, 3)), ValueError),
        (np.array([["a", 0.1]], object), ValueError),
        ([cleared], IndexError),
        ([["a", 0.1, 0.5]], EngineError),
    ):
        with pytest.raises(error):
            trees.predict_cells(rows, codes)
    with pytest.raises(ValueError, match="a dict or None for each column"):
        trees.predict_cells([["a", 0.1, 3]], codes[:2])
    with pytest.raises(KeyError):
        trees.predict_cells([["z", 0.1, 3]], ({"a": 0.0}, None, None))


def test_a_string_column_where_the_model_reads_numbers_is_refused() -> None:
    fields = (FIELDS[0], Field(name="gap", datatype="BYTES"), FIELDS[2])
    with pytest.raises(EngineError, match="column 'gap' is categorical, and the model reads numbers there"):
        Catboost.bind(Catboost.import_model(small()).content, Signature(inputs=fields))


def test_a_model_that_was_not_bound_is_not_compiled() -> None:
    content = Catboost.import_model(small()).content
    with pytest.raises(NotApplicable, match="not bound to a table"):
        compile_categories(read_catboost(content))
    with pytest.raises(NotApplicable, match="only transform `trees` compiles"):
        Catboost.forest(content)
    assert Catboost.category_model(content) is not None


def test_the_first_trees_of_a_bound_model_keep_its_categories() -> None:
    content, _ = Catboost.bind(Catboost.import_model(small()).content, Signature(inputs=FIELDS))
    shorter = Catboost.truncate(content, 3)
    rows = np.array([[0, 0.1, 3], [1, -0.4, 5]])
    table = pd.DataFrame({"port": ["a", "b"], "gap": [0.1, -0.4], "hour": [3, 5]})
    assert np.array_equal(Catboost(shorter, {}).predict(rows)[:, 0], small().predict_proba(table, ntree_end=3)[:, 1])
    assert np.array_equal(
        raw_trees(shorter).predict(rows)[:, 0], small().predict(table, prediction_type="RawFormulaVal", ntree_end=3)
    )


def arrays_of(world: CategoryWorld) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The arrays of a compiled model, those of its forest with the level, and those of its categories."""
    (numbers, *forest), categories = read_category_forest(compile_categories(read_catboost(world.bound()[0])))
    return [np.append(numbers, 0), *forest], categories


def test_a_damaged_array_of_categories_is_rejected_when_the_model_is_opened() -> None:
    forest, categories = arrays_of(deep_world())
    Trees.kernels.open((*forest, *categories))
    for index, array in enumerate(categories):
        if len(array):
            with pytest.raises(ValueError, match=r"\w"):
                Trees.kernels.open((*forest, *categories[:index], array[:-1].copy(), *categories[index + 1 :]))


@pytest.mark.parametrize("index", [1, 6, 8, 10, 16, 17, 22])
def test_an_index_outside_its_array_is_rejected_when_the_model_is_opened(index: int) -> None:
    forest, categories = arrays_of(deep_world())
    for value in (-1, 2**31 - 1):
        altered = categories[index].copy()
        altered[0] = value
        with pytest.raises(ValueError, match=r"\w"):
            Trees.kernels.open((*forest, *categories[:index], altered, *categories[index + 1 :]))


def test_a_full_table_of_categories_is_rejected_when_the_model_is_opened() -> None:
    forest, categories = arrays_of(deep_world())
    slots = categories[13].copy()
    slots[slots == 2**64 - 1] = 7
    with pytest.raises(ValueError, match="is full"):
        Trees.kernels.open((*forest, *categories[:13], slots, *categories[14:]))
