"""Alerts: what fires, who received it, what waits, and how the tasks of the schedule went."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.dashboard.people import running_dashboard
from tests.monitoring import rollouts
from tests.monitoring.alerts import alerting_projects
from tests.monitoring.alerts.places import http_site

from headway.monitoring.alerts.deliver import update_alerts
from headway.monitoring.task_runs import save_run

pytestmark = pytest.mark.slow
PAGE = "/models/flights/alerts"
ABSENT = (
    '[[alert]]\nname = "pager"\nto = "command"\nwhen = ["degradation"]\nsettings = { command = ["/absent/page"] }\n'
)


def test_what_fires_is_shown_with_who_received_it_and_what_is_tried_again(tmp_path: Path) -> None:
    with http_site() as site:
        rule = alerting_projects.webhook(f"{site.url}?token=s3cret", when='"degradation", "drift", "slo_burn"')
        project = alerting_projects.project(tmp_path, rule + ABSENT)
        live = rollouts.live(project, rollouts.release())
        project.save(alerting_projects.report(live, "degraded"))
        update_alerts(project)
        project.state.close()
        with running_dashboard(tmp_path) as served:
            page = served.visitor("operator").get(PAGE)
            viewer = served.visitor("viewer").get(PAGE)
    words = page.words
    assert "2 conditions hold" in words and "s3cret" not in page.text
    assert words.count("The model got worse ✗ yes") == 2 and "2026-01-01 is degraded." in words
    assert "Inputs have drifted ✓ no" in words
    assert "An error budget burns too fast ? cannot be judged" in words
    assert "✓ delivered 1 attempt" in words
    assert "! 1 waits" in words and "! is tried again 1 attempt, next at" in words and "/absent/page" in words
    assert viewer.status == 403


def test_each_task_has_its_last_run_its_result_and_its_next_run(tmp_path: Path) -> None:
    more = '[schedule]\nevery = "1d"\nintervals = { retrain = "30d" }\n[data]\nsource = "t.csv"\ntime = "day"\n'
    project, now = alerting_projects.project(tmp_path, "", more=more), datetime.now(UTC)
    with running_dashboard(tmp_path) as served:
        person = served.visitor("operator")
        assert "The daily work has never run." in person.get(PAGE).words
        save_run(project, "check", started_at=now - timedelta(hours=1), outcome="failed", message="no table t.csv")
        save_run(project, "retrain", started_at=now - timedelta(days=1), outcome="done", message="nothing to do")
        words = person.get(PAGE).words
        assert "Check the data check" in words and "✗ failed" in words and "No table t.csv." in words
        in_time = now - timedelta(hours=1) + timedelta(days=1)
        assert f"✗ failed {in_time:%Y-%m-%d %H:%M} UTC every 1 day" in words
        assert "✓ done" in words and "every 30 days" in words
        assert "left out: [schedule] labels names no file" in words
        assert "Monitor the model watch never none yet due now" in words and "overdue" not in words
        save_run(project, "watch", started_at=now - timedelta(days=3), outcome="done", message="all is well")
        assert "! overdue for 2 days" in person.get(PAGE).words
        overview = person.get("/")
        assert "The task check of the schedule failed" in overview.words
    project.state.close()


def test_without_a_rule_the_page_shows_that_nothing_is_set_up(tmp_path: Path) -> None:
    alerting_projects.project(tmp_path, "").state.close()
    with running_dashboard(tmp_path) as served:
        words = served.visitor("operator").get(PAGE).words
    assert "not set up" in words and "[[alert]]" in words
