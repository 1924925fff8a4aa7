"""`watch` on a real prediction log: logged inputs and scores, and labels joined by key."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import polars as pl
import pytest
from tests.pipeline import served_log, watched

from headway import pipeline
from headway.cli import main as cli
from headway.cli.exit_codes import FAIL
from headway.core.errors import DataError
from headway.monitoring.deployed_release import open_deployed_release
from headway.monitoring.scored_rows import logged_rows

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Return a project whose live release answered 900 requests, 30 of them without a key, and no label yet."""
    project = watched.released(watched.write(tmp_path_factory.mktemp("served")))
    rows = served_log.requests()
    keyless = pl.when(pl.col("key").str.ends_with("-0") & (pl.col("served") < 30)).then(pl.lit("")).otherwise("key")
    served_log.serve(project, rows.with_columns(key=keyless))
    served_log.put_on_days(project, rows)
    return project


@pytest.fixture(scope="module")
def before_labels(project):
    """Return the reports without a label, after which the labels of all rows with a key arrived."""
    with_key = served_log.requests().filter(~(pl.col("key").str.ends_with("-0") & (pl.col("served") < 30)))
    reports = pipeline.watch(project, source="log")
    served_log.label(project, with_key)
    return reports


def test_the_log_holds_the_inputs_and_the_scores_of_the_requests(project):
    rows, requests, deployed = (
        logged_rows(project.config.state, open_deployed_release(project)),
        served_log.requests(),
        open_deployed_release(project),
    )

    assert len(rows) == len(requests) == 900 and rows.run == 7
    assert rows.rows[:, 0].tolist() == requests["hour"].to_list()
    assert np.abs(rows.scores - deployed.predict(rows.rows)[:, 0]).max() < 1e-12


def test_without_labels_the_inputs_are_judged_and_the_broken_feed_is_named(project):
    sound, broken = pipeline.watch(project, source="log")

    assert (sound.period, sound.n_rows, sound.n_labeled, sound.n_without_key) == ("2020-02", 435, 0, 29)
    assert not sound.drift.alarm and "no label has arrived yet" in sound.message
    assert broken.drift.alarm and "since the release was judged: hour moved" in broken.message
    assert [[answer.question for answer in watch.answers] for watch in (sound, broken)] == [["drift"], ["drift"]]


def test_labels_joined_by_key_show_the_degradation_and_missing_ones_are_counted(project, before_labels):
    sound, broken = pipeline.watch(project, source="log")

    assert (sound.n_labeled, sound.status) == (435 - 29, "unknown")  # so few labels do not exclude a degradation
    assert sound.reply("degradation").shown == () and "a large one is not excluded" in sound.message
    assert "by the 406 labels of 435 rows (29 predictions have no key and cannot get a label)" in sound.message
    assert broken.status == "degraded" and broken.n_labeled == broken.n_rows - 1
    assert broken.reply("drift") == before_labels[1].reply("drift")  # tested once, and not again with the labels


@pytest.mark.usefixtures("before_labels")
def test_a_label_is_used_from_its_arrival_on(project):
    reports = pipeline.watch(project, source="log", until=datetime(2020, 4, 2), every="2mo")

    assert [(report.n_rows, report.n_labeled) for report in reports] == [
        (435, 0),
        (465, 0),
    ]  # labels came today, years later


def test_a_release_without_requests_is_an_error_with_a_hint(tmp_path):
    project = watched.released(watched.write(tmp_path))
    with pytest.raises(DataError, match="the log has no prediction of the live release of 'small'") as error:
        pipeline.watch(project, source="log")
    assert error.value.hint == "headway serve small@live"


@pytest.mark.usefixtures("before_labels")
def test_the_command_reports_on_the_log_and_exits_by_the_last_window(project, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["watch", "--project", str(project.config.folder), "--source", "log"])
    out = capsys.readouterr().out

    assert ended.value.code == FAIL and "29 predictions have no key" in out and "ranks worse" in out
