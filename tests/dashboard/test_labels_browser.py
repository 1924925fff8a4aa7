"""Labels in a real browser: by keys, and by the mouse where scripts do not run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page
from tests.browser import open_browser
from tests.dashboard.people import RunningDashboard, running_dashboard
from tests.dashboard.test_labels_page import LabelPages, shown_key
from tests.monitoring import rollouts
from tests.monitoring.labeling.test_next_to_label import log

from headway.core.action import PersonAction

pytestmark = [pytest.mark.slow, pytest.mark.services]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as opened:
        yield opened


@pytest.fixture
def labeling(tmp_path: Path) -> Iterator[LabelPages]:
    """The pages of a model whose requests wait for a label."""
    project = rollouts.project(tmp_path)
    rollouts.live(project, rollouts.release())
    log(project, [0.5] * 24)
    project.state.close()
    with running_dashboard(tmp_path) as running:
        yield LabelPages(running, "flights")


def sign_in(browser: Browser, running: RunningDashboard, *, scripts: bool) -> Page:
    page = browser.new_context(
        base_url=f"http://127.0.0.1:{running.port}", java_script_enabled=scripts, viewport={"width": 390, "height": 800}
    ).new_page()
    page.goto(f"/sign-in/link?secret={running.dashboard.sign_in.create_link('ann', 'labeller')}")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/")
    return page


def test_keys_give_labels_and_skip(browser, labeling):
    page = sign_in(browser, labeling.running, scripts=True)
    page.goto(labeling.page)
    for press, stored in (("1", [(1.0, "ann")]), ("0", [(0.0, "ann")]), ("s", [])):
        key = page.locator("input[name=key]").get_attribute("value")
        assert key
        page.keyboard.press(press)
        page.wait_for_function("key => document.querySelector('input[name=key]')?.value !== key", arg=key)
        assert labeling.stored(key) == stored
    assert len(labeling.project.records(PersonAction)) == 2
    page.context.close()


def test_buttons_work_without_scripts(browser, labeling):
    page = sign_in(browser, labeling.running, scripts=False)
    page.goto(labeling.page)
    key = page.locator("input[name=key]").get_attribute("value")
    assert key
    page.get_by_role("button", name="1", exact=True).click()
    page.get_by_text(f"{key} is labeled 1.").wait_for()
    assert labeling.stored(key) == [(1.0, "ann")]
    assert shown_key(labeling.visitor().get(labeling.page)) != key
    page.context.close()
