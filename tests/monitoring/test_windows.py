"""Windows of a release in a table, also for other tasks than binary and other groups than days."""

from __future__ import annotations

import dataclasses
from datetime import date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from headway_echo import Echo
from msgspec.structs import replace
from tests.monitoring.rollouts import deployed_in_january, release

from headway.core.config import Config
from headway.core.dataset import Dataset, Roles
from headway.core.errors import ConfigError, DataError
from headway.data.open import make_dataset
from headway.data.settings.data import DataSection
from headway.monitoring.budget import WEALTH, Budget, lord_level
from headway.monitoring.deployed_release import DeployedRelease
from headway.monitoring.monitor import MonitoringContext, monitor_window
from headway.monitoring.scored_rows import parse_delay, score_rows
from headway.monitoring.settings.retrain import RetrainSection
from headway.monitoring.windows import monitoring_windows

FIRST = datetime(2020, 1, 1)
NOW = datetime(2021, 1, 1)


def dataset(*, days: int = 91, groups: str = "day", **columns: pl.Series) -> Dataset:
    """20 rows a day from January to March, the target the mean of the inputs, which is what the release answers."""
    rng = np.random.default_rng(0)
    n = 20 * days
    at = [FIRST + timedelta(days=row // 20, minutes=row % 20) for row in range(n)]
    values = {name: rng.normal(size=n) for name in "ab"}
    table = pl.DataFrame({"at": at, "day": [time.date() for time in at], **values})
    table = table.with_columns(who=pl.format("caller {}", pl.col("a").round(0)), y=(pl.col("a") + pl.col("b")) / 2)
    roles = Roles(target="y", task="regression", time="at", groups=groups)
    return make_dataset(table.with_columns(**columns), roles, name="a table")


def deployed(task: str = "regression") -> DeployedRelease:
    """The echo release, trained before January and judged on it."""
    made = release()
    made = replace(made, variant=replace(made.variant, task=task))
    return deployed_in_january(made, Echo(b"echo", {}))


def test_each_month_after_the_judged_one_is_a_window_with_the_earlier_labels():
    february, march = monitoring_windows(deployed(), dataset(), Config(), now=NOW)
    assert [(window.name, window.since, window.over, window.due) for window in (february, march)] == [
        ("2020-02", datetime(2020, 2, 1), True, True),
        ("2020-03", datetime(2020, 3, 1), True, True),
    ]
    assert [len(window.judged) for window in (february, march)] == [620, 620]
    assert [len(window.past) for window in (february, march)] == [1, 2]
    assert march.n_known == 1000 + 91 * 20


def test_a_period_is_due_only_after_the_label_delay():
    config = Config(DataSection(label_delay="10d"))
    february, march = monitoring_windows(deployed(), dataset(), config, now=NOW, until=datetime(2020, 4, 5))
    assert [(window.over, window.due) for window in (february, march)] == [(True, True), (True, False)]
    assert np.isnan(march.current.labels).sum() == 5 * 20 + 19  # from the second row of March 26 on


def test_without_rows_no_window_is_yielded():
    made = deployed()
    training = replace(made.training, until="2025-01-01", judged_until="2025-02-01")
    learned_all = dataclasses.replace(made, training=training)
    assert list(monitoring_windows(learned_all, dataset(), Config(), now=NOW)) == []


def test_for_another_task_only_drift_is_monitored_and_the_message_gives_the_reason():
    context = MonitoringContext(deployed=deployed(), config=Config(), budget=Budget([]))
    february = monitor_window(context, next(monitoring_windows(context.deployed, dataset(), Config(), now=NOW))).report
    assert [answer.question for answer in february.answers] == ["drift"] and february.status == "unknown"
    assert (
        "quality could not be judged: monitoring of quality supports the tasks 'binary' and 'multiclass', not "
        "'regression'" in february.message
    )


def test_drift_is_tested_at_the_level_of_the_budget():
    broken = pl.Series([10.0 * (row >= 31 * 20) for row in range(91 * 20)])
    context = MonitoringContext(deployed=deployed(), config=Config(), budget=Budget([]))
    february = monitor_window(
        context, next(monitoring_windows(context.deployed, dataset(a=broken), Config(), now=NOW))
    ).report
    (answer,) = february.answers
    assert answer.level == lord_level([], WEALTH["drift"]) and answer.shown == ("drift.p",)
    assert [finding.where for finding in february.drift.findings if finding.code == "O006"] == ["a"]
    assert {finding.limit for finding in february.drift.findings if finding.code == "O001"} == {answer.level}


@pytest.mark.slow
def test_a_ticket_is_not_reported_for_a_period_before_it_was_opened():
    config = Config(RetrainSection(rows_grown=1.5))
    context = MonitoringContext(deployed=deployed(), config=config, budget=Budget([]))
    february, march = monitoring_windows(context.deployed, dataset(), config, now=NOW)
    ticket = monitor_window(context, march).report.ticket
    assert ticket.reasons == ("rows",)
    messages = [monitor_window(context, window, pending=ticket).report.message for window in (february, march)]
    assert ["a retraining ticket is open" in message for message in messages] == [False, True]


def test_string_labels_count_as_known():
    kinds = pl.Series([None if row % 10 == 0 else ("x", "y", "z")[row % 3] for row in range(91 * 20)])
    found = score_rows(deployed("multiclass"), dataset(y=kinds), since=FIRST)
    assert len(found.labeled()) == 0.9 * len(found)


@pytest.mark.parametrize(("groups", "count", "run"), [("day", 91, 7), ("who", 9, 1), ("", 1820, 1)])
def test_groups_are_days_or_keys_in_order_of_first_row_or_single_rows(groups, count, run):
    found = score_rows(deployed(), dataset(groups=groups), since=FIRST)
    numbers, first = np.unique(found.groups, return_index=True)
    assert found.run == run and abs(len(numbers) - count) <= 1
    assert (np.diff(first) > 0).all()


def test_rows_of_one_day_are_one_group_when_compared_with_a_log():
    found = score_rows(deployed(), dataset(groups="who"), since=FIRST).by_day()
    assert found.run == 7 and np.unique(found.groups)[0] == (date(2020, 1, 1) - date(1970, 1, 1)).days


def test_an_invalid_delay_and_a_time_column_without_times_are_rejected():
    with pytest.raises(ConfigError, match="label_delay is 'soon'"):
        parse_delay("soon")
    with pytest.raises(DataError, match="time column 'a' holds no times"):
        score_rows(deployed(), Dataset(name="", table=dataset().table, roles=Roles(target="y", time="a")), since=FIRST)
