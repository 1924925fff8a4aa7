"""Monitoring reports on a live release, with a stable and with a shifted distribution."""

from __future__ import annotations

from dataclasses import replace as changed
from datetime import datetime

import pytest
from msgspec.structs import replace
from tests.pipeline import projects, watched

from headway import pipeline
from headway.core.errors import ConfigError, StoreError
from headway.core.monitoring import MonitoringReport, Ticket
from headway.core.record import read
from headway.core.verdict import Rule
from headway.data.settings.data import DataSection
from headway.data.settings.policy import PolicySection
from headway.monitoring.budget import WEALTH, lord_level
from headway.registry.project import open_project

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def stable(tmp_path_factory):
    """Return a project with a stable distribution and a growing number of labeled rows."""
    return watched.released(watched.write(tmp_path_factory.mktemp("stable")))


@pytest.fixture(scope="module")
def shifted(tmp_path_factory):
    """Return a project with a shift in April."""
    return watched.released(watched.write(tmp_path_factory.mktemp("shifted"), table=watched.shifted()))


def test_a_stable_distribution_is_healthy_and_shows_no_drift(stable):
    (april,) = pipeline.watch(stable)

    assert (april.period, april.status, april.n_rows, april.n_labeled) == ("2013-04", "healthy", 1800, 1800)
    assert not april.drift.alarm and april.drift_costs == ()
    assert (
        "no drift of the inputs is shown since the release was judged" in april.message
        and "no degradation is shown" in april.message
    )


def test_a_shifted_distribution_is_degraded_with_the_drifted_features_and_the_cost(shifted):
    (april,) = pipeline.watch(shifted)

    assert april.status == "degraded" and april.drift.alarm
    assert "since the release was judged: hour moved" in april.message and "ranks worse" in april.message
    assert april.find("roc_auc.change").high < 0 < april.cost.low
    assert {cost.slice for cost in april.drift_costs} == {"hour", "wind", "carrier"}


def test_quality_has_an_interval_by_day_and_an_estimate_made_before_labels(stable):
    (april,) = pipeline.watch(stable)

    assert {measurement.name for measurement in april.quality} == {"roc_auc", "brier", "ece", "ece.split", "base_rate"}
    assert all(
        measurement.low < measurement.value < measurement.high and measurement.n_groups == 30
        for measurement in april.quality
    )
    assert april.find("roc_auc.estimated").low < april.find("roc_auc").value < april.find("roc_auc.estimated").high


def test_watch_rules_are_judged_once_per_window_with_three_answers(tmp_path):
    rules = {"roc_auc": "at_least = 0.99", "ece": "at_most = 0.5", "roc_auc.change": "at_least = 0.0"}
    watched.released(watched.write(tmp_path))
    text = "".join(f'[[policy.watch]]\nmeasure = "{name}"\n{limit}\n' for name, limit in rules.items())
    (tmp_path / "headway.toml").write_text(watched.TOML + watched.RETRAIN + text)
    project = open_project(tmp_path)
    (april,) = pipeline.watch(project)
    assert [rule_result.answer for rule_result in april.rule_results] == ["fail", "pass", "undecided"]
    assert april.status == "degraded" and april.reply("degradation").shown == ("roc_auc at least 0.99",)
    assert (
        "it breaks a rule of its policy (roc_auc is" in april.message and "outside the limit of 0.99" in april.message
    )
    assert pipeline.watch(project)[0].rule_results == april.rule_results


def test_a_rule_that_compares_with_another_model_is_refused_as_a_watch_rule(stable, tmp_path):
    config = stable.config[PolicySection]
    rule = Rule(measure="probability_shift", at_most=0.1)
    settings = stable.config.having(replace(config, watch=(rule,)))
    with pytest.raises(ConfigError, match="compares with another model, and a watch sees live alone"):
        pipeline.watch(changed(stable, config=settings), every="7d")


def test_the_policy_opens_one_ticket_with_its_price_and_its_evidence(shifted):
    opened = [report.ticket for report in pipeline.watch(shifted) if report.ticket]
    ticket = pipeline.open_ticket(shifted)
    saved = shifted.state.records("ticket", name="small")

    assert (opened in ([], [ticket])) and len(saved) == 1
    assert ticket.reasons == ("rows", "calibration") and ticket.price_s > 0 and ticket.expected_loss.low > 0
    assert shifted.state.records("evidence", digest=ticket.evidence[0])
    assert read(Ticket, saved[0]) == ticket


def test_an_open_ticket_is_reported_and_not_opened_again(shifted):
    pipeline.watch(shifted)
    (april,) = pipeline.watch(shifted)

    assert april.ticket is None and "a retraining ticket is open" in april.message


