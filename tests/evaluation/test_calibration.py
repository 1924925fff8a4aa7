"""Metric `calibration`: calibration errors and the reliability curve."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn import metrics
from sklearn.isotonic import IsotonicRegression
from tests.evaluation.conftest import subject_from

from headway.evaluation.metrics.calibration import plugin
from headway.evaluation.statistics.intervals import jackknife_error


def plain_ece(subject, bins=15):
    """Compute it by hand: rows in order of score, cut into equal parts, weighted |mean label - mean score|."""
    order = np.argsort(subject.scores[:, 0], kind="stable")
    cuts = np.arange(1, bins) * len(order) // bins
    pairs = zip(np.split(subject.labels[order], cuts), np.split(subject.scores[order, 0], cuts), strict=True)
    return sum(abs(labels.mean() - scores.mean()) * len(labels) / len(order) for labels, scores in pairs)


def test_a_large_error_is_that_found_by_hand(make_subject):
    subject = make_subject(count=200, rows=200, harm=0.0)
    shifted = replace(subject, scores=np.clip(subject.scores + 0.25, 0, 1))
    ece = plugin(shifted)[0]
    assert ece.value == pytest.approx(plain_ece(shifted), abs=1e-3) and ece.low > 0.15


def test_noise_makes_the_error_too_large_and_never_too_small(make_subject):
    """Labels drawn from the scores themselves: the true error is 0."""
    subject = make_subject(count=30, harm=0.0)
    drawn = np.random.default_rng(0).random(len(subject.labels)) < subject.scores[:, 0]
    honest = replace(subject, labels=drawn.astype(float))
    assert 0 < plugin(honest)[0].value < 0.05


def test_the_reliability_curve_has_a_point_a_bin_with_its_interval(make_subject):
    points = [
        measurement for measurement in plugin(make_subject(count=40)) if measurement.name.startswith("reliability")
    ]
    assert [measurement.slice for measurement in points[::2]] == [f"bin {number}" for number in range(1, 16)]
    assert {measurement.name for measurement in points} == {"reliability", "reliability.predicted"}
    predicted = [measurement.value for measurement in points[1::2]]
    assert predicted == sorted(predicted)
    assert all(measurement.low < measurement.value < measurement.high for measurement in points)


def test_few_distinct_scores_make_few_bins(make_subject):
    subject = make_subject(count=30)
    found = plugin(replace(subject, scores=np.round(subject.scores * 2) / 2))
    assert sum(measurement.name == "reliability" for measurement in found) in (2, 3)
    assert 0 <= found[0].value <= 1


def test_a_bin_with_rows_of_one_group_is_measured(make_subject):
    subject = make_subject(count=30)
    scores = np.where(subject.groups == 4, 0.9, 0.1)[:, None]
    assert 0 <= plugin(replace(subject, scores=scores))[0].low <= plugin(replace(subject, scores=scores))[0].high <= 1


def named(subject):
    return {(measurement.name, measurement.slice): measurement for measurement in plugin(subject)}


def test_the_brier_score_is_what_its_three_parts_add_up_to(make_subject):
    subject = make_subject(count=30)
    found = named(subject)
    parts = [found[f"brier.{name}", ""].value for name in ("miscalibration", "discrimination", "uncertainty")]
    rate = subject.labels.mean()
    repaired = IsotonicRegression().fit(subject.scores[:, 0], subject.labels).predict(subject.scores[:, 0])
    best = metrics.brier_score_loss(subject.labels, repaired)
    brier = metrics.brier_score_loss(subject.labels, subject.scores[:, 0])
    assert parts == pytest.approx([brier - best, rate * (1 - rate) - best, rate * (1 - rate)])


def test_parts_by_hand_with_weights():
    """Scores of 0.2 and 0.6, each on two kinds of rows: recalibrated they are 1/4 and 3/4, the shares by weight."""
    kind = np.arange(80) % 4
    scores = np.where(kind < 2, 0.2, 0.6)
    subject = subject_from((kind % 2).astype(float), scores, scores, np.arange(80) // 4)
    found = named(replace(subject, weights=np.array([3.0, 1.0, 1.0, 3.0])[kind]))
    assert found["brier.miscalibration", ""].value == pytest.approx((0.05**2 + 0.15**2) / 2)
    assert found["brier.discrimination", ""].value == pytest.approx(0.25**2)
    assert found["brier.uncertainty", ""].value == pytest.approx(0.25)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["brier.miscalibration", "brier.discrimination"])
def test_an_interval_with_a_fixed_fit_is_near_that_of_refitting(make_subject, name):
    subject = make_subject(count=60, harm=2.0)
    without_each = [named(_without(subject, group))[name, ""].value for group in range(60)]
    assert named(subject)[name, ""].se == pytest.approx(float(jackknife_error(np.array(without_each))), rel=0.1)


def _without(subject, group):
    remaining = subject.groups != group
    names = ("rows", "labels", "scores", "reference_scores", "groups")
    return replace(subject, **{name: getattr(subject, name)[remaining] for name in names})


def test_an_overestimated_slice_shows_its_bias_and_its_error(make_subject):
    subject = make_subject(count=60, harm=0.0, slices=2)
    inside = subject.slices["part"].codes == 1
    scores = np.where(inside[:, None], np.minimum(subject.scores + 0.2, 1), subject.scores)
    found = named(replace(subject, scores=scores))
    surplus = (subject.labels - scores[:, 0])[inside]
    assert found["calibration.bias", "part=v1"].value == pytest.approx(surplus.mean())
    assert found["calibration.bias", "part=v1"].high < -0.1 and found["calibration.ece", "part=v1"].low > 0.1
    assert found["calibration.ece", "part=v0"].value < 0.1 and found["calibration.bias", "part=v0"].high > 0


def test_the_drop_is_the_error_of_the_variant_minus_the_baseline(make_subject):
    subject = make_subject(count=40)
    itself = replace(subject, scores=subject.reference_scores)
    found = {measurement.name: measurement for measurement in plugin(subject)}
    assert found["ece.drop"].value == pytest.approx(found["ece"].value - plugin(itself)[0].value)
    assert [measurement.value for measurement in plugin(itself)[1:3]] == [0.0, 0.0]


def test_how_far_probabilities_moved_needs_no_label_and_so_few_groups(make_subject):
    """Every answer has the same shift: the calibration error varies with the days, the probability shift does not."""
    subject = make_subject(count=30, harm=0.0)
    shifted = replace(subject, scores=np.clip(subject.reference_scores + 0.05, 0, 1))
    found = {measurement.name: measurement for measurement in plugin(shifted)}
    moved, lost = found["probability_shift"], found["ece.drop"]
    assert moved.value == pytest.approx(0.05, abs=0.005)
    assert moved.high - moved.low < (lost.high - lost.low) / 3
    assert (
        moved
        == {measurement.name: measurement for measurement in plugin(replace(shifted, labels=1 - shifted.labels))}[
            moved.name
        ]
    )
