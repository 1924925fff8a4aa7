"""The probe `calibration`: the error of what a probability promises, and the reliability curve."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from headway.evidence.probes.calibration import plugin


def plain_ece(subject, bins=15):
    """By hand: rows in order of score, cut into equal parts, weighted |mean label - mean score|."""
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
    points = plugin(make_subject(count=40))[1:]
    assert [each.slice for each in points[::2]] == [f"bin {number}" for number in range(1, 16)]
    assert {each.name for each in points} == {"reliability", "reliability.predicted"}
    predicted = [each.value for each in points[1::2]]
    assert predicted == sorted(predicted)
    assert all(each.low < each.value < each.high for each in points)


def test_few_distinct_scores_make_few_bins(make_subject):
    subject = make_subject(count=30)
    found = plugin(replace(subject, scores=np.round(subject.scores * 2) / 2))
    assert len(found) == 1 + 2 * 2 or len(found) == 1 + 2 * 3
    assert 0 <= found[0].value <= 1


def test_a_bin_that_one_group_fills_alone_breaks_nothing(make_subject):
    subject = make_subject(count=30)
    scores = np.where(subject.groups == 4, 0.9, 0.1)[:, None]
    assert 0 <= plugin(replace(subject, scores=scores))[0].low <= plugin(replace(subject, scores=scores))[0].high <= 1
