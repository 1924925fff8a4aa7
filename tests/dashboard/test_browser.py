"""Every page in a real browser: accessible, within its width, silent, on its own host, with a visible focus.

Pages are found by their plug-ins and by the links of others: a new page is tested without a change here.
HEADWAY_SCREENSHOTS=FOLDER saves pictures of all of them; HEADWAY_SCREENSHOTS_OF=PROJECT adds a project of yours.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page
from starlette.routing import compile_path
from tests.browser import axe_violations, open_browser
from tests.dashboard import lived_in
from tests.dashboard.people import Person, RunningDashboard, running_dashboard

from headway.core import plugins
from headway.dashboard.app import link, load_page

pytestmark = [pytest.mark.slow, pytest.mark.services]
PAGES = plugins.names("page")
FORMS = ((1280, "light"), (1280, "dark"), (390, "light"), (390, "dark"))
ELEMENTS_TO_FOCUS = 25
MAX_LINKS = 400
PICTURES = os.environ.get("HEADWAY_SCREENSHOTS", "")
OWN_PROJECT = os.environ.get("HEADWAY_SCREENSHOTS_OF", "")

# The elements that stick out of the page to the right, if it is wider than the window.
OVERFLOWING = """() => {
  const width = document.documentElement.clientWidth
  if (document.documentElement.scrollWidth <= width) return []
  const inside = e => { for (e = e.parentElement; e; e = e.parentElement)
    if (['auto', 'scroll', 'hidden'].includes(getComputedStyle(e).overflowX) && e !== document.body) return true }
  return [...document.body.querySelectorAll('*')].filter(e => e.getBoundingClientRect().right > width + 1 && !inside(e))
    .map(e => e.outerHTML.slice(0, 120)) }"""
# What has the focus: its beginning, and whether that can be seen.
FOCUSED = """() => {
  const e = document.activeElement, style = getComputedStyle(e), box = e.getBoundingClientRect()
  const outline = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 1
  return [e === document.body ? '' : e.outerHTML.slice(0, 120),
    (outline || style.boxShadow !== 'none') && box.width > 0 && box.height > 0 && box.left >= 0] }"""


class Links(HTMLParser):
    """The addresses of the links of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the address of a link of this dashboard."""
        address = dict(attrs).get("href") or ""
        if tag == "a" and address and not urlsplit(address).netloc:
            self.found.append(address)


@dataclass(frozen=True)
class Found:
    """Addresses of pages, by the path of their view and the model: the first one of each."""

    served: RunningDashboard
    addresses: dict[tuple[str, str], str]

    def of_page(self, name: str) -> list[tuple[str, bool]]:
        """Return the addresses of the views of a page, and whether each is the first of its view."""
        views = [view.path for view in load_page(name).views]
        found = [(view, address) for (view, _), address in self.addresses.items() if view in views]
        first = dict(reversed(found))
        return [(address, first[view] == address) for view, address in found]


def crawl(person: Person, models: Iterable[str]) -> dict[tuple[str, str], str]:
    """Return the first address of each view and model that is a page, from those that need no other parameter on."""
    views = [(view.path, compile_path(view.path)[0]) for name in PAGES for view in load_page(name).views]
    found: dict[tuple[str, str], str] = {}
    tabs = {link(path, model=model) if "{model}" in path else path for model in models for path, _ in views}
    waiting, seen = ["/", *sorted(path for path in tabs if "{" not in path)], set[str]()
    while waiting:
        address = waiting.pop(0)
        path = urlsplit(address).path
        view, match = next(((view, match) for view, known in views if (match := known.match(path))), ("", None))
        if not match or address in seen:
            continue
        seen.add(address)
        assert len(seen) < MAX_LINKS, sorted(seen)
        of = (view, match.groupdict().get("model", ""))
        if of in found:
            continue
        answer = person.get(address)
        assert answer.status < 400, (address, answer.status, answer.words)
        if answer.status == 200 and answer.headers["content-type"].startswith("text/html"):
            found[of] = address
            waiting += [urljoin(address, one).partition("#")[0] for one in Links(answer.text).found]
    return found


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, empty_project: Path) -> Iterator[Found]:
    """Every page of a dashboard of a project with a past, of one in which nothing was done yet, and of your own."""
    projects = [lived_in.write(tmp_path_factory.mktemp("lived_in")), empty_project]
    with running_dashboard(*projects, *([Path(OWN_PROJECT)] if OWN_PROJECT else [])) as served:
        yield Found(served, crawl(served.visitor("admin"), served.dashboard.projects))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def context(browser: Browser, found: Found) -> Iterator[BrowserContext]:
    """A browser in which an admin is signed in."""
    address = f"http://127.0.0.1:{found.served.port}"
    opened = browser.new_context(base_url=address)
    secret = found.served.dashboard.sign_in.create_link("ada", "admin")
    page = opened.new_page()
    page.goto(f"/sign-in/link?secret={secret}")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{address}/")
    page.close()
    yield opened
    opened.close()


class Opened:
    """A page with its console messages, and its requests to others."""

    def __init__(self, context: BrowserContext, address: str) -> None:
        self.page: Page = context.new_page()
        self.messages: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.messages.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(address, wait_until="load")
        self.own = self.page.url.partition("/")[0] + "//" + urlsplit(self.page.url).netloc

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.messages.append(message.text)

    def requests_to_others(self) -> list[str]:
        """Return the requests to other hosts."""
        return [url for url in self.requests if not url.startswith((f"{self.own}/", "data:"))]

    def resize(self, width: int, theme: str) -> None:
        """Show the page in a window of this width, in a theme, with all of its details open."""
        self.page.set_viewport_size({"width": width, "height": 900})
        self.page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
        self.page.locator("details").evaluate_all("all => all.forEach(one => one.open = true)")

    def unseen_focus(self) -> list[str]:
        """Return the elements that the Tab key reaches without a visible sign."""
        unseen = []
        for _ in range(ELEMENTS_TO_FOCUS):
            self.page.keyboard.press("Tab")
            element, visible = self.page.evaluate(FOCUSED)
            if not element:
                break
            if not visible:
                unseen.append(element)
        return unseen


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_one_that_we_would_show(context: BrowserContext, found: Found, name: str) -> None:
    problems: list[tuple[str, str, object]] = []
    for address, is_first in found.of_page(name):
        opened = Opened(context, address)
        for width, theme in FORMS if is_first or PICTURES else FORMS[::3]:
            opened.resize(width, theme)
            how = f"{address} {width} px {theme}"
            problems += [(how, "axe", one) for one in axe_violations(opened.page)]
            problems += [(how, "overflow", one) for one in opened.page.evaluate(OVERFLOWING)]
            save_picture(opened.page, address, f"{width}-{theme}")
        problems += [(address, "no visible focus", one) for one in opened.unseen_focus()]
        problems += [(address, "console", one) for one in opened.messages]
        problems += [(address, "other host", one) for one in opened.requests_to_others()]
        opened.page.close()
    assert problems == []


def save_picture(page: Page, address: str, how: str) -> None:
    """Save a picture of the whole page, if the environment names a folder for it."""
    if PICTURES:
        name = re.sub(r"\W+", "-", address).strip("-")[:80] or "overview"
        page.screenshot(path=Path(PICTURES) / f"{name}-{how}.png", full_page=True)


def test_every_view_can_be_reached_by_links(found: Found) -> None:
    reached = {view for view, _ in found.addresses}
    assert {view.path for name in PAGES for view in load_page(name).views} - reached == set()
