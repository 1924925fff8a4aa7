from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.data.labels.noisy_tables import flipped, predictions

from headway.data.labels.noise import count_errors, estimate_noise, temperature_scaled
from headway.data.labels.out_of_fold import cross_fit


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.05, 0.2])
def test_the_count_matches_the_flipped_labels_within_a_fifth(share):
    dataset, wrong = flipped(rows=6000, share=share)
    assert estimate_noise(cross_fit(dataset)).count == pytest.approx(wrong.sum(), rel=0.2)


@pytest.mark.slow
def test_its_interval_covers_the_count_of_flipped_labels_in_most_tables():
    held = 0
    for seed in range(10):
        dataset, wrong = flipped(share=0.1, seed=seed)
        noise = estimate_noise(cross_fit(dataset))
        held += abs(noise.count - wrong.sum()) <= noise.t_quantile * noise.standard_errors[-1]
    assert held >= 8


@pytest.mark.slow
def test_only_the_mislabeled_class_has_a_count():
    dataset, _ = flipped(rows=6000, share=0.0)
    oof = cross_fit(dataset)
    draw = np.random.default_rng(0)
    labels = np.where((oof.labels == 1) & (draw.random(6000) < 0.2), 0, oof.labels)
    noise = estimate_noise(cross_fit(dataset_with(dataset, labels)))
    assert noise.counts[0] > 4 * noise.counts[1]
    assert noise.transition[1, 0] == pytest.approx(0.2, abs=0.05)


@pytest.mark.slow
def test_correct_labels_have_nearly_no_count():
    dataset, _ = flipped(share=0.0, rows=6000)
    assert estimate_noise(cross_fit(dataset)).count < 0.02 * 6000


def test_errors_of_a_known_transition_matrix_are_counted():
    turns = np.array([[0.9, 0.1], [0.2, 0.8]])
    sizes = np.array([100.0, 200.0]) @ turns
    assert count_errors(sizes, turns) == pytest.approx([40.0, 10.0])


def test_overconfident_probabilities_are_calibrated_by_the_labels():
    draw = np.random.default_rng(0)
    labels = (draw.random(4000) < 0.8).astype(np.int64)
    confidence = np.tile([0.01, 0.99], (4000, 1))
    assert temperature_scaled(predictions(labels, confidence)).probabilities[0, 1] == pytest.approx(0.8, abs=0.08)


def test_the_interval_of_few_groups_uses_a_block_for_each_and_four_groups_have_none():
    labels = np.arange(300) % 2
    few = predictions(labels, np.column_stack([1 - labels, labels]) * 0.8 + 0.1, np.arange(300) % 7)
    assert estimate_noise(few).blocks == 7
    assert estimate_noise(few).t_quantile == pytest.approx(2.446912, abs=1e-6)
    assert estimate_noise(replace(few, groups=np.arange(300) % 4)).standard_errors is None


def dataset_with(dataset, labels):
    from_table = dataset.table.with_columns(label=labels)
    return type(dataset)(name=dataset.name, table=from_table, roles=dataset.roles)
