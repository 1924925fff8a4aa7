"""Timeline: measured and estimated quality by period, the live release, and events."""

from __future__ import annotations

import xml.etree.ElementTree as Xml
from functools import cache
from itertools import pairwise

import pytest
from stories import RELEASED, estimate, evidence, flights, own_project
from years import ABSTAINS, FIRST, lived, quality, ticket, watch, watched_only

from headway.reporting import report_data
from headway.reporting.charts import timeline
from headway.reporting.charts.rendered import RenderedChart
from headway.reporting.charts.theme import NARROW, WIDE, ChartSize
from headway.reporting.events import list_events
from headway.reporting.page import report_charts
from headway.reporting.report_data import MonitoringHistory, ReportData

pytestmark = pytest.mark.slow
SVG = "{http://www.w3.org/2000/svg}"


def drawn(report: ReportData) -> RenderedChart:
    found = timeline.draw_timeline(report)
    assert found is not None
    return found


@cache
def drawn_year() -> RenderedChart:
    return drawn(lived())


def texts(svg: str) -> list[str]:
    return ["".join(node.itertext()) for node in Xml.fromstring(svg).iter(f"{SVG}text")]


def test_the_title_names_the_worst_live_period_and_whether_its_whole_interval_is_above_the_limit() -> None:
    assert drawn_year().title == (
        "Calibration error (ECE) was worst in September 2013: 0.135 [0.100, 0.170], "
        "the whole interval above the limit of 0.05"
    )


def test_months_before_a_release_are_drawn_without_events_and_live_release() -> None:
    picture = drawn(flights())
    assert picture.title.startswith("Calibration error (ECE) was worst in September 2013")
    assert {"train", "validation", "test", "measured before it was live"} <= set(texts(picture.wide))
    assert not {"measured while live", "Events", "1"} & set(texts(picture.wide))


@pytest.mark.parametrize("layout", ["wide", "narrow"])
def test_every_event_has_its_number_in_the_chart_and_its_kind_in_the_legend(layout: str) -> None:
    found = texts(getattr(drawn_year(), layout))
    assert {str(number) for number in range(1, 8)} <= set(found)
    kinds = {"drift", "degradation", "rolled back", "ticket opened", "retrained", "went live"}
    assert kinds <= set(found)
    assert "other" not in found


def test_the_text_alternative_names_live_releases_and_events() -> None:
    alt = drawn_year().alt
    assert "first release from September 2013 to October 2013. retrained in October from November 2013" in alt
    assert "Events: 1 Drift and degradation found, September 2013; 2 A ticket" in alt


def test_the_band_names_the_live_release_where_it_fits_and_by_a_letter_otherwise() -> None:
    wide, narrow = (texts(getattr(drawn_year(), layout)) for layout in ("wide", "narrow"))
    assert {"first release", "retrained inOctober", "Live release"} <= set(wide)
    assert {"A", "B", "Live release, A: validation, B: retrained in October"} <= set(narrow)


def test_measurements_are_filled_estimates_open_and_missing_estimates_labelled() -> None:
    report = watched_only(
        watch(9, FIRST, "healthy", *quality(0.7, 0.04)),
        watch(10, FIRST, "healthy", estimate("roc_auc.estimated", 0.69, 0.08)),
        watch(11, FIRST, "unknown", unknown=(ABSTAINS,)),
    )
    picture = drawn(report)
    assert texts(picture.wide).count("no estimate") == 3  # of AUC in November, of ECE in October and November
    assert {"measured while live", "estimated before labels arrived"} <= set(texts(picture.wide))
    assert any("cannot be estimated" in line for line in picture.reading)
    assert "open diamonds" in " ".join(picture.reading).lower()


def test_a_period_that_is_not_over_is_labelled() -> None:
    report = watched_only(
        watch(9, FIRST, "healthy", *quality(0.7, 0.04)), watch(10, FIRST, "unknown", is_complete=False)
    )
    assert texts(drawn(report).wide).count("not over") == 2


