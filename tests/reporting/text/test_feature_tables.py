"""The tables of features show figures with their intervals and counts, and end with what to do next."""

from __future__ import annotations

from msgspec.structs import replace

from headway.core.evidence import Measurement
from headway.core.feature_report import FeatureCost, FeatureReport, FeatureWorth
from headway.core.value_replay import SkewExample, ValueReplay, ValueSkew, ViewReplay
from headway.reporting.text.feature_tables import (
    describe_features,
    describe_value_replay,
    tabulate_features,
    tabulate_skews,
)


def figure(value: float, width: float = 0.0, *, name: str = "components.brier.drop") -> Measurement:
    return Measurement(
        name=name, value=value, low=value - width, high=value + width, method="m", n_rows=900, n_groups=30
    )


REPORT = FeatureReport(
    name="flights",
    release="sha256:00",
    at="2026-03-02T00:00:00+00:00",
    n_logged=1_000,
    costs=(
        FeatureCost(
            view="weather@v2", lookup_us=figure(12.5, 0.5, name="feature.lookup_us"), n_entities=3, size_bytes=72
        ),
    ),
    features=(
        FeatureWorth(
            view="weather@v2",
            name="wind",
            worth=figure(0.01, 0.002),
            missing=figure(0.25),
            stale=figure(0.0),
            age_s=(1_350.0, 200_000.0),
            drift=figure(0.03),
        ),
        FeatureWorth(
            view="trip@v1", name="is_weekend", worth=figure(0.0), proposal="useless", reason="no error changes by 1%"
        ),
    ),
    unknown=("drift: no ended period was monitored",),
)
SKEW = ValueSkew(
    view="weather@v2",
    kind="unit",
    features=("temp",),
    n_rows=500,
    since_us=1_772_323_200_000_000,
    detail="temp is 1.8 times the value",
    examples=(SkewExample(request=7, at_us=1, feature="temp", logged=50.0, expected=None),),
)
REPLAY = ValueReplay(
    name="flights",
    release="sha256:00",
    at="2026-03-02T00:00:00+00:00",
    since_us=0,
    until_us=1,
    n_rows=1_000,
    views=(ViewReplay(view="weather@v2", n_rows=1_000, n_lagging=4, skews=(SKEW,)),),
    unknown={"planes@v1": "the source is gone"},
)


def cells(table) -> list[list[str]]:
    return [["\n".join(line.text for line in cell) for cell in row] for row in table.rows]


def test_a_feature_is_shown_with_its_worth_lookup_gaps_and_age():
    wind, weekend = cells(tabulate_features(REPORT))

    assert wind[0] == "wind\nweather@v2"
    assert wind[1].startswith("0.01") and "\n" in wind[1], "the interval is shown"
    assert wind[2].startswith("12.5 us")
    assert wind[3:8] == ["72 B, 3 entities", "25.00%", "0.00%", "22.5 min / 2.31 d", "0.0300"]
    assert wind[-1] == "keep"
    assert weekend[2] == "in the request" and weekend[-1] == "useless"


def test_a_feature_without_a_measured_worth_is_unknown_and_not_kept():
    unmeasured = replace(REPORT, features=(replace(REPORT.features[0], worth=None),))

    assert cells(tabulate_features(unmeasured))[0][-1] == "unknown"


def test_the_report_says_what_is_not_known_and_what_to_leave_out():
    text = describe_features(REPORT)

    assert "of 1,000 logged rows" in text
    assert "not known: drift: no ended period was monitored" in text
    assert "next: leave out is_weekend in features.toml" in text


def test_a_skew_is_shown_with_its_rows_its_time_and_examples():
    [row] = cells(tabulate_skews(REPLAY))

    assert row[0] == "weather@v2"
    assert row[1].startswith("unit\nthe values have another unit")
    assert row[3] == "500 of 1,000"
    assert row[4].startswith("2026-03-01 00:00")
    assert row[5] == "request 7: temp was 50.0, not missing"


def test_a_replay_ends_with_its_answer_and_what_it_did_not_cover():
    text = describe_value_replay(REPLAY)

    assert text.startswith("1 skew; in 500 rows of weather@v2, the values have another unit")
    assert "planes@v1 was not replayed: the source is gone" in text
    assert "4 values were older than the newest, within the lag that is allowed" in text


def test_a_replay_without_skews_counts_what_it_compared():
    clean = replace(REPLAY, views=(ViewReplay(view="weather@v2", n_rows=1_000),), unknown={})

    assert describe_value_replay(clean) == "all values of 1,000 lookups in 1,000 rows are as they should be"


def test_a_replay_of_no_view_is_not_called_clean():
    assert describe_value_replay(replace(REPLAY, views=())).startswith(
        "no view was replayed; planes@v1 was not replayed"
    )
