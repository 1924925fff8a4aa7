"""Edge rows contain every edge of a model, and are deterministic."""

from __future__ import annotations

import cProfile
import pstats

import numpy as np
from tests.engines.boosters import table, text

from headway.engines.formats.trees import OVERFLOW, ZERO_THRESHOLD, Forest, Tree, accepted_rows, constant_tree
from headway.engines.lightgbm import Lightgbm
from headway.optimization import parity
from headway.optimization.parity import edge_rows


def test_every_threshold_and_its_neighbours_are_in_the_rows() -> None:
    model = Lightgbm.forest(text().encode())
    rows = edge_rows(model, table())
    for tree in model.trees:
        for column, threshold in zip(tree.feature[~tree.categorical], tree.threshold[~tree.categorical], strict=True):
            near = np.nextafter(threshold, [-np.inf, np.inf])
            assert np.isin([threshold, *near], rows[:, column]).all()


def test_every_category_is_in_the_rows_with_its_neighbours_and_fractions() -> None:
    model = Lightgbm.forest(text().encode())
    rows = edge_rows(model, table())
    members = np.unique(np.concatenate([members for tree in model.trees for members in tree.sets]))
    assert np.isin([members - 0.5, members, members + 0.5, members + 1], rows[:, 0]).all()


def test_every_column_is_missing_and_infinite_somewhere() -> None:
    rows = edge_rows(Lightgbm.forest(text().encode()), table())
    assert (
        np.isnan(rows).any(axis=0).all() and np.isposinf(rows).any(axis=0).all() and np.isneginf(rows).any(axis=0).all()
    )


def test_the_same_model_and_sample_give_the_same_rows_and_leave_the_sample() -> None:
    model, sample = Lightgbm.forest(text().encode()), table()
    assert np.array_equal(edge_rows(model, sample), edge_rows(model, sample), equal_nan=True)
    assert np.array_equal(sample, table(), equal_nan=True)


def test_without_a_sample_the_rows_are_edges_and_zeros() -> None:
    rows = edge_rows(Lightgbm.forest(text().encode()), np.zeros((0, 4)))
    assert rows.shape[1] == 4 and (rows == 0).mean() > 0.4


def test_too_many_edges_are_sampled(monkeypatch) -> None:
    monkeypatch.setattr(parity, "MAX_EDGES", 16)
    assert edge_rows(Lightgbm.forest(text().encode()), table()).shape == (16 * 2 * parity.ROUNDS, 4)


def test_categorical_columns_are_those_that_a_tree_reads_as_categories() -> None:
    assert Lightgbm.forest(text().encode()).categorical == [0]
    assert Forest(width=2, trees=(constant_tree([1.0], (0,)),), base=np.zeros(1)).categorical == []


def test_values_that_the_library_rejects_are_not_edges() -> None:
    forest = Forest(
        width=2,
        trees=(constant_tree([1.0], (0,)),),
        base=np.zeros(1),
        input_dtype="float32",
        finite_columns=(0,),
        required_columns=(1,),
    )
    rows = edge_rows(forest, np.array([[np.inf, 0.0], [7.0, np.nan], [7.0, 7.0]]))
    assert accepted_rows(forest, rows).all() and np.isnan(rows[:, 0]).any() and np.isinf(rows[:, 1]).any()
    assert np.nanmax(rows[:, 0]) == np.nextafter(OVERFLOW["float32"], 0) and 7.0 in rows[:, 0]


def test_the_ends_of_zero_are_edges_where_zero_is_missing() -> None:
    forest = Forest(width=2, trees=(constant_tree([1.0], (0,)),), base=np.zeros(1), zero_as_missing=(1,))
    rows = edge_rows(forest, np.zeros((0, 2)))
    beyond = np.nextafter(ZERO_THRESHOLD, np.inf)
    assert np.isin([ZERO_THRESHOLD, -ZERO_THRESHOLD, beyond, -beyond], rows[:, 1]).all() and beyond not in rows[:, 0]


def test_the_work_for_a_wide_table_does_not_grow_with_columns_times_trees() -> None:
    width, yes = 200, np.ones(1, dtype=np.bool_)
    trees = tuple(
        Tree(
            feature=np.array([number % width]),
            threshold=np.array([float(number)]),
            categorical=~yes,
            missing_left=yes,
            left=np.array([-1]),
            right=np.array([-2]),
            leaf=np.array([[0.0], [1.0]]),
        )
        for number in range(2 * width)
    )
    with cProfile.Profile() as profile:
        rows = edge_rows(Forest(width=width, trees=trees, base=np.zeros(1)), np.zeros((1, width)))
    assert pstats.Stats(profile).total_calls < width * len(trees) / 2  # type: ignore[attr-defined]
    assert np.isin([3.0, 203.0], rows[:, 3]).all() and not np.isin([4.0, 204.0], rows[:, 3]).any()
