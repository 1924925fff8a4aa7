from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from headway.core.arrays import Floats, Ints
from headway.data.labels.out_of_fold import OutOfFold, adjust_by_half_subgroups, adjust_by_subgroups, group_folds

DRAW = np.random.default_rng(0)


def said(labels: list[int], probabilities: list[float]) -> OutOfFold:
    told = np.array(probabilities)
    return OutOfFold(
        rows=np.arange(len(labels)),
        labels=np.array(labels),
        probabilities=np.column_stack([1 - told, told]),
        groups=np.zeros(len(labels), dtype=np.int64),
        classes=("0", "1"),
        confidence=np.column_stack([1 - told, told]),
    )


def told_by(labels: list[int], way: Callable[[OutOfFold, list[Ints]], Floats] = adjust_by_subgroups) -> Floats:
    """The probability of the label of each row of one part, whose model said 0.3 of class 1."""
    one = said(labels, [0.3] * len(labels))
    part = np.zeros(len(labels), dtype=np.int64)
    return replace(one, probabilities=way(one, [part])).label_probability


def test_a_group_lies_in_one_fold_and_folds_have_about_as_many_rows():
    groups = np.repeat(np.arange(200), DRAW.integers(1, 20, 200))
    found = group_folds(groups)
    assert all(len(set(found[groups == group])) == 1 for group in range(200))
    assert np.bincount(found).min() > 0.8 * len(groups) / 5


def test_the_other_rows_of_a_part_move_a_row_and_its_own_label_does_not():
    before, after = told_by([0, 1] * 50), told_by([0, 0] + [0, 1] * 49)
    own, others = 1 - after[1] - before[1], after[0] - before[0]
    assert before[1] > 0.4
    assert abs(own) < others / 2


def test_halves_of_a_part_tell_each_other_so_that_equal_rows_are_told_alike_whatever_their_label():
    labels = DRAW.integers(0, 2, 4000).tolist()
    told = told_by(labels, adjust_by_half_subgroups)
    of_one = np.where(np.array(labels) == 1, told, 1 - told)
    assert len(set(of_one.round(9))) == 2
    assert abs(of_one.mean() - np.mean(labels)) < 0.02


def test_a_row_alone_in_its_part_is_left_as_it_was():
    alone = said([0, 1], [0.3, 0.6])
    assert np.allclose(adjust_by_subgroups(alone, [np.array([0, 1])]), alone.probabilities)


def test_the_probability_of_the_label_is_that_of_its_class():
    assert np.allclose(said([0, 1], [0.3, 0.6]).label_probability, [0.7, 0.6])
