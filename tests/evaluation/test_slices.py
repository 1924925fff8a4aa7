"""Metric `slices`: every slice is measured, small or not; the judge decides which are large enough."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from headway.core.contracts import SliceColumn
from headway.core.errors import NotApplicable
from headway.evaluation.metrics.quality import plugin as quality
from headway.evaluation.metrics.slices import plugin


def test_a_slice_is_measured_like_a_subset(make_subject):
    subject = make_subject(count=30, slices=3)
    found = next(measurement for measurement in plugin(subject) if measurement.slice == "part=v1")
    inside = subject.slices["part"].codes == 1
    scores, reference, labels = (
        values[inside] for values in (subject.scores[:, 0], subject.reference_scores[:, 0], subject.labels)
    )
    assert found.value == pytest.approx(np.mean((scores - labels) ** 2 - (reference - labels) ** 2))
    assert (found.name, found.n_rows, found.n_groups, found.dof) == ("brier.drop", inside.sum(), 30, 29)


def test_a_slice_of_all_rows_has_nearly_the_interval_of_all_rows(make_subject):
    subject = make_subject(count=40, slices=1)
    all_rows = next(item for item in quality(subject) if item.name == "brier.drop")
    only = plugin(subject)[0]
    assert (only.value, only.se) == (pytest.approx(all_rows.value), pytest.approx(all_rows.se, rel=0.05))


def test_slices_without_a_row_are_left_out_and_small_ones_reported(make_subject):
    subject = make_subject(count=30)
    codes = np.zeros(len(subject.labels), dtype=np.int64)
    codes[:5] = 2
    column = SliceColumn(codes=codes, values=("AA", "none", "UA"))
    found = {measurement.slice: measurement for measurement in plugin(replace(subject, slices={"carrier": column}))}
    assert set(found) == {"carrier=AA", "carrier=UA"}
    assert (found["carrier=UA"].n_rows, found["carrier=UA"].n_groups, found["carrier=UA"].se) == (5, 1, None)


def test_without_slice_columns_the_reason_is_given(make_subject):
    with pytest.raises(NotApplicable, match="no slice columns"):
        plugin(make_subject(count=20))


def test_groups_of_a_slice_are_counted_even_where_blocks_hold_many(make_subject):
    subject = make_subject(count=30, slices=2)
    alone = replace(subject, groups=np.arange(len(subject.labels)))
    assert [measurement.n_groups for measurement in plugin(alone)] == [
        measurement.n_rows for measurement in plugin(alone)
    ]
