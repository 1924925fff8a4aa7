"""Every page in a real browser: accessible, within its width, silent, on its own host, with a visible focus.

HEADWAY_SCREENSHOTS=FOLDER saves pictures of all pages; HEADWAY_SCREENSHOTS_OF=PROJECT adds those of a project of yours.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext
from tests.browser import open_browser
from tests.dashboard import lived_in, visits
from tests.dashboard.people import RunningDashboard, running_dashboard
from tests.dashboard.visits import FORMS, Opened, Visited

from headway.core import plugins
from headway.dashboard.app import load_page

pytestmark = [pytest.mark.slow, pytest.mark.services]
ROOT = Path(__file__).parents[2]
PAGES = plugins.names("page")
PICTURES = os.environ.get("HEADWAY_SCREENSHOTS", "")
OWN_PROJECT = os.environ.get("HEADWAY_SCREENSHOTS_OF", "")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, empty_project: Path) -> Iterator[RunningDashboard]:
    """A dashboard of a project with a past, of one in which nothing was done yet, and of your own."""
    projects = [lived_in.write(tmp_path_factory.mktemp("lived_in")), empty_project]
    lived_in.offer_every_action(projects[0])
    with running_dashboard(*projects, *([Path(OWN_PROJECT)] if OWN_PROJECT else [])) as running:
        admin = running.visitor("admin")
        admin.post("/models/small/settings/people/add", name="bob", role="viewer", reason="new here")
        admin.post("/models/small/settings/keys/create", name="till", scope="predict", reason="a new shop")
        yield running


@pytest.fixture(scope="module")
def pages(served: RunningDashboard) -> list[Visited]:
    return visits.crawl(served.visitor("admin").get, served.dashboard.projects)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def context(browser: Browser, served: RunningDashboard) -> Iterator[BrowserContext]:
    """A browser in which an admin has signed in by a link."""
    address = f"http://127.0.0.1:{served.port}"
    context = browser.new_context(base_url=address)
    page = context.new_page()
    page.goto(f"/sign-in/link?secret={served.dashboard.sign_in.create_link('ada', 'admin')}")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{address}/")
    page.close()
    yield context
    context.close()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_one_that_we_would_show(context: BrowserContext, pages: list[Visited], name: str) -> None:
    problems, seen = list[tuple[str, str, object]](), set[str]()
    views = {view.path for view in load_page(name).views}
    for page in (page for page in pages if page.view in views and page.is_page):
        opened = Opened(context, page.address)
        for width, theme in FORMS[2:3] if page.view in seen and not PICTURES else FORMS:  # of another model, one
            opened.resize(width, theme)
            problems += [(f"{page.address} {width} px {theme}", *found) for found in opened.problems()]
            if PICTURES:
                file = re.sub(r"\W+", "-", page.address).strip("-")[:80] or "overview"
                opened.page.screenshot(path=Path(PICTURES) / f"{file}-{width}-{theme}.png", full_page=True)
        problems += [(page.address, *found) for found in opened.all_problems()]
        opened.page.close()
        seen.add(page.view)
    assert problems == []


def test_an_error_is_a_page_too(context: BrowserContext) -> None:
    opened = Opened(context, "/nowhere")
    opened.resize(390, "light")
    assert list(opened.problems()) == []
    opened.page.close()


def test_visits_of_all_pages_leave_the_process_small(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.dashboard.visits", str(lived_in.write(tmp_path))]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]", "what heavy work returns must be defined in a module that imports nothing heavy"


def test_every_view_can_be_reached_by_links(pages: list[Visited]) -> None:
    compared = {"/models/{model}/searches/{search}/compare"}  # a form leads there
    assert {view.path for view in visits.views()} - {page.view for page in pages} <= compared
