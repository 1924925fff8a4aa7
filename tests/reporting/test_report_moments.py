"""Each event has a sentence with its counts for readers who do not code, and a detail for engineers."""

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
    rolled_back,
    rollout,
    ticket,
    turn,
    watch,
    watched_only,
)

from headway.core.evidence import Measurement
from headway.core.monitoring import MonitoringReport
from headway.core.selective import CertificateWithdrawal
from headway.core.verdict import Verdict
from headway.reporting.events import list_events
from headway.reporting.report_data import DatedRetraining, Event, MonitoringHistory, ReportData, RolloutSummary


def event_of(**parts: Any) -> Event:
    """Return the only event of a monitoring history of these parts."""
    (event,) = list_events(ReportData(title="", groups="days", year=MonitoringHistory(names=NAMES, **parts)))
    return event


def seen(*watches: MonitoringReport) -> list[Event]:
    return list(list_events(watched_only(*watches)))


def test_events_are_in_chronological_order() -> None:
    assert [(event.at, event.kind) for event in list_events(lived())] == [
        ("2013-09", "worse"),
        ("2013-10-02", "ticket"),
        ("2013-10", "rolled back"),
        ("2013-10", "retrained"),
        ("2013-10", "drift"),
        ("2013-11", "live"),
        ("2013-11", "worse"),
    ]


def test_a_withdrawn_certificate_names_its_classes_and_the_share_of_wrong_answers() -> None:
    withdrawal = CertificateWithdrawal(
        name="support",
        release=FIRST,
        classes=("refund", "delivery"),
        risk=Measurement(name="answer.audited_risk", value=0.2, low=0.1, high=0.3, method="", n_rows=60, level=0.9),
        limit=0.05,
        why="too many answers were wrong",
        at="2026-11-28T10:00:00+00:00",
    )

    event, everything = event_of(withdrawals=(withdrawal,)), event_of(withdrawals=(replace(withdrawal, classes=()),))

    assert (event.at, event.what, event.style) == ("2026-11-28", "Answers withdrawn: refund, delivery", "fail")
    assert event.message.startswith("Too many answers were wrong")
    assert "withdrawn by audit: share of wrong answers 0.200 [0.100, 0.300] of 60 checked, limit 0.0500" in event.detail
    assert everything.what == "Answers withdrawn: every class"


def test_without_a_history_the_list_of_events_is_empty() -> None:
    assert list_events(ReportData(title="")) == ()


def test_drift_with_degradation_has_rows_and_figures_with_intervals() -> None:
    (event,) = seen(watch(9, FIRST, "degraded", *quality(0.671, 0.135)))
    assert event.what == "Drift and degradation found"
    assert event.message.startswith("27,574 rows, 27,010 of them labeled. 2013-09: the inputs are not")
    assert "ECE 0.135 [0.100, 0.170], on 27,010 rows, 62 groups, drift p 0.001" in event.detail
    assert event.style == "fail"


def test_a_degradation_has_the_interval_of_each_figure() -> None:
    parts = (*quality(0.671, 0.135), estimate("ece.split", 0.12, 0.04), estimate("roc_auc.change", -0.05, 0.03))
    cost = estimate("retrain.expected_loss", 3387.0, 2216.0)
    replies = harmed("roc_auc.change", "ece.split", "cost")
    (event,) = seen(watch(9, FIRST, "degraded", *parts, cost=cost, answers=replies))
    assert event.message.endswith(
        "Shown by a change of the AUC since the evaluation of -0.050 [-0.080, -0.020] and a calibration error "
        "(corrected for noise) of 0.120 [0.080, 0.160] and an additional cost per month of 3,400 [1,200, 5,600] "
        "units of [model] costs."
    )


def test_drift_is_not_called_harmless_before_the_labels_have_arrived() -> None:
    inputs = (replace(harmed("all")[0], question="drift"),)
    assert seen(watch(9, FIRST, "drifted", answers=inputs))[0].what.endswith("its harm has not been tested yet")
    assert seen(watch(9, FIRST, "drifted", answers=(*inputs, *harmed())))[0].what.endswith("no degradation is shown")


def test_an_incomplete_period_is_not_an_event() -> None:
    assert seen(watch(9, FIRST, "unknown", is_complete=False)) == []


@pytest.mark.parametrize(
    ("status", "drift", "what", "kind"),
    [
        ("degraded", None, "Degradation found", "worse"),
        ("drifted", True, "Drift found; no degradation is shown", "drift"),
        ("unknown", True, "Drift found; the quality is unknown", "drift"),
        ("unknown", None, "Status unknown", "other"),
    ],
)
def test_each_status_has_its_title(status: Any, drift: object, what: str, kind: str) -> None:
    period = watch(9, FIRST, status, n_labeled=0)
    (event,) = seen(period if drift else replace(period, drift=None))
    assert (event.what, event.kind) == (what, kind)
    assert "labeled" not in event.message


def test_a_healthy_period_is_not_an_event() -> None:
    assert seen(watch(9, FIRST, "healthy")) == []


