"""Explore in a real browser: a choice is shown at once with JavaScript, and by the button without."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.browser import open_browser
from tests.dashboard.people import RunningDashboard, running_dashboard
from tests.dashboard.test_searches_page import ready
from tests.pipeline import explored

from headway.dashboard.security import COOKIE

pytestmark = [pytest.mark.slow, pytest.mark.services]
EXPLORE = "/models/small/explore"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDashboard]:
    folder = tmp_path_factory.mktemp("small")
    explored.searched(folder).state.close()
    with running_dashboard(folder) as running:
        ready(running.visitor("viewer"), EXPLORE)
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as opened:
        yield opened


def opened(browser: Browser, served: RunningDashboard, *, scripts: bool) -> Page:
    context = browser.new_context(java_script_enabled=scripts)
    session = served.visitor("viewer").session
    assert session is not None
    address = f"http://127.0.0.1:{served.port}"
    context.add_cookies([{"name": COOKIE, "value": session.key, "url": address}])
    page = context.new_page()
    page.goto(f"{address}{EXPLORE}")
    return page


def test_a_choice_is_shown_without_pressing_anything(browser: Browser, served: RunningDashboard) -> None:
    page = opened(browser, served, scripts=True)
    heading = page.locator("#outcome h2").first
    assert "baseline" in heading.inner_text()
    page.select_option("#trees", "13")
    expect(heading).to_contain_text("trees=13")
    expect(page).to_have_url(re.compile("trees=13"))
    page.locator("#threshold").fill("0.7")
    page.locator("#threshold").dispatch_event("change")
    expect(page).to_have_url(re.compile("threshold=0.7"))
    assert page.locator("#threshold-now").inner_text() == "0.70"
    page.context.close()


def test_the_button_shows_a_choice_without_javascript(browser: Browser, served: RunningDashboard) -> None:
    page = opened(browser, served, scripts=False)
    page.select_option("#trees", "20")
    page.select_option("#missing", "hour")
    page.get_by_role("button", name="Show").click()
    assert "trees=20" in page.locator("#outcome h2").first.inner_text()
    assert page.locator("#missing").input_value() == "hour"
    page.context.close()
