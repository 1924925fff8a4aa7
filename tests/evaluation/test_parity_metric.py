"""Metric `parity`: changes of single answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from tests.evaluation.test_other_tasks import classes

from headway.core.variant import Field, Signature
from headway.data.matrix import unseen_rows
from headway.evaluation.metrics.parity import plugin


def measured(subject):
    return {(measurement.name, measurement.slice): measurement for measurement in plugin(subject)}


def test_one_changed_answer_is_detected_among_any_number_of_rows(make_subject):
    subject = make_subject(count=30)
    scores = subject.reference_scores.copy()
    scores[7] = np.where(scores[7] > 0.5, scores[7] - 0.29, scores[7] + 0.29)
    found = measured(replace(subject, scores=scores))
    largest = found["max_change", ""]
    assert (largest.n_groups, largest.n_rows) == (0, len(scores))
    assert largest.low == largest.value == largest.high == pytest.approx(0.29)
    assert found["change.p999", ""].value == 0


def test_quantiles_say_how_many_answers_moved_how_far(make_subject):
    subject = make_subject(count=30)
    moved = np.arange(len(subject.labels)) / 1e5
    found = measured(replace(subject, scores=subject.reference_scores + moved[::-1, None]))
    quantiles = [found[f"change.{name}", ""].value for name in ("p50", "p90", "p99", "p999")]
    expected = np.quantile(moved, [0.5, 0.9, 0.99, 0.999], method="inverted_cdf")
    assert quantiles == pytest.approx(expected.tolist(), abs=1e-12)


def test_flips_are_decisions_that_differ_at_the_threshold(make_subject):
    subject = make_subject(count=30)
    flips = measured(subject)["decision_churn", ""]
    expected = np.mean((subject.scores >= 0.3) != (subject.reference_scores >= 0.3))
    assert (flips.value, flips.n_groups) == (pytest.approx(expected), 30)
    assert 0 < flips.low < flips.value < flips.high


def test_flips_are_certified_to_be_none_if_the_steps_keep_decisions_and_no_row_contradicts(make_subject):
    subject = make_subject(count=30)
    alike = replace(subject, scores=np.where(subject.reference_scores >= 0.3, 0.4, 0.2), keeps_decisions=True)
    certified = measured(alike)["decision_churn", ""]
    assert (certified.value, certified.high, certified.n_groups) == (0, 0, 0) and "certified" in certified.method
    assert "certified" not in measured(replace(alike, keeps_decisions=False))["decision_churn", ""].method
    contradicted = measured(replace(subject, keeps_decisions=True))["decision_churn", ""]
    assert contradicted.value > 0 and contradicted.n_groups == 30


def test_flips_near_the_threshold_are_those_of_the_tenth_of_the_rows_nearest_to_it(make_subject):
    subject = make_subject(count=30)
    near = measured(subject)["decision_churn.near", ""]
    order = np.argsort(np.abs(subject.reference_scores[:, 0] - 0.3))[: near.n_rows]
    flipped = (subject.scores >= 0.3) != (subject.reference_scores >= 0.3)
    assert near.n_rows == np.ceil(len(subject.labels) / 10)
    assert near.value == pytest.approx(flipped[order].mean()) and near.value > flipped.mean()


def test_of_several_classes_those_rows_are_near_whose_first_two_are_close():
    subject = classes()
    near = measured(subject)["decision_churn.near", ""]
    ordered = np.sort(subject.reference_scores, axis=1)
    order = np.argsort(ordered[:, 2] - ordered[:, 1])[: near.n_rows]
    flipped = subject.scores.argmax(1) != subject.reference_scores.argmax(1)
    assert (near.n_rows, near.value) == (120, pytest.approx(flipped[order].mean()))


def test_a_score_at_the_threshold_decides_for_the_positive_class(make_subject):
    subject = make_subject(count=20)
    at, below = np.full_like(subject.scores, 0.3), np.full_like(subject.scores, 0.3 - 1e-9)
    found = measured(replace(subject, scores=at, reference_scores=below))
    assert found["decision_churn", ""].value == found["decision_churn.near", ""].value == 1


def test_a_change_within_one_slice_is_reported_for_that_slice(make_subject):
    subject = make_subject(count=30, slices=2)
    inside = subject.slices["part"].codes == 1
    scores = np.where(inside[:, None], 1 - subject.reference_scores, subject.reference_scores)
    found = measured(replace(subject, scores=scores))
    assert found["max_change", "part=v0"].value == found["decision_churn", "part=v0"].value == 0
    assert found["max_change", "part=v1"].n_rows == inside.sum()
    assert found["decision_churn", "part=v1"].low > 0.5


def test_rows_with_a_missing_value_are_a_slice(make_subject):
    subject = make_subject(count=20)
    rows, scores = subject.rows.copy(), subject.reference_scores.copy()
    rows[:3] = np.nan
    scores[1] += 0.01
    scores[9] += 0.02
    found = measured(replace(subject, rows=rows, scores=scores))
    assert found["max_change", ""].value == pytest.approx(0.02)
    missing = found["max_change", "rows with a missing value"]
    assert (missing.value, missing.n_rows) == (pytest.approx(0.01), 3)


def test_rows_with_an_unseen_category_are_a_slice(make_subject):
    subject = make_subject(count=20)
    texts = ["oak"] * len(subject.labels)
    texts[4:8] = ["yew", None, "ash", "yew"]
    signature = Signature(inputs=(Field(name="tree", datatype="BYTES", categories=("ash", "oak")),))
    unseen = unseen_rows(pl.DataFrame({"tree": texts}), signature)
    scores = subject.reference_scores.copy()
    scores[7] = 1 - scores[7]
    found = measured(replace(subject, scores=scores, unseen=unseen))
    flips = found["decision_churn", "rows with an unseen category"]
    assert np.flatnonzero(unseen).tolist() == [4, 7] and (flips.n_rows, flips.se) == (2, None)


def test_without_missing_values_or_slices_no_part_is_measured(make_subject):
    assert not any(measurement.slice for measurement in plugin(make_subject(count=20)))
