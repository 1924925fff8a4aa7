"""Metric `missing`: rows that lack a value are slices, column by column."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from msgspec.structs import replace as named

from headway.core.errors import NotApplicable
from headway.core.variant import Field, Signature
from headway.evaluation.context import Comparison
from headway.evaluation.metrics.missing import plugin


def lacking(subject: Comparison, **columns: np.ndarray) -> Comparison:
    """Return the comparison with a column for each name, missing where its mask is True."""
    rows = np.column_stack([np.where(lacks, np.nan, 1.0) for lacks in columns.values()])
    signature = Signature(inputs=tuple(Field(name=name) for name in columns))
    return replace(subject, rows=rows, variant=named(subject.variant, signature=signature))


def test_rows_with_a_missing_value_are_measured_like_a_subset(make_subject):
    subject = make_subject(count=30)
    lacks = np.arange(len(subject.labels)) % 3 == 0
    loss, turned = plugin(lacking(subject, wind=lacks, rain=np.zeros_like(lacks)))
    variant, reference, labels = (
        values[lacks] for values in (subject.scores[:, 0], subject.reference_scores[:, 0], subject.labels)
    )
    assert loss.value == pytest.approx(np.mean((variant - labels) ** 2 - (reference - labels) ** 2))
    assert turned.value == pytest.approx(np.mean((variant >= 0.3) != (reference >= 0.3)))
    assert all(
        (measurement.slice, measurement.n_rows) == ("rows without wind", lacks.sum()) for measurement in (loss, turned)
    )
    assert [item.name for item in (loss, turned)] == ["missing.brier.drop", "missing.decision_churn"]


def test_columns_that_the_same_rows_lack_are_one_part(make_subject):
    subject = make_subject(count=30)
    odd, first = np.arange(len(subject.labels)) % 2 == 1, np.arange(len(subject.labels)) < 100
    found = plugin(lacking(subject, seats=odd, wind=first, engines=odd))
    assert {measurement.slice for measurement in found} == {"rows without seats, engines", "rows without wind"}


def test_a_variant_that_differs_only_on_those_rows_is_measured(make_subject):
    subject = make_subject(count=40)
    lacks = np.arange(len(subject.labels)) % 10 == 0
    scores = np.where(lacks[:, None], 1 - subject.reference_scores, subject.reference_scores)
    _, turned = plugin(replace(lacking(subject, wind=lacks), scores=scores))
    assert turned.low > 0.3


def test_no_missing_value_is_reported(make_subject):
    with pytest.raises(NotApplicable, match="no value is missing"):
        plugin(make_subject(count=20))
