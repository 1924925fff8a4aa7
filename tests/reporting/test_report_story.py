"""Report data with winner, baseline and months, any of which may be absent."""

from __future__ import annotations

import math

import pytest
from msgspec.structs import replace
from stories import RELEASED, estimate, evidence, flights, own_project, spans
from years import FIRST, lived, watch, watched_only

from headway.reporting import report_data
from headway.reporting.report_data import ReportData, SplitPeriod
from headway.reporting.text import formatting

STORY = flights()


@pytest.mark.parametrize(
    ("period", "name"),
    [("2013-01", "train"), ("2013-04", "train"), ("2013-05", "validation"), ("2013-08-31", "test"), ("2014-01", "")],
)
def test_a_month_belongs_to_the_split_period_in_which_it_begins(period: str, name: str) -> None:
    assert report_data.split_period_of(ReportData(title="", spans=spans()), period) == name


def test_a_split_period_with_times_holds_its_first_day() -> None:
    assert SplitPeriod(name="train", first="2013-01-01T00:00:00", until="2013-02-01T00:00:00").holds("2013-01")


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("2013-09", "September 2013"),
        ("2013-09-02", "2 September 2013"),
        ("2013-09-02T10:00:00", "2 September 2013"),
        ("2013-13", "2013-13"),
        ("week 36", "week 36"),
        ("a-1", "a-1"),
    ],
)
def test_months_and_days_have_names_and_other_labels_are_unchanged(label: str, name: str) -> None:
    assert formatting.period_name(label) == name


def test_months_are_in_order_and_have_their_subject() -> None:
    assert report_data.month_labels(STORY)[0] == "2013-01"
    assert report_data.monthly_measures(STORY) == ["roc_auc", "brier", "ece"]
    live, baseline = (report_data.month_measurement(STORY, "2013-09", "ece", live=live) for live in (True, False))
    assert live is not None
    assert baseline is not None
    assert live.value != baseline.value


def test_a_monitored_period_replaces_the_measured_month() -> None:
    found = report_data.list_periods(lived())
    assert [period.label for period in found] == [f"2013-{month:02}" for month in range(1, 13)]
    assert [period.label for period in found if period.watch] == ["2013-09", "2013-10", "2013-11", "2013-12"]


def test_a_measurement_without_an_interval_is_not_used() -> None:
    unsure = replace(estimate("roc_auc", 0.7, 0.1), low=0.0, high=1.0, se=None)
    unknown = replace(estimate("ece", 0.1, 0.05), value=math.nan)
    (found,) = report_data.list_periods(watched_only(watch(9, FIRST, "healthy", unsure, unknown)))
    assert found.find("roc_auc") is None
    assert found.find("ece") is None


@pytest.mark.parametrize(
    ("parts", "shown"),
    [
        (("roc_auc", "brier", "ece"), ["roc_auc", "ece"]),
        (("roc_auc", "brier"), ["roc_auc", "brier"]),
        (("roc_auc.estimated", "brier.estimated"), ["roc_auc", "brier"]),
        (("roc_auc.estimated", "brier.estimated", "ece"), ["roc_auc", "ece"]),
        (("rmse",), ["rmse"]),
        ((), []),
    ],
)
def test_the_chart_shows_ranking_and_one_error_preferably_measured(parts: tuple[str, ...], shown: list[str]) -> None:
    seen = watch(9, FIRST, "healthy", *(estimate(name, 0.3, 0.05) for name in parts))
    assert report_data.charted_measures(watched_only(seen)) == shown


@pytest.mark.parametrize(
    ("at", "position"),
    [("2013-09", 8.48), ("2013-10-01", 9.0), ("2013-12-31T12:00:00+00:00", 11.98), ("2026-11-24T18:00:00", None)],
)
def test_a_time_has_a_position_in_its_period(at: str, position: float | None) -> None:
    assert report_data.axis_position(report_data.list_periods(lived()), at) == (
        position and pytest.approx(position, abs=0.01)
    )


def test_a_period_of_unknown_bounds_holds_no_time() -> None:
    weeks = tuple(evidence(RELEASED, estimate("roc_auc", 0.7, 0.02), period=f"week {week}") for week in range(2))
    assert report_data.axis_position(report_data.list_periods(ReportData(title="", months=weeks)), "2013-09-02") is None


def test_without_a_winner_the_subject_of_the_first_month_is_used() -> None:
    alone = replace(STORY, winner=None)
    assert report_data.month_measurement(alone, "2013-09", "ece") == STORY.months[16].find("ece")
    assert report_data.month_measurement(alone, "2031-01", "ece") is None


def test_speed_comes_from_the_search_where_the_test_did_not_measure_it() -> None:
    assert STORY.winner is not None
    bare = replace(STORY.winner, evidence=replace(STORY.winner.evidence, measurements=()))
    found = replace(STORY, winner=bare).of_winner("latency.speedup")
    assert found is not None
    assert found.value == pytest.approx(262 / 31.2)
    assert own_project().of_winner("latency.speedup") is None


def test_the_baseline_is_the_variant_without_steps() -> None:
    assert STORY.baseline is STORY.frontier[0]
    assert ReportData(title="").baseline is None


def test_a_winner_is_chosen_until_it_is_released() -> None:
    assert STORY.word == "released"
    assert replace(STORY, release="").word == "chosen"
