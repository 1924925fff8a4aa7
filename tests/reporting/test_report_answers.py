"""The first screen answers what is live, if it is right, how much faster, what was refused; and it does not lie."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from stories import RELEASED, flights, judged, own_project, refused, replay, variant
from years import FIRST, lived, ticket, watch, watched_only

from headway.core.verdict import EvaluatedVariant, Verdict
from headway.reporting.report_data import MonitoringHistory, ReportData
from headway.reporting.summary import SummaryAnswer, describe_replay, summary_answers

STORY = flights()


def reply(report: ReportData, question: str) -> SummaryAnswer:
    return next(each for each in summary_answers(report) if each.question == question)


def with_verdict(row: EvaluatedVariant, **changes: object) -> ReportData:
    return replace(STORY, winner=replace(row, verdict=replace(row.verdict, **changes)))


def undecided() -> EvaluatedVariant:
    """Judged on test, with losses that 62 days cannot tell from the limit."""
    return judged(RELEASED, us=31.2, loss=0.005, flips=0.03, change=0.1, period="test")


def test_the_whole_story_gives_four_answers_in_the_order_a_reader_asks() -> None:
    assert [each.question for each in summary_answers(STORY)] == [
        "What was released?",
        "Is it right?",
        "How much faster?",
        "What was refused?",
    ]


def test_a_story_with_a_year_says_first_what_is_live_and_whether_it_is_well() -> None:
    assert [each.question for each in summary_answers(lived())] == [
        "What is live?",
        "Is it well?",
        "What was released first?",
        "Was it right when judged?",
        "How much faster?",
        "What was refused?",
    ]


def test_what_is_live_is_named_in_words_since_when_it_was_watched() -> None:
    live = reply(lived(), "What is live?")
    assert live.answer == "Retrained in October"
    assert live.detail == "Watched since November 2013. Release bbbbbbbbbbbb."


@pytest.mark.parametrize(
    ("status", "answer", "style"),
    [
        ("healthy", "Yes: no harm is shown", "pass"),
        ("drifted", "No harm is shown, but the inputs changed", "plain"),
        ("degraded", "No: worse than when it was judged", "fail"),
        ("unknown", "That cannot be said yet", "undecided"),
    ],
)
def test_whether_it_is_well_is_what_was_seen_last(status: Any, answer: str, style: str) -> None:
    well = reply(watched_only(watch(8, FIRST, "healthy"), watch(9, FIRST, status, n_labeled=0)), "Is it well?")
    assert (well.answer, well.style) == (answer, style)
    assert well.detail == "Seen in September 2013 on 27,574 rows."


def test_whether_it_is_well_rests_on_figures_with_their_intervals() -> None:
    assert reply(lived(), "Is it well?").detail == (
        "Seen in December 2013 on 27,574 rows, 27,010 with a known outcome. "
        "Its probabilities were off by 0.080 [0.045, 0.115] on average. "
        "Cost a month against when judged: 3,400 [1,200, 5,600]."
    )


def test_whether_it_is_well_is_not_asked_of_a_period_that_is_not_over() -> None:
    report = watched_only(watch(8, FIRST, "healthy"), watch(9, FIRST, "unknown", is_complete=False))
    assert reply(report, "Is it well?").answer == "Yes: no harm is shown"


def test_a_year_in_which_nothing_was_watched_says_nothing_of_how_it_is() -> None:
    asked = [each.question for each in summary_answers(replace(STORY, year=MonitoringHistory(tickets=(ticket(),))))]
    assert asked == [each.question for each in summary_answers(STORY)]


def test_an_empty_story_answers_nothing() -> None:
    assert summary_answers(ReportData(title="empty")) == ()


def test_live_names_the_variant_its_steps_the_release_and_the_key() -> None:
    live = reply(STORY, "What was released?")
    assert live.answer == RELEASED.name
    assert "then onnxruntime. Release 9f86d081884c, signed with the key 5d41402abc4b." in live.detail


def test_a_winner_that_is_not_released_is_not_called_live() -> None:
    chosen = summary_answers(replace(STORY, release=""))[0]
    assert chosen.question == "What was chosen?"
    assert chosen.detail.endswith("It is not released.")


def test_the_model_as_it_came_can_be_live() -> None:
    came = judged(variant(), us=262, loss=0, flips=0, change=0, period="test")
    live = reply(replace(STORY, winner=came, key=""), "What was released?")
    assert live.detail == "The model as it came, unchanged. Release 9f86d081884c."


@pytest.mark.parametrize(
    ("report", "detail"),
    [
        (own_project(), "1 of 1 variants meet every rule on the period that the search looked at."),
        (ReportData(title="", frontier=(refused().judged,)), "No variant meets every rule of the policy."),
    ],
)
def test_nothing_released_is_said_with_the_reason(report: ReportData, detail: str) -> None:
    assert reply(report, "What was released?") == SummaryAnswer(
        question="What was released?", answer="Nothing was released", detail=detail, style="undecided"
    )


def test_right_rests_on_rows_and_groups_not_seen_before_and_on_the_replay() -> None:
    right = reply(STORY, "Is it right?")
    assert right.answer == "Yes: it meets all 4 rules"
    assert "58,665 rows, 62 days" in right.detail
    assert "all 27,122 answers of September 2013 came back unaltered" in right.detail


def test_rows_that_were_looked_at_twice_are_not_told_as_unseen_by_the_search() -> None:
    winner = STORY.winner
    assert winner is not None
    right = reply(with_verdict(winner, test_evaluations=2), "Is it right?")
    assert "that the training had not seen; they were looked at 2 times, so they were used to choose" in right.detail
    assert "nor the search" not in right.detail


@pytest.mark.parametrize("judged", [undecided(), refused().judged], ids=["undecided", "fail"])
def test_what_does_not_pass_says_too_that_its_rows_were_used_to_choose(judged: EvaluatedVariant) -> None:
    right = reply(with_verdict(judged, test_evaluations=3), "Is it right?")
    assert "Its rows were looked at 3 times, so they were used to choose." in right.detail


def test_a_verdict_that_is_undecided_is_not_told_as_right() -> None:
    right = reply(replace(STORY, winner=undecided()), "Is it right?")
    assert right.answer == "Not shown yet"
    assert right.style == "undecided"
    assert right.detail.startswith(
        "Loss in AUC 0.0050 [0.0017, 0.0083], limit: at most 0.005. 1 of 4 rules is undecided."
    )


def test_a_broken_rule_is_told_in_words_and_numbers() -> None:
    wrong = reply(replace(STORY, winner=refused().judged), "Is it right?")
    assert wrong.answer == "No: it breaks a rule"
    assert wrong.detail.startswith("It ranks worse than the model as it came: loss in AUC 0.076 [0.049, 0.103]")
    assert "3 of 4 rules are broken" in wrong.detail


def test_a_verdict_without_rules_tells_the_judges_reason() -> None:
    right = reply(
        with_verdict(undecided(), answer="undecided", rule_results=(), why="the policy has no rule"), "Is it right?"
    )
    assert right.detail.startswith("the policy has no rule")


def test_one_rule_is_not_called_all_rules() -> None:
    winner = STORY.winner
    assert winner is not None
    one = reply(with_verdict(winner, rule_results=winner.verdict.rule_results[:1]), "Is it right?")
    assert one.answer == "Yes: it meets its rule"


def test_a_pass_that_rests_on_no_measurement_claims_no_rows() -> None:
    winner = STORY.winner
    assert winner is not None
    bare = replace(with_verdict(winner, rule_results=()), replay=None)
    assert reply(bare, "Is it right?").detail == ""


def test_answers_altered_or_missing_over_http_make_a_good_verdict_worth_nothing() -> None:
    right = reply(replace(STORY, replay=replay(mismatches=3, failures=4)), "Is it right?")
    assert right.answer == "No: it was not served as it was judged"
    assert right.style == "fail"
    assert right.detail.endswith("4 of 27,122 requests failed.")


def test_the_replay_is_told_in_sentences() -> None:
    assert describe_replay(replay()) == (
        "27,122 rows of September 2013 were sent in 27,122 requests, which took 18.4 s. "
        "Every answer was the one that the release itself computes, and no request failed."
    )
    assert describe_replay(replay(mismatches=3)).endswith(
        "18.4 s. 3 of 27,122 answers were not those that the release itself computes."
    )


def test_faster_compares_with_the_model_as_it_came() -> None:
    faster = reply(STORY, "How much faster?")
    assert faster.answer == "x 8.40 [8.23, 8.57]"
    assert faster.detail == (
        "One row takes 31.2 us [30.6, 31.8] instead of 262 us [257, 267]; in batches x 4.94 [4.84, 5.04]."
    )


def test_faster_is_not_claimed_without_a_measurement() -> None:
    assert "How much faster?" not in [each.question for each in summary_answers(own_project())]


def test_a_wrong_variant_that_passes_is_not_told_as_refused() -> None:
    passing = replace(refused(), judged=replace(refused().judged, verdict=Verdict(answer="pass", subject="")))
    found = summary_answers(replace(STORY, refused=passing))[-1]
    assert found.question == "Was the wrong variant refused?"
    assert found.answer == "No: the judge passed “Scheduled times taken in UTC”"
    assert found.style == "fail"
