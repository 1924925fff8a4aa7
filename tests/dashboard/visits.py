"""Visits of every page of a dashboard: which there are, and what a real browser finds on them.

Pages are found by their plug-ins and by the links of others, so that new ones need no change here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from playwright.sync_api import BrowserContext, ConsoleMessage, Page
from starlette.routing import compile_path
from tests.browser import axe_violations
from tests.dashboard.people import Answer, running_dashboard

from headway.core import plugins
from headway.dashboard import bundle
from headway.dashboard.app import link, load_page
from headway.dashboard.page import Action, View

MAX_LINKS = 1_000
HEAVY = ("polars", "altair", "vl_convert", "onnxruntime", "sklearn", "lightgbm")
ELEMENTS_TO_FOCUS = 25
FORMS = ((1280, "light"), (1280, "dark"), (390, "light"), (390, "dark"))
"""Widths and themes in which each page is looked at."""

# The elements that stick out of the page to the right, if it is wider than the window.
_OVERFLOWING = """() => {
  const width = document.documentElement.clientWidth
  if (document.documentElement.scrollWidth <= width) return []
  const inside = e => { for (e = e.parentElement; e; e = e.parentElement)
    if (['auto', 'scroll', 'hidden'].includes(getComputedStyle(e).overflowX) && e !== document.body) return true }
  return [...document.body.querySelectorAll('*')].filter(e => e.getBoundingClientRect().right > width + 1 && !inside(e))
    .map(e => e.outerHTML.slice(0, 120)) }"""
# What has the focus: its beginning, and whether that can be seen.
_FOCUSED = """() => {
  const e = document.activeElement, style = getComputedStyle(e), box = e.getBoundingClientRect()
  const outline = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 1
  return [e === document.body ? '' : e.outerHTML.slice(0, 120),
    (outline || style.boxShadow !== 'none') && box.width > 0 && box.height > 0 && box.left >= 0] }"""


def views() -> list[View]:
    """Return the views of all pages."""
    return [view for name in plugins.names("page") for view in load_page(name).views]


def actions() -> list[Action]:
    """Return the actions of all pages."""
    return [action for name in plugins.names("page") for action in load_page(name).actions]


@dataclass(frozen=True, slots=True)
class Visited:
    """What a view of a model (empty if it is of none) answers with; a download, stream or redirect is not a page."""

    view: str
    model: str
    address: str
    is_page: bool


class _Links(HTMLParser):
    """The addresses of the links of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the address of a link."""
        address = dict(attrs).get("href") if tag == "a" else None
        if address and not urlsplit(address).netloc:
            self.links.append(address)


def crawl(get: Callable[[str], Answer], models: Iterable[str]) -> list[Visited]:
    """Return the first answer of each view and model, from those that need no other parameter on."""
    known = [(view.path, compile_path(view.path)[0]) for view in views()]
    starts = {link(path, model=model) if "{model}" in path else path for model in models for path, _ in known}
    waiting, seen = ["/", *sorted(path for path in starts if "{" not in path)], set[str]()
    found: dict[tuple[str, str], Visited] = {}
    while waiting:
        address = waiting.pop(0)
        path = urlsplit(address).path
        view, match = next(((view, match) for view, form in known if (match := form.match(path))), ("", None))
        if not match or address in seen:
            continue
        seen.add(address)
        assert len(seen) < MAX_LINKS, sorted(seen)
        of = (view, match.groupdict().get("model", ""))
        if of in found:
            continue
        answer = get(address)
        limit = 500 if address in starts else 400  # what a view needs may be absent, but no link leads nowhere
        assert answer.status < limit, (address, answer.status, answer.words)
        is_page = answer.status == 200 and answer.headers.get("content-type", "").startswith("text/html")
        found[of] = Visited(*of, address, is_page)
        links = _Links(answer.text if is_page else "").links
        waiting += [urljoin(address, one).partition("#")[0] for one in links]
    return list(found.values())


class Opened:
    """A page in a browser, with its warnings and its requests."""

    def __init__(self, context: BrowserContext, address: str) -> None:
        self.page: Page = context.new_page()
        self.messages: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.messages.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(address, wait_until="load")
        self._own = "{0.scheme}://{0.netloc}/".format(urlsplit(self.page.url))

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.messages.append(message.text)

    def resize(self, width: int, theme: str) -> None:
        """Show the page in a window of this width, in a theme, with all of its details open."""
        self.page.set_viewport_size({"width": width, "height": 900})
        self.page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
        self.page.locator("details").evaluate_all("all => all.forEach(one => one.open = true)")

    def problems(self) -> Iterator[tuple[str, object]]:
        """Yield what is wrong with the page in its present width and theme; only colors depend on the theme."""
        dark = self.page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
        rules = ["color-contrast"] if dark else None
        yield from (("axe", found) for found in axe_violations(self.page, rules=rules))
        yield from (("overflow", found) for found in self.page.evaluate(_OVERFLOWING))

    def all_problems(self) -> Iterator[tuple[str, object]]:
        """Yield what is wrong with the page in any width and theme: focus, console, requests to other hosts."""
        yield from (("no visible focus", element) for element in self._unseen_focus())
        yield from (("console", message) for message in self.messages)
        yield from (("other host", url) for url in self.requests if not url.startswith((self._own, "data:")))

    def _unseen_focus(self) -> set[str]:
        focused, seen = set[str](), set[str]()
        for _ in range(ELEMENTS_TO_FOCUS):
            self.page.keyboard.press("Tab")
            element, visible = self.page.evaluate(_FOCUSED)
            if not element:
                break
            focused.add(element)
            if visible:
                seen.add(element)  # a field of a date has several stops, one of them a button of the browser
        return focused - seen


def main(folder: str) -> None:
    """Visit all pages of a project; print the heavy libraries that this process has imported for them."""
    with running_dashboard(Path(folder)) as served:
        admin = served.visitor("admin")
        crawl(admin.get, served.dashboard.projects)
        admin.get(bundle.PATH.format(name=bundle.bundle_name()))
    sys.stdout.write(f"{[name for name in HEAVY if name in sys.modules]}\n")


if __name__ == "__main__":
    main(sys.argv[1])