def test_a_missing_estimate_is_labelled_even_if_labels_arrived_later() -> None:
    report = watched_only(
        *(watch(month, FIRST, "healthy", *quality(0.7, 0.04), unknown=(ABSTAINS,)) for month in (9, 10))
    )
    assert texts(drawn(report).wide).count("no estimate") == 2


def test_a_fully_measured_timeline_does_not_mention_estimates() -> None:
    picture = drawn(watched_only(*(watch(month, FIRST, "healthy", *quality(0.7, 0.04)) for month in (9, 10))))
    assert "no estimate" not in texts(picture.wide)
    assert not [line for line in picture.reading if "estimate" in line]
    assert not {"Events"} & set(texts(picture.wide))


def test_the_limit_is_that_of_retraining_while_a_release_is_live_and_of_the_release_policy_otherwise() -> None:
    assert timeline.quality_limit(lived(), "ece") == 0.05
    assert timeline.quality_limit(flights(), "ece") == 0.05
    assert timeline.quality_limit(watched_only(watch(9)), "ece") is None
    heading = "Calibration error (ECE): lower is better, dashed: limit 0.05"
    assert heading in texts(drawn_year().wide)


def test_undated_periods_are_drawn_without_band_and_limit() -> None:
    weeks = tuple(
        evidence(RELEASED, estimate("roc_auc", 0.7 - week / 100, 0.02), period=f"week {week}") for week in range(3)
    )
    picture = drawn(ReportData(title="", months=weeks))
    assert picture.title == "Ranking (AUC) was worst in week 2: 0.680 [0.660, 0.700]"
    assert "week 1" in texts(picture.wide)
    assert "Live release" not in texts(picture.wide)


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


def test_a_period_without_measurements_is_never_the_worst() -> None:
    report = watched_only(
        *(watch(month, FIRST, "healthy", estimate("roc_auc.estimated", 0.7, 0.05)) for month in (9, 10))
    )
    assert drawn(report).title == "Quality by period"


@pytest.mark.parametrize(
    "report", [ReportData(title=""), own_project(), watched_only(watch(9, FIRST, "healthy", *quality(0.7, 0.1)))]
)
def test_fewer_than_two_periods_have_no_timeline(report: ReportData) -> None:
    assert timeline.draw_timeline(report) is None


def test_periods_without_measures_have_no_timeline() -> None:
    assert timeline.draw_timeline(watched_only(watch(9), watch(10))) is None


def test_events_outside_the_periods_are_not_drawn() -> None:
    late = MonitoringHistory(
        watches=tuple(watch(m, FIRST, "healthy", *quality(0.7, 0.04)) for m in (9, 10)),
        tickets=(ticket(at="2026-11-24"),),
    )
    assert "ticket opened" not in texts(drawn(ReportData(title="", year=late)).wide)
    assert "Events: 1 A ticket proposes to retrain" in drawn(ReportData(title="", year=late)).alt


@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_marks_of_close_events_are_stacked_without_overlap(size: ChartSize) -> None:
    over = report_data.list_periods(lived())
    (lane,) = timeline.event_marks(list_events(lived()), over, size)
    (rows,) = [rows for rows in lane.to_dict()["datasets"].values() if rows and "level" in rows[0]]
    assert [row["number"] for row in rows] == [str(number) for number in range(1, 8)]
    for level in {row["level"] for row in rows}:
        positions = [row["at"] * size.plot / len(over) for row in rows if row["level"] == level]
        assert all(after - before >= timeline.STEP for before, after in pairwise(positions))


def test_a_name_that_does_not_fit_has_a_single_letter() -> None:
    found = [
        timeline.LiveSpan(name="retrained in September", live=True, start=n, end=n + 1, first="2013-09", last="2013-09")
        for n in (0, 2)
    ] + [timeline.LiveSpan(name="x", live=True, start=1, end=2, first="2013-10", last="2013-10")]
    (chart,) = timeline.live_band(found, 12, NARROW)
    assert chart.to_dict()["title"]["text"] == ["Live release, A: retrained in September"]


def test_the_timeline_is_among_the_charts_of_a_monitored_release() -> None:
    assert "year" in report_charts(lived())
    assert "year" not in report_charts(own_project())
