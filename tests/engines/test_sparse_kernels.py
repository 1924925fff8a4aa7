"""Sparse rows: the kernels answer a matrix in CSR form as they answer the same rows made dense, to the bit."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from tests.engines.made_forests import Shape, made, rows_for
from tests.engines.test_trees_engine import HERE, SHAPES

from headway.core.arrays import Floats
from headway.core.errors import EngineError
from headway.core.plugins import load_engine
from headway.engines.compiled.artifact import OPERATIONS, Program, write_program
from headway.engines.compiled.forest import compile_forest
from headway.engines.trees import Trees

ABSENT = [0.0, float("nan")]
WIDE = {
    **{name: SHAPES[name] for name in ("one row fits into a register", "more planes than 128", "256 leaves")},
    **{name: SHAPES[name] for name in ("more than 256 leaves", "zero is missing", "a number that is missing")},
    **{name: SHAPES[name] for name in ("categories", "categories in large trees", "classes together in large trees")},
    **{name: SHAPES[name] for name in ("classes in turn", "more columns than the slim form names")},
    "5,000 columns": Shape(width=5_000, trees=60, leaves=40),
    "5,000 columns in float32": Shape(width=5_000, trees=60, leaves=40, rows="float32", sums="float32"),
    "columns with categories": Shape(width=600, trees=50, leaves=300, categories=5),
    "far trees": Shape(width=700, trees=300, leaves=900, thresholds=100),
    "no tree": Shape(trees=0),
}


def thinned(rows: Floats, absent: float, share: float, seed: int = 0) -> tuple[Floats, sparse.csr_array]:
    """Rows of which all but a share of the cells are absent, dense and in CSR form."""
    stored = np.random.default_rng(seed).random(rows.shape) < share
    where = np.nonzero(stored)
    table = sparse.csr_array((rows[where], where), shape=rows.shape)
    return np.where(stored, rows, absent), table


@functools.lru_cache(maxsize=1)
def compiled(name: str) -> tuple[bytes, Floats]:
    """The artifact of the forest of a shape, and rows; those at its edges take long to find among many columns."""
    forest = made(WIDE[name], seed=1)
    rows = np.round(np.random.default_rng(1).normal(size=(90, forest.width)), 3)
    return compile_forest(forest), rows if forest.width > 500 else rows_for(forest, 90)


@pytest.mark.slow
@pytest.mark.parametrize("level", HERE)
@pytest.mark.parametrize("name", WIDE)
def test_a_sparse_row_has_the_scores_of_the_same_row_made_dense(name, level):
    content, rows = compiled(name)
    engine = Trees(content, {"level": level})
    for absent in ABSENT:
        for share in (0.0, 0.03, 0.7):
            dense, table = thinned(rows, absent, share)
            for count in (1, 5, 90):
                found = engine.predict_sparse(table[:count], absent)
                assert np.array_equal(found, engine.predict(dense[:count]))


@given(
    seed=st.integers(0, 10_000),
    width=st.integers(1, 400),
    leaves=st.sampled_from([1, 2, 40, 300]),
    categories=st.sampled_from([0, 7]),
    outputs=st.integers(1, 3),
    together=st.booleans(),
    rows=st.sampled_from(["float32", "float64"]),
    absent=st.sampled_from(ABSENT),
    share=st.floats(0, 1),
    count=st.sampled_from([0, 1, 3, 20]),
    wide=st.booleans(),
)
def test_forests_of_any_shape_read_sparse_rows(seed, count, absent, share, wide, **shape):
    forest = made(Shape(trees=seed % 70, **shape), seed)
    dense, table = thinned(rows_for(forest, count, seed), absent, share, seed)
    if wide:
        table.indices, table.indptr = table.indices.astype(np.int64), table.indptr.astype(np.int64)
    for level in HERE:
        engine = Trees(compile_forest(forest), {"level": level})
        assert np.array_equal(engine.predict_sparse(table, absent), engine.predict(dense))


def engine_of(width: int = 30) -> tuple[Trees, Floats]:
    forest = made(Shape(width=width, trees=20), seed=3)
    return Trees(compile_forest(forest), {}), np.nan_to_num(rows_for(forest, 8))


@pytest.mark.parametrize("dtype", ["float32", "uint8", "int8", "int64", "bool"])
def test_values_of_other_types_are_read_as_numbers(dtype):
    engine, rows = engine_of()
    table = sparse.csr_matrix(np.clip(rows, -9, 9).astype(dtype))
    assert np.array_equal(engine.predict_sparse(table, 0.0), engine.predict(table.toarray().astype(np.float64)))


def test_cells_that_are_stored_twice_are_summed_in_any_order():
    engine, _ = engine_of()
    row = sparse.csr_matrix((np.array([0.25, 1.0, -0.5, 2.0]), np.array([7, 2, 7, 0]), np.array([0, 4])), (1, 30))
    assert np.array_equal(engine.predict_sparse(row, 0.0), engine.predict(row.toarray()))
    assert row.indices.tolist() == [7, 2, 7, 0]


@pytest.mark.parametrize(
    ("indptr", "indices"),
    [([0, 3], [1, 2]), ([0, 2], [1, 30]), ([0, 2], [-1, 2]), ([2, 0], [1, 2]), ([-1, 2], [1, 2])],
)
def test_a_matrix_whose_cells_are_outside_its_shape_is_rejected(indptr, indices):
    engine, _ = engine_of()
    row = sparse.csr_matrix((1, 30))
    row.indptr, row.indices, row.data = np.array(indptr, "i4"), np.array(indices, "i4"), np.ones(2)
    with pytest.raises(EngineError, match="outside their shape"):
        engine.predict_sparse(row, 0.0)


@pytest.mark.parametrize("absent", ABSENT)
@pytest.mark.parametrize("count", [0, 1, 90])
def test_a_network_reads_sparse_rows(absent, count):
    steps = [(OPERATIONS.index("add"), 48, 40, 0, 0, 0, 0, 0)]
    content = write_program(
        Program(
            width=40,
            outputs=40,
            output_offset=48,
            size=96,
            steps=np.array(steps),
            pool=np.zeros(0, np.float32),
            indices=np.zeros(0, np.int32),
        )
    )
    engine = load_engine("dense")(content, {})
    dense, table = thinned(np.random.default_rng(0).normal(size=(count, 40)), absent, 0.2)
    assert np.array_equal(engine.predict_sparse(table, absent), engine.predict(dense), equal_nan=True)
    if count == 1:
        twice = sparse.csr_matrix((np.ones(2), np.array([3, 3]), np.array([0, 2])), (1, 40))
        assert engine.predict_sparse(twice, 0.0)[0, 3] == 4.0


def test_a_network_rejects_cells_outside_its_rows():
    steps = np.zeros((0, 8))
    content = write_program(
        Program(width=2, outputs=2, output_offset=0, size=16, steps=steps, pool=np.zeros(0), indices=np.zeros(0))
    )
    row = sparse.csr_matrix((1, 2))
    row.indptr, row.indices, row.data = np.array([0, 1], "i4"), np.array([2], "i4"), np.ones(1)
    with pytest.raises(EngineError, match="outside their shape"):
        load_engine("dense")(content, {}).predict_sparse(row, 0.0)


def test_rows_of_another_width_are_rejected():
    engine, _ = engine_of()
    with pytest.raises(EngineError, match="reads \\[n, 30\\]"):
        engine.predict_sparse(sparse.csr_matrix((1, 31)), 0.0)
