"""The picture of the year: what was measured, estimated or could not be said, what was live, and what happened."""

from __future__ import annotations

import xml.etree.ElementTree as Xml
from itertools import pairwise

import pytest
from stories import RELEASED, estimate, evidence, flights, own_project
from years import ABSTAINS, FIRST, lived, quality, ticket, watch, watched_only

from headway.reporting import report_data
from headway.reporting.charts import timeline
from headway.reporting.charts.theme import NARROW, WIDE, ChartSize, RenderedChart
from headway.reporting.events import list_events
from headway.reporting.page import report_charts
from headway.reporting.report_data import MonitoringHistory, ReportData

pytestmark = pytest.mark.slow
SVG = "{http://www.w3.org/2000/svg}"


def drawn(report: ReportData) -> RenderedChart:
    found = timeline.draw_timeline(report)
    assert found is not None
    return found


def texts(svg: str) -> list[str]:
    return ["".join(node.itertext()) for node in Xml.fromstring(svg).iter(f"{SVG}text")]


def test_the_title_says_which_live_period_was_worst_and_that_its_whole_interval_is_over_the_limit() -> None:
    assert drawn(lived()).title == (
        "The probabilities were furthest off in September 2013: by 0.135 [0.100, 0.170] on average, "
        "all of it above the limit of 0.05"
    )


def test_months_without_a_year_are_drawn_without_marks_and_without_anything_live() -> None:
    picture = drawn(flights())
    assert picture.title.startswith("The probabilities were furthest off in September 2013")
    assert {"train", "select", "test", "measured before it was live"} <= set(texts(picture.wide))
    assert not {"measured while live", "What happened", "1"} & set(texts(picture.wide))


@pytest.mark.parametrize("side", ["wide", "narrow"])
def test_every_moment_has_its_number_in_the_picture_and_its_kind_in_the_key(side: str) -> None:
    found = texts(getattr(drawn(lived()), side))
    assert {str(number) for number in range(1, 8)} <= set(found)
    kinds = {"drift found", "found worse", "rolled back", "ticket opened", "retrained", "made live"}
    assert kinds <= set(found)
    assert "other" not in found


def test_the_text_alternative_tells_what_was_live_and_each_mark() -> None:
    alt = drawn(lived()).alt
    assert "first release from September 2013 to October 2013. retrained in October from November 2013" in alt
    assert "Marks: 1 Drift and degradation found, September 2013; 2 A ticket" in alt


def test_what_was_live_stands_in_the_band_in_words_where_they_fit_and_else_by_a_letter() -> None:
    wide, narrow = (texts(getattr(drawn(lived()), side)) for side in ("wide", "narrow"))
    assert {"first release", "retrained inOctober", "What was live"} <= set(wide)
    assert {"A", "What was live, A: retrained in October"} <= set(narrow)


def test_a_measurement_is_filled_an_estimate_is_open_and_abstention_is_said_in_words() -> None:
    report = watched_only(
        watch(9, FIRST, "healthy", *quality(0.7, 0.04)),
        watch(10, FIRST, "healthy", estimate("roc_auc.estimated", 0.69, 0.08)),
        watch(11, FIRST, "unknown", unknown=(ABSTAINS,)),
    )
    picture = drawn(report)
    assert texts(picture.wide).count("cannot say") == 3  # of AUC in November, of ECE in October and November
    assert {"measured while live", "estimated before labels came"} <= set(texts(picture.wide))
    assert any("no honest estimate" in line for line in picture.reading)
    assert "open diamonds" in " ".join(picture.reading).lower()


def test_a_period_that_is_not_over_says_so() -> None:
    report = watched_only(
        watch(9, FIRST, "healthy", *quality(0.7, 0.04)), watch(10, FIRST, "unknown", is_complete=False)
    )
    assert texts(drawn(report).wide).count("not over") == 2


def test_labels_that_came_do_not_hide_that_no_estimate_could_be_given_before() -> None:
    report = watched_only(
        *(watch(month, FIRST, "healthy", *quality(0.7, 0.04), unknown=(ABSTAINS,)) for month in (9, 10))
    )
    assert texts(drawn(report).wide).count("cannot say") == 2