def test_labels_that_had_not_arrived_are_not_used(tmp_path):
    later = watched.TOML.replace("[data]\n", '[data]\nlabel_delay = "40d"\n')
    folder = watched.write(tmp_path)
    (folder / "headway.toml").write_text(later + watched.RETRAIN)
    (april,) = pipeline.watch(watched.released(folder), until=datetime(2013, 5, 1))

    assert (april.n_rows, april.n_labeled, april.quality, april.cost, april.ticket) == (1800, 0, (), None, None)
    assert "no label has arrived yet" in april.message


def test_a_window_that_has_only_begun_is_not_reported(stable):
    assert pipeline.watch(stable, until=datetime(2013, 4, 10)) == []
    assert [report.period for report in pipeline.watch(stable, until=datetime(2013, 4, 25))] == ["2013-04"]


def test_windows_may_be_weeks_and_an_unanswered_question_has_a_reason(stable):
    weeks = pipeline.watch(stable, every="1w")

    assert len(weeks) >= 4
    assert all(finding.code in ("O002", "O003", "O004") for week in weeks for finding in week.unknown)


def test_an_unknown_window_length_is_an_error(stable):
    with pytest.raises(ConfigError, match="invalid period length 'month'"):
        pipeline.watch(stable, every="month")


def test_without_a_live_release_there_is_nothing_to_watch(tmp_path):
    with pytest.raises(StoreError, match="no pointer small@live"):
        pipeline.watch(open_project(projects.write(tmp_path)))


def test_a_report_is_saved_once_and_returned_unchanged(stable):
    first, again = pipeline.watch(stable), pipeline.watch(stable)
    saved = stable.records(MonitoringReport)

    assert [report.answers for report in again] == [report.answers for report in first]
    assert [report.period for report in saved if report.reply("degradation")] == ["2013-04"]
    assert [report.reply("degradation").level for report in saved if report.reply("degradation")] == [
        lord_level([], WEALTH["degradation"])
    ]


def test_a_window_is_judged_once_even_if_its_rows_change_afterwards(tmp_path):
    project = watched.released(watched.write(tmp_path))
    (before,) = pipeline.watch(project)
    watched.shifted().write_parquet(tmp_path / "table.parquet")
    (after,) = pipeline.watch(project)

    assert (after.status, after.answers, after.drift) == (before.status, before.answers, before.drift)


def test_before_the_label_delay_only_the_inputs_are_judged_and_not_again_later(tmp_path):
    later = watched.TOML.replace("[data]\n", '[data]\nlabel_delay = "9d"\n')
    folder = watched.write(tmp_path)
    (folder / "headway.toml").write_text(later + watched.RETRAIN)
    project = watched.released(folder)
    (early,), _ = (pipeline.watch(project, until=datetime(2013, 5, day)) for day in (1, 3))
    watched.shifted().write_parquet(folder / "table.parquet")
    (late,) = pipeline.watch(project, until=datetime(2013, 6, 1))

    assert [answer.question for answer in early.answers] == [
        "drift"
    ] and "quality is judged when all have had their time" in early.message
    assert [answer.question for answer in late.answers] == ["drift", "degradation"] and late.drift == early.drift
    assert [answer.question for answer in pipeline.watch(project, until=datetime(2013, 6, 1))[0].answers] == [
        "drift",
        "degradation",
    ]
    assert len(project.state.records("monitoring_report", name="small")) == 2


def test_an_incomplete_window_is_shown_and_not_judged(stable):
    (april,) = pipeline.watch(stable, until=datetime(2013, 4, 29))

    assert (april.is_complete, april.status, april.answers, april.drift) == (False, "unknown", (), None)
    assert "the period has not ended: 1,680 rows so far" in april.message
    assert april.find("roc_auc").se > 0


def test_a_quarter_after_a_month_uses_the_remaining_error_budget(stable):
    pipeline.watch(stable)
    saved = stable.records(MonitoringReport)
    tested = {
        name: len({(report.since, report.until) for report in saved if report.reply(name)})
        for name in ("drift", "degradation")
    }
    (quarter,) = pipeline.watch(stable, every="1q")

    assert quarter.until == "2013-07-01T00:00:00"
    assert [answer.level for answer in quarter.answers] == [
        lord_level([False] * count, WEALTH[name]) for name, count in tested.items()
    ]


def test_two_weeks_are_judged_although_too_few_runs_of_days_could_be_permuted(stable):
    weeks = pipeline.watch(stable, every="2w")

    assert all(week.drift is not None and not week.drift.alarm for week in weeks)
    assert all("no drift of the inputs is shown" in week.message for week in weeks)


def test_a_table_larger_than_memory_is_watched_by_whole_days(stable):
    (whole,) = pipeline.watch(stable)
    settings = stable.config.having(replace(stable.config[DataSection], max_rows=6_500))
    april, *_ = pipeline.watch(changed(stable, config=settings), every="30d")

    assert april.sampled.drawn == "groups" and april.sampled.n_rows == 7_200
    assert april.message.endswith("rows all were counted and 6,480 sampled: 108 of 120 groups, each whole.")
    assert april.n_rows < whole.n_rows and april.n_rows % 60 == 0
