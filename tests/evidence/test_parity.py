"""The probe `parity`: single answers, not averages."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from headway.evidence.probes.parity import plugin


def test_one_answer_that_moved_is_seen_however_many_rows_there_are(make_subject):
    subject = make_subject(count=30)
    scores = subject.reference_scores.copy()
    scores[7] = np.where(scores[7] > 0.5, scores[7] - 0.29, scores[7] + 0.29)
    largest = plugin(replace(subject, scores=scores))[0]
    assert (largest.name, largest.n_groups, largest.n_rows) == ("max_change", 0, len(scores))
    assert largest.low == largest.value == largest.high == pytest.approx(0.29)


def test_flips_are_decisions_that_differ_at_the_threshold(make_subject):
    subject = make_subject(count=30)
    flips = plugin(subject)[1]
    expected = np.mean((subject.scores >= 0.3) != (subject.reference_scores >= 0.3))
    assert (flips.name, flips.value, flips.n_groups) == ("flipped_decisions", pytest.approx(expected), 30)
    assert 0 < flips.low < flips.value < flips.high


def test_a_score_at_the_threshold_decides_for_the_positive_class(make_subject):
    subject = make_subject(count=20)
    at, below = np.full_like(subject.scores, 0.3), np.full_like(subject.scores, 0.3 - 1e-9)
    assert plugin(replace(subject, scores=at, reference_scores=below))[1].value == 1


def test_rows_with_a_missing_value_are_told_apart(make_subject):
    subject = make_subject(count=20)
    rows, scores = subject.rows.copy(), subject.reference_scores.copy()
    rows[:3] = np.nan
    scores[1] += 0.01
    scores[9] += 0.02
    found = plugin(replace(subject, rows=rows, scores=scores))
    assert [each.value for each in found if each.name == "max_change"] == pytest.approx([0.02, 0.01])
    assert (found[2].slice, found[2].n_rows) == ("rows with a missing value", 3)


def test_without_missing_values_nothing_is_said_of_them(make_subject):
    assert len(plugin(make_subject(count=20))) == 2
