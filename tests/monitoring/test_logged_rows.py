"""Logged rows are answers to callers with their labels, without shadow answers and errors."""

from __future__ import annotations

import dataclasses
from datetime import datetime

import numpy as np
import pytest
from msgspec.structs import replace
from tests.monitoring import rollouts
from tests.monitoring.test_windows import dataset, deployed
from tests.serving.flushed_log import FlushedLog, log_writer

from headway.core.dataset import ASKED_AT
from headway.core.errors import DataError
from headway.data.settings.data import DataSection
from headway.monitoring.budget import Budget
from headway.monitoring.monitor import MonitoringContext, monitor_window
from headway.monitoring.prediction_log import read_label_file
from headway.monitoring.scored_rows import count_without_key, logged_requests, logged_rows
from headway.monitoring.windows import monitoring_windows
from headway.serving.loading import load_model
from headway.serving.telemetry.prediction_log import LogBuffers, LogEntry
from headway.storage import traffic
from headway.storage.traffic import Label

NOON_US = int(datetime(2020, 2, 1, 12).timestamp() * 1e6)


@pytest.fixture
def project(tmp_path):
    """A project with a live release that has answered no request yet."""
    opened = rollouts.project(tmp_path)
    rollouts.live(opened, rollouts.release())
    yield opened
    opened.state.close()
    opened.registry.state.close()


def log(project, *calls: tuple[str, int, float | None], at_us: int = NOON_US, rate: float = 1.0) -> None:
    """Log, as servers do, calls of a key: whether the caller was answered, and with what; None is an error."""
    release = load_model(project.registry.resolve("flights@live"))
    flushed = FlushedLog(project.config.state)
    for number, (key, answered, value) in enumerate(calls):
        rows = None if value is None else np.array([[value, value]])
        entry = LogEntry(
            release=release,
            at_us=at_us + number,
            requests=np.array([number]),
            keys=[key],
            sizes=[1],
            latency_ns=np.array([1000]),
            role=traffic.LIVE,
            answered=answered,
            stage=traffic.ALONE,
            paired=0,
            rows=rows,
            answers=None if rows is None else rows[:, :1],
            seen=(),
            rate=rate,
        )
        flushed.add(entry)
    flushed.close()


def read(project, task="binary"):
    return logged_rows(project.config.state, live(project, task))


def live(project, task="binary"):
    bundle = project.registry.resolve("flights@live")
    variant = replace(bundle.release.variant, task=task)
    return dataclasses.replace(deployed(), release=replace(bundle.release, variant=variant), digest=bundle.digest)


def test_only_answers_to_callers_are_read_with_their_labels(project):
    log(project, ("a", 1, 0.5), ("b", 0, 0.6), ("c", 1, None), ("", 1, 0.7), ("d", 1, 0.8))
    traffic.save_labels(project.config.state, "flights", [Label("a", 1.0), Label("b", 1.0)], who="ann")
    found = read(project)
    assert found.scores.tolist() == [0.5, 0.7, 0.8] and found.rows.tolist() == [
        [score] * 2 for score in (0.5, 0.7, 0.8)
    ]
    assert (
        found.labels[0] == 1
        and np.isnan(found.labels[1:]).all()
        and np.isnat(found.labeled_at).tolist() == [False, True, True]
    )
    assert count_without_key(found) == 1 and set(found.groups) == {18293}


@pytest.mark.slow
def test_a_later_label_of_a_key_wins_from_its_arrival_on(project):
    log(project, ("a", 1, 0.5))
    for value in (0.0, 1.0):
        traffic.save_labels(project.config.state, "flights", [Label("a", value)], who="ann")
    found = read(project)
    assert found.labels.tolist() == [1.0] and len(found.as_of(datetime(2020, 3, 1)).labeled()) == 0


def test_an_empty_log_is_reported_with_the_command_to_serve(project):
    with pytest.raises(DataError, match="no prediction of the live release") as error:
        read(project)
    assert error.value.hint == "headway serve flights@live"
    log(project, ("a", 0, 0.5))
    with pytest.raises(DataError, match="no prediction of the live release"):
        read(project)


def test_requests_to_live_have_a_column_for_each_feature_and_the_time(project):
    log(project, ("a", 1, 0.25), ("b", 0, 0.75))

    names = list(project.registry.resolve("flights@live").release.variant.signature.names)
    requests = logged_requests(project)

    assert requests is not None
    assert requests.columns == [*names, ASKED_AT]
    assert requests[ASKED_AT].dt.timestamp("us").to_list() == [NOON_US, NOON_US + 1]
    assert requests[names[0]].to_list() == [0.25, 0.75]


def test_requests_are_none_without_traffic_or_a_live_release(project, tmp_path):
    never = tmp_path / "never"
    never.mkdir()
    unreleased = rollouts.project(never)

    assert logged_requests(project) is None
    assert logged_requests(unreleased) is None

    unreleased.state.close()
    unreleased.registry.state.close()


HOUR_US = 3_600_000_000


def hours_of(project, until: datetime, table=None):
    config = live(project)
    context = MonitoringContext(deployed=config, config=project.config, budget=Budget([]), source="log")
    windows = monitoring_windows(config, table, project.config, now=until, every="1h", source="log")
    return [monitor_window(context, window).report for window in windows]


