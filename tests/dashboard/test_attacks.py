"""Attacks on every page that is installed, in a small form; bench/dashboard.py counts them in full."""

from __future__ import annotations

import pytest
from bench.dashboard_attacks import (
    payloads,
    scripts_in,
    unauthorised_reads,
    unauthorised_writes,
    xss_found,
    xss_in_columns,
)
from tests.browser import open_browser
from tests.dashboard import lived_in
from tests.dashboard.people import running_dashboard

from bench import dashboard_attacks, dashboard_hostile
from headway.dashboard.page import Action, Rendered, View

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def attacked(tmp_path_factory):
    with running_dashboard(lived_in.write(tmp_path_factory.mktemp("lived_in"))) as running:
        yield running


def test_no_write_of_a_person_who_may_not_reaches_a_page(attacked):
    attacks = unauthorised_writes(attacked)
    assert attacks.found == []
    assert attacks.tries >= 500


def test_no_page_is_read_by_a_person_who_may_not(attacked):
    attacks = unauthorised_reads(attacked)
    assert attacks.found == []
    assert attacks.tries >= 100


def test_an_attack_that_succeeds_is_counted(attacked, monkeypatch):
    views = [View("/account", lambda call: Rendered(template="account.html"))]
    monkeypatch.setattr(dashboard_attacks, "was_refused", lambda answer: answer.status == 401)
    page = type("Page", (), {"views": views, "actions": [Action("/account/password", views[0].handler, role="viewer")]})
    monkeypatch.setattr(dashboard_attacks, "load_page", lambda _: page)
    assert unauthorised_writes(attacked).found and unauthorised_reads(attacked).found


def test_no_page_repeats_a_text_as_a_script(attacked):
    texts = payloads()
    assert len(set(texts)) >= 200
    assert xss_found(attacked, texts[::25]).found == []


def test_no_page_runs_the_name_of_a_column(tmp_path):
    names = [text for text in payloads()[::20] if "\0" not in text]
    with running_dashboard(dashboard_hostile.build(tmp_path, names)) as running:
        attacks = xss_in_columns(running, names)
    assert attacks.found == []
    assert attacks.tries == len(names)


@pytest.mark.parametrize("payload", payloads()[:64:9])
def test_a_page_that_does_not_escape_is_found(payload):
    assert scripts_in(f"<p>{payload}</p>")


@pytest.mark.services
def test_no_text_runs_as_a_script_in_a_browser(attacked):
    with open_browser() as browser:
        attacks = xss_found(attacked, payloads()[::40], browser)
        assert attacks.found == []
        trap = dashboard_attacks.Trap(attacked, browser)
        assert "RAN xss" in trap.open(["data:text/html,<img src=x onerror=alert('xss')>"])[0]
