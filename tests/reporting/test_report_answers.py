"""The summary answers what is live, whether it meets the policy, how much faster it is, and what was rejected."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from stories import RELEASED, estimate, flights, judged, own_project, refused, replay, variant
from tests.reporting.examined import BUSY, only
from years import FEED, FIRST, SECOND, lived, release_state, ticket, watch, watched_only

from headway.core.evidence import AS_CALLED, TimedCall
from headway.core.verdict import EvaluatedVariant, Verdict
from headway.reporting.report_data import MonitoringHistory, ReportData
from headway.reporting.summary import SummaryAnswer, describe_replay, summary_answers

STORY = flights()


def reply(report: ReportData, question: str) -> SummaryAnswer:
    return next(answer for answer in summary_answers(report) if answer.question == question)


def with_verdict(row: EvaluatedVariant, **changes: object) -> ReportData:
    return replace(STORY, winner=replace(row, verdict=replace(row.verdict, **changes)))


def undecided() -> EvaluatedVariant:
    """Return a variant evaluated on test, with losses that 62 days do not separate from the limit."""
    return judged(RELEASED, us=31.2, loss=0.005, flips=0.03, change=0.1, period="test")


def test_complete_report_data_give_four_answers_in_order() -> None:
    assert [answer.question for answer in summary_answers(STORY)] == [
        "What was released?",
        "Does it meet the policy?",
        "How much faster?",
        "What was rejected?",
    ]


def test_with_a_history_the_first_answers_are_live_and_healthy() -> None:
    assert [answer.question for answer in summary_answers(lived())] == [
        "What is live?",
        "Is it healthy?",
        "What was released first?",
        "Did it meet the policy?",
        "How much faster?",
        "What was rejected?",
    ]


def test_the_live_release_is_named_with_the_start_of_monitoring() -> None:
    live = reply(lived(), "What is live?")
    assert live.answer == "Retrained in October"
    assert live.detail == "Monitored since November 2013. Release bbbbbbbbbbbb."


@pytest.mark.parametrize(
    ("status", "answer", "style"),
    [
        ("healthy", "Yes: no degradation is shown", "pass"),
        ("drifted", "No degradation is shown, but the inputs have drifted", "plain"),
        ("degraded", "No: worse than in its evaluation", "fail"),
        ("unknown", "Unknown", "undecided"),
    ],
)
def test_the_health_is_the_last_status(status: Any, answer: str, style: str) -> None:
    well = reply(watched_only(watch(8, FIRST, "healthy"), watch(9, FIRST, status, n_labeled=0)), "Is it healthy?")
    assert (well.answer, well.style) == (answer, style)
    assert well.detail == "In September 2013, on 27,574 rows."


def test_the_health_has_figures_with_intervals() -> None:
    assert reply(lived(), "Is it healthy?").detail == (
        "In December 2013, on 27,574 rows, 27,010 of them labeled. Calibration error 0.080 [0.045, 0.115]. "
        "Additional cost per month 3,400 [1,200, 5,600] units of [model] costs."
    )


def test_an_incomplete_period_does_not_change_the_health() -> None:
    report = watched_only(watch(8, FIRST, "healthy"), watch(9, FIRST, "unknown", is_complete=False))
    assert reply(report, "Is it healthy?").answer == "Yes: no degradation is shown"


def test_without_monitoring_reports_the_health_is_left_out() -> None:
    questions = [
        answer.question for answer in summary_answers(replace(STORY, year=MonitoringHistory(tickets=(ticket(),))))
    ]
    assert questions == [answer.question for answer in summary_answers(STORY)]


def test_empty_report_data_give_no_answers() -> None:
    assert summary_answers(ReportData(title="empty")) == ()


def test_the_release_has_its_variant_steps_digest_and_key() -> None:
    live = reply(STORY, "What was released?")
    assert live.answer == RELEASED.name
    assert "then onnxruntime. Release 9f86d081884c, signed with the key 5d41402abc4b." in live.detail


def test_a_winner_that_is_not_released_is_called_chosen() -> None:
    chosen = summary_answers(replace(STORY, release=""))[0]
    assert chosen.question == "What was chosen?"
    assert chosen.detail.endswith("It is not released.")


def test_the_baseline_can_be_released() -> None:
    came = judged(variant(), us=262, loss=0, flips=0, change=0, period="test")
    live = reply(replace(STORY, winner=came, key=""), "What was released?")
    assert live.detail == "The baseline, unchanged. Release 9f86d081884c."


@pytest.mark.parametrize(
    ("report", "detail"),
    [
        (own_project(), "1 of 1 variants meet every rule on the validation period."),
        (ReportData(title="", frontier=(refused().judged,)), "No variant meets every rule of the policy."),
    ],
)
def test_no_release_has_its_reason(report: ReportData, detail: str) -> None:
    assert reply(report, "What was released?") == SummaryAnswer(
        question="What was released?", answer="Nothing was released", detail=detail, style="undecided"
    )


def test_the_policy_answer_has_its_rows_and_the_replay() -> None:
    right = reply(STORY, "Does it meet the policy?")
    assert right.answer == "Yes: all 4 rules pass"
    assert "58,665 rows, 62 days" in right.detail
    assert "all 27,122 predictions of September 2013 were identical" in right.detail


def test_rows_that_were_evaluated_twice_are_not_called_unseen() -> None:
    winner = STORY.winner
    assert winner is not None
    right = reply(with_verdict(winner, test_evaluations=2), "Does it meet the policy?")
    assert (
        "that were not used for training. The test set was evaluated 2 times: test metrics are optimistic."
        in right.detail
    )
    assert "or the search" not in right.detail


@pytest.mark.parametrize("judged", [undecided(), refused().judged], ids=["undecided", "fail"])
def test_a_failed_verdict_also_warns_of_repeated_evaluations(judged: EvaluatedVariant) -> None:
    right = reply(with_verdict(judged, test_evaluations=3), "Does it meet the policy?")
    assert "The test set was evaluated 3 times: test metrics are optimistic." in right.detail


def test_an_undecided_verdict_is_called_undecided() -> None:
    right = reply(replace(STORY, winner=undecided()), "Does it meet the policy?")
    assert right.answer == "Undecided"
    assert right.style == "undecided"
    assert right.detail.startswith(
        "Loss in AUC 0.0050 [0.0017, 0.0083], limit: at most 0.005. 1 of 4 rules is undecided."
    )


def test_a_broken_rule_has_a_sentence_and_numbers() -> None:
    wrong = reply(replace(STORY, winner=refused().judged), "Does it meet the policy?")
    assert wrong.answer == "No: a rule fails"
    assert wrong.detail.startswith("It ranks worse than the baseline: loss in AUC 0.076 [0.049, 0.103]")
    assert "3 of 4 rules fail" in wrong.detail


def test_a_verdict_without_rules_has_its_reason() -> None:
    right = reply(
        with_verdict(undecided(), answer="undecided", rule_results=(), why="the policy has no rule"),
        "Does it meet the policy?",
    )
    assert right.detail.startswith("the policy has no rule")


def test_one_rule_is_not_called_all_rules() -> None:
    winner = STORY.winner
    assert winner is not None
    one = reply(with_verdict(winner, rule_results=winner.verdict.rule_results[:1]), "Does it meet the policy?")
    assert one.answer == "Yes: its rule passes"


def test_a_pass_without_measurements_names_no_rows() -> None:
    winner = STORY.winner
    assert winner is not None
    bare = replace(with_verdict(winner, rule_results=()), replay=None)
    assert reply(bare, "Does it meet the policy?").detail == ""


def test_altered_or_missing_answers_over_http_fail() -> None:
    right = reply(replace(STORY, replay=replay(mismatches=3, failures=4)), "Does it meet the policy?")
    assert right.answer == "No: the served predictions differ"
    assert right.style == "fail"
    assert right.detail.endswith("4 of 27,122 requests failed.")


def test_the_replay_is_described_in_sentences() -> None:
    assert describe_replay(replay()) == (
        "27,122 rows of September 2013 were sent in 27,122 requests, which took 18.4 s. "
        "Every prediction equals that of the release in process, and no request failed."
    )
    assert describe_replay(replay(mismatches=3)).endswith(
        "18.4 s. 3 of 27,122 predictions differ from those of the release in process."
    )


def test_the_speedup_compares_with_the_baseline() -> None:
    faster = reply(STORY, "How much faster?")
    assert faster.answer == "x 8.40 [8.23, 8.57]"
    assert faster.detail == ("One row takes 31.2 us [30.6, 31.8]; in batches x 4.94 [4.84, 5.04].")


def test_the_speedup_is_left_out_without_a_measurement() -> None:
    assert "How much faster?" not in [answer.question for answer in summary_answers(own_project())]


def test_the_speedup_is_that_of_the_users_own_calls_where_they_were_timed() -> None:
    assert STORY.winner is not None
    call = TimedCall(engine="LGBMClassifier", call="predict_proba", input="dataframe_row", rows=1, threads=1)
    called = replace(estimate(AS_CALLED, 5.0, 0.2, slice="dataframe_row", unit="x"), baseline=call)
    evidence = replace(STORY.winner.evidence, measurements=(*STORY.winner.evidence.measurements, called))
    faster = reply(replace(STORY, winner=replace(STORY.winner, evidence=evidence)), "How much faster?")
    assert faster.answer == "x 5.00 [4.80, 5.20]"
    assert faster.detail.startswith(
        "As you call it (against LGBMClassifier, predict_proba of a DataFrame row, threads=1). Engine against engine, "
        "x 8.40 [8.23, 8.57]. One row takes 31.2 us"
    )


def test_a_busy_machine_is_the_answer_where_nothing_could_be_timed() -> None:
    report = only(replace(estimate("cost.cpu_s.one_row.speedup", 2.0, 0.1), unit="x"))
    assert report.winner is not None
    evidence = replace(report.winner.evidence, findings=(BUSY,))
    faster = reply(replace(report, winner=replace(report.winner, evidence=evidence)), "How much faster?")
    assert (faster.answer, faster.style) == ("Not measured", "undecided")
    assert "other processes used the cores" in faster.detail and "--wait-quiet" in faster.detail
    assert "CPU time, engine against engine, one row: x 2.00" in faster.detail


def test_the_cost_of_a_million_predictions_is_money_with_a_price_and_else_cpu_time() -> None:
    cpu, energy = (
        estimate("cost.cpu_s.one_row", 31.2, 0.4, unit="s"),
        estimate("cost.energy_j.one_row", 400, 9, unit="J"),
    )
    cost = reply(only(cpu, energy), "What do a million predictions cost?")
    assert cost.answer == "31.2 s [30.8, 31.6] of CPU time"
    assert "400 J [391, 409] of the processor's energy" in cost.detail and "62 rounds" in cost.detail
    priced = only(cpu, estimate("cost.per_million.one_row", 0.3, 0.01, unit="EUR"))
    assert reply(priced, "What do a million predictions cost?").answer == "0.300 EUR [0.290, 0.310]"


def test_a_wrong_variant_that_passes_is_not_called_rejected() -> None:
    passing = replace(refused(), judged=replace(refused().judged, verdict=Verdict(answer="pass", subject="")))
    found = summary_answers(replace(STORY, refused=passing))[-1]
    assert found.question == "Was the wrong variant rejected?"
    assert found.answer == "No: “Scheduled times taken in UTC” passed"
    assert found.style == "fail"


RELEASE = STORY.release


def test_what_is_live_comes_first_then_the_next_step_then_what_was_released_before() -> None:
    states = (release_state(SECOND, "live"), release_state(RELEASE, "before"))
    questions = [
        answer.question for answer in summary_answers(replace(lived(), releases=states, next_step="headway x"))
    ]
    assert questions[:5] == [
        "What is live?",
        "Is it healthy?",
        "What is next?",
        "What was released before?",
        "Did the release of the last search meet the policy?",
    ]
    assert "What was released first?" not in questions


def test_the_live_release_has_its_name_its_date_and_who_made_it_live() -> None:
    states = (release_state(SECOND, "live", who="rollout", why="canary 50 % goes live: all 3 rules are met"),)
    live = reply(replace(lived(), releases=states), "What is live?")
    assert live.answer == f"Retrained in October: {RELEASED.name}"
    assert live.detail.startswith(
        "By the judge on 2026-11-24 18:30 UTC, after its rollout: canary 50 % goes live: all 3 rules are met."
    )


@pytest.mark.parametrize(
    ("status", "style"), [("rolled back", "fail"), ("before", "plain"), ("withdrawn", "undecided")]
)
def test_a_release_that_was_rolled_back_is_never_green(status: Any, style: str) -> None:
    states = (release_state(SECOND, "live"), release_state(RELEASE, status), release_state(FEED, "before"))
    before = reply(replace(STORY, releases=states), "What was released before?")
    assert (before.answer, before.style) == (f"{RELEASED.name} ({status})", style)
    assert "by the judge on 2026-11-24 18:39 UTC: 33 decisions flipped. All 2 are listed below." in before.detail
    chosen = replace(STORY, releases=(states[0], states[2], states[1]))
    assert reply(chosen, "What was released?").style == style


def test_an_override_is_shown_as_one_with_who_when_and_why() -> None:
    row = judged(RELEASED, us=31.2, loss=0.0764, flips=0.24, change=0.64, period="test")
    verdict = replace(row.verdict, answer="pass", by="ada", why="a demonstration", at="2026-11-25T09:00:00+00:00")
    report = replace(STORY, winner=row, releases=(release_state(RELEASE, "live", answer="override", verdict=verdict),))
    live, policy = reply(report, "What is live?"), reply(report, "Does it meet the policy?")
    assert live.style == "undecided"
    assert live.detail.startswith("Override by ada on 2026-11-24 18:30 UTC, against the judge: a demonstration.")
    assert (policy.answer, policy.style) == ("No: released by an override", "fail")
    assert policy.detail.startswith(
        "ada released it on 2026-11-25 09:00 UTC: a demonstration. 3 of 4 rules do not pass."
    )


def test_without_a_live_release_nothing_is_called_live() -> None:
    assert reply(replace(STORY, releases=(release_state(RELEASE, "withdrawn"),)), "What is live?").answer == (
        "Nothing is live"
    )
