"""What a watch says of a live release, on a world that stays and on one that turns."""

from __future__ import annotations

from dataclasses import replace as changed
from datetime import datetime

import pytest
from msgspec.structs import replace
from tests.pipeline import projects, watched

from headway import pipeline
from headway.core.errors import ConfigError, StoreError
from headway.core.record import read
from headway.core.ticket import Ticket
from headway.core.verdict import Rule
from headway.core.watch import MonitoringReport
from headway.monitoring.budget import WEALTH, lord_level
from headway.registry.project import open_project

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def stays(tmp_path_factory):
    """A project whose world stays as it was; only labelled rows grow."""
    return watched.released(watched.write(tmp_path_factory.mktemp("stays")))


@pytest.fixture(scope="module")
def turns(tmp_path_factory):
    """A project whose world turned in April."""
    return watched.released(watched.write(tmp_path_factory.mktemp("turns"), table=watched.turned()))


def test_a_world_that_stays_is_well_and_nothing_is_told_of_drift(stays):
    (april,) = pipeline.watch(stays)

    assert (april.period, april.status, april.n_rows, april.n_labeled) == ("2013-04", "healthy", 1800, 1800)
    assert not april.drift.alarm and april.drift_costs == ()
    assert (
        "no drift of the inputs is shown since the release was judged" in april.message
        and "no degradation is shown" in april.message
    )


def test_a_world_that_turned_is_worse_with_what_moved_and_what_it_costs(turns):
    (april,) = pipeline.watch(turns)

    assert april.status == "degraded" and april.drift.alarm
    assert "since the release was judged: hour moved" in april.message and "ranks worse" in april.message
    assert april.find("roc_auc.change").high < 0 < april.cost.low
    assert {each.slice for each in april.drift_costs} == {"hour", "wind", "carrier"}


def test_quality_has_an_interval_by_day_and_an_estimate_made_before_labels(stays):
    (april,) = pipeline.watch(stays)

    assert {each.name for each in april.quality} == {"roc_auc", "brier", "ece", "ece.split", "base_rate"}
    assert all(each.low < each.value < each.high and each.n_groups == 30 for each in april.quality)
    assert april.find("roc_auc.estimated").low < april.find("roc_auc").value < april.find("roc_auc.estimated").high


def test_a_rule_of_its_own_is_judged_once_a_period_with_its_three_answers(tmp_path):
    rules = {"roc_auc": "at_least = 0.99", "ece": "at_most = 0.5", "roc_auc.change": "at_least = 0.0"}
    watched.released(watched.write(tmp_path))
    text = "".join(f'[[policy.watch]]\nmeasure = "{name}"\n{limit}\n' for name, limit in rules.items())
    (tmp_path / "headway.toml").write_text(watched.TOML + watched.RETRAIN + text)
    project = open_project(tmp_path)
    (april,) = pipeline.watch(project)
    assert [each.answer for each in april.rule_results] == ["fail", "pass", "undecided"]
    assert april.status == "degraded" and april.reply("harm").shown == ("roc_auc at least 0.99",)
    assert (
        "it breaks a rule of its policy (roc_auc is" in april.message and "outside the limit of 0.99" in april.message
    )
    assert pipeline.watch(project)[0].rule_results == april.rule_results


def test_a_rule_that_compares_with_another_model_is_no_rule_of_a_watch(stays, tmp_path):
    config = stays.config.policy
    rule = Rule(measure="probability_shift", at_most=0.1)
    settings = replace(stays.config, policy=replace(config, watch=(rule,)))
    with pytest.raises(ConfigError, match="compares with another model, and a watch sees live alone"):
        pipeline.watch(changed(stays, config=settings), every="7d")


def test_the_policy_opens_one_ticket_with_its_price_and_its_evidence(turns):
    opened = [each.ticket for each in pipeline.watch(turns) if each.ticket]
    ticket = pipeline.ticket_of(turns)
    kept = turns.state.records("ticket", name="small")

    assert (opened in ([], [ticket])) and len(kept) == 1
    assert ticket.reasons == ("rows", "calibration") and ticket.price_s > 0 and ticket.expected_loss.low > 0
    assert turns.state.records("evidence", digest=ticket.evidence[0])
    assert read(Ticket, kept[0]) == ticket


def test_an_open_ticket_is_told_and_not_opened_again(turns):
    pipeline.watch(turns)
    (april,) = pipeline.watch(turns)

    assert april.ticket is None and "a retraining ticket is open" in april.message


