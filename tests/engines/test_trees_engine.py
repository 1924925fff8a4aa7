"""Engine `trees`: every form of the kernels, at every level of this machine, predicts the forest exactly."""

from __future__ import annotations

import dataclasses
import functools
import pickle

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.engines.forest_walk import answers
from tests.engines.made_forests import Shape, made, rows_for

from headway.core.errors import EngineError, NotApplicable
from headway.engines import _trees
from headway.engines.compiled.artifact import LEVELS
from headway.engines.compiled.forest import compile_forest, read_forest
from headway.engines.formats.trees import Forest, Tree, constant_tree
from headway.engines.trees import Trees

pytestmark = pytest.mark.slow

HERE = LEVELS[: _trees.level() + 1]
SHAPES = {
    "one row fits into a register": Shape(),
    "more planes than 64": Shape(width=70, trees=70),
    "more planes than 128": Shape(width=150, trees=130),
    "more planes than 256": Shape(width=300, trees=200),
    "more than 254 thresholds": Shape(width=3, trees=80, leaves=200, thresholds=900),
    "128 leaves": Shape(leaves=128, thresholds=100),
    "256 leaves": Shape(leaves=256, thresholds=100),
    "many nodes of few tests": Shape(trees=41, leaves=64, thresholds=12),
    "many nodes of few tests, in float32": Shape(trees=41, leaves=128, thresholds=12, rows="float32", sums="float32"),
    "small trees of few tests": Shape(trees=90, leaves=32, width=2, thresholds=9, outputs=3),
    "long paths": Shape(leaves=256, thresholds=100, deep=True),
    "more than 256 leaves": Shape(leaves=700, thresholds=100),
    "more than 256 leaves, in float32": Shape(leaves=700, thresholds=3000, rows="float32"),
    "more thresholds than the slim form numbers": Shape(width=1, trees=500, leaves=700, thresholds=200_000),
    "more thresholds than that, in float32": Shape(width=1, trees=500, leaves=700, thresholds=200_000, rows="float32"),
    "more columns than the slim form names": Shape(width=1_100, trees=60, leaves=300),
    "leaves of a few values": Shape(leaves=700, thresholds=100, values=3),
    "leaves of a few values, in float32": Shape(leaves=700, thresholds=100, values=3, sums="float32"),
    "more columns than the narrow form names, with categories": Shape(width=600, trees=50, leaves=300, categories=5),
    "categories": Shape(categories=12),
    "254 categories": Shape(categories=254, thresholds=60),
    "more categories than a byte": Shape(categories=300),
    "categories in large trees": Shape(categories=40, leaves=600),
    "categories in large trees in float32": Shape(categories=40, leaves=600, rows="float32", sums="float32"),
    "float32": Shape(rows="float32", sums="float32", link="sigmoid"),
    "zero is missing": Shape(zeros=True),
    "a number that is missing": Shape(missing=0.0, rows="float32"),
    "classes in turn": Shape(outputs=3, link="softmax"),
    "classes in turn, in float32": Shape(outputs=4, sums="float32"),
    "classes together": Shape(outputs=5, together=True, link="softmax"),
    "classes together in large trees": Shape(outputs=3, together=True, leaves=400),
    "one tree": Shape(trees=1, leaves=40),
    "more nodes than stay near, in more trees than go together": Shape(trees=530, leaves=560, thresholds=100),
    "as many, with categories": Shape(trees=530, leaves=560, thresholds=100, categories=5),
    "200 trees": Shape(trees=200, leaves=32, categories=5),
}


