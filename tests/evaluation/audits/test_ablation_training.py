"""Retraining without features under a time limit; the missing data are given in seeds or in groups."""

from __future__ import annotations

from time import monotonic

import numpy as np
import pytest
from tests.evaluation.audits.retraining import retrained_by

from headway.core.evidence import Measurement
from headway.evaluation.audits.ablation import Trainer, describe_missing_data

ALPHA = 0.001


class Constant:
    """Predicts one number for every row."""

    def __init__(self, answer):
        self.answer = answer

    def predict(self, rows):
        return np.full((len(rows), 1), self.answer)


def lost(value, se):
    return Measurement(name="lost", value=value, low=-1, high=1, method="", n_rows=9, n_groups=60, se=se, dof=59)


@pytest.mark.parametrize(
    ("se", "of_seeds", "message"),
    [
        (0.001, 0.0001, "about 24 seeds would decide"),
        (0.003, 0.0, "about 104 groups would decide, here are 60"),
        (0.02, 0.0, "nor would 10 times the 60 groups decide"),
    ],
)
def test_what_would_decide_names_the_missing_seeds_or_groups(se, of_seeds, message):
    assert message in describe_missing_data(lost(-0.01, se), ALPHA, of_seeds=of_seeds)


@pytest.mark.slow
def test_one_seed_that_makes_a_part_suspect_claims_nothing_when_the_time_is_used_up(make_subject):
    until = monotonic() + 0.2

    def learn(task):
        while task.seed and monotonic() < until:
            pass
        return Constant(0.9 if task.features else 0.25)

    trainer = Trainer(subject=make_subject(count=30), learn=retrained_by(learn), alpha=ALPHA)
    harm = trainer.train_without({"score": np.array([0])}, until)
    assert harm.shown == [] and "one seed" in harm.open["score"]
    assert trainer.found["score"].se is None
