"""Audit `conformal`: coverage near the target and the size of the sets, overall and by month."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.contract.subjects import echo_comparison

from headway.core.contracts import SliceColumn
from headway.core.errors import NotApplicable
from headway.evaluation.audits.conformal import plugin
from headway.evaluation.context import AuditContext
from headway.storage.blobs.files import Files


@pytest.fixture
def context(tmp_path):
    return AuditContext(blobs=Files(tmp_path), budget_s=1)


def measured(subject, context):
    return {(measurement.name, measurement.slice): measurement for measurement in plugin(subject, context)}


def test_sets_of_a_sound_model_hold_the_true_class_as_promised(context):
    coverage, size = plugin(echo_comparison(groups=200), context)[:2]
    assert (coverage.name, coverage.n_rows, coverage.n_groups) == ("conformal.coverage", 192 * 40, 192)
    assert coverage.value == pytest.approx(0.9, abs=0.01) and coverage.low < coverage.value < coverage.high
    assert 1 < size.value < 2


def test_each_slice_has_its_own_limits_and_reaches_the_coverage(context):
    subject = echo_comparison(groups=200)
    right = subject.slices["side"].codes == 1
    labels = np.where(right, subject.labels, (np.arange(len(right)) % 2).astype(float))  # left is chance
    found = measured(replace(subject, labels=labels), context)
    for slice in ("side=left", "side=right"):
        assert found["conformal.coverage", slice].value == pytest.approx(0.9, abs=0.02)
    assert found["conformal.size", "side=left"].low > found["conformal.size", "side=right"].high


def test_of_several_classes_both_kinds_of_sets_keep_the_promise(context):
    subject = echo_comparison(groups=200, task="multiclass")
    found = measured(subject, context)
    assert found["conformal.coverage", ""].value == pytest.approx(0.9, abs=0.01)
    assert found["conformal.aps.coverage", ""].low > 0.88
    assert 1 < found["conformal.size", ""].value <= found["conformal.aps.size", ""].value <= 2


def test_intervals_of_a_regression_keep_the_promise_while_errors_grow(context):
    rng = np.random.default_rng(5)
    subject = echo_comparison(groups=200, task="regression")
    grown = rng.normal(size=len(subject.labels)) * (1 + subject.groups / 50)
    found = measured(replace(subject, labels=subject.scores[:, 0] + grown), context)
    assert found["conformal.coverage", ""].value == pytest.approx(0.9, abs=0.01)
    assert 2 * 1.645 < found["conformal.width", ""].value < 2 * 1.645 * 5


def test_infinite_intervals_are_counted_and_excluded_from_the_width(context):
    subject = echo_comparison(groups=60, task="regression")
    wrong = np.where(subject.groups % 30 < 20, 10.0**subject.groups, 0.0)
    found = measured(replace(subject, labels=wrong), context)
    endless = found["conformal.endless", ""]
    assert 0 < endless.value < endless.n_rows and np.isfinite(found["conformal.width", ""].value)


def test_each_month_but_the_calibration_one_has_its_own_coverage(context):
    subject = echo_comparison(groups=60)
    codes = np.digitize(subject.groups, [5, 30])
    months = SliceColumn(codes=codes, values=("2013-01", "2013-02", "2013-03"))
    found = plugin(subject, replace(context, months=months))
    slices = [measurement.slice for measurement in found if measurement.name == "conformal.coverage"]
    assert slices[:3] == ["", "month=2013-02", "month=2013-03"]


def test_with_only_calibration_groups_nothing_is_evaluated(context):
    with pytest.raises(NotApplicable, match="there are 8"):
        plugin(echo_comparison(groups=8), context)
