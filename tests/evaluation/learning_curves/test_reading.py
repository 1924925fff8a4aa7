"""Conclusions from a curve, on cases worked by hand: 20 groups of one row, errors of three rounds."""

from __future__ import annotations

import numpy as np
import pytest

from headway.core.training import LearningCurve
from headway.evaluation.learning_curves.data import build_curve_data
from headway.evaluation.learning_curves.recorder import Recorder

GROUPS = 20
SIGNS = np.where(np.arange(GROUPS) % 2, 1.0, -1.0)


def curve(held_out: list[float], learned: list[float] | None = None, *, groups: int = GROUPS) -> LearningCurve:
    """Return the curve of a regression of zeros at rounds 1, 5 and 10 with these squared errors.

    The squared error of a group is alternately 0.01 above and below them.
    """
    zeros = np.zeros(groups)
    parts = [build_curve_data(np.array([[value]] * groups), zeros, None, task="regression") for value in (0, 1)]
    recorder = Recorder(parts[0], parts[1] if learned else None, every=1)
    for turn, number in enumerate((1, 5, 10)):
        errors = [held_out[turn], (learned or held_out)[turn]]
        # The last round does not vary by group, so that every difference from it has a spread of 0.01.
        noise = (turn < 2) * 0.01 * SIGNS[:groups]
        recorder.evaluate(number, lambda rows, errors=errors, noise=noise: np.sqrt(errors[rows[0, 0]] + noise))
    return recorder.record()


def test_a_difference_and_its_interval_are_those_worked_by_hand() -> None:
    ahead = curve([1.0, 0.5, 0.7]).rounds[1].ahead
    # mean 0.5 - 0.7; spread of 0.01 over 20 groups: se = 0.01 / sqrt(19), and neighbours that alternate lean on none.
    assert ahead is not None and ahead.se is not None
    assert (ahead.value, ahead.se, ahead.dof) == pytest.approx((-0.2, 0.01 / np.sqrt(19), 19))


def test_it_memorises_if_the_held_out_error_grew_and_the_training_error_fell() -> None:
    reading = curve([1.0, 0.5, 0.7], [1.0, 0.5, 0.2]).reading
    # Two rounds are compared with the last at one level: t(19) at 1 - 0.05 / 4 is 2.4334.
    reach = 2.4334 * 0.01 / np.sqrt(19)
    assert (reading.answer, reading.since) == ("memorises", 5)
    assert (reading.low, reading.high) == pytest.approx((0.2 - reach, 0.2 + reach), abs=1e-6)


@pytest.mark.parametrize(
    ("held_out", "learned", "answer", "since"),
    [
        ([1.0, 0.5, 0.7], None, "worsens", 5),
        ([1.0, 0.5, 0.7], [1.0, 0.1, 0.1], "worsens", 5),
        ([2.0, 1.0, 1.0], None, "flat", 5),
        ([1.0, 0.5, 0.3], None, "learning", 5),
        ([1.0, 0.505, 0.5], None, "undecided", 5),
    ],
)
def test_each_sentence_needs_its_interval(held_out, learned, answer, since) -> None:
    reading = curve(held_out, learned).reading
    assert (reading.answer, reading.since) == (answer, since)


def test_fewer_than_twenty_groups_decide_nothing() -> None:
    reading = curve([1.0, 0.5, 0.7], groups=19).reading
    assert reading.answer == "undecided" and "19 groups" in reading.why


def test_a_curve_of_two_rounds_is_undecided() -> None:
    recorder = Recorder(build_curve_data(np.zeros((30, 1)), np.zeros(30), None, task="regression"))
    for number in (1, 2):
        recorder.evaluate(number, lambda rows: rows[:, 0])
    assert recorder.record().reading.why == "2 evaluated rounds are too few for a curve"


def test_evaluations_become_rarer_and_include_the_last_round() -> None:
    recorder = Recorder(build_curve_data(np.zeros((30, 1)), np.zeros(30), None, task="regression"))
    for number in range(1, 101):
        if recorder.due(number, final=number == 100):
            recorder.evaluate(number, lambda rows: rows[:, 0])
    numbers = [round_.number for round_ in recorder.record().rounds]
    assert len(numbers) == 24 and numbers[:5] == [1, 2, 3, 4, 5] and numbers[-1] == 100