def test_labels_that_had_not_come_are_not_used(tmp_path):
    later = watched.TOML.replace("[data]\n", '[data]\nlabel_delay = "40d"\n')
    folder = watched.write(tmp_path)
    (folder / "headway.toml").write_text(later + watched.RETRAIN)
    (april,) = pipeline.watch(watched.released(folder), until=datetime(2013, 5, 1))

    assert (april.n_rows, april.n_labeled, april.quality, april.cost, april.ticket) == (1800, 0, (), None, None)
    assert "no label has arrived yet" in april.message


def test_a_period_that_has_only_begun_is_left_for_later(stays):
    assert pipeline.watch(stays, until=datetime(2013, 4, 10)) == []
    assert [each.period for each in pipeline.watch(stays, until=datetime(2013, 4, 25))] == ["2013-04"]


def test_periods_may_be_weeks_and_a_part_that_cannot_be_said_says_why(stays):
    weeks = pipeline.watch(stays, every="1w")

    assert len(weeks) >= 4
    assert all(each.code in ("O002", "O003", "O004") for week in weeks for each in week.unknown)


def test_a_length_that_there_is_not_is_an_error(stays):
    with pytest.raises(ConfigError, match="invalid period length 'month'"):
        pipeline.watch(stays, every="month")


def test_without_a_live_release_there_is_nothing_to_watch(tmp_path):
    with pytest.raises(StoreError, match="no pointer small@live"):
        pipeline.watch(open_project(projects.write(tmp_path)))


def test_what_was_told_is_kept_once_and_told_again_as_it_was(stays):
    first, again = pipeline.watch(stays), pipeline.watch(stays)
    kept = stays.records(MonitoringReport)

    assert [each.answers for each in again] == [each.answers for each in first]
    assert [each.period for each in kept if each.reply("harm")] == ["2013-04"]
    assert [each.reply("harm").level for each in kept if each.reply("harm")] == [lord_level([], WEALTH["harm"])]


def test_a_period_is_judged_once_though_its_rows_change_afterwards(tmp_path):
    project = watched.released(watched.write(tmp_path))
    (before,) = pipeline.watch(project)
    watched.turned().write_parquet(tmp_path / "table.parquet")
    (after,) = pipeline.watch(project)

    assert (after.status, after.answers, after.drift) == (before.status, before.answers, before.drift)


def test_before_the_labels_have_had_their_time_only_the_inputs_are_judged_and_later_not_again(tmp_path):
    later = watched.TOML.replace("[data]\n", '[data]\nlabel_delay = "9d"\n')
    folder = watched.write(tmp_path)
    (folder / "headway.toml").write_text(later + watched.RETRAIN)
    project = watched.released(folder)
    (early,), _ = (pipeline.watch(project, until=datetime(2013, 5, day)) for day in (1, 3))
    watched.turned().write_parquet(folder / "table.parquet")
    (late,) = pipeline.watch(project, until=datetime(2013, 6, 1))

    assert [each.question for each in early.answers] == [
        "drift"
    ] and "quality is judged when all have had their time" in early.message
    assert [each.question for each in late.answers] == ["drift", "harm"] and late.drift == early.drift
    assert [each.question for each in pipeline.watch(project, until=datetime(2013, 6, 1))[0].answers] == [
        "drift",
        "harm",
    ]
    assert len(project.state.records("monitoring_report", name="small")) == 2


def test_a_period_that_is_not_over_is_shown_and_not_judged(stays):
    (april,) = pipeline.watch(stays, until=datetime(2013, 4, 29))

    assert (april.is_complete, april.status, april.answers, april.drift) == (False, "unknown", (), None)
    assert "the period has not ended: 1,680 rows so far" in april.message
    assert april.find("roc_auc").se > 0


def test_a_quarter_after_a_month_goes_on_with_what_is_left_of_the_budget(stays):
    pipeline.watch(stays)
    (quarter,) = pipeline.watch(stays, every="1q")

    assert quarter.until == "2013-07-01T00:00:00"
    assert [each.level for each in quarter.answers] == [lord_level([False], WEALTH[name]) for name in ("drift", "harm")]


def test_two_weeks_are_too_few_to_show_a_change_at_the_chance_that_is_left(stays):
    weeks = pipeline.watch(stays, every="2w")

    assert all(each.drift is None for each in weeks)
    assert "too few to show a change" in weeks[0].unknown[0].message
    assert "drift of the inputs could not be tested" in weeks[0].message
