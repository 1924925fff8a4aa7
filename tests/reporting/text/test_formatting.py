"""Numbers carry no more digits than their interval, and never lose their sign, unit or interval."""

from __future__ import annotations

import doctest
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.reporting.stories import estimate, fact

from headway.core.evidence import Measurement
from headway.reporting.text import formatting, words


def whole_range(name: str, value: float, low: float, high: float) -> Measurement:
    """What `interval` gives for too few groups: the whole range of the measure, and no standard error."""
    return Measurement(name=name, value=value, low=low, high=high, method="t", n_rows=900, n_groups=9)


@pytest.mark.parametrize("module", [formatting, words])
def test_the_examples_in_docstrings_hold(module: object) -> None:
    found = doctest.testmod(module)  # type: ignore[arg-type]
    assert found.attempted > 0
    assert found.failed == 0


@pytest.mark.parametrize(
    ("measurement", "text"),
    [
        (estimate("roc_auc", 0.7412, 0.026), "0.741 [0.715, 0.767]"),
        (estimate("roc_auc.drop", -0.00113, 0.002), "-0.0011 [-0.0031, 0.0009]"),
        (estimate("latency.one_row", 31.234, 0.35, unit="us"), "31.2 us [30.9, 31.6]"),
        (estimate("latency.one_row", 1240.4, 30, unit="us"), "1,240 us [1,210, 1,270]"),
        (estimate("latency.speedup", 8.4, 0.2), "x 8.40 [8.20, 8.60]"),
        (estimate("throughput.batch", 1_234_000, 40_000, unit="rows/s"), "1.23 M rows/s [1.19, 1.27]"),
        (estimate("throughput.batch", 81_200, 900, unit="rows/s"), "81.2 k rows/s [80.3, 82.1]"),
        (estimate("throughput.batch", 812, 9, unit="rows/s"), "812 rows/s [803, 821]"),
        (estimate("decision_churn", 0.0317, 0.004), "3.17 % [2.77, 3.57]"),
        (estimate("brier.drop", 1e-6, 3e-6), "1.0e-6 [-2.0e-6, 4.0e-6]"),
        (fact("max_change", 4.8e-6), "4.8e-6"),
        (fact("decision_churn", 0.0), "0 %"),
        (fact("max_change", 2.2e-16), "< 1e-12"),
        (estimate("brier.drop", 3.8e-19, 2e-18), "< 1e-12"),
        (estimate("brier.drop", 0.0, 2e-18), "0"),
        (estimate("latency.one_row", 7098, 3086, unit="us"), "7,100 us [4,000, 10,200]"),
        (estimate("latency.speedup", 0.9985, 0.0033, unit="x"), "x 0.999 [0.995, 1.002]"),
        (estimate("request.p50", 0.32947, 0.0002, unit="ms"), "0.329 ms [0.329, 0.330]"),
        (estimate("answer.first_s", 8.84e-5, 2.1e-6, unit="s"), "88.4 us [86.3, 90.5]"),
        (estimate("answer.first_s", 0.28, 0.016, unit="s"), "0.280 s [0.264, 0.296]"),
        (whole_range("roc_auc", 0.71, 0.0, 1.0), "0.710 (no interval)"),
        (whole_range("brier.drop", 0.01, -1.0, 1.0), "0.0100 (no interval)"),
        (whole_range("latency.one_row", 30.0, 0.0, math.inf), "30.0 (no interval)"),
        (whole_range("roc_auc", math.nan, 0.0, 1.0), "not known"),
    ],
)
def test_a_measurement_is_written_with_its_interval_and_unit(measurement: Measurement, text: str) -> None:
    assert formatting.format_measurement(measurement) == text


def test_an_interval_of_a_share_that_really_reaches_from_0_to_1_is_shown() -> None:
    assert formatting.format_measurement(estimate("roc_auc", 0.5, 0.5)) == "0.5 [0.0, 1.0]"


@pytest.mark.parametrize(
    ("value", "width", "text"),
    [
        (0.0, 0.0, "0"),
        (-0.0001, 0.01, "0.000"),
        (336_776.0, 0.0, "336,776"),
        (0.028, 0.0, "0.0280"),
        (7e-9, 0.0, "7.0e-9"),
        (math.inf, 0.0, "not known"),
    ],
)
def test_a_number_keeps_three_digits_or_two_of_its_width(value: float, width: float, text: str) -> None:
    assert formatting.format_number(value, width=width) == text


@pytest.mark.slow
@given(st.floats(-1e6, 1e6), st.floats(0, 1e3))
def test_a_number_is_never_off_by_more_than_what_it_shows(value: float, width: float) -> None:
    text = formatting.format_number(value, width=width)
    shown = 0.0 if text == "< 1e-12" else float(text.replace(",", ""))
    assert abs(shown - value) <= 1e-12 + max(0.06 * width, 0.006 * abs(value), 0.05 * min(abs(value), 1e-4))


@given(st.floats(-1e6, 1e6), st.floats(1e-9, 1e3))
def test_an_interval_is_written_low_before_high(value: float, half: float) -> None:
    text = formatting.format_interval(estimate("rmse", value, half))
    low, high = (float(end.replace(",", "")) for end in text.strip("[]").split(", "))
    assert low <= high


def test_the_groups_of_a_timing_are_its_rounds() -> None:
    assert formatting.format_basis(estimate("latency.one_row", 30, 1, rows=2000), "days") == "2,000 rows, 62 rounds"
    assert formatting.format_basis(estimate("ece", 0.02, 0.01), "days") == "58,665 rows, 62 days"


def test_a_measurement_without_groups_names_its_rows() -> None:
    alone = Measurement(name="max_change", value=0.1, low=0.1, high=0.1, method="largest", n_rows=10)
    assert formatting.format_basis(alone, "days") == "10 rows"


@pytest.mark.parametrize(("value", "text"), [(0.821, "0.821 s"), (12.44, "12.4 s"), (133.2, "2 min 13 s")])
def test_a_duration_is_written_in_seconds_until_it_is_long(value: float, text: str) -> None:
    assert formatting.format_seconds(value) == text


def test_limits_and_digests_are_short() -> None:
    assert formatting.format_limit(0.05, "decision_churn") == "5 %"
    assert formatting.format_limit(0.005, "ece") == "0.005"
    assert formatting.short_digest("sha256:9f86d081884c7d65") == "9f86d081884c"
    assert formatting.format_ratio(estimate("latency.speedup", 8.4, 0.2)) == "8.40 [8.20, 8.60] times"


@pytest.mark.parametrize("text", ["pip install -r 1", "2013-09", "ed25519:5d41-2", "f(x)", "a-1", "5 smith"])
def test_print_leaves_dates_names_and_commands_alone(text: str) -> None:
    assert formatting.typeset(text) == text


def test_print_keeps_an_interval_on_one_line() -> None:
    assert formatting.typeset("-0.1 [-0.2, 0.3]") == "−0.1 [−0.2,\u00a00.3]"


def test_a_count_has_no_decimals() -> None:
    count = Measurement(name="discovered.compared", value=47, low=47, high=47, method="", n_rows=10)
    assert formatting.format_measurement(count) == "47"
