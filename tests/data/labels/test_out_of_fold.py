from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import numpy as np
import polars as pl
import pytest
from tests.data.labels.noisy_tables import flipped
from tests.data.tables import small, with_column

from headway.core.arrays import Floats, Ints
from headway.core.dataset import Dataset, Roles
from headway.core.errors import NotApplicable
from headway.data.labels.out_of_fold import (
    ADDITIVE,
    OutOfFold,
    adjust_by_half_subgroups,
    adjust_by_subgroups,
    cross_fit,
    group_folds,
    labeled_indices,
    out_of_fold,
)

DRAW = np.random.default_rng(0)


def predictions(labels: list[int], probabilities: list[float]) -> OutOfFold:
    positive = np.array(probabilities)
    return OutOfFold(
        rows=np.arange(len(labels)),
        labels=np.array(labels),
        probabilities=np.column_stack([1 - positive, positive]),
        groups=np.zeros(len(labels), dtype=np.int64),
        classes=("0", "1"),
        confidence=np.column_stack([1 - positive, positive]),
    )


def label_probabilities(
    labels: list[int], adjust: Callable[[OutOfFold, list[Ints]], Floats] = adjust_by_subgroups
) -> Floats:
    """Return the adjusted label probabilities of rows in one subgroup, all predicted as class 1 with 0.3."""
    one = predictions(labels, [0.3] * len(labels))
    part = np.zeros(len(labels), dtype=np.int64)
    return replace(one, probabilities=adjust(one, [part])).label_probability


def test_a_group_is_in_one_fold_and_folds_have_similar_sizes():
    groups = np.repeat(np.arange(200), DRAW.integers(1, 20, 200))
    found = group_folds(groups)
    assert all(len(set(found[groups == group])) == 1 for group in range(200))
    assert np.bincount(found).min() > 0.8 * len(groups) / 5


def test_a_row_is_adjusted_by_the_others_of_its_subgroup_and_not_by_its_own_label():
    before, after = label_probabilities([0, 1] * 50), label_probabilities([0, 0] + [0, 1] * 49)
    own, others = 1 - after[1] - before[1], after[0] - before[0]
    assert before[1] > 0.4
    assert abs(own) < others / 2


def test_adjustment_by_halves_does_not_depend_on_the_own_label():
    labels = np.random.default_rng(1).integers(0, 2, 4000).tolist()  # with 0 they are the halves themselves
    adjusted = label_probabilities(labels, adjust_by_half_subgroups)
    of_one = np.where(np.array(labels) == 1, adjusted, 1 - adjusted)
    assert len(set(of_one.round(9))) == 2
    assert abs(of_one.mean() - np.mean(labels)) < 0.02


def test_a_single_row_of_a_subgroup_is_not_adjusted():
    alone = predictions([0, 1], [0.3, 0.6])
    assert np.allclose(adjust_by_subgroups(alone, [np.array([0, 1])]), alone.probabilities)


def test_the_probability_of_the_label_is_that_of_its_class():
    assert np.allclose(predictions([0, 1], [0.3, 0.6]).label_probability, [0.7, 0.6])


@pytest.mark.slow
def test_flipped_labels_are_far_less_likely_than_the_others():
    dataset, wrong = flipped()
    oof = cross_fit(dataset)
    assert oof.label_probability[wrong].mean() < 0.35
    assert oof.label_probability[~wrong].mean() > 0.7


@pytest.mark.slow
def test_a_column_that_names_the_group_does_not_help_for_its_rows():
    dataset, _ = flipped(share=0.5)
    luck = pl.Series(np.random.default_rng(1).integers(0, 2, 60))
    by_day = with_column(dataset, label=luck.gather(dataset.table["day"]))
    oof = cross_fit(by_day)
    plain = oof.probabilities[:, 1].round(6)
    assert len(set(plain)) > 2
    assert oof.n_groups == 60


def test_unlabeled_rows_are_left_out_and_indices_are_those_of_the_table():
    dataset = small()
    rows, groups = labeled_indices(dataset)
    assert len(rows) == 380
    assert dataset.table["late"][rows.tolist()].null_count() == 0
    assert groups.max() == 39


def test_whole_groups_of_a_large_table_are_drawn():
    dataset, _ = flipped()
    rows, groups = labeled_indices(dataset, max_rows=1000)
    assert 500 < len(rows) <= 1000
    assert set(np.bincount(groups)) == {50}


@pytest.mark.slow
def test_the_last_result_is_cached_for_the_same_table_only():
    dataset, _ = flipped(rows=600)
    assert out_of_fold(dataset) is out_of_fold(dataset)
    assert out_of_fold(dataset) is not out_of_fold(flipped(rows=600)[0])


@pytest.mark.slow
def test_several_classes_have_a_probability_each():
    dataset, wrong = flipped(classes=3)
    oof = cross_fit(dataset)
    assert oof.probabilities.shape == (3000, 3)
    assert np.allclose(oof.probabilities.sum(axis=1), 1)
    assert oof.label_probability[wrong].mean() < oof.label_probability[~wrong].mean() / 2


@pytest.mark.parametrize(
    ("dataset", "why"),
    [
        (small(task="regression"), "no classes"),
        (with_column(small(), late=[1] * 400), "has 1 classes"),
        (with_column(small(), late=[None] * 360 + [0, 1] * 20), "40 labelled rows"),
    ],
)
def test_it_reports_why_it_cannot_judge(dataset, why):
    with pytest.raises(NotApplicable, match=why):
        cross_fit(dataset)


def test_texts_are_read_by_their_words_and_left_out_of_trees():
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 2, 400)
    texts = [f"{('refund', 'parcel')[label]} number {draw.integers(9)} please" for label in labels]
    table = pl.DataFrame({"message": texts, "late": labels, "day": [datetime(2025, 1, 1)] * 400})
    dataset = Dataset(name="m", table=table, roles=Roles(target="late", text=("message",)))
    assert (cross_fit(dataset).probabilities.argmax(axis=1) == labels).all()
    with pytest.raises(NotApplicable, match="no feature is a number or a category"):
        cross_fit(dataset, shape=ADDITIVE)
