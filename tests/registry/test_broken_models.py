"""A broken model is wrong in exactly one way, and the exact copy in none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from msgspec.structs import replace as changed
from tests.evaluation.conftest import days, subject_from

from headway.core.contracts import SliceColumn
from headway.core.errors import NotApplicable
from headway.evaluation.quality.row_errors import decide_class
from headway.registry import policy_tests


def decisions(subject):
    return decide_class(subject.scores, subject.threshold)


@pytest.fixture
def subject():
    rng = np.random.default_rng(0)
    labels, scores, reference, day = days(rng, count=30)
    parts = SliceColumn(codes=rng.integers(0, 3, len(labels)), values=("v0", "v1", "v2"))
    return subject_from(labels, scores, reference, day, {"part": parts})


def of_classes(subject):
    scores = np.hstack([1 - subject.scores, subject.scores])
    return replace(subject, scores=scores, variant=changed(subject.variant, task="multiclass"))


def test_sharpened_probabilities_keep_ranks_and_decisions_and_become_more_extreme(subject):
    found = policy_tests.sharpen_probabilities(subject)
    np.testing.assert_array_equal(np.argsort(found.scores[:, 0]), np.argsort(subject.scores[:, 0]))
    np.testing.assert_array_equal(decisions(found), decisions(subject))
    far, near = (np.abs(comparison.scores - subject.threshold).mean() for comparison in (found, subject))
    assert far > near + 0.05


def test_sharpened_classes_sum_to_one_and_keep_the_most_probable(subject):
    several = of_classes(subject)
    found = policy_tests.sharpen_probabilities(several)
    np.testing.assert_allclose(found.scores.sum(1), 1)
    np.testing.assert_array_equal(decisions(found), decisions(several))


@pytest.mark.parametrize("form", [lambda subject: subject, of_classes], ids=["binary", "several"])
def test_every_decision_of_one_large_enough_slice_is_flipped_and_no_other(subject, form):
    comparison = form(subject)
    found, name = policy_tests.flip_smallest_slice(comparison, rows=100, groups=20)
    column = comparison.slices["part"]
    inside = column.codes == column.values.index(name.removeprefix("part="))
    np.testing.assert_array_equal(decisions(found) != decisions(comparison), inside)
    assert inside.sum() == min(np.bincount(column.codes))


def test_missing_values_are_filled_with_the_number_that_changes_most_decisions(subject):
    rows = subject.rows.copy()
    rows[::5] = np.nan
    lacking = replace(subject, rows=rows, scores=np.nan_to_num(rows, nan=0.2))
    found = policy_tests.fill_missing_values(lacking)
    turned = decisions(found) != decisions(lacking)
    assert turned[::5].all() and turned.sum() == len(rows[::5])


def test_a_copy_in_single_precision_differs_only_by_rounding(subject):
    found = policy_tests.round_to_float32(subject)
    assert 0 < np.abs(found.scores - subject.scores).max() < 1e-7


@pytest.mark.parametrize(
    ("breaks", "message"),
    [
        (lambda subject: policy_tests.fill_missing_values(subject), "no value is missing"),
        (
            lambda subject: policy_tests.fill_missing_values(without_unused_values(subject)),
            "no decision depends on how",
        ),
        (
            lambda subject: policy_tests.flip_smallest_slice(subject, rows=10**6, groups=20),
            "no slice has 1,000,000 rows",
        ),
        (lambda subject: policy_tests.sharpen_probabilities(of_numbers(subject)), "are not probabilities"),
        (lambda subject: policy_tests.fill_missing_values(of_numbers(subject)), "makes no decisions"),
    ],
)
def test_a_fault_that_cannot_be_made_raises_not_applicable(subject, breaks, message):
    with pytest.raises(NotApplicable, match=message):
        breaks(subject)


def without_unused_values(subject):
    """The model answers alike whatever stands for a missing value."""
    rows = subject.rows.copy()
    rows[0] = np.nan

    class Deaf:
        def predict(self, rows):
            return subject.scores

    return replace(subject, rows=rows, model=Deaf())


def of_numbers(subject):
    return replace(subject, variant=changed(subject.variant, task="regression"))
