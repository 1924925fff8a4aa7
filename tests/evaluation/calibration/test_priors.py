from __future__ import annotations

import numpy as np
import pytest

from headway.evaluation.calibration.apply import adjust_to_prior, estimate_prior

CHANCE = np.random.default_rng(0).beta(0.5, 7.0, 50_000)


def test_adjusting_the_prior_and_back_restores_the_probabilities():
    np.testing.assert_allclose(adjust_to_prior(adjust_to_prior(CHANCE, 0.1, 0.5), 0.5, 0.1), CHANCE, atol=1e-12)


@pytest.mark.parametrize("share", [0.02, 0.066, 0.3])
def test_the_share_of_the_rows_is_found_without_a_label(share):
    learned = float(CHANCE.mean())
    labels = np.random.default_rng(1).random(len(CHANCE)) < CHANCE
    rng = np.random.default_rng(2)
    n_ones = int(share * 4_000)
    rows = np.concatenate(
        [rng.choice(np.flatnonzero(labels), n_ones), rng.choice(np.flatnonzero(~labels), 4_000 - n_ones)]
    )
    assert estimate_prior(CHANCE[rows], learned) == pytest.approx(share, abs=0.03)


def test_scores_of_a_single_value_give_a_prior_at_the_boundary():
    assert estimate_prior(np.zeros(10), 0.3) < 1e-6
