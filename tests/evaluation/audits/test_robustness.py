"""Audit `robustness`: the cost of corrupted inputs, and whether a variant is as robust as the baseline."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from msgspec import UNSET
from msgspec.structs import replace as changed

from headway.core.contracts import SliceColumn
from headway.core.errors import EngineError, NotApplicable
from headway.core.evidence import Measurement
from headway.core.variant import Field, Signature
from headway.evaluation.audits import robustness
from headway.evaluation.context import AuditContext
from headway.evaluation.statistics.proportions import upper_share
from headway.storage.blobs.files import Files


class Sum:
    """Predicts half of `wind` plus half of `hour`; a missing value counts as `missing`. `idle` is not read."""

    def __init__(self, missing=0.5):
        self.missing = missing

    def predict(self, rows):
        known = np.where(np.isnan(rows), self.missing, rows)
        return np.clip(0.5 * known[:, :1] + 0.5 * known[:, 1:2], 0, 1)


class Slow(Sum):
    """Works for every row (a matrix product for each 16 rows), and records the number of rows of each call."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def predict(self, rows):
        self.asked.append(len(rows))
        for _ in range(0, len(rows), 16):
            np.linalg.inv(np.eye(80) * 2)
        return super().predict(rows)


class Refuses(Sum):
    def predict(self, rows):
        if np.isnan(rows).any():
            raise EngineError("no missing values")
        return super().predict(rows)


def answering(subject, variant, reference):
    scores, before = variant.predict(subject.rows), reference.predict(subject.rows)
    return replace(subject, model=variant, reference=reference, scores=scores, reference_scores=before)


@pytest.fixture
def subject(make_subject):
    """Outcomes follow the sum, over 40 days of which the first half is January."""
    found = make_subject(count=40)
    rows = np.random.default_rng(1).random((len(found.labels), 3))
    labels = (np.random.default_rng(2).random(len(rows)) < Sum().predict(rows)[:, 0]).astype(float)
    signature = Signature(inputs=tuple(Field(name=name) for name in ("wind", "hour", "idle")))
    made = replace(found, variant=changed(found.variant, signature=signature), rows=rows, labels=labels, threshold=0.5)
    return answering(made, Sum(), Sum())


@pytest.fixture
def context(tmp_path, subject):
    codes = (subject.groups >= 20).astype(np.int64)
    return AuditContext(
        blobs=Files(tmp_path), budget_s=60, months=SliceColumn(codes=codes, values=("2013-01", "2013-02"))
    )


def of(found, name):
    measured = (measurement for measurement in found if isinstance(measurement, Measurement))
    return {measurement.slice: measurement for measurement in measured if measurement.name == f"robustness.{name}"}


def unmeasured(found):
    return [reason.what for reason in found if isinstance(reason, NotApplicable)]


@pytest.mark.slow
def test_each_feature_has_a_drop_and_an_unread_one_has_none(subject, context):
    found = robustness.plugin(subject, context)
    for name in ("missing.excess", "missing.roc_auc.decrease", "missing.changed_decisions", "stale.excess"):
        assert of(found, name)["wind"].low > 0
        idle = of(found, name)["idle"]
        unseen = 0.0 if idle.effective_rows is UNSET else upper_share(0.0, idle.effective_rows, 0.025)
        assert (idle.value, idle.high) == (0.0, pytest.approx(unseen))
    assert of(found, "noise.excess")["wind +- 0.1 sd"].value < of(found, "noise.excess")["wind +- 0.5 sd"].value
    assert of(found, "unit.excess")["wind x 1000"].low > 0 and of(found, "unit.excess")["idle x 1000"].value == 0
    assert set(of(found, "swapped.excess")) == {"wind <-> hour", "hour <-> idle"}
    assert not unmeasured(found)


@pytest.mark.slow
def test_the_error_without_a_value_is_the_one_that_is_worked_by_hand(subject, context):
    altered = subject.rows.copy()
    altered[:, 0] = 0.5
    errors = [np.square(Sum().predict(rows)[:, 0] - subject.labels).mean() for rows in (altered, subject.rows)]
    lost = of(robustness.plugin(subject, context), "missing.excess")["wind"]
    assert lost.value == pytest.approx(errors[0] - errors[1])


@pytest.mark.slow
def test_the_same_model_in_another_form_is_equally_robust(subject, context):
    found = robustness.plugin(replace(subject, keeps_answers=True), context)
    paired = [measurement for measurement in found if measurement.name.endswith((".drop", ".decision_churn"))]
    assert paired and all(measurement.value == 0 == measurement.high for measurement in paired)


@pytest.mark.slow
def test_a_variant_that_reads_missing_values_differently_shows_only_on_rows_with_them(subject, context):
    found = robustness.plugin(answering(subject, Sum(missing=0.0), Sum()), context)
    for name in ("missing.drop", "missing.decision_churn"):
        assert of(found, name)["wind"].low > 0 and of(found, name)["idle"].value == 0
    for kind in ("noise", "unit", "stale", "swapped"):
        assert {measurement.value for measurement in of(found, f"{kind}.drop").values()} == {0.0}


@pytest.mark.slow
def test_rows_that_an_engine_refuses_count_as_completely_wrong(subject, context):
    found = robustness.plugin(answering(subject, Refuses(), Sum()), context)
    error = np.square(subject.scores[:, 0] - subject.labels).mean()
    assert of(found, "missing.excess")["idle"].value == pytest.approx(1 - error)
    assert of(found, "missing.drop")["idle"].low > 0


@pytest.mark.slow
def test_features_that_belong_together_go_missing_together(subject, context):
    found = robustness.plugin(subject, replace(context, feature_groups=(("wind", "hour"),)))
    assert set(of(found, "missing.drop")) == {"wind + hour", "idle", "10% of all"}


@pytest.mark.slow
def test_a_month_is_compared_with_the_others_and_with_the_baseline(subject, context):
    worse = np.where(subject.groups >= 20, 1 - subject.labels, subject.labels)
    found = robustness.plugin(replace(subject, labels=worse), context)
    months = of(found, "months.excess")
    assert months["month=2013-02"].value == pytest.approx(-months["month=2013-01"].value)
    assert months["month=2013-02"].low > 0 and of(found, "months.drop")["month=2013-01"].value == 0


def test_a_kind_without_time_is_reported_as_not_measured_and_not_in_part(subject, context):
    found = robustness.plugin(subject, replace(context, budget_s=1e-9, months=None))
    assert found == [measurement for measurement in found if isinstance(measurement, NotApplicable)]
    assert unmeasured(found)[0] == "robustness.missing, 4 corruptions: time ran out before all were measured"


def test_a_kind_whose_rows_a_regression_rejects_is_not_measured(subject, context):
    variant = changed(subject.variant, task="regression")
    found = robustness.plugin(replace(answering(subject, Refuses(), Sum()), variant=variant), context)
    (reason,) = unmeasured(found)
    assert "robustness.missing" in reason and "are not finite" in reason
    assert not of(found, "missing.drop") and of(found, "noise.drop") and not of(found, "noise.decision_churn")


@pytest.mark.slow
def test_a_slow_model_is_evaluated_on_fewer_rows(subject, context):
    many = replace(subject, rows=np.tile(subject.rows, (4, 1)), labels=np.tile(subject.labels, 4))
    many = replace(many, groups=np.tile(subject.groups, 4))
    slow = Slow()
    made = answering(many, slow, Sum())
    slow.asked.clear()
    robustness.plugin(made, replace(context, budget_s=0.2, months=None))
    assert max(slow.asked) <= robustness.MIN_ROWS < len(many.rows)
