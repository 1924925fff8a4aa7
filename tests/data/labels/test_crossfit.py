from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from tests.data.labels.noisy_tables import turned
from tests.data.tables import small, with_column

from headway.core.errors import NotApplicable
from headway.data.labels.out_of_fold import cross_fit, labeled_indices, out_of_fold


def test_turned_labels_are_told_far_less_likely_than_the_others():
    dataset, wrong = turned()
    said = cross_fit(dataset)
    assert said.label_probability[wrong].mean() < 0.35
    assert said.label_probability[~wrong].mean() > 0.7


def test_a_column_that_names_the_group_teaches_nothing_of_rows_of_that_group():
    dataset, _ = turned(share=0.5)
    luck = pl.Series(np.random.default_rng(1).integers(0, 2, 60))
    by_day = with_column(dataset, label=luck.gather(dataset.table["day"]))
    said = cross_fit(by_day)
    plain = said.probabilities[:, 1].round(6)
    assert len(set(plain)) > 2
    assert said.n_groups == 60


def test_rows_without_a_label_are_left_out_and_places_are_those_of_the_table():
    dataset = small()
    rows, groups = labeled_indices(dataset)
    assert len(rows) == 380
    assert dataset.table["late"][rows.tolist()].null_count() == 0
    assert groups.max() == 39


def test_of_a_large_table_whole_groups_are_drawn():
    dataset, _ = turned()
    rows, groups = labeled_indices(dataset, max_rows=1000)
    assert 500 < len(rows) <= 1000
    assert set(np.bincount(groups)) == {50}


def test_the_last_answer_is_kept_for_the_same_table_alone():
    dataset, _ = turned(rows=600)
    assert out_of_fold(dataset) is out_of_fold(dataset)
    assert out_of_fold(dataset) is not out_of_fold(turned(rows=600)[0])


def test_several_classes_have_a_probability_each():
    dataset, wrong = turned(classes=3)
    said = cross_fit(dataset)
    assert said.probabilities.shape == (3000, 3)
    assert np.allclose(said.probabilities.sum(axis=1), 1)
    assert said.label_probability[wrong].mean() < said.label_probability[~wrong].mean() / 2


@pytest.mark.parametrize(
    ("dataset", "why"),
    [
        (small(task="regression"), "no classes"),
        (with_column(small(), late=[1] * 400), "has 1 classes"),
        (with_column(small(), late=[None] * 360 + [0, 1] * 20), "40 labelled rows"),
    ],
)
def test_it_says_what_it_cannot_tell(dataset, why):
    with pytest.raises(NotApplicable, match=why):
        cross_fit(dataset)
