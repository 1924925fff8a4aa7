from __future__ import annotations

import numpy as np
import pytest
from tests.data.labels.noisy_tables import told, turned

from headway.data.labels.noise import T_QUANTILE, count_errors, estimate_noise, temperature_scaled
from headway.data.labels.out_of_fold import cross_fit


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_the_count_is_that_of_the_turned_labels_within_a_fifth(share):
    dataset, wrong = turned(rows=6000, share=share)
    assert estimate_noise(cross_fit(dataset)).count == pytest.approx(wrong.sum(), rel=0.2)


@pytest.mark.slow
def test_its_interval_holds_the_count_of_turned_labels_in_most_tables():
    held = 0
    for seed in range(10):
        dataset, wrong = turned(share=0.1, seed=seed)
        noise = estimate_noise(cross_fit(dataset))
        held += abs(noise.count - wrong.sum()) <= T_QUANTILE * noise.standard_errors[-1]
    assert held >= 8


def test_a_class_that_alone_is_mislabelled_has_the_count():
    dataset, _ = turned(rows=6000, share=0.0)
    said = cross_fit(dataset)
    draw = np.random.default_rng(0)
    labels = np.where((said.labels == 1) & (draw.random(6000) < 0.2), 0, said.labels)
    noise = estimate_noise(cross_fit(dataset_with(dataset, labels)))
    assert noise.counts[0] > 4 * noise.counts[1]
    assert noise.transition[1, 0] == pytest.approx(0.2, abs=0.05)


def test_labels_that_all_stand_have_next_to_no_count():
    dataset, _ = turned(share=0.0, rows=6000)
    assert estimate_noise(cross_fit(dataset)).count < 0.02 * 6000


def test_what_a_known_confusion_makes_of_known_classes_is_counted_back():
    turns = np.array([[0.9, 0.1], [0.2, 0.8]])
    sizes = np.array([100.0, 200.0]) @ turns
    assert count_errors(sizes, turns) == pytest.approx([40.0, 10.0])


def test_probabilities_that_are_too_sure_are_made_as_sure_as_the_labels_bear_out():
    draw = np.random.default_rng(0)
    labels = (draw.random(4000) < 0.8).astype(np.int64)
    confidence = np.tile([0.01, 0.99], (4000, 1))
    assert temperature_scaled(told(labels, confidence)).probabilities[0, 1] == pytest.approx(0.8, abs=0.08)


def test_fewer_groups_than_blocks_have_no_interval():
    labels = np.arange(300) % 2
    few = told(labels, np.column_stack([1 - labels, labels]) * 0.8 + 0.1, labels * 0 + np.arange(300) % 7)
    assert estimate_noise(few).standard_errors is None


def dataset_with(dataset, labels):
    from_table = dataset.table.with_columns(label=labels)
    return type(dataset)(name=dataset.name, table=from_table, roles=dataset.roles)
