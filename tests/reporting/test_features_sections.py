"""The report has a section on the values that requests saw of feature views, and one on what each feature is worth."""

from __future__ import annotations

from msgspec.structs import replace
from tests.monitoring import rollouts
from tests.reporting.served_features import REPLAY, REPORT
from tests.reporting.stories import flights

from headway.core.feature_view import Feature, FeatureSource, FeatureView
from headway.reporting.page import render_report
from headway.reporting.read_report_data import read_report_data
from headway.reporting.report_data import ReleaseState, ReportData
from headway.reporting.section import build_sections

WEATHER = FeatureView(
    name="weather",
    version=2,
    entities=("station",),
    source=FeatureSource(location="weather.parquet"),
    features=(Feature(name="a"),),
)
TRIP = FeatureView(name="trip", version=1, features=(Feature(name="b"),))
LIVE = ReleaseState(
    release="sha256:00",
    name="n",
    status="live",
    pointer="live",
    at="2026-03-01",
    who="a",
    why="",
    views=("weather@v2",),
)


def test_a_skew_and_the_worth_of_features_are_sections_with_their_tables():
    found = build_sections(ReportData(title="flights", features=REPORT, value_replay=REPLAY))

    assert list(found) == ["served_values", "features"]
    assert "temp of weather@v2: the values have another unit" in found["served_values"].conclusions[0]
    assert "1,000 rows from 1970-01-01 00:00 UTC" in found["served_values"].lead
    assert [len(found[name].table.rows) for name in found] == [1, 2]


def test_a_release_that_was_never_replayed_is_not_shown_as_right():
    section = build_sections(ReportData(title="flights", releases=(LIVE,)))["served_values"]

    assert "is not known: no replay was made yet" in section.conclusions[0]
    assert section.table.rows == ()


def test_a_release_without_views_has_no_section_on_them():
    assert build_sections(ReportData(title="flights", releases=(replace(LIVE, views=()),))) == {}


def test_both_sections_are_on_the_page_of_the_report():
    page = render_report(replace(flights(), features=REPORT, value_replay=REPLAY))

    assert "Served values of the features" in page and "Cost and worth of the features" in page


def test_the_report_reads_the_last_records_of_the_live_release(tmp_path):
    project = rollouts.project(tmp_path)
    live = rollouts.live(project, rollouts.release(views=(WEATHER, TRIP)))
    for release, n_rows in ((live, 1), (live, 2), ("sha256:another", 3)):
        project.save(replace(REPLAY, release=release, n_rows=n_rows))
        project.save(replace(REPORT, release=release, n_logged=n_rows))

    found = read_report_data(project)

    assert found.live is not None and found.live.views == ("weather@v2",)
    assert found.value_replay is not None and found.value_replay.n_rows == 2
    assert found.features is not None and found.features.n_logged == 2
    project.state.close()
    project.registry.state.close()
