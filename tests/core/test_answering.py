"""A model answers the rows whose confidence reaches the threshold of the class that it would answer."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from headway.core.answering import AnswerDecider, confidences, decide
from headway.core.evidence import Measurement
from headway.core.selective import AnswerPlan, SelectiveCertificate

CLASSES = ("delivery", "refund", "oos")
SHARE = Measurement(name="selective.risk", value=0.0, low=0.0, high=0.1, method="a test", n_rows=10)
RULES = st.sampled_from(("probability", "margin", "entropy", "odds"))
ROWS = arrays(np.float64, st.tuples(st.integers(0, 20), st.just(3)), elements=st.floats(0.001, 1)).map(
    lambda weights: weights / weights.sum(axis=1, keepdims=True)
)


def _certificate(threshold=0.5):
    return SelectiveCertificate(threshold=threshold, coverage=SHARE, risk=SHARE, limit=0.1)


def _plan(thresholds, *, rule="probability", reject="oos", certificate=None, classes=()):
    return AnswerPlan(
        rule=rule,
        thresholds=thresholds,
        certificate=certificate or _certificate(),
        classes=dict(classes),
        reject=reject,
    )


def test_a_row_is_answered_if_the_confidence_reaches_the_threshold_of_its_class():
    plan = _plan({"delivery": 0.5, "refund": 0.8})

    found = decide(plan, CLASSES, np.array([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.2, 0.7, 0.1]]))

    assert found.answer.tolist() == [0, 1, 1]
    assert found.confidence.tolist() == [0.5, 0.8, 0.7]
    assert found.is_answered.tolist() == [True, True, False]
    assert found.reason.tolist() == ["", "", "low_confidence"]


def test_the_class_of_rejects_is_never_answered():
    found = decide(_plan({"delivery": 0.5, "oos": 0.1}), CLASSES, np.array([[0.0, 0.0, 1.0]]))
    assert (found.is_answered.tolist(), found.reason.tolist()) == ([False], ["unsupported_class"])


def test_a_class_without_a_threshold_is_never_answered_and_the_reason_says_why():
    rows = np.eye(3)
    tested = _plan({"delivery": 0.5}, classes=[("refund", _certificate(math.inf))])
    nothing = _plan({}, certificate=_certificate(math.inf))

    assert decide(_plan({"delivery": 0.5}), CLASSES, rows).reason.tolist() == ["", *["unsupported_class"] * 2]
    assert decide(tested, CLASSES, rows).reason.tolist() == ["", "not_certified", "unsupported_class"]
    assert decide(nothing, CLASSES, rows).reason.tolist() == ["not_certified", "not_certified", "unsupported_class"]


def test_a_withdrawn_class_is_not_answered():
    found = decide(_plan({"delivery": 0.5, "refund": 0.5}), CLASSES, np.eye(3)[:2], withdrawn={"refund"})
    assert found.reason.tolist() == ["", "withdrawn"]


def test_two_classes_are_decided_by_the_threshold_of_the_release():
    plan = _plan({"no": 0.6, "yes": 0.3}, reject="")

    found = decide(plan, ("no", "yes"), np.array([[0.3], [0.35], [0.9]]), threshold=0.35)

    assert found.answer.tolist() == [0, 1, 1]
    assert found.confidence == pytest.approx([0.7, 0.35, 0.9])
    assert found.is_answered.all()


def test_the_margin_of_a_class_that_is_not_the_most_probable_is_zero():
    assert confidences("margin", np.array([[0.35]]), threshold=0.3)[1].tolist() == [0.0]


def test_the_odds_fall_with_the_probability_of_the_rejects():
    rows = np.array([[0.6, 0.4, 0.0], [0.6, 0.3, 0.1], [0.1, 0.1, 0.8]])

    alone, with_rejects = (confidences("odds", rows, reject=reject)[1] for reject in (-1, 2))

    assert alone == pytest.approx([0.6, 0.6 / 0.9, 0.8 / 0.9])
    assert with_rejects == pytest.approx([0.6, 0.6 / 1.9, 0.8 / 0.9])


def test_rows_without_probabilities_are_not_answered():
    found = decide(_plan({"delivery": 0.0, "refund": 0.0}), CLASSES, np.full((1, 3), np.nan))
    assert (found.is_answered.tolist(), found.reason.tolist()) == ([False], ["low_confidence"])


@given(RULES, ROWS)
def test_the_confidence_is_largest_for_a_sure_answer_and_smallest_for_none(rule, rows):
    answer, confidence = confidences(rule, np.concatenate((rows, np.eye(3), np.full((1, 3), 1 / 3))))
    assert ((confidence >= 0) & (confidence <= 1 + 1e-12)).all()
    assert confidence[len(rows) : -1] == pytest.approx(1.0)
    assert (confidence >= confidence[-1] - 1e-12).all()
    assert answer.shape == confidence.shape == (len(rows) + 4,)


@given(RULES, ROWS, st.lists(st.floats(0, 1), min_size=3, max_size=3))
def test_rows_are_decided_alone_as_together(rule, rows, thresholds):
    decider = AnswerDecider(_plan(dict(zip(CLASSES, thresholds, strict=True)), rule=rule), CLASSES)

    together = decider(rows)

    for index in range(len(rows)):
        alone = decider(rows[index : index + 1])
        assert alone.answer[0] == together.answer[index]
        assert alone.confidence[0] == pytest.approx(together.confidence[index], abs=1e-12)
        if abs(alone.confidence[0] - thresholds[alone.answer[0]]) > 1e-9:
            assert alone.reason[0] == together.reason[index]
        assert together.is_answered[index] == (together.reason[index] == "")


@given(RULES, ROWS, st.lists(st.floats(0, 1), min_size=3, max_size=3), st.floats(0, 1))
def test_higher_thresholds_answer_a_part_of_the_rows(rule, rows, thresholds, more):
    low, high = (
        decide(_plan(dict(zip(CLASSES, values, strict=True)), rule=rule), CLASSES, rows).is_answered
        for values in (thresholds, [value + more for value in thresholds])
    )
    assert (low | ~high).all()
