"""Test what `headway alerts` shows and sends."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from tests.monitoring import rollouts
from tests.monitoring.alerts import alerting_projects as projects
from tests.monitoring.alerts.places import http_site, until

from headway.cli import main as cli
from headway.registry.project import Project

pytestmark = pytest.mark.slow


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        cli.main(["alerts", *words])
    assert isinstance(ended.value.code, int)
    return ended.value.code, "".join(capsys.readouterr())


def degraded(folder: Path, rules: str) -> Project:
    project = projects.project(folder, rules)
    project.save(projects.report(rollouts.live(project, rollouts.release()), "degraded"))
    return project


def test_without_rules_it_says_how_to_write_one(tmp_path, capsys):
    projects.project(tmp_path, "")
    code, shown = run(capsys, "--project", str(tmp_path))
    assert code == cli.USAGE and "[[alert]]" in shown


def test_the_list_names_receivers_conditions_and_deliveries(tmp_path, capsys):
    with http_site() as site:
        broken = '[[alert]]\nname = "mail"\nto = "email"\nwhen = ["slo_burn"]\n'
        degraded(tmp_path, broken + projects.webhook(f"{site.url}/s3cret", when='"degradation", "drift"'))
        code, shown = run(capsys, "list", "--project", str(tmp_path))
        assert code == cli.FAIL and site.bodies == []
        assert "rule mail: email to CANNOT SEND: settings: Object missing required field `server`" in shown
        assert f"rule ops: webhook to {site.url}\n" in shown and "s3cret" not in shown
        assert "not judged  mail slo_burn: cannot be judged yet" in shown
        assert "FIRING      ops degradation: 2026-01-01 is degraded" in shown
        assert "ok          ops drift" in shown
        site.statuses = [500]
        assert run(capsys, "send", "--project", str(tmp_path))[0] == cli.FAIL
        code, shown = run(capsys, "list", "--project", str(tmp_path), "--json")
    (waiting,) = msgspec.json.decode(shown)["waiting"]
    assert waiting["problem"] == f"{site.url} answered with status 500" and waiting["attempts"] == 1


def test_of_rules_that_cannot_be_judged_the_list_is_undecided(tmp_path, capsys):
    projects.project(tmp_path, projects.webhook("http://127.0.0.1:1", when='"slo_burn"'))
    assert run(capsys, "--project", str(tmp_path))[0] == cli.UNDECIDED


def test_a_test_goes_to_each_receiver_and_changes_nothing(tmp_path, capsys):
    with http_site() as site:
        rules = projects.webhook(site.url) + projects.webhook("http://127.0.0.1:1", name="gone")
        project = degraded(tmp_path, rules + '[[alert]]\nname = "bad"\nto = "webhook"\n')
        code, shown = run(capsys, "test", "--project", str(tmp_path))
    assert code == cli.FAIL
    assert f"ops: sent ({site.url})" in shown
    assert "gone: http://127.0.0.1:1 cannot be reached: Connection refused" in shown
    assert "bad: a webhook needs a URL; try: settings" in shown
    (body,) = site.bodies
    assert body["state"] == "test" and body["rule"] == "ops"
    assert project.state.latest("alert_log", name="flights") is None


def test_what_is_due_is_sent_once(tmp_path, capsys):
    with http_site() as site:
        degraded(tmp_path, projects.webhook(site.url, when='"degradation"'))
        code, shown = run(capsys, "send", "--project", str(tmp_path))
        assert code == cli.PASS and "ops degradation firing: delivered" in shown
        run(capsys, "send", "--project", str(tmp_path))
    assert len(site.bodies) == 1


def test_a_rollback_by_command_is_sent_by_a_process_of_its_own(tmp_path, capsys):
    with http_site() as site:
        project = projects.project(tmp_path, projects.webhook(site.url, when='"rollback"'))
        rollouts.live(project, rollouts.release())
        live = rollouts.live(project, rollouts.release(threshold=0.4))
        with pytest.raises(SystemExit):
            cli.main(["rollout", "rollback", "--from", live, "--why", "too many refusals", "--project", str(tmp_path)])
        until(lambda: len(site.bodies) == 1)
        assert "too many refusals" in site.bodies[0]["summary"]
