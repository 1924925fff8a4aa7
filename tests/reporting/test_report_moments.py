"""Each moment of a year is told in a sentence for who cannot code, with its counts, and a detail for who can."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from stories import estimate
from years import (
    FEED,
    FIRST,
    NAMES,
    SECOND,
    flips,
    harmed,
    lived,
    quality,
    retraining,
    rollout,
    taken_back,
    ticket,
    turn,
    watch,
    watched_only,
)

from headway.core.verdict import Verdict
from headway.core.watch import MonitoringReport
from headway.reporting.events import list_events
from headway.reporting.report_data import DatedRetraining, Event, MonitoringHistory, ReportData, RolloutSummary


def told(**parts: Any) -> Event:
    """The one moment of a year of these parts."""
    (event,) = list_events(ReportData(title="", groups="days", year=MonitoringHistory(names=NAMES, **parts)))
    return event


def seen(*watches: MonitoringReport) -> list[Event]:
    return list(list_events(watched_only(*watches)))


def test_a_year_is_told_in_the_order_in_which_it_happened() -> None:
    assert [(each.at, each.kind) for each in list_events(lived())] == [
        ("2013-09", "worse"),
        ("2013-10-02", "ticket"),
        ("2013-10", "taken back"),
        ("2013-10", "retrained"),
        ("2013-10", "drift"),
        ("2013-11", "live"),
        ("2013-11", "worse"),
    ]


def test_without_a_year_there_are_no_moments() -> None:
    assert list_events(ReportData(title="")) == ()


def test_drift_that_does_harm_is_told_with_its_rows_and_its_figures_have_intervals() -> None:
    (event,) = seen(watch(9, FIRST, "degraded", *quality(0.671, 0.135)))
    assert event.what == "Drift found, and it was worse than when it was judged"
    assert event.message.startswith("27,574 rows were looked at; of 27,010 the outcome was known. The inputs are not")
    assert "ECE 0.135 [0.100, 0.170], on 27,010 rows, 62 groups, drift p 0.001" in event.detail
    assert event.style == "fail"


def test_harm_that_is_shown_is_told_with_the_interval_of_each_figure() -> None:
    parts = (*quality(0.671, 0.135), estimate("ece.split", 0.12, 0.04), estimate("roc_auc.change", -0.05, 0.03))
    cost = estimate("retrain.expected_loss", 3387.0, 2216.0)
    replies = harmed("roc_auc.change", "ece.split", "cost")
    (event,) = seen(watch(9, FIRST, "degraded", *parts, cost=cost, answers=replies))
    assert event.message.endswith(
        "Shown by a change of AUC since it was judged of -0.050 [-0.080, -0.020] and a calibration error, guarded "
        "against noise, of 0.120 [0.080, 0.160] and a cost a month, against when it was judged, of "
        "3,400 [1,200, 5,600]."
    )


def test_drift_whose_labels_have_not_all_had_their_time_is_not_told_as_harmless() -> None:
    inputs = (replace(harmed("all")[0], question="drift"),)
    assert seen(watch(9, FIRST, "drifted", answers=inputs))[0].what.endswith("whether it does harm was not judged yet")
    assert seen(watch(9, FIRST, "drifted", answers=(*inputs, *harmed())))[0].what.endswith("not shown to be worse")


def test_a_period_that_is_not_over_is_no_moment() -> None:
    assert seen(watch(9, FIRST, "unknown", is_complete=False)) == []


@pytest.mark.parametrize(
    ("status", "drift", "what", "kind"),
    [
        ("degraded", None, "It was worse than when it was judged", "worse"),
        ("drifted", True, "Drift found, and not shown to be worse", "drift"),
        ("unknown", True, "Drift found; whether it was still right could not be said", "drift"),
        ("unknown", None, "Nothing could be said of it", "other"),
    ],
)
def test_what_was_seen_is_not_told_as_more_than_it_is(status: Any, drift: object, what: str, kind: str) -> None:
    period = watch(9, FIRST, status, n_labeled=0)
    (event,) = seen(period if drift else replace(period, drift=None))
    assert (event.what, event.kind) == (what, kind)
    assert "outcome" not in event.message


def test_a_quiet_period_is_no_moment() -> None:
    assert seen(watch(9, FIRST, "healthy")) == []


def test_the_same_seen_again_is_one_moment_and_another_release_begins_a_new_one() -> None:
    found = seen(*(watch(month, release, "degraded") for month, release in ((9, FIRST), (10, FIRST), (11, SECOND))))
    assert [each.at for each in found] == ["2013-09", "2013-11"]
    assert found[0].message.startswith("Seen 2 times, from September 2013 to October 2013. The last time, 27,574 rows")
    assert "September 2013: " in found[0].detail
    assert "October 2013: " in found[0].detail


def test_a_cost_without_an_interval_is_not_told() -> None:
    endless = replace(estimate("retrain.expected_loss", -628.0, 1.0), low=-1.8e308, high=1.8e308)
    (event,) = seen(watch(9, FIRST, "degraded", cost=endless))
    assert "cost" not in event.detail


@pytest.mark.parametrize(
    ("acts", "message"), [(True, "headway acts on it by itself."), (False, "it waits for a person to act on it.")]
)
def test_a_ticket_says_why_and_who_acts(acts: bool, message: str) -> None:
    event = told(tickets=(ticket(acts=acts),))
    assert event.message.startswith("There is much more to learn from than when it was trained, and its probabilities")
    assert event.message.endswith(message)
    assert event.detail == "Labeled rows grew by 132%, from 105,475 to 244,737. Release aaaaaaaaaaaa."


def test_a_rollback_says_how_many_met_the_release_why_it_was_taken_back_and_by_whom() -> None:
    event = told(trials=(taken_back(),))
    assert event.what == "A new release was taken back by itself"
    assert event.message == (
        "A new release (reads the schedule from a feed) answered 20 % of the callers, beside the live one. "
        "After 1,500 requests its feed broke. After 3,030 requests, 597 of them with an answer of its own, the judge "
        "took it back: it changes more decisions than is allowed "
        "(34 % [17, 51] on 97 answers of 62 keys, limit: at most 5 %)."
    )


def test_a_rollback_by_a_person_names_the_person() -> None:
    by_hand = Verdict(answer="undecided", subject=FEED, by="ada", why="callers complain")
    event = told(trials=(replace(taken_back(), verdict=by_hand),))
    assert event.what == "A new release was taken back"
    assert event.message.endswith("ada took it back.")


def test_a_release_that_was_promoted_is_named_and_its_training_is_not_told_again() -> None:
    trial = RolloutSummary(at="2013-11", rollout=rollout(SECOND, "promoted", share=0.5), aim=retraining().message)
    found = list_events(
        ReportData(
            title="",
            year=MonitoringHistory(
                names=NAMES, trials=(trial,), learned=(DatedRetraining(at="2013-10", retraining=retraining()),)
            ),
        )
    )
    assert found[1].what == "Live now: retrained in October"
    assert found[1].message.startswith("The release trained anew answered 50 % of the callers")
    assert found[1].message.endswith("every rule that could be measured was met, and the judge made it live.")


@pytest.mark.parametrize(
    ("standing", "what"), [("running", "A new release is on trial"), ("inconclusive", "A new release was withdrawn")]
)
def test_a_rollout_without_an_answer_is_told_as_such(standing: str, what: str) -> None:
    event = told(
        trials=(RolloutSummary(at="2013-10-09", rollout=rollout(FEED, standing, share=0.0), verdict=flips("pass")),)
    )
    assert event.what == what
    assert event.message.startswith("A new release answered no caller but saw every request, beside the live one.")
    assert event.style == "note"


@pytest.mark.parametrize(
    ("made", "what"),
    [
        (retraining(), "Trained anew, and shown to be better"),
        (retraining(loss=0.02), "Trained anew, and not better"),
        (retraining(trainings=0), "Recalibrated, and shown to be better"),
    ],
)
def test_a_retraining_says_whether_it_is_better_and_on_how_many_rows(made: Any, what: str) -> None:
    event = told(learned=(DatedRetraining(at="2013-10", retraining=made),))
    assert event.what == what
    assert event.message.endswith("Both were judged on the same 25,312 rows, 62 days.")
    assert event.detail.startswith("Loss in Brier ")


def test_a_retraining_without_rules_gives_the_reason() -> None:
    made = retraining()
    bare = replace(
        made.search_result.winner, verdict=replace(made.search_result.winner.verdict, rule_results=(), why="no rule")
    )
    event = told(
        learned=(
            DatedRetraining(
                at="2013-10", retraining=replace(made, search_result=replace(made.search_result, winner=bare))
            ),
        )
    )
    assert "Both" not in event.message
    assert event.detail.startswith("No rule. ")


@pytest.mark.parametrize(("back", "what"), [(True, "Live again: first release"), (False, "Live: first release")])
def test_a_move_by_hand_says_who_and_why(back: bool, what: str) -> None:
    event = told(turns=(turn(FIRST, back=back),))
    assert event.what == what
    assert event.message.endswith("Callers complain.")
    assert event.detail == "Move 3 of flights@live, release aaaaaaaaaaaa."


def test_a_move_to_nothing_is_told_as_such() -> None:
    assert told(turns=(turn(""),)).what == "Live: no release"
