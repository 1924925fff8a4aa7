"""Messages in a real browser, on a phone, with and without scripts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Route
from tests.browser import open_browser
from tests.dashboard.message_project import lived_in_shop, summarized
from tests.dashboard.people import RunningDashboard, running_dashboard
from tests.dashboard.test_labels_browser import sign_in
from tests.dashboard.visits import Opened

from headway.storage.traffic import labels_of

pytestmark = [pytest.mark.slow, pytest.mark.services]
PAGE, QUEUE = "/models/shop/messages", "/models/shop/messages/queue"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDashboard]:
    folder = tmp_path_factory.mktemp("shop")
    lived_in_shop(folder).state.close()
    with running_dashboard(folder) as running:
        summarized(running.visitor("labeller"))
        yield running


@pytest.mark.parametrize("scripts", [True, False])
def test_a_message_is_tried_and_one_that_waits_is_answered(browser, shop, scripts):
    page = sign_in(browser, shop, scripts=scripts)
    page.goto(PAGE)
    page.get_by_label("What a customer writes").fill("where is my parcel, the courier is late")
    page.get_by_role("button", name="Ask the live release").click()
    page.get_by_role("heading", name="The model answers: delivery").wait_for()
    page.goto(QUEUE)
    key = page.locator("input[name=key]").get_attribute("value")
    assert key
    page.get_by_label("What is it about?").select_option("delivery")
    page.get_by_role("button", name="Save the answer").click()
    page.get_by_text("Saved as delivery.").wait_for()
    (label,) = labels_of(shop.dashboard.project("shop").config.state, "shop", key)
    assert label.who == "ann"
    shown = page.locator("input[name=key]").get_attribute("value")
    page.get_by_role("button", name="Skip").click()
    assert page.locator("input[name=key]").get_attribute("value") != shown
    page.get_by_role("button", name="Look again").click()
    page.get_by_role("heading", name="Message ").wait_for()
    page.context.close()


def test_a_page_that_waits_holds_no_one_who_leaves_it_or_writes(browser, shop):
    page, loads = sign_in(browser, shop, scripts=True), []
    waits = '<script src="/static/waiting.js" defer></script><p data-waiting>wait</p><textarea></textarea>'

    def wait(route: Route) -> None:
        loads.append(route)
        route.fulfill(content_type="text/html", body=waits)

    page.route(f"**{PAGE}", wait)
    page.clock.install(time=0)
    page.clock.pause_at(1000)
    page.goto(PAGE)
    with page.expect_navigation():
        page.clock.fast_forward(3000)
    page.locator("textarea").fill("where is")
    page.clock.fast_forward(9000)
    page.locator("textarea").fill("")
    page.locator("textarea").blur()
    page.evaluate("dispatchEvent(new Event('beforeunload'))")  # as when a link is followed
    page.clock.fast_forward(9000)
    page.locator("textarea").fill("still here")
    assert len(loads) == 2
    page.context.close()


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_pages_are_accessible_and_fit(browser, shop, width, theme, tmp_path):
    first = sign_in(browser, shop, scripts=True)
    problems = []
    for address in (PAGE, QUEUE):
        opened = Opened(first.context, address)
        opened.resize(width, theme)
        problems += [(address, *found) for found in opened.problems()]
        if address == PAGE:
            opened.page.get_by_label("What a customer writes").fill("xyzzy")
            opened.page.get_by_role("button", name="Ask the live release").click()
            opened.page.get_by_role("heading", name="Handed on to people").wait_for()
            problems += [("asked", *found) for found in opened.problems()]
        opened.page.screenshot(path=tmp_path / f"{address.rsplit('/')[-1]}.png", full_page=True)
        problems += [(address, *found) for found in opened.all_problems()]
        opened.page.close()
    assert problems == []
    first.context.close()
