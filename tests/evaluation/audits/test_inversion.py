"""Audit `inversion`: how much of a row is rebuilt from the answer to it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from msgspec.structs import replace as changed
from tests.evaluation.conftest import subject_from

from headway.core.contracts import LabeledData
from headway.core.errors import NotApplicable
from headway.core.variant import Field, Signature
from headway.evaluation.audits import inversion
from headway.evaluation.context import AuditContext
from headway.storage.in_memory import InMemoryBlobs


class First:
    """Answers by the first column alone, in steps of 1 / `steps`."""

    def __init__(self, steps):
        self.steps = steps

    def predict(self, rows):
        return np.round(np.nan_to_num(rows[:, [0]], nan=0.5) * self.steps) / self.steps


def made(model, *, categories=(), count=600):
    rng = np.random.default_rng(0)
    rows = rng.random((2 * count, 2))
    rows[::7, 1] = np.nan
    scores = model.predict(rows)[:, 0]
    labels = (rng.random(2 * count) < scores).astype(float)
    groups = np.arange(count) // 10
    subject = subject_from(labels[count:], scores[count:], scores[count:], groups)
    inputs = tuple(
        Field(name=name, datatype="BYTES", categories=("x", "y")) if name in categories else Field(name=name)
        for name in "ab"
    )
    variant = changed(subject.variant, signature=Signature(inputs=inputs))
    data = LabeledData(rows=rows[:count], labels=labels[:count], groups=groups)
    context = AuditContext(blobs=InMemoryBlobs(), budget_s=60.0, train=lambda: data)
    return replace(subject, variant=variant, model=model, rows=rows[count:]), context


def errors(subject, context):
    return {one.slice: one for one in inversion.plugin(subject, context)}


def test_a_column_that_the_answer_shows_is_rebuilt_and_another_is_not():
    found = errors(*made(First(1_000)))
    assert found["a"].high < 0.05
    assert found["b"].low <= 1.03 and found["b"].high > 0.97
    assert found["a"].value < found[""].value < found["b"].value


def test_coarse_answers_show_less():
    exact, coarse = (errors(*made(First(steps)))["a"] for steps in (1_000, 2))
    assert coarse.low > exact.high


def test_rows_of_the_evaluation_serve_where_those_of_training_are_not_known():
    subject, context = made(First(1_000))
    assert errors(subject, replace(context, train=lambda: None))["a"].high < 0.05


def test_what_cannot_be_judged_is_refused_by_name():
    with pytest.raises(NotApplicable, match="no column of numbers"):
        inversion.plugin(*made(First(10), categories="ab"))
    with pytest.raises(NotApplicable, match="there are 50 rows with an answer, and 100 are needed"):
        inversion.plugin(*made(First(10), count=50))
