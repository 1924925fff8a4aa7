"""A story knows its winner, its origin and its months, and may lack any of them."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from stories import flights, own_project, spans

from headway.face.report import periods
from headway.face.report.story import Span, Story

STORY = flights()


@pytest.mark.parametrize(
    ("period", "name"),
    [("2013-01", "train"), ("2013-04", "train"), ("2013-05", "choose"), ("2013-08-31", "test"), ("2014-01", "")],
)
def test_a_month_lies_in_the_span_in_which_it_begins(period: str, name: str) -> None:
    assert periods.span_of(Story(title="", spans=spans()), period) == name


def test_a_span_with_times_holds_its_first_day() -> None:
    assert Span(name="train", first="2013-01-01T00:00:00", until="2013-02-01T00:00:00").holds("2013-01")


@pytest.mark.parametrize(
    ("label", "name"), [("2013-09", "September 2013"), ("2013-13", "2013-13"), ("week 36", "week 36"), ("a-1", "a-1")]
)
def test_a_month_has_a_name_and_any_other_label_keeps_its_own(label: str, name: str) -> None:
    assert periods.name_of(label) == name


def test_months_are_in_order_and_know_whose_they_are() -> None:
    assert periods.labels(STORY)[0] == "2013-01"
    assert periods.shown(STORY) == ["roc_auc", "brier", "ece"]
    live, came = (periods.of_month(STORY, "2013-09", "ece", live=live) for live in (True, False))
    assert live is not None
    assert came is not None
    assert live.value != came.value


def test_without_a_winner_the_first_months_subject_stands_for_it() -> None:
    alone = replace(STORY, winner=None)
    assert periods.of_month(alone, "2013-09", "ece") == STORY.months[16].find("ece")
    assert periods.of_month(alone, "2031-01", "ece") is None


def test_speed_comes_from_the_search_where_the_test_did_not_measure_it() -> None:
    assert STORY.winner is not None
    bare = replace(STORY.winner, evidence=replace(STORY.winner.evidence, measurements=()))
    found = replace(STORY, winner=bare).of_winner("latency.speedup")
    assert found is not None
    assert found.value == pytest.approx(262 / 31.2)
    assert own_project().of_winner("latency.speedup") is None


def test_the_origin_is_the_variant_without_steps() -> None:
    assert STORY.origin is STORY.frontier[0]
    assert Story(title="").origin is None


def test_a_winner_is_chosen_until_it_is_released() -> None:
    assert STORY.word == "released"
    assert replace(STORY, release="").word == "chosen"
