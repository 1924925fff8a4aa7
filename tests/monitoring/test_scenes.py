"""Periods of a release in a table, and what is said of tasks and groups of other kinds than days and yes or no."""

from __future__ import annotations

import dataclasses
from datetime import date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from headway_echo import Echo
from msgspec.structs import replace
from tests.monitoring.rollouts import release

from headway.core.config import Config
from headway.core.dataset import Dataset, Roles
from headway.core.errors import ConfigError, DataError
from headway.core.sections import DataSection, RetrainSection
from headway.core.training import Training
from headway.data.open import make_dataset
from headway.monitoring.budget import WEALTH, Budget, lord_level
from headway.monitoring.deployed_release import DeployedRelease
from headway.monitoring.monitor import MonitoringContext, monitor_window
from headway.monitoring.scored_rows import parse_delay, score_rows
from headway.monitoring.windows import monitoring_windows

FIRST = datetime(2020, 1, 1)
NOW = datetime(2021, 1, 1)


def dataset(*, days: int = 91, groups: str = "day", **columns: pl.Series) -> Dataset:
    """20 rows a day from January to March, the target the mean of the inputs, which is what the release answers."""
    rng = np.random.default_rng(0)
    n = 20 * days
    at = [FIRST + timedelta(days=row // 20, minutes=row % 20) for row in range(n)]
    values = {name: rng.normal(size=n) for name in "ab"}
    table = pl.DataFrame({"at": at, "day": [each.date() for each in at], **values})
    table = table.with_columns(who=pl.format("caller {}", pl.col("a").round(0)), y=(pl.col("a") + pl.col("b")) / 2)
    roles = Roles(target="y", task="regression", time="at", groups=groups)
    return make_dataset(table.with_columns(**columns), roles, name="a table")


def deployed(task: str = "regression") -> DeployedRelease:
    """The echo release, trained before January and judged on it."""
    made = release()
    made = replace(made, variant=replace(made.variant, task=task))
    training = Training(
        dataset="",
        recipe="",
        model=made.variant,
        since="2019-01-01",
        until="2020-01-01",
        judged_since="2020-01-01",
        judged_until="2020-02-01",
        n_rows=1000,
        seconds=1.0,
    )
    return DeployedRelease(release=made, digest="sha256:1", model=Echo(b"echo", {}), training=training)


def test_each_month_after_the_judge_stands_beside_it_and_knows_what_was_labelled_before():
    february, march = monitoring_windows(deployed(), dataset(), Config(), now=NOW)
    assert [(each.name, each.since, each.over, each.due) for each in (february, march)] == [
        ("2020-02", datetime(2020, 2, 1), True, True),
        ("2020-03", datetime(2020, 3, 1), True, True),
    ]
    assert [len(each.judged) for each in (february, march)] == [620, 620]
    assert [len(each.past) for each in (february, march)] == [1, 2]
    assert march.n_known == 1000 + 91 * 20


def test_a_period_is_due_only_when_its_labels_have_had_their_time():
    config = Config(data=DataSection(label_delay="10d"))
    february, march = monitoring_windows(deployed(), dataset(), config, now=NOW, until=datetime(2020, 4, 5))
    assert [(each.over, each.due) for each in (february, march)] == [(True, True), (True, False)]
    assert np.isnan(march.current.labels).sum() == 5 * 20 + 19  # from the second row of March 26 on


def test_without_a_row_there_is_no_period():
    made = deployed()
    training = replace(made.training, until="2025-01-01", judged_until="2025-02-01")
    learned_all = dataclasses.replace(made, training=training)
    assert list(monitoring_windows(learned_all, dataset(), Config(), now=NOW)) == []


def test_of_another_task_the_inputs_are_watched_and_quality_says_why_it_is_not():
    context = MonitoringContext(deployed=deployed(), config=Config(), budget=Budget([]))
    february = monitor_window(context, next(monitoring_windows(context.deployed, dataset(), Config(), now=NOW))).report
    assert [each.question for each in february.answers] == ["drift"] and february.status == "unknown"
    assert (
        "quality could not be judged: monitoring of quality supports the task 'binary', not 'regression'"
        in february.message
    )


def test_inputs_are_asked_at_the_chance_that_the_budget_gives():
    broken = pl.Series([10.0 * (row >= 31 * 20) for row in range(91 * 20)])
    context = MonitoringContext(deployed=deployed(), config=Config(), budget=Budget([]))
    february = monitor_window(
        context, next(monitoring_windows(context.deployed, dataset(a=broken), Config(), now=NOW))
    ).report
    (asked,) = february.answers
    assert asked.level == lord_level([], WEALTH["drift"]) and asked.shown == ("drift.p",)
    assert {finding.limit for finding in february.drift.findings} == {asked.level}


def test_a_ticket_is_told_of_no_period_before_it_was_opened():
    config = Config(retrain=RetrainSection(rows_grown=1.5))
    context = MonitoringContext(deployed=deployed(), config=config, budget=Budget([]))
    february, march = monitoring_windows(context.deployed, dataset(), config, now=NOW)
    ticket = monitor_window(context, march).report.ticket
    assert ticket.reasons == ("rows",)
    told = [monitor_window(context, each, pending=ticket).report.message for each in (february, march)]
    assert ["a retraining ticket is open" in each for each in told] == [False, True]


def test_labels_that_are_texts_are_known_though_they_are_no_numbers():
    kinds = pl.Series([None if row % 10 == 0 else ("x", "y", "z")[row % 3] for row in range(91 * 20)])
    found = score_rows(deployed("multiclass"), dataset(y=kinds), since=FIRST)
    assert len(found.labeled()) == 0.9 * len(found)


@pytest.mark.parametrize(("groups", "count", "run"), [("day", 91, 7), ("who", 9, 1), ("", 1820, 1)])
def test_groups_are_days_or_callers_in_order_of_their_first_row_or_each_row_its_own(groups, count, run):
    found = score_rows(deployed(), dataset(groups=groups), since=FIRST)
    numbers, first = np.unique(found.groups, return_index=True)
    assert found.run == run and abs(len(numbers) - count) <= 1
    assert (np.diff(first) > 0).all()


def test_rows_of_one_day_are_one_group_where_they_are_put_beside_a_log():
    found = score_rows(deployed(), dataset(groups="who"), since=FIRST).by_day()
    assert found.run == 7 and np.unique(found.groups)[0] == (date(2020, 1, 1) - date(1970, 1, 1)).days


def test_a_delay_and_a_time_that_are_none_are_refused():
    with pytest.raises(ConfigError, match="label_delay is 'soon'"):
        parse_delay("soon")
    with pytest.raises(DataError, match="time column 'a' holds no times"):
        score_rows(deployed(), Dataset(name="", table=dataset().table, roles=Roles(target="y", time="a")), since=FIRST)
