"""Audit `attributes`: what answers add for a caller who guesses a sensitive column."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from msgspec.structs import replace as changed
from tests.evaluation.conftest import subject_from

from headway.core.contracts import LabeledData, SliceColumn
from headway.core.errors import NotApplicable
from headway.core.evidence import Measurement
from headway.core.variant import Field, Signature
from headway.evaluation.audits import attributes
from headway.evaluation.context import AuditContext
from headway.storage.in_memory import InMemoryBlobs

ADVANTAGE, KNOWN = "privacy.attribute.advantage", "privacy.attribute.known"


class Linear:
    """Answers by two columns: the sensitive one counts by `weight`; `decimals` rounds the answers."""

    def __init__(self, weight, decimals=9):
        self.weight, self.decimals = weight, decimals

    def predict(self, rows):
        return np.round(1 / (1 + np.exp(-(rows[:, 1] + self.weight * rows[:, 0]))), self.decimals)[:, None]


def made(model, *, share=0.3, follows=0.0, trains=True, names=("smoker", "x")):
    """Return a subject and context; the first column is sensitive, and `follows` the second one in this share."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=1_200)
    smoker = np.where(rng.random(1_200) < follows, x > 0, rng.random(1_200) < share).astype(float)
    rows = np.column_stack([smoker, x])
    scores = model.predict(rows)[:, 0]
    labels = (rng.random(1_200) < scores).astype(float)
    groups = np.repeat(np.arange(120), 10)
    subject = subject_from(labels[600:], scores[600:], scores[600:], groups[:600])
    variant = changed(subject.variant, signature=Signature(inputs=tuple(Field(name=name) for name in names)))
    column = SliceColumn(codes=smoker[600:].astype(np.int64), values=("no", "yes"))
    subject = replace(subject, variant=variant, model=model, rows=rows[600:], sensitive_features={"smoker": column})
    data = LabeledData(rows=rows[:600], labels=labels[:600], groups=groups[:600])
    return subject, AuditContext(blobs=InMemoryBlobs(), budget_s=60.0, train=lambda: data if trains else None)


def measured(subject, context):
    return {one.name: one for one in attributes.plugin(subject, context) if isinstance(one, Measurement)}


@pytest.mark.parametrize("trains", [True, False])
def test_an_exact_answer_gives_a_column_away_that_the_model_reads(trains):
    found = measured(*made(Linear(1.0), trains=trains))
    assert found[ADVANTAGE].low > 0.3
    assert found[ADVANTAGE].value + found[KNOWN].value == pytest.approx(1.0)
    assert found[ADVANTAGE].slice == found[KNOWN].slice == "smoker"


def test_a_model_that_does_not_use_the_column_adds_nothing():
    found = measured(*made(Linear(0.0)))
    assert found[ADVANTAGE].value == 0.0


def test_rounded_answers_add_less():
    exact, rounded = (measured(*made(Linear(0.02, decimals)))[ADVANTAGE] for decimals in (9, 1))
    assert rounded.high < exact.low


def test_what_the_rest_says_is_not_an_advantage():
    found = measured(*made(Linear(1.0), follows=1.0))
    assert found[KNOWN].low > 0.95 and found[ADVANTAGE].high < 0.05


def test_a_column_that_the_model_does_not_read_gains_nothing():
    (found,) = attributes.plugin(*made(Linear(1.0), names=("other", "x")))
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)
    assert "the model does not read it" in found.method


def test_what_cannot_be_judged_is_refused_by_name():
    subject, context = made(Linear(1.0))
    with pytest.raises(NotApplicable, match="no sensitive column is declared"):
        attributes.plugin(replace(subject, sensitive_features={}), context)
    column = subject.sensitive_features["smoker"]
    unknown = replace(subject, rows=subject.rows * np.nan)
    (reason,) = attributes.plugin(unknown, context)
    assert "is known in 0 rows" in reason.what
    many = replace(subject, rows=subject.rows[:, ::-1], sensitive_features={"smoker": column})
    data = context.train()
    numbers = replace(data, rows=data.rows[:, ::-1])
    (reason,) = attributes.plugin(many, replace(context, train=lambda: numbers))
    assert "'smoker' has 600 values in the training rows; from 2 to 12 are guessed" in reason.what


def test_the_attack_has_one_effort_which_is_complete():
    found = attributes.plugin(*made(Linear(1.0)))
    assert all(one.effort.is_complete for one in found if isinstance(one, Measurement))
    (unread,) = attributes.plugin(*made(Linear(1.0), names=("other", "x")))
    assert unread.effort.is_complete
