"""The tables of features show figures with their intervals and counts, and end with what to do next."""

from __future__ import annotations

from msgspec.structs import replace
from tests.reporting.served_features import REPLAY, REPORT, SKEW, figure

from headway.core.feature_report import FeatureWorth
from headway.core.value_replay import ViewReplay
from headway.reporting.text.feature_tables import (
    describe_features,
    describe_value_replay,
    feature_sentences,
    skew_sentences,
    tabulate_features,
    tabulate_replayed,
    tabulate_skews,
)


def cells(table) -> list[list[str]]:
    return [["\n".join(line.text for line in cell) for cell in row] for row in table.rows]


def test_a_view_with_a_known_worth_has_a_row_of_its_own():
    cost = replace(REPORT.costs[0], worth=figure(0.001), proposal="too dear", reason="it takes 12 us")

    *_, view = cells(tabulate_features(replace(REPORT, costs=(cost,))))

    assert (view[0], view[-1]) == ("all of the view\nweather@v2", "too dear")
    assert view[2].startswith("12.5 us")


def test_the_next_command_leaves_out_what_is_proposed_for_removal():
    dear = replace(REPORT.costs[0], worth=figure(0.001), proposal="too dear", reason="it takes 12 us")
    gone = replace(REPORT.features[0], proposal="useless", reason="no error changes")

    text = describe_features(replace(REPORT, costs=(dear,), features=(gone, REPORT.features[1])))

    assert "all of weather@v2: it takes 12 us" in text
    assert "next: headway optimize --without weather,is_weekend:" in text


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
    assert "next: headway optimize --without is_weekend:" in text


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


TEMP = FeatureWorth(view="weather@v2", name="temp", worth=figure(0.02, 0.005), missing=figure(0.0), stale=figure(0.125))
WITH_TEMP = replace(REPORT, features=(*REPORT.features, TEMP))


def test_a_skew_has_the_worth_and_the_lookup_of_its_features_next_to_it():
    table = tabulate_skews(REPLAY, WITH_TEMP)

    assert [column.title for column in table.columns][5] == "Worth, lookup"
    assert cells(table)[0][5] == "temp: 0.020 [0.015, 0.025]\nlookup 12.5 us [12.0, 13.0] a row"


def test_a_skew_of_features_that_were_not_measured_says_so():
    assert cells(tabulate_skews(REPLAY, replace(REPORT, costs=())))[0][5] == "not measured"


def test_examples_are_left_out_for_those_who_may_not_see_rows():
    assert "Examples" not in [column.title for column in tabulate_skews(REPLAY, examples=False).columns]


def test_sentences_name_the_skew_what_it_touches_what_is_open_and_the_next_step():
    skew, matters, unknown, lagging, left_out, next_step = skew_sentences(replace(REPLAY, n_left_out=70), WITH_TEMP)

    assert skew == (
        "temp of weather@v2: the values have another unit (temp is 1.8 times the value), in 500 of 1,000 rows, since "
        "2026-03-01 00:00 UTC (kind: unit)."
    )
    assert matters == "temp matters: without it the error of the model rises by 0.020 [0.015, 0.025]."
    assert unknown == "planes@v1 could not be replayed: the source is gone."
    assert lagging.startswith("4 values were older")
    assert left_out.startswith("70 older rows were not compared")
    assert "headway features replay" in next_step


def test_several_features_of_a_skew_are_named_together():
    skew = replace(SKEW, kind="order", features=("temp", "wind"), detail="")
    replay = replace(REPLAY, views=(ViewReplay(view="weather@v2", n_rows=9, skews=(skew,)),))

    assert skew_sentences(replay)[0].startswith("temp and wind of weather@v2: the values of several features are in")


def test_a_clean_replay_is_one_sentence():
    clean = replace(REPLAY, views=(ViewReplay(view="weather@v2", n_rows=1_000),), unknown={})

    assert skew_sentences(clean) == ("All values of 1,000 lookups in 1,000 rows are as they should be.",)


def test_the_views_of_a_replay_are_listed_with_what_is_known_of_each():
    skewed, unknown = cells(tabulate_replayed(REPLAY))

    assert skewed == ["weather@v2", "values differ", "1,000", "4"]
    assert unknown[:2] == ["planes@v1", "? cannot be judged\nthe source is gone"]


def test_sentences_of_the_features_name_the_best_what_to_remove_and_the_gaps():
    lines = feature_sentences(WITH_TEMP)

    assert lines == (
        "temp is worth most: without it the error rises by 0.020 [0.015, 0.025].",
        "is_weekend is useless: no error changes by 1%.",
        "The lookup of weather@v2 takes 12.5 us [12.0, 13.0] of CPU time a row.",
        "A value is missing: wind in 25.00% of 1,000 logged rows.",
        "A value is older than the TTL of its view: temp in 12.50% of 1,000 logged rows.",
        "Not known: drift: no ended period was monitored.",
        "Next: headway optimize --without is_weekend. The model without them is judged like any other.",
    )
