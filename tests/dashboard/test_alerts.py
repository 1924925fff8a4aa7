"""Alerts of what a person does in the dashboard: sent by another process, with a link that leads back to it."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from tests.dashboard.people import running_dashboard
from tests.monitoring import rollouts
from tests.monitoring.alerts import alerting_projects
from tests.monitoring.alerts.places import http_site, until

from headway.registry.sign import init_operator_keys


@pytest.mark.slow
def test_a_rollback_by_a_button_is_an_alert_whose_link_opens_the_model(tmp_path):
    with http_site() as site:
        project = alerting_projects.project(tmp_path, alerting_projects.webhook(site.url, when='"rollback"'))
        toml = tmp_path / "headway.toml"
        toml.write_text(toml.read_text().replace("[trust]", '[trust]\noperator_key = "keys/o.pem"'))
        with running_dashboard(tmp_path) as served:
            (project,) = served.dashboard.projects.values()
            registry = project.registry
            init_operator_keys(
                registry.operator_key, registry.operator_keys, trusted_keys=registry.trusted_keys, comment="dashboard"
            )
            first = rollouts.live(project, rollouts.release(made_at="1"))
            second = rollouts.live(project, rollouts.release(made_at="2"))
            person = served.visitor("operator")
            path = "/models/flights/approve/rollback"
            form = {"from": second, "after": "2", "reason": "callers complain"}
            assert person.post(path, to=first, **form).status == 303
            until(lambda: len(site.bodies) == 1)
            (alert,) = site.bodies
            assert alert["summary"] == f"ada moved live back to {first[:19]}: callers complain"
            assert (alert["condition"], alert["state"], alert["release"]) == ("rollback", "firing", first)
            page = person.get(urlsplit(alert["link"]).path)
            assert page.status == 200 and "callers complain" in page.words
