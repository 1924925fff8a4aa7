"""Charts that a browser draws, under the real security policy: tooltips, zoom, and marks that lead to their variant."""

from __future__ import annotations

import os
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.browser import open_browser
from tests.dashboard import test_timeline_page
from tests.dashboard.people import RunningDashboard, running_dashboard
from tests.dashboard.test_searches_page import SEARCHES, ready, two
from tests.dashboard.visits import FORMS, Opened
from tests.pipeline import explored

from headway import pipeline
from headway.dashboard.security import COOKIE
from headway.registry.searches import search_digest

history = test_timeline_page.history
PICTURES = os.environ.get("HEADWAY_SCREENSHOTS", "")
pytestmark = [pytest.mark.slow, pytest.mark.services]
MARKS = ".wide .mark-symbol.role-mark path[d]"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDashboard]:
    folder = tmp_path_factory.mktemp("small")
    explored.searched(folder).state.close()
    with running_dashboard(folder) as running:
        yield running


@pytest.fixture(scope="module")
def search(served: RunningDashboard) -> str:
    """Return the address of a search whose chart is drawn."""
    path = f"{SEARCHES}/{search_digest(served.dashboard.project('small'))[7:19]}"
    ready(served.visitor("viewer"), path)
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as opened:
        yield opened


def opened(browser: Browser, served: RunningDashboard, path: str, *, scripts: bool = True) -> Opened:
    """Open a page as a viewer; what the browser logs is kept, as is what it refuses to do."""
    address = f"http://127.0.0.1:{served.port}"
    context = browser.new_context(base_url=address, java_script_enabled=scripts)
    session = served.visitor("viewer").session
    assert session is not None
    context.add_cookies([{"name": COOKIE, "value": session.key, "url": address}])
    return Opened(context, path)


def drawn(page: Page) -> None:
    """Wait until the chart of the page is one that the browser drew."""
    expect(page.locator("figure .wide [role=img] svg.marks")).to_be_visible()


def test_a_mark_shows_its_variant_and_leads_to_its_row(browser: Browser, served: RunningDashboard, search: str) -> None:
    page = opened(browser, served, search).page
    drawn(page)
    variants = pipeline.last_search(served.dashboard.project("small")).evaluated
    mark = page.locator(f"figure {MARKS}").last
    mark.hover()
    tooltip = page.locator("#vg-tooltip-element.visible")
    expect(tooltip).to_contain_text("Time for one row")
    number = int(tooltip.locator("td.value").first.inner_text())
    assert variants[number - 1].variant.name in tooltip.inner_text() and "[" in tooltip.inner_text()
    mark.click()
    expect(page.locator("#variants tr.marked th")).to_have_text(str(number))
    expect(page.locator("figure [role=status]")).to_contain_text(
        f"Variant {number}: {variants[number - 1].variant.name}"
    )
    page.get_by_role("button", name="Show it in the table").click()
    expect(page.locator("#variants tr.marked")).to_be_in_viewport()
    page.get_by_role("button", name="Choose none").click()
    assert page.locator("tr.marked").count() == 0
    page.context.close()


def test_buttons_zoom_and_show_all_again(browser: Browser, served: RunningDashboard, search: str) -> None:
    page = opened(browser, served, search).page
    drawn(page)
    mark = page.locator(f"figure {MARKS}").last
    before = mark.get_attribute("transform")
    page.get_by_role("button", name="Zoom in").click()
    expect(mark).not_to_have_attribute("transform", str(before))
    page.get_by_role("button", name="Show all").click()
    expect(mark).to_have_attribute("transform", str(before))
    page.context.close()


def test_the_chart_of_a_browser_is_accessible_and_breaks_no_policy(
    browser: Browser, served: RunningDashboard, search: str
) -> None:
    visit = opened(browser, served, search)
    for width, theme in FORMS:
        visit.resize(width, theme)
        expect(visit.page.locator(f"figure .{'wide' if width > 760 else 'narrow'} svg.marks")).to_be_visible()
        assert list(visit.problems()) == []
    assert list(visit.all_problems()) == []
    visit.page.context.close()


def test_histograms_of_call_times_have_tooltips(browser: Browser, served: RunningDashboard, search: str) -> None:
    first, second = two(served)
    path = f"{search}/compare?{urlencode({'first': first, 'second': second})}"
    busy = "No histogram of call times" in ready(served.visitor("viewer"), path).words
    visit = opened(browser, served, path)
    if not busy:  # a busy machine gives no histogram, and the page shows why
        bars = visit.page.locator("figure .wide svg.marks .mark-rect path")
        expect(bars.first).to_be_visible()
        bars.first.hover(force=True)
        expect(visit.page.locator("#vg-tooltip-element.visible")).to_contain_text("Time of a call")
    assert visit.messages == []
    visit.page.context.close()


def test_the_picture_stays_without_scripts_and_without_the_bundle(
    browser: Browser, served: RunningDashboard, search: str
) -> None:
    page = opened(browser, served, search, scripts=False).page
    expect(page.locator("figure .wide > svg[role=img]")).to_be_visible()
    page.context.close()
    page = opened(browser, served, "/account").page
    page.route("**/charts/*", lambda route: route.abort())
    page.goto(search)
    expect(page.locator("figure .wide > svg[role=img]")).to_be_visible()
    assert page.locator("svg.marks").count() == 0
    page.context.close()


def test_a_browser_draws_the_timeline_with_tooltips_and_marks_that_open_records(
    browser: Browser, history: tuple[RunningDashboard, str, str]
) -> None:
    served, *_ = history
    test_timeline_page.drawn(served)
    visit = opened(browser, served, "/models/flights")
    marks = visit.page.locator("figure .wide svg.marks .mark-symbol.role-mark path[d]")
    marks.last.hover(force=True)
    expect(visit.page.locator("#vg-tooltip-element.visible")).to_contain_text("September 2026")
    for width, theme in FORMS:
        visit.resize(width, theme)
        expect(visit.page.locator(f"figure .{'wide' if width > 760 else 'narrow'} svg.marks")).to_be_visible()
        assert list(visit.problems()) == []
        if PICTURES:
            visit.page.screenshot(path=f"{PICTURES}/timeline-{width}-{theme}.png")
    visit.resize(1280, "light")
    assert visit.messages == []
    marks.first.click(force=True)
    visit.page.wait_for_url("**/evidence/*")
    visit.page.context.close()
