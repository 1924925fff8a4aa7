"""A day of an operator, in a real browser: an alarm, why, the rollback, the approval of the next release, recovery.

The dashboard is a process of its own without the publisher's key, and the webhook is a real HTTP server.
`test_rollback_from_browser.py` has the servers that follow the click.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import expect
from tests.browser import open_browser
from tests.monitoring import rollouts
from tests.monitoring.alerts.alerting_projects import report, webhook
from tests.monitoring.alerts.places import Site, http_site
from tests.ports import free_port

from headway.monitoring.alerts.deliver import deliver_until_done
from headway.monitoring.completion import complete_approvals
from headway.registry.project import Project

pytestmark = [pytest.mark.slow, pytest.mark.services]
WITHIN_S = 60


@pytest.fixture
def site() -> Iterator[Site]:
    """The webhook of the operators."""
    with http_site() as running:
        yield running


@contextmanager
def dashboard(folder: Path, port: int) -> Iterator[str]:
    """Run `headway ui` without the publisher's key; yields the link that signs in once."""
    command = [sys.executable, "-m", "headway.cli", "ui", "--project", str(folder), "--port", str(port)]
    without = {"HEADWAY_TRUST_PUBLISHER_KEY": str(folder / "keys" / "absent.pem")}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **without}) as process:
        try:
            assert process.stdout is not None
            lines = iter(process.stdout.readline, "")
            yield next(found[0] for line in lines if (found := re.search(r"http://\S+secret=\S+", line)))
        finally:
            process.terminate()


def next_alert(site: Site, project: Project) -> dict[str, str]:
    """Deliver the alerts of a project, as `headway run` does, and return the last one that arrived."""
    deliver_until_done(project, within_s=WITHIN_S)
    found: dict[str, str] = site.bodies[-1]
    return found


def test_from_the_alarm_to_the_recovery(tmp_path: Path, site: Site) -> None:
    port, start = free_port(), datetime.combine(datetime.now(UTC), time()) - timedelta(days=2)
    toml = rollouts.TOML.replace("[trust]", '[trust]\noperator_key = "keys/operator.pem"')
    rule = webhook(site.url, when='"degradation"')
    project = rollouts.project(tmp_path, toml=f"{toml}[ui]\nport = {port}\n{rule}")
    good = rollouts.live(project, rollouts.release(made_at="1"))
    bad = rollouts.live(project, rollouts.release(made_at="2"))
    with dashboard(tmp_path, port) as link, open_browser() as browser:
        page = browser.new_page()
        page.goto(link)
        page.get_by_role("button", name="Sign in").click()

        project.save(report(bad, "degraded", alarm=True, start=start))
        alarm = next_alert(site, project)
        assert (alarm["condition"], alarm["state"], alarm["release"]) == ("degradation", "firing", bad)
        page.goto(alarm["link"])
        expect(page.get_by_text("degraded").first).to_be_visible()

        page.goto(f"http://127.0.0.1:{port}/models/flights/approve")
        page.get_by_label("Release to go back to").select_option(good)
        page.locator("form", has=page.get_by_role("button", name="Roll back")).get_by_label("Reason").fill("alarm")
        page.get_by_role("button", name="Roll back").click()
        expect(page.get_by_text("Rolled back: flights is at")).to_be_visible()
        moved = project.registry.head("flights@live")
        assert moved is not None and (moved.release, moved.why) == (good, "alarm")

        retrained = rollouts.publish(project, rollouts.release(made_at="3"))
        page.reload()
        waiting = page.locator("form", has=page.get_by_role("button", name="Approve"))
        waiting.get_by_label("Reason").fill("retrained on the last month")
        waiting.get_by_role("button", name="Approve").click()
        expect(page.get_by_text("waits for the publisher").first).to_be_visible()
        complete_approvals(project, callback=lambda _: None)
        moved = project.registry.head("flights@live")
        assert moved is not None and moved.release == retrained

        project.save(report(retrained, "healthy", day=1, start=start))
        recovery = next_alert(site, project)
        assert (recovery["condition"], recovery["state"]) == ("degradation", "resolved")
        page.goto(f"http://127.0.0.1:{port}/")
        expect(page.get_by_text("healthy").first).to_be_visible()
    project.state.close()