def test_a_repeated_status_is_one_event_and_another_release_begins_a_new_one() -> None:
    found = seen(*(watch(month, release, "degraded") for month, release in ((9, FIRST), (10, FIRST), (11, SECOND))))
    assert [event.at for event in found] == ["2013-09", "2013-11"]
    assert found[0].message.startswith("In 2 periods, from September 2013 to October 2013. The last one: 27,574 rows")
    assert "September 2013: " in found[0].detail
    assert "October 2013: " in found[0].detail


def test_a_cost_without_an_interval_is_left_out() -> None:
    endless = replace(estimate("retrain.expected_loss", -628.0, 1.0), low=-1.8e308, high=1.8e308)
    (event,) = seen(watch(9, FIRST, "degraded", cost=endless))
    assert "cost" not in event.detail


@pytest.mark.parametrize(
    ("acts", "message"), [(True, "headway retrains automatically."), (False, "a person has to start the retraining.")]
)
def test_a_ticket_gives_the_reason_and_who_acts(acts: bool, message: str) -> None:
    event = event_of(tickets=(ticket(acts=acts),))
    assert event.message.startswith(
        "There are many more rows to train on than when it was trained, and its calibration"
    )
    assert event.message.endswith(message)
    assert event.detail == "Labeled rows grew by 132%, from 105,475 to 244,737. Release aaaaaaaaaaaa."


def test_a_rollback_gives_its_traffic_its_reason_and_who_did_it() -> None:
    event = event_of(rollouts=(rolled_back(),))
    assert event.what == "A release was rolled back automatically"
    assert event.message == (
        "A new release (reads the schedule from a feed) served 20 % of the callers. After 1,500 requests its feed "
        "broke. Callers got its answers to 597 requests; the judge rolled it back: it changes more decisions "
        "than allowed (34 % [17, 51] on 97 predictions of 62 keys, limit: at most 5 %)."
    )


def test_a_rollback_by_a_person_names_the_person() -> None:
    by_hand = Verdict(answer="undecided", subject=FEED, by="ada", why="callers complain")
    event = event_of(rollouts=(replace(rolled_back(), verdict=by_hand),))
    assert event.what == "A release was rolled back"
    assert event.message.endswith("ada rolled it back.")


def test_a_promoted_release_is_named_without_repeating_its_training() -> None:
    trial = RolloutSummary(at="2013-11", rollout=rollout(SECOND, "promoted", share=0.5), aim=retraining().message)
    found = list_events(
        ReportData(
            title="",
            year=MonitoringHistory(
                names=NAMES, rollouts=(trial,), retrainings=(DatedRetraining(at="2013-10", retraining=retraining()),)
            ),
        )
    )
    assert found[1].what == "Live now: retrained in October"
    assert found[1].message.startswith("The retrained release served 50 % of the callers")
    assert found[1].message.endswith("it met every rule that could be measured, and the judge made it live.")


@pytest.mark.parametrize(
    ("status", "what"), [("running", "A release is being rolled out"), ("inconclusive", "A release was withdrawn")]
)
def test_a_rollout_without_a_decision(status: str, what: str) -> None:
    event = event_of(
        rollouts=(RolloutSummary(at="2013-10-09", rollout=rollout(FEED, status, share=0.0), verdict=flips("pass")),)
    )
    assert event.what == what
    assert event.message.startswith("A new release ran in shadow mode on every request.")
    assert event.style == "note"


@pytest.mark.parametrize(
    ("made", "what"),
    [
        (retraining(), "Retrained: shown to be better"),
        (retraining(loss=0.02), "Retrained: not better"),
        (retraining(trainings=0), "Recalibrated: shown to be better"),
    ],
)
def test_a_retraining_gives_its_verdict_and_its_rows(made: Any, what: str) -> None:
    event = event_of(retrainings=(DatedRetraining(at="2013-10", retraining=made),))
    assert event.what == what
    assert event.message.endswith("Both were evaluated on the same 25,312 rows, 62 days.")
    assert event.detail.startswith("Loss in Brier ")


def test_a_retraining_without_rules_gives_the_reason() -> None:
    made = retraining()
    bare = replace(
        made.search_result.winner, verdict=replace(made.search_result.winner.verdict, rule_results=(), why="no rule")
    )
    event = event_of(
        retrainings=(
            DatedRetraining(
                at="2013-10", retraining=replace(made, search_result=replace(made.search_result, winner=bare))
            ),
        )
    )
    assert "Both" not in event.message
    assert event.detail.startswith("No rule. ")


@pytest.mark.parametrize(("back", "what"), [(True, "Live again: first release"), (False, "Live: first release")])
def test_an_update_by_hand_gives_who_and_why(back: bool, what: str) -> None:
    event = event_of(live_changes=(turn(FIRST, back=back),))
    assert event.what == what
    assert event.message.endswith("Callers complain.")
    assert event.detail == "Update 3 of flights@live, release aaaaaaaaaaaa."


def test_an_update_to_no_release() -> None:
    assert event_of(live_changes=(turn(""),)).what == "Live: no release"
