"""The page of the features of a model: values that differ, cost and worth, and what a viewer does not see of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.dashboard.people import RunningDashboard, running_dashboard
from tests.monitoring import rollouts
from tests.reporting.served_features import REPLAY, REPORT

from headway.core.feature_view import Feature, FeatureSource, FeatureView
from headway.core.value_replay import ViewReplay

pytestmark = pytest.mark.slow
PAGE = "/models/flights/data/features"
WEATHER = FeatureView(
    name="weather",
    version=2,
    entities=("station",),
    source=FeatureSource(location="weather.parquet"),
    features=(Feature(name="a"),),
)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[RunningDashboard]:
    """A dashboard of a project whose live release looks up the view weather."""
    project = rollouts.project(tmp_path)
    rollouts.live(project, rollouts.release(views=(WEATHER,)))
    project.state.close()
    project.registry.state.close()
    with running_dashboard(tmp_path) as running:
        yield running


def save(served: RunningDashboard, *records: object) -> None:
    project = served.dashboard.project("flights")
    head = project.registry.head("flights@live")
    for record in records:
        project.save(replace(record, release=head.release))


def test_a_release_that_was_never_replayed_cannot_be_judged(served: RunningDashboard) -> None:
    words = served.visitor("viewer").get(PAGE).words

    assert (
        "cannot be judged The live release looks up weather@v2. Whether requests saw the right values is not" in words
    )
    assert "headway features worth measures what each feature costs" in words


def test_a_skew_is_named_with_its_features_rows_and_worth(served: RunningDashboard) -> None:
    save(served, REPLAY, REPORT)

    words = served.visitor("operator").get(PAGE).words

    assert "values differ" in words
    assert "weather@v2 unit the values have another unit temp temp is 1.8 times the value" in words
    assert "500 of 1,000" in words and "request 7: temp was 50.0, not missing" in words
    assert "planes@v1 could not be replayed: the source is gone." in words
    assert "is_weekend" in words and "useless" in words


def test_a_viewer_sees_the_skew_and_no_values_of_rows(served: RunningDashboard) -> None:
    save(served, REPLAY, REPORT)

    words = served.visitor("viewer").get(PAGE).words

    assert "values differ" in words and "Examples are values of rows." in words
    assert "temp was 50.0" not in words


def test_the_overview_names_the_skew_and_leads_to_the_page(served: RunningDashboard) -> None:
    save(served, REPLAY)

    page = served.visitor("viewer").get("/")

    assert "Requests saw wrong values of temp of weather@v2: the values have another unit" in page.words
    assert "Features 1 skew; in 500 rows of weather@v2, the values have another unit" in page.words
    assert page.text.count(f'href="{PAGE}"') == 3, "the next step, and two of the reasons"


def test_right_values_are_shown_as_that(served: RunningDashboard) -> None:
    save(served, replace(REPLAY, views=(ViewReplay(view="weather@v2", n_rows=1_000),), unknown={}))

    words = served.visitor("viewer").get(PAGE).words

    assert "all values are as they should be" in words
    assert "values differ" not in words


def test_a_model_without_views_says_how_to_declare_some(empty_project: Path) -> None:
    with running_dashboard(empty_project) as running:
        assert "No release is live." in running.visitor("viewer").get(PAGE).words