def test_hours_are_checked_from_the_first_request_on_and_are_not_healthy(project):
    for hour, value in ((0, 0.5), (1, float("nan"))):
        log(project, *((f"{hour}-{row}", 1, value + row / 100) for row in range(30)), at_us=NOON_US + hour * HOUR_US)
    first, broken, silent = hours_of(project, datetime(2020, 2, 1, 15, 30), dataset())
    assert (first.period, first.n_rows, first.is_complete, first.row_checks) == ("2020-02-01 12:00", 30, True, ())
    assert {report.status for report in (first, broken, silent)} == {"unknown"}
    assert any("drift" in finding.message for finding in first.unknown)
    assert [finding.code for finding in broken.row_checks] == ["O010", "O010"]
    assert "is missing in 100% of 30 rows (0% when judged)" in broken.message and broken.n_rows_usual == 30
    assert (silent.since, silent.until) == ("2020-02-01T14:00:00", "2020-02-01T15:30:00")
    assert silent.message.endswith("no request was answered (usually 30).")


def test_an_hour_that_has_not_ended_shows_its_rows_at_once(project):
    log(project, *((str(row), 1, float("nan")) for row in range(25)))
    (running,) = hours_of(project, datetime(2020, 2, 1, 12, 10), dataset())
    assert (running.is_complete, running.n_rows, running.status) == (False, 25, "unknown")
    assert "is missing in 100% of 25 rows" in running.message


def test_a_log_is_watched_without_the_rows_that_the_release_was_judged_on(project):
    log(project, *((str(row), 1, 0.5) for row in range(30)))
    (first, silent) = hours_of(project, datetime(2020, 2, 1, 14))
    assert (first.n_rows, first.status, first.row_checks) == (30, "unknown", ())
    assert any("judged on are not in the project's table" in finding.message for finding in first.unknown)
    assert silent.row_checks[0].code == "O011"


def test_a_label_that_the_task_cannot_have_is_left_out_and_reported(project):
    log(project, ("a", 1, 0.5), ("b", 1, 0.6), ("c", 1, 0.7), ("d", 1, 0.8))
    labels = [Label("a", 1.0), Label("b", 7.0), Label("c", 0.3), Label("d", float("nan"))]
    traffic.save_labels(project.config.state, "flights", labels, who="ann")
    labeled = read(project).labels
    assert labeled[0] == 1 and np.isnan(labeled[1:]).all()
    assert np.isfinite(read(project, "regression").labels[:3]).all(), "a regression has such labels"
    report = hours_of(project, datetime(2020, 2, 1, 13), dataset())[-1]
    (finding,) = [found for found in report.unknown if found.code == "O015"]
    assert finding.message == "3 labels are left out: no row of the task 'binary' can have them"
    assert "0 or 1" in finding.hint


def test_a_file_with_another_label_than_a_binary_target_has_is_refused(tmp_path):
    (tmp_path / "labels.csv").write_text("key,label\na,1\nb,7\n")
    with pytest.raises(DataError, match="the label is 7, expected 0 or 1 of a binary target"):
        read_label_file(tmp_path / "labels.csv", DataSection(target="late"))
    numbers = DataSection(target="delay", task="regression")
    assert read_label_file(tmp_path / "labels.csv", numbers) == [Label("a", 1.0), Label("b", 7.0)]


def lose(project, since_us: int, until_us: int, rows: int) -> None:
    """Record a span in which the log lost rows, as the log writer does."""
    release = load_model(project.registry.resolve("flights@live"))
    buffers = LogBuffers(1, 1 << 20)
    buffers.lose(0, release, rows=rows, since_us=since_us, until_us=until_us)
    assert log_writer(project.config.state, buffers).write()


def test_the_time_in_which_the_log_lost_rows_is_not_read(project):
    log(project, *[("", 1, float(number)) for number in range(10)])
    lose(project, NOON_US + 3, NOON_US + 4, 7)
    lose(project, NOON_US + 4, NOON_US + 5, 2)
    lose(project, NOON_US + 8, NOON_US + 8, 1)
    assert read(project).scores.tolist() == [0.0, 1.0, 2.0, 6.0, 7.0, 9.0]


def test_rows_of_a_log_that_samples_are_weighted_by_their_rate_and_count_what_was_sent(project):
    day_us = 86_400_000_000
    log(project, *[("", 1, 1.0)] * 4000)
    log(project, *[("", 1, 2.0)] * 1000, at_us=NOON_US + 10_000, rate=0.25)
    log(project, *[("", 1, 3.0)] * 50, at_us=NOON_US + day_us)
    rows = read(project)
    assert len(rows) == 5050 and rows.n_sent == 8050
    assert rows.subset(rows.scores == 2.0).weights.tolist() == [4.0] * 1000
    assert rows.subset(rows.scores != 2.0).n_sent == 4050


def test_a_period_in_which_the_log_lost_rows_shows_it_and_its_volume_counts_them(project):
    for hour, n in enumerate((40, 40, 40, 3)):
        log(project, *[("", 1, 0.5)] * n, at_us=NOON_US + hour * HOUR_US)
    lose(project, NOON_US + 3 * HOUR_US + 60_000_000, NOON_US + 3 * HOUR_US + 61_000_000, 37)
    *_, last = hours_of(project, datetime(2020, 2, 1, 16), dataset())
    assert (last.n_lost, last.status, last.n_rows) == (37, "unknown", 3)
    (finding,) = [found for found in last.unknown if found.code == "O012"]
    assert finding.message.startswith("the log lost 37 rows from 2020-02-01 15:01:00 to 2020-02-01 15:01:01 UTC")
    assert "the log lost 37 rows" in last.message and "O011" not in [found.code for found in last.row_checks]