def test_a_picture_of_what_was_all_measured_says_nothing_of_estimates() -> None:
    picture = drawn(watched_only(*(watch(month, FIRST, "healthy", *quality(0.7, 0.04)) for month in (9, 10))))
    assert "cannot say" not in texts(picture.wide)
    assert not [line for line in picture.reading if "estimate" in line]
    assert not {"What happened"} & set(texts(picture.wide))


def test_the_limit_is_that_of_retraining_while_something_is_live_and_else_of_the_release_policy() -> None:
    assert timeline.quality_limit(lived(), "ece") == 0.05
    assert timeline.quality_limit(flights(), "ece") == 0.05
    assert timeline.quality_limit(watched_only(watch(9)), "ece") is None
    heading = "Calibration error (ECE): lower is better, dashed: limit 0.05"
    assert heading in texts(drawn(lived()).wide)


def test_periods_of_another_form_are_drawn_without_band_and_limit() -> None:
    weeks = tuple(
        evidence(RELEASED, estimate("roc_auc", 0.7 - week / 100, 0.02), period=f"week {week}") for week in range(3)
    )
    picture = drawn(ReportData(title="", months=weeks))
    assert picture.title == "Ranking (AUC) was worst in week 2: 0.680 [0.660, 0.700]"
    assert "week 1" in texts(picture.wide)
    assert "What was live" not in texts(picture.wide)


def test_weeks_are_named_by_month_and_day() -> None:
    weeks = [
        watch(
            9,
            FIRST,
            "healthy",
            *quality(0.7, 0.04),
            period=f"2013-09-{day:02}",
            since=f"2013-09-{day:02}",
            until=f"2013-09-{day + 7:02}",
        )
        for day in (2, 9)
    ]
    picture = drawn(watched_only(*weeks))
    assert "09-02" in texts(picture.wide)
    assert "2 September 2013" in picture.alt


def test_a_period_of_which_nothing_is_known_for_sure_is_never_the_worst() -> None:
    report = watched_only(
        *(watch(month, FIRST, "healthy", estimate("roc_auc.estimated", 0.7, 0.05)) for month in (9, 10))
    )
    assert drawn(report).title == "Quality, period by period"


@pytest.mark.parametrize(
    "report", [ReportData(title=""), own_project(), watched_only(watch(9, FIRST, "healthy", *quality(0.7, 0.1)))]
)
def test_less_than_two_periods_are_no_picture(report: ReportData) -> None:
    assert timeline.draw_timeline(report) is None


def test_periods_without_any_measure_are_no_picture() -> None:
    assert timeline.draw_timeline(watched_only(watch(9), watch(10))) is None


def test_what_happened_at_another_time_is_not_drawn_among_the_months() -> None:
    late = MonitoringHistory(
        watches=tuple(watch(m, FIRST, "healthy", *quality(0.7, 0.04)) for m in (9, 10)),
        tickets=(ticket(at="2026-11-24"),),
    )
    assert "ticket opened" not in texts(drawn(ReportData(title="", year=late)).wide)
    assert "Marks: 1 A ticket proposes to retrain" in drawn(ReportData(title="", year=late)).alt


@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_marks_of_one_time_lie_over_each_other_and_never_on_each_other(size: ChartSize) -> None:
    over = report_data.list_periods(lived())
    (lane,) = timeline.event_marks(list_events(lived()), over, size)
    (rows,) = [rows for rows in lane.to_dict()["datasets"].values() if rows and "level" in rows[0]]
    assert [row["number"] for row in rows] == [str(number) for number in range(1, 8)]
    for level in {row["level"] for row in rows}:
        places = [row["at"] * size.plot / len(over) for row in rows if row["level"] == level]
        assert all(after - before >= timeline.STEP for before, after in pairwise(places))


def test_a_name_that_does_not_fit_has_a_letter_and_one_letter_only() -> None:
    found = [
        timeline.LiveSpan(name="retrained in September", live=True, start=n, end=n + 1, first="2013-09", last="2013-09")
        for n in (0, 2)
    ] + [timeline.LiveSpan(name="x", live=True, start=1, end=2, first="2013-10", last="2013-10")]
    (chart,) = timeline.live_band(found, 12, NARROW)
    assert chart.to_dict()["title"]["text"] == ["What was live, A: retrained in September"]


def test_the_year_is_among_the_pictures_of_a_story_that_has_one() -> None:
    assert "year" in report_charts(lived())
    assert "year" not in report_charts(own_project())
