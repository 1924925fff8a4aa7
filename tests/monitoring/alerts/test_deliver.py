"""Test that each change is sent once, however often it is judged, by any process, and whatever fails."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.monitoring import rollouts
from tests.monitoring.alerts import alerting_projects as projects
from tests.monitoring.alerts.alerting_projects import report
from tests.monitoring.alerts.places import Site, http_site, until

from headway.core.alerting import AlertLog
from headway.core.errors import LeaseHeld
from headway.monitoring.alerts import deliver
from headway.monitoring.alerts.deliver import dashboard_link, load_alerts, update_alerts
from headway.monitoring.settings.alert import AlertSection
from headway.monitoring.settings.ui import UiSection
from headway.registry.project import Project, open_project

DELIVERER = "headway.monitoring.alerts.deliver"
pytestmark = pytest.mark.slow


@pytest.fixture
def site() -> Iterator[Site]:
    with http_site() as made:
        yield made


def degraded(folder: Path, rules: str, **options: str) -> Project:
    """A project whose live release is degraded."""
    project = projects.project(folder, rules, **options)
    project.save(report(rollouts.live(project, rollouts.release()), "degraded"))
    return project


def recover(project: Project) -> None:
    live = project.registry.head("flights@live")
    assert live
    project.save(report(live.release, "healthy", day=1))


def test_a_condition_is_sent_when_it_begins_and_when_it_ends_and_not_in_between(tmp_path, site):
    project = degraded(tmp_path, projects.webhook(site.url, when='"degradation", "drift"'))
    for _ in range(3):
        update_alerts(project)
    assert [(body["condition"], body["state"]) for body in site.bodies] == [("degradation", "firing")]
    assert site.bodies[0]["link"] == "http://127.0.0.1:8090/models/flights"
    assert site.bodies[0]["summary"] == "2026-01-01 is degraded"
    recover(project)
    for _ in range(3):
        update_alerts(project)
    assert [body["state"] for body in site.bodies] == ["firing", "resolved"]
    assert site.bodies[1]["since"] == site.bodies[0]["at"] and site.bodies[1]["id"] != site.bodies[0]["id"]


def test_without_a_change_nothing_is_saved(tmp_path, site):
    project = degraded(tmp_path, projects.webhook(site.url))
    update_alerts(project)
    before = load_alerts(project)
    assert update_alerts(project) == before == load_alerts(project)


def test_a_rule_may_leave_out_the_end(tmp_path, site):
    project = degraded(tmp_path, projects.webhook(site.url, when='"degradation"', more="resolved = false\n"))
    update_alerts(project)
    recover(project)
    assert update_alerts(project).firing == ()
    assert [body["state"] for body in site.bodies] == ["firing"]


def test_a_receiver_that_fails_gets_the_same_alert_later_and_later(tmp_path, site):
    project = degraded(tmp_path, projects.webhook(site.url, when='"degradation"'))
    site.statuses = [500, 503, 429]
    times, pauses = [datetime.now(UTC)], []
    for _ in range(3):
        (waiting,) = update_alerts(project, clock=lambda: times[-1]).waiting
        update_alerts(project, clock=lambda: times[-1])  # not due again
        due = datetime.fromisoformat(waiting.due_at)
        pauses.append((due - times[-1]).total_seconds())
        times.append(due + timedelta(milliseconds=1))
    assert pauses == pytest.approx([5, 10, 20], abs=0.01)
    (sent,) = update_alerts(project, clock=lambda: times[-1]).sent
    assert sent.outcome == "delivered" and sent.attempts == 4
    assert len(site.bodies) == 4 and len({body["id"] for body in site.bodies}) == 1


def test_what_was_not_taken_for_a_day_is_given_up_and_named(tmp_path, site):
    project = degraded(tmp_path, projects.webhook(site.url, when='"degradation"'))
    site.statuses = [500] * 9
    update_alerts(project)
    log = update_alerts(project, clock=lambda: datetime.now(UTC) + timedelta(days=1, seconds=1))
    assert log.waiting == () and log.sent[-1].outcome == "given up"
    assert log.sent[-1].problem == f"{site.url} answered with status 500"


def test_alerts_of_a_rule_arrive_in_their_order(tmp_path, site):
    project = degraded(tmp_path, projects.webhook(site.url, when='"degradation"'))
    site.statuses = [500]
    update_alerts(project)
    recover(project)
    update_alerts(project)
    assert len(site.bodies) == 1  # the end waits for the begin
    update_alerts(project, clock=lambda: datetime.now(UTC) + timedelta(seconds=6))
    assert [body["state"] for body in site.bodies] == ["firing", "firing", "resolved"]


def test_a_slow_receiver_delays_no_other(tmp_path, site):
    site.held = threading.Event()
    with http_site() as fast:
        rules = projects.webhook(site.url, name="slow", when='"degradation"')
        project = degraded(tmp_path, rules + projects.webhook(fast.url, name="fast", when='"degradation"'))
        thread = threading.Thread(target=update_alerts, args=(project,))
        thread.start()
        until(lambda: bool(fast.bodies) and bool(load_alerts(project).sent))
        assert site.bodies == []
        site.held.set()
        thread.join()
    assert len(site.bodies) == 1 and load_alerts(project).waiting == ()


def test_a_receiver_that_does_not_end_counts_as_failed(tmp_path, site, monkeypatch):
    monkeypatch.setattr(deliver, "ATTEMPT_S", 0.2)
    site.held = threading.Event()
    project = degraded(tmp_path, projects.webhook(site.url, when='"degradation"'))
    (waiting,) = update_alerts(project).waiting
    assert waiting.problem == "the receiver did not end within 0.2 s"


def test_a_wrong_setting_of_one_rule_stops_no_other(tmp_path, site):
    broken = '[[alert]]\nname = "broken"\nto = "webhok"\nwhen = ["degradation"]\n'
    project = degraded(tmp_path, broken + projects.webhook(site.url, when='"degradation"'))
    log = update_alerts(project)
    assert len(site.bodies) == 1
    assert [(one.alert.rule, one.problem) for one in log.waiting] == [("broken", "no receiver named 'webhok'")]


def test_a_rule_that_is_gone_sends_nothing_more(tmp_path, site):
    site.statuses = [500]
    project = degraded(tmp_path, projects.webhook(site.url, when='"degradation"'))
    update_alerts(project)
    other = replace(project.config[AlertSection].rules[0], name="other", when=("drift",))
    alone = project.config.having(replace(project.config[AlertSection], rules=(other,)))
    changed = Project(config=alone, blobs=project.blobs, state=project.state, registry=project.registry)
    log = update_alerts(changed, clock=lambda: datetime.now(UTC) + timedelta(hours=1))
    assert (log.firing, log.waiting) == ((), ()) and len(site.bodies) == 1


def test_a_process_that_was_killed_before_it_saved_the_delivery_sends_the_same_id_again(tmp_path, site):
    site.held = threading.Event()
    project = degraded(tmp_path, projects.webhook(site.url, when='"degradation"'))
    killed = subprocess.Popen([sys.executable, "-m", DELIVERER, str(tmp_path)])
    until(lambda: bool(load_alerts(project).waiting))
    (waiting,) = load_alerts(project).waiting
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    site.held.set()
    assert subprocess.run([sys.executable, "-m", DELIVERER, str(tmp_path)], check=False).returncode == 0
    assert {body["id"] for body in site.bodies} == {waiting.alert.id}
    assert [one.outcome for one in load_alerts(project).sent] == ["delivered"]


def test_many_processes_send_a_change_once(tmp_path, site):
    degraded(tmp_path, projects.webhook(site.url, when='"degradation"'))
    processes = [subprocess.Popen([sys.executable, "-m", DELIVERER, str(tmp_path)]) for _ in range(4)]
    assert [process.wait() for process in processes] == [0, 0, 0, 0]
    assert len(site.bodies) == 1


def test_one_process_at_a_time_judges_and_sends(tmp_path, site):
    project = degraded(tmp_path, projects.webhook(site.url))
    other = open_project(tmp_path)
    with other.lease(deliver.LEASE), pytest.raises(LeaseHeld):
        update_alerts(project)
    other.state.close()


def test_the_loop_sends_without_being_waited_for_and_goes_on_after_an_error(tmp_path, site, caplog):
    project = degraded(tmp_path, projects.webhook(site.url, when='"degradation"'))
    loop = deliver.AlertLoop(project, every_s=3600)
    until(lambda: len(site.bodies) == 1)
    recover(project)
    loop.wake()
    until(lambda: len(site.bodies) == 2)
    project.state.close()  # from now on it cannot be read
    loop.wake()
    until(lambda: "alerts cannot be judged now" in caplog.text)
    loop.close(within_s=10)


def test_what_begins_a_delivery_does_not_wait_for_it(tmp_path, site):
    site.held = threading.Event()
    project = degraded(tmp_path, projects.webhook(site.url, when='"degradation"'))
    deliver.start_delivery(project.config)
    until(lambda: bool(load_alerts(project).waiting))
    site.held.set()
    until(lambda: bool(load_alerts(project).sent))
    assert len(site.bodies) == 1


@pytest.mark.parametrize(
    ("settings", "link"),
    [
        (UiSection(), "http://127.0.0.1:8090/models/m/data"),
        (UiSection(host="::1"), "http://[::1]:8090/models/m/data"),
        (UiSection(url="https://ml.example/"), "https://ml.example/models/m/data"),
        (UiSection(port=0), ""),
    ],
)
def test_links_lead_to_the_address_that_people_use(settings, link):
    assert dashboard_link(settings, "m", "/data") == link


def test_an_empty_log_is_that_of_a_new_project(tmp_path):
    assert load_alerts(projects.project(tmp_path, "")) == AlertLog(name="flights")