def distance(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference, relative where predictions exceed 1."""
    return float(np.max(np.abs(found - expected) / np.maximum(1, np.abs(expected)), initial=0))


def furthest(forest: Forest, rows: np.ndarray, level: str) -> float:
    """The distance between the engine and the reference."""
    return distance(Trees(compile_forest(forest), {"level": level}).predict(rows), answers(forest, rows))


@functools.lru_cache(maxsize=1)  # the levels of a shape follow each other
def compiled(name: str) -> tuple[bytes, np.ndarray, np.ndarray]:
    """The artifact of the forest of a shape, rows, and the answers of the reference to them."""
    forest = made(SHAPES[name], seed=1)
    rows = rows_for(forest, 600)
    return compile_forest(forest), rows, answers(forest, rows)


@pytest.mark.parametrize("level", HERE)
@pytest.mark.parametrize("shape", SHAPES)
def test_answers_are_those_of_the_forest_for_one_row_and_for_many(shape, level):
    content, rows, expected = compiled(shape)
    engine = Trees(content, {"level": level})
    counts = (1, 7, 13, 40, 65, 200, 257, 600)
    assert max(distance(engine.predict(rows[:count]), expected[:count]) for count in counts) < 1e-6


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 10_000),
    width=st.integers(1, 90),
    leaves=st.sampled_from([1, 2, 9, 64, 65, 255, 256, 400]),
    categories=st.sampled_from([0, 1, 7, 100, 254, 255]),
    outputs=st.integers(1, 3),
    together=st.booleans(),
    rows=st.sampled_from(["float32", "float64"]),
    count=st.sampled_from([1, 3, 12, 13, 64, 100]),
)
def test_forests_of_any_shape_are_predicted_exactly_at_every_level(seed, count, **shape):
    forest = made(Shape(trees=seed % 70, **shape), seed)
    content, rows = compile_forest(forest), rows_for(forest, count, seed)
    expected = answers(forest, rows)
    assert all(distance(Trees(content, {"level": level}).predict(rows), expected) < 1e-6 for level in HERE)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 10_000),
    trees=st.integers(1, 40),
    leaves=st.sampled_from([2, 9, 10, 17, 64, 129, 256]),
    width=st.sampled_from([1, 5, 90]),
    thresholds=st.sampled_from([3, 60, 400]),
    deep=st.booleans(),
    categories=st.sampled_from([0, 0, 7, 254]),
    outputs=st.integers(1, 3),
    together=st.booleans(),
    sums=st.sampled_from(["float32", "float64"]),
    count=st.sampled_from([1, 3, 13, 27, 28, 64, 65, 128, 129, 193, 256, 300]),
)
def test_batches_have_the_scores_of_their_rows_at_every_level_to_the_bit(seed, count, **shape):
    forest = made(Shape(**shape), seed)
    content, rows = compile_forest(forest), rows_for(forest, count, seed)
    engines = [Trees(content, {"level": level}) for level in HERE]
    alone = np.concatenate([engines[0].predict(row[np.newaxis]) for row in rows])
    assert all(np.array_equal(engine.predict(rows), alone) for engine in engines)
    assert distance(alone, answers(forest, rows)) < 1e-6


@pytest.mark.parametrize("sums", ["float32", "float64"])
def test_levels_give_the_same_numbers_to_the_bit_where_the_library_adds_in_order(sums):
    forest = made(Shape(trees=300, leaves=64, sums=sums), seed=2)
    rows = rows_for(forest, 500)
    content = compile_forest(forest)
    found = [Trees(content, {"level": level}).predict(rows) for level in HERE]
    assert all(np.array_equal(found[0], other) for other in found[1:])


@pytest.mark.parametrize("level", HERE)
@pytest.mark.parametrize(
    "shape",
    [
        *("one row fits into a register", "categories", "float32", "256 leaves", "classes in turn"),
        *("many nodes of few tests", "many nodes of few tests, in float32", "long paths"),
    ],
)
def test_a_row_alone_has_the_scores_that_it_has_in_a_batch_to_the_bit(shape, level):
    content, rows, _ = compiled(shape)
    engine = Trees(content, {"level": level})
    alone = np.concatenate([engine.predict(row[np.newaxis]) for row in rows[:200]])
    assert all(np.array_equal(alone[:count], engine.predict(rows[:count])) for count in (60, 100, 200))


def test_a_row_at_the_edges_of_a_column_with_every_number_of_thresholds_is_read_as_in_a_batch():
    for thresholds in (1, 15, 16, 17, 240, 254, 255, 256, 300):
        forest = made(Shape(width=9, trees=70, leaves=200, thresholds=thresholds), seed=thresholds)
        engine, rows = Trees(compile_forest(forest), {}), rows_for(forest, 40, seed=1)
        rows[::7, 3] = np.inf
        assert all(
            np.array_equal(engine.predict(row[np.newaxis])[0], found)
            for row, found in zip(rows, engine.predict(rows), strict=True)
        )


DECIDED = {
    "far": Shape(trees=300, leaves=1_500, thresholds=100),
    "far, of a few values": Shape(trees=300, leaves=1_500, thresholds=100, values=3),
    "far, in float32": Shape(trees=300, leaves=1_500, thresholds=3_000, rows="float32", sums="float32"),
    "far, with categories": Shape(trees=530, leaves=560, thresholds=100, categories=5),
    "near": Shape(link="sigmoid"),
}


@functools.lru_cache(maxsize=1)
def decided(name: str) -> tuple[bytes, np.ndarray]:
    """The artifact of such a forest, and rows."""
    forest = made(DECIDED[name], seed=6)
    return compile_forest(forest), rows_for(forest, 30)


@pytest.mark.parametrize("level", HERE)
@pytest.mark.parametrize("shape", DECIDED)
def test_a_decision_is_that_of_the_full_score_at_every_threshold_around_it(shape, level):
    content, rows = decided(shape)
    engine = Trees(content, {"level": level})
    for row in rows:
        score = engine.predict(row[np.newaxis])[0, 0]
        near = [np.nextafter(score, -np.inf), score, np.nextafter(score, np.inf), score - 3, score + 3, 0.5, np.nan]
        assert [engine.at_least(row[np.newaxis], float(at))[0] for at in near] == [int(score >= at) for at in near]


@pytest.mark.parametrize("count", [5, 100])
def test_decisions_of_many_rows_are_those_of_their_scores(count):
    forest = made(DECIDED["far"], seed=7)
    engine, rows = Trees(compile_forest(forest), {}), rows_for(forest, count)
    assert np.array_equal(engine.at_least(rows, 0.1), (engine.predict(rows)[:, 0] >= 0.1).astype(int))


def test_a_forest_with_infinite_leaves_decides_by_all_of_them():
    forest = made(DECIDED["far"], seed=8)
    last = forest.trees[-1]
    hostile = dataclasses.replace(last, leaf=np.full_like(last.leaf, -np.inf))
    engine = Trees(compile_forest(dataclasses.replace(forest, trees=(*forest.trees[:-1], hostile))), {})
    assert engine.at_least(rows_for(forest, 1), -1e9).tolist() == [0]


def test_a_forest_whose_float32_sum_may_overflow_decides_by_all_trees():
    forest = made(DECIDED["far, in float32"], seed=8)
    ends = (3e38, 3e38, -3e38, -3e38)
    last = [
        dataclasses.replace(tree, leaf=np.full_like(tree.leaf, end))
        for tree, end in zip(forest.trees[-4:], ends, strict=True)
    ]
    engine = Trees(compile_forest(dataclasses.replace(forest, trees=(*forest.trees[:-4], *last))), {})
    row = rows_for(forest, 1)
    assert engine.predict(row).tolist() == [[np.inf]] and engine.at_least(row, 3e38).tolist() == [1]


def test_a_tree_that_adds_to_no_output_is_rejected_when_the_model_is_opened():
    forest = made(Shape(), seed=1)
    first, second, *others = forest.trees
    twice = dataclasses.replace(first, leaf=np.repeat(first.leaf, 2, axis=1), outputs=(0, 0))
    silent = dataclasses.replace(second, leaf=np.zeros((len(second.leaf), 0)), outputs=())
    for trees in ((twice, silent, *others), (silent, twice, *others)):
        with pytest.raises(EngineError, match="a tree adds to no output"):
            Trees(compile_forest(dataclasses.replace(forest, trees=trees)), {})


def test_a_decision_needs_one_output_and_rows_that_the_library_accepts():
    with pytest.raises(EngineError, match="the forest has 2 outputs, a threshold is for one"):
        Trees(compile_forest(made(Shape(outputs=2), 1)), {}).at_least(np.zeros((1, 5)), 0.5)
    with pytest.raises(EngineError, match="the forest has one output, which has no classes"):
        Trees(compile_forest(made(Shape(), 1)), {}).most_probable(np.zeros((1, 5)))
    forest = dataclasses.replace(made(DECIDED["far"], seed=1), required_columns=(2,))
    with pytest.raises(EngineError, match="rejects infinite values"):
        Trees(compile_forest(forest), {}).at_least(np.full((1, 5), np.nan), 0.5)


CLASSES = {
    "far": Shape(trees=200, leaves=1_000, thresholds=100, outputs=3, together=True),
    "far, softmax": Shape(trees=200, leaves=1_000, thresholds=100, outputs=4, together=True, link="softmax"),
    "far, in float32": Shape(trees=200, leaves=1_000, thresholds=3_000, outputs=2, together=True, sums="float32"),
    "far, with categories": Shape(trees=200, leaves=1_000, thresholds=100, categories=5, outputs=3, together=True),
    "far, in turn": Shape(trees=200, leaves=1_000, thresholds=100, outputs=3, link="softmax"),
    "near": Shape(trees=40, leaves=300, outputs=3, together=True),
    "in lanes": Shape(trees=400, leaves=32, outputs=3, link="softmax"),
    "in lanes, together": Shape(trees=300, leaves=32, outputs=4, together=True),
    "in lanes, with categories": Shape(trees=290, leaves=32, outputs=3, categories=9, together=True),
    "in lanes, in float32": Shape(width=70, trees=260, leaves=32, outputs=5, link="softmax", sums="float32"),
    "near, one against the others": Shape(outputs=3, link="sigmoid"),
    "near, softmax in float32": Shape(outputs=4, link="softmax", sums="float32"),
}


@functools.cache
def grown(name: str) -> Forest:
    """A forest of several classes, whose leaves a test replaces."""
    return made(CLASSES[name], seed=9)


def with_leaves(forest: Forest, kind: str, seed: int) -> Forest:
    """The forest with other leaves: equal, small numbers with ties, shares that prefer a class, or extreme ones."""
    random = np.random.default_rng(seed)
    k = len(forest.base)

    def leaves(tree: Tree) -> np.ndarray:
        shape = tree.leaf.shape
        if kind in ("equal", "small"):
            return random.integers(0, 2 if kind == "small" else 1, shape) / 8 + 0.1
        if kind == "preferring":
            return random.random(shape) + (np.array(tree.outputs) == seed % k) * (seed % 5) / 4
        found = random.normal(size=shape)
        found[random.random(shape) < 1e-4] = random.choice([np.inf, -np.inf, 1e300, -1e300, 1e38, 5e-324])
        return found

    trees = tuple(dataclasses.replace(tree, leaf=leaves(tree)) for tree in forest.trees)
    if forest.sum_dtype == "float32":
        with np.errstate(over="ignore"):
            trees = tuple(
                dataclasses.replace(tree, leaf=tree.leaf.astype(np.float32).astype(np.float64)) for tree in trees
            )
    base = np.zeros(k) if kind != "preferring" else forest.base
    return dataclasses.replace(forest, trees=trees, base=base)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(
    shape=st.sampled_from(list(CLASSES)[::-1]),
    kind=st.sampled_from(["equal", "small", "preferring", "extreme"]),
    seed=st.integers(0, 10_000),
    level=st.sampled_from(HERE),
    count=st.sampled_from([1, 5, 70, 600]),
)
def test_a_class_is_that_of_the_full_score_for_every_row(shape, kind, seed, level, count):
    forest = with_leaves(grown(shape), kind, seed)
    engine, rows = Trees(compile_forest(forest), {"level": level}), rows_for(forest, max(count, 30), seed)
    expected = np.argmax(engine.predict(rows), axis=1)
    found = np.concatenate([engine.most_probable(part) for part in np.array_split(rows, -(-len(rows) // count))])
    assert found.dtype == np.int64 and np.array_equal(found, expected)


NUMBERS = st.floats() | st.floats(-1, 1) | st.sampled_from([0.1, np.nextafter(0.1, 1), 40.0, 41.0, 0.0, -0.0])


@given(
    scores=st.lists(NUMBERS, min_size=2, max_size=5), link=st.sampled_from(["identity", "softmax", "sigmoid", "exp"])
)
def test_scores_that_are_equal_or_not_finite_decide_as_argmax(scores, link):
    forest = dataclasses.replace(made(Shape(trees=0), seed=1), base=np.array(scores), link=link)
    engine = Trees(compile_forest(forest), {})
    assert engine.most_probable(np.zeros((1, 5)))[0] == np.argmax(engine.predict(np.zeros((1, 5)))[0])


def test_classes_of_a_row_that_the_library_rejects_are_refused():
    for shape in ("far", "near"):
        engine = Trees(compile_forest(dataclasses.replace(grown(shape), required_columns=(2,))), {})
        with pytest.raises(EngineError, match="rejects infinite values"):
            engine.most_probable(np.full((1, 5), np.nan))


@pytest.mark.parametrize("link", ["identity", "sigmoid", "exp", "softplus", "signed square", "positive", "isolation"])
def test_every_link_equals_that_of_the_forest(link):
    forest = made(Shape(link=link), seed=3)
    assert furthest(forest, rows_for(forest, 300), "") < 1e-12


def test_a_forest_without_trees_returns_its_base_and_one_of_single_leaves_their_sum():
    empty = made(Shape(trees=0), seed=1)
    leaves = dataclasses.replace(empty, trees=(constant_tree([1.5], (0,)), constant_tree([2.0], (0,))))
    assert furthest(empty, np.zeros((300, 5)), "") == 0 and furthest(leaves, np.zeros((3, 5)), "") == 0


@pytest.mark.parametrize("count", [1, 100])
def test_rows_that_the_library_rejects_are_rejected_with_a_hint(count):
    forest = dataclasses.replace(made(Shape(rows="float32"), seed=1), finite_columns=(0, 4), required_columns=(2,))
    engine, rows = Trees(compile_forest(forest), {}), np.zeros((count, 5))
    for column, value in ((0, np.inf), (4, -1e300), (2, np.nan)):
        hostile = rows.copy()
        hostile[-1, column] = value
        with pytest.raises(EngineError, match="rejects infinite values, missing values"):
            engine.predict(hostile)
        with pytest.raises(EngineError, match="rejects infinite values, missing values"):
            engine.predict(np.asfortranarray(hostile))
    assert engine.predict(rows).shape == (count, 1)


def test_a_nan_threshold_is_not_applicable():
    forest = made(Shape(trees=1), seed=5)
    tree = dataclasses.replace(forest.trees[0], threshold=np.full_like(forest.trees[0].threshold, np.nan))
    with pytest.raises(NotApplicable, match="NaN"):
        compile_forest(dataclasses.replace(forest, trees=(tree,)))


@pytest.mark.parametrize("settings", [{"level": "avx9"}, {"level": 3}, {"threads": 2}])
def test_a_setting_that_it_does_not_have_is_refused(settings):
    with pytest.raises(EngineError):
        Trees(compile_forest(made(Shape(), 1)), settings)


def test_rows_of_another_width_are_refused():
    with pytest.raises(EngineError, match=r"\(2, 4\)"):
        Trees(compile_forest(made(Shape(), 1)), {}).predict(np.zeros((2, 4)))


@pytest.mark.parametrize("level", HERE)
@pytest.mark.parametrize("shape", SHAPES)
def test_rows_in_column_major_memory_have_the_scores_of_others_to_the_bit(shape, level):
    content, rows, _ = compiled(shape)
    engine, by_column = Trees(content, {"level": level}), np.asfortranarray(rows)
    for part in (slice(0, 1), slice(0, 13), slice(3, 20), slice(1, 258), slice(None), slice(None, None, 2)):
        assert np.array_equal(engine.predict(by_column[part]), engine.predict(rows[part]))


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(
    thresholds=st.integers(1, 260),
    rows=st.sampled_from(["float32", "float64"]),
    zeros=st.booleans(),
    missing=st.sampled_from([np.nan, 0.0]),
    count=st.integers(13, 300),
    seed=st.integers(0, 1_000),
)
def test_values_at_and_next_to_each_threshold_are_read_alike_in_either_order_at_every_level(count, seed, **shape):
    content = compile_forest(made(Shape(width=2, trees=40, leaves=200, **shape), seed))
    table, random = read_forest(content)[6], np.random.default_rng(seed)
    edges = np.concatenate([table, np.nextafter(table, -np.inf), np.nextafter(table, np.inf)])
    values = np.concatenate([edges, edges.astype(np.float32), [0.0, -0.0, 1e-36, np.inf, -np.inf, np.nan]])
    cells = random.choice(values, (count, 2))
    expected = Trees(content, {"level": "portable"}).predict(cells)
    for level in HERE:
        engine = Trees(content, {"level": level})
        assert np.array_equal(engine.predict(cells), expected)
        assert np.array_equal(engine.predict(np.asfortranarray(cells)), expected)


@pytest.mark.parametrize("count", [0, 1, 40])
def test_arrays_of_any_form_have_the_scores_and_decisions_of_plain_ones(count):
    forest = made(Shape(), 1)
    engine, rows = Trees(compile_forest(forest), {}), rows_for(forest, 40)[:count].round()
    rows = np.where(np.abs(rows) < 1e6, rows, 0.0)
    expected = np.array([answers(forest, row[None])[0] for row in rows]).reshape(count, 1)
    wide = np.full((count, 2 * rows.shape[1]), np.nan)
    wide[:, ::2] = rows
    misaligned = np.frombuffer(b"x" + rows.tobytes(), np.uint8)[1:].view(np.float64).reshape(rows.shape)
    repeated = np.broadcast_to(rows[:, :1], rows.shape)
    assert np.array_equal(engine.predict(repeated), engine.predict(repeated.copy()))
    views = [
        rows,
        np.asfortranarray(rows),
        np.asfortranarray(rows[:, ::-1])[:, ::-1],
        wide[:, ::2],
        rows[::-1][::-1],
        misaligned,
        rows.astype(">f8"),
    ]
    others = [rows.astype(np.float32), rows.astype(np.int64), rows.view(np.recarray), pickle.loads(pickle.dumps(rows))]
    for form in [*views, *others]:
        scores = engine.predict(form)
        assert type(scores) is np.ndarray
        assert scores.flags.owndata
        assert np.allclose(scores, expected, rtol=0, atol=1e-12)
        both = engine.class_probabilities(form)
        if both is not None:
            assert both.flags.owndata
            assert both.tolist() == [[1 - score, score] for score in scores[:, 0].tolist()]
        decided = engine.at_least(form, 0.1)
        assert decided.dtype == np.int64 and decided.flags.owndata
        assert decided.tolist() == (scores[:, 0] >= 0.1).tolist()


@pytest.mark.parametrize("level", HERE)
@pytest.mark.parametrize("count", [0, 1, 2, 12, 13, 300])
def test_probabilities_of_two_classes_are_the_score_and_what_it_leaves_of_one(level, count):
    content, rows, _ = compiled("float32")
    engine, rows = Trees(content, {"level": level}), rows[:count]
    expected = np.column_stack([1 - engine.predict(rows), engine.predict(rows)])
    assert np.array_equal(engine.class_probabilities(rows), expected)


def test_probabilities_are_left_to_predict_for_other_rows_and_forests():
    engine = Trees(compile_forest(made(Shape(), 1)), {})
    rows = rows_for(made(Shape(), 1), 3)
    others = [rows[:, 1:], rows[0], rows[:, ::-1], rows.astype(np.float32), rows.tolist(), None]
    assert all(engine.class_probabilities(other) is None for other in others)
    refusing = dataclasses.replace(made(Shape(), 1), finite_columns=(2,))
    assert Trees(compile_forest(refusing), {}).class_probabilities(np.full((1, rows.shape[1]), np.inf)) is None
    assert Trees(compile_forest(made(Shape(outputs=3), 1)), {}).class_probabilities(rows) is None


@pytest.mark.parametrize("call", [Trees.predict, lambda engine, rows: engine.at_least(rows, 0.5)])
def test_an_array_of_one_dimension_is_refused(call):
    with pytest.raises(EngineError, match=r"\(3,\)"):
        call(Trees(compile_forest(made(Shape(width=3), 1)), {}), np.zeros(3))


@functools.cache
def whole(number: int) -> bytes:
    """An artifact to tamper with: of one of three kinds of forests."""
    shape = (Shape(categories=9), Shape(leaves=400), Shape(outputs=2, together=True))[number]
    return compile_forest(made(shape, seed=4))


@settings(max_examples=300)
@given(data=st.data())
def test_a_forest_that_was_tampered_with_is_refused_or_answers_and_never_ends_the_process(data):
    content = bytearray(whole(data.draw(st.integers(0, 2))))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] = data.draw(st.integers(0, 255))
    try:
        engine = Trees(bytes(content), {"level": data.draw(st.sampled_from(HERE))})
        assert all(len(engine.predict(np.zeros((count, 5)))) == count for count in (1, 30))
    except EngineError:
        pass


def test_the_shapes_reach_the_kernel_forms_of_their_names():
    def forms(name: str) -> list[np.ndarray]:
        return read_forest(compile_forest(made(SHAPES[name], seed=1)))

    def longest(name: str) -> int:
        return int(np.diff(forms(name)[5]).max())

    assert longest("more thresholds than the slim form numbers") > 65_535
    assert longest("more than 254 thresholds") > 254 >= longest("256 leaves")
    assert len(forms("as many, with categories")[11]) > 2**17


def test_an_artifact_keeps_its_arrays_without_a_copy():
    content = compile_forest(made(Shape(), 1))
    assert all(
        np.shares_memory(array, np.frombuffer(content, np.uint8)) for array in read_forest(content) if array.size
    )
