"""A forest as C: one row has the scores of the kernel to the bit, and the rows that it rejects are rejected."""

from __future__ import annotations

import dataclasses
import functools
import platform

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.deployment.edge.packages import Library, bits, compiled, forest_release
from tests.engines.made_forests import Shape, made, rows_for

from headway.core.errors import EngineError
from headway.deployment.edge.forest import forest_source
from headway.engines.compiled.forest import compile_forest
from headway.engines.formats.trees import Forest, constant_tree
from headway.engines.trees import Trees
from headway.registry.bundle import Bundle

pytestmark = pytest.mark.slow

SHAPES = {
    "numbers": Shape(width=6, trees=23),
    "numbers in float32, with a link": Shape(rows="float32", sums="float32", link="sigmoid"),
    "sums in float32 of leaves in float64": Shape(sums="float32"),
    "categories": Shape(categories=12),
    "more categories than a byte": Shape(categories=300, trees=8),
    "more leaves than a byte": Shape(leaves=400, trees=5, thresholds=100),
    "more thresholds than a byte": Shape(width=3, trees=9, leaves=100, thresholds=900),
    "zero is missing": Shape(zeros=True),
    "a number is missing": Shape(missing=0.0, rows="float32"),
    "classes in turn": Shape(outputs=3, link="softmax"),
    "classes together": Shape(outputs=3, together=True),
    "one tree": Shape(trees=1, leaves=40),
    "three groups of trees": Shape(width=9, trees=150, leaves=31, thresholds=100),
    "up to 64 codes": Shape(width=30, trees=60, leaves=31, rows="float32"),
    "up to 128 codes": Shape(width=50, trees=100, leaves=31),
    "up to 256 codes": Shape(width=70, trees=130, leaves=31, thresholds=16),
}
WALKED = (
    "categories",
    "more categories than a byte",
    "more leaves than a byte",
    "more thresholds than a byte",
    "one tree",
)
IN_LANES = tuple(name for name in SHAPES if name not in WALKED)
MACHINES = {
    "any": (),
    "native": ("-march=native", "-fsanitize=undefined", "-fno-sanitize-recover=all"),
    "native without AVX-512": ("-march=native", "-mno-avx512f"),
}
BUILDS = [(name, "any") for name in SHAPES] + [(name, "native") for name in IN_LANES]
BUILDS += [(name, "native without AVX-512") for name in IN_LANES if platform.machine() == "x86_64"]
ODD = [0.0, -0.0, 5e-324, -5e-324, 1e-35, 1.1e-35, 1e308, 3.4028235677973366e38, 3.4028234e38, 1e39, -1e39]
ODD += [float("nan"), float("inf"), float("-inf"), -1.0, 0.5, 11.0, 12.0, 13.0, 299.5, 2.0**31, -(2.0**63)]


def forest_of(name: str) -> Forest:
    """The forest of a shape; one of float32 sums keeps leaves that float32 cannot hold if the name says so."""
    forest = made(SHAPES[name], seed=list(SHAPES).index(name))
    if name != "sums in float32 of leaves in float64":
        return forest
    return dataclasses.replace(
        forest, trees=tuple(dataclasses.replace(tree, leaf=tree.leaf + 1e-9) for tree in forest.trees)
    )


@functools.cache
def release_of(name: str) -> tuple[Bundle, Trees, Forest]:
    """The release of a shape, the engine that its package must equal, and the forest; each build compiles it."""
    forest = forest_of(name)
    task = "regression" if forest.outputs == 1 else "multiclass"
    bundle = forest_release(forest, rows_for(forest, 8), task=task)
    return bundle, Trees(compile_forest(forest), {"level": "portable"}), forest


@pytest.fixture(scope="module", params=BUILDS, ids=", ".join)
def pair(request, tmp_path_factory) -> tuple[Library, Trees, Forest]:
    """The library of a forest, the engine that it must equal, and the forest."""
    name, machine = request.param
    bundle, engine, forest = release_of(name)
    return compiled(bundle, tmp_path_factory.mktemp("edge"), *MACHINES[machine]), engine, forest


def test_rows_at_the_edges_of_the_trees_have_the_bits_of_the_kernel(pair):
    library, engine, forest = pair
    rows = rows_for(forest, 300, seed=1)
    for row, scores in zip(rows, engine.predict(rows), strict=True):
        assert bits(library.scores(row)) == bits(scores)
    assert library.function("self_test")() == 0


@given(data=st.data())
def test_odd_values_have_the_bits_of_the_kernel(pair, data):
    library, engine, forest = pair
    tables = np.concatenate([tree.threshold[~tree.categorical] for tree in forest.trees])
    near = st.sampled_from(tables.tolist() or [0.0]).flatmap(
        lambda value: st.sampled_from([value, float(np.nextafter(value, np.inf)), float(np.float32(value))])
    )
    value = st.one_of(st.sampled_from(ODD), near, st.floats(width=32), st.floats(), st.integers(-2, 300).map(float))
    row = np.array(data.draw(st.lists(value, min_size=forest.width, max_size=forest.width)))
    with np.errstate(over="ignore"):
        assert bits(library.scores(row)) == bits(engine.predict(row[None])[0])


@pytest.mark.parametrize("link", ["exp", "softplus", "signed square", "positive", "isolation"])
def test_every_link_has_the_bits_of_the_kernel(link, tmp_path):
    forest = made(Shape(link=link, trees=5), seed=3)
    library = compiled(forest_release(forest, rows_for(forest, 8), task="regression"), tmp_path)
    engine = Trees(compile_forest(forest), {"level": "portable"})
    assert all(bits(library.scores(row)) == bits(engine.predict(row[None])[0]) for row in rows_for(forest, 100))


def test_rows_that_the_kernel_rejects_are_rejected(tmp_path):
    forest = dataclasses.replace(made(Shape(rows="float32"), seed=1), finite_columns=(0, 4), required_columns=(2,))
    library = compiled(forest_release(forest, np.zeros((2, 5))), tmp_path)
    engine = Trees(compile_forest(forest), {"level": "portable"})
    for column in range(5):
        for value in ODD:
            row = np.zeros(5)
            row[column] = value
            try:
                expected = bits(engine.predict(row[None])[0])
            except EngineError:
                assert library.scores(row) is None and library.predict(row) is None
            else:
                assert bits(library.scores(row)) == expected


def test_a_forest_of_single_leaves_returns_their_sum(tmp_path):
    empty = made(Shape(trees=0), seed=1)
    leaves = dataclasses.replace(empty, trees=(constant_tree([1.5], (0,)), constant_tree([2.0], (0,))))
    library = compiled(forest_release(leaves, np.zeros((2, 5)), task="regression"), tmp_path)
    assert library.scores(np.zeros(5)).tolist() == (empty.base + 1.5 + 2.0).tolist()


def test_trees_are_walked_in_vector_registers_where_that_is_faster():
    for name in SHAPES:
        source = forest_source(compile_forest(forest_of(name)))
        assert ("lane_steps" in source) == (name in IN_LANES), name


def test_nodes_of_small_trees_take_four_bytes_and_those_of_large_ones_eight():
    assert "uint16_t next;" in forest_source(compile_forest(forest_of("categories")))
    assert "uint32_t next;" in forest_source(compile_forest(forest_of("more leaves than a byte")))
