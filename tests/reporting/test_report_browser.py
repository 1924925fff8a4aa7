"""The report in a real browser: charts are drawn, nothing is loaded, nothing overflows, contrasts are sufficient."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from examined import examined
from playwright.sync_api import Browser, Page
from stories import flights, own_project
from tests.browser import axe_violations, open_browser
from tests.reporting.assessed import STORED, assessed
from years import lived, renewed

from headway.reporting.check_page import write_check_report as write_check
from headway.reporting.page import write_report

pytestmark = [pytest.mark.slow, pytest.mark.services]
WIDTHS = (1280, 390)
REPORTS = {"search": flights, "evaluate": examined, "year": lived, "retraining": renewed}
PICTURES = ("frontier", "reliability", "slices", "year")

# Every visible text against what is painted behind it: [text, contrast]; WCAG 2 relative luminance.
CONTRASTS = """() => {
  const parse = text => { const v = text.match(/[\\d.]+/g).map(Number); return [v[0], v[1], v[2], v[3] ?? 1] }
  const channel = v => { v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4 }
  const light = c => .2126 * channel(c[0]) + .7152 * channel(c[1]) + .0722 * channel(c[2])
  const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort((m, n) => n - m); return (x + .05) / (y + .05) }
  const behind = e => { for (; e; e = e.parentElement) {
    const c = parse(getComputedStyle(e).backgroundColor); if (c[3] === 1) return c } }
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = []
  for (let node; node = walker.nextNode();) {
    const e = node.parentElement
    if (!node.data.trim() || !e.getClientRects().length) continue
    const style = getComputedStyle(e), paint = e.closest('svg') ? style.fill : style.color
    found.push([node.data.trim(), ratio(parse(paint), behind(e))])
  }
  return found }"""

# Pairs of texts of one picture that lie on each other.
OVERLAPS = """name => {
  const texts = [...document.querySelectorAll(`#${name} svg text`)].filter(e => e.getClientRects().length)
  const box = e => e.getBoundingClientRect(), found = []
  texts.forEach((a, i) => texts.slice(0, i).forEach(b => {
    const p = box(a), q = box(b)
    const x = Math.min(p.right, q.right) - Math.max(p.left, q.left)
    const y = Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top)
    if (x > 1 && y > 3) found.push(`${a.textContent} | ${b.textContent}`)
  }))
  return found }"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("reports")
    written = {name: write_report(report(), folder / f"{name}.html") for name, report in REPORTS.items()}
    return {**written, "check": write_check(assessed(), STORED, folder / "check.html")}


@pytest.fixture(scope="module")
def report(reports: dict[str, Path]) -> Path:
    return reports["year"]


class Opened:
    """A page with its console messages and its requests."""

    def __init__(self, browser: Browser, path: Path, *, width: int, scheme: str = "light") -> None:
        self.page: Page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
        self.messages: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.messages.append(message.text))
        self.page.on("pageerror", lambda error: self.messages.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())


@pytest.fixture(params=WIDTHS)
def opened(request: pytest.FixtureRequest, browser: Browser, report: Path) -> Iterator[Opened]:
    found = Opened(browser, report, width=request.param)
    yield found
    found.page.close()


def test_every_chart_is_visible_and_has_a_size(opened: Opened) -> None:
    for name in PICTURES:
        shown = opened.page.locator(f"#{name} svg").filter(visible=True)
        assert shown.count() == 1
        box = shown.bounding_box()
        assert box is not None
        assert box["width"] > 300
        assert box["height"] > 200
        assert shown.locator("path, line, text").count() > 20


def test_every_chart_has_a_text_alternative(opened: Opened) -> None:
    for name in PICTURES:
        assert opened.page.get_by_role("img").and_(opened.page.locator(f"#{name} svg")).count() == 1
    names = opened.page.locator("figure svg").evaluate_all("all => all.map(one => one.getAttribute('aria-label'))")
    assert all(len(name) > 40 for name in names)


def test_the_page_logs_nothing_and_loads_no_other_file(opened: Opened, report: Path) -> None:
    opened.page.wait_for_load_state("networkidle")
    assert opened.messages == []
    assert opened.requests == [report.as_uri()]


def test_nothing_overflows_the_width_of_the_page(opened: Opened) -> None:
    opened.page.locator("summary").evaluate_all("all => all.forEach(one => one.parentElement.open = true)")
    width = opened.page.viewport_size["width"] if opened.page.viewport_size else 0
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    wide = "all => all.filter(one => one.scrollWidth > one.clientWidth + 1).map(one => one.ariaLabel)"
    assert opened.page.locator(".scroll").evaluate_all(wide) == []


def test_texts_of_a_chart_do_not_overlap(opened: Opened) -> None:
    assert {name: opened.page.evaluate(OVERLAPS, name) for name in PICTURES} == {name: [] for name in PICTURES}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_of_a_check_fits_its_page_and_is_readable(
    browser: Browser, reports: dict[str, Path], width: int, scheme: str
) -> None:
    opened = Opened(browser, reports["check"], width=width, scheme=scheme)
    opened.page.locator("summary").evaluate_all("all => all.forEach(one => one.parentElement.open = true)")
    names = opened.page.locator("figure").evaluate_all("all => all.map(one => one.id)")
    assert names == ["timeline", "target", "missing", "shifts", "trend"]
    assert {name: opened.page.evaluate(OVERLAPS, name) for name in names} == {name: [] for name in names}
    assert [(text, round(ratio, 2)) for text, ratio in opened.page.evaluate(CONTRASTS) if ratio < 4.5] == []
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    assert opened.messages == []
    opened.page.close()


@pytest.mark.parametrize("width", WIDTHS)
def test_the_report_of_an_evaluation_fits_its_page_and_is_readable(
    browser: Browser, reports: dict[str, Path], width: int
) -> None:
    opened = Opened(browser, reports["evaluate"], width=width)
    names = opened.page.locator("figure").evaluate_all("all => all.map(one => one.id)")
    assert {"speed", "people", "discovered", "ablation", "conformal", "parity"} <= set(names)
    assert {name: opened.page.evaluate(OVERLAPS, name) for name in names} == {name: [] for name in names}
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    opened.page.close()


def test_texts_of_charts_have_at_least_11_pixels(opened: Opened) -> None:
    size = "all => all.filter(e => e.getClientRects().length).map(e => parseFloat(getComputedStyle(e).fontSize))"
    assert min(opened.page.locator("svg text").evaluate_all(size)) >= 11


def test_the_first_screen_holds_six_answers(browser: Browser, report: Path) -> None:
    opened = Opened(browser, report, width=1280)
    answers = opened.page.locator(".reply")
    assert answers.count() == 6
    last = answers.last.bounding_box()
    assert last is not None
    assert last["y"] + last["height"] < 900
    opened.page.close()


@pytest.mark.parametrize("text", ["31.2 µs", "× 8.40", "0.076", "27,122", "0.135 [0.100, 0.170]"])
def test_the_key_numbers_are_shown(opened: Opened, text: str) -> None:
    seen = opened.page.inner_text("body").replace("\u00a0", " ").replace("\u202f", " ")
    assert text in seen


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_every_text_has_enough_contrast(browser: Browser, report: Path, width: int, scheme: str) -> None:
    opened = Opened(browser, report, width=width, scheme=scheme)
    opened.page.locator("summary").evaluate_all("all => all.forEach(one => one.parentElement.open = true)")
    found = opened.page.evaluate(CONTRASTS)
    opened.page.close()
    assert len(found) > 300
    assert [(text, round(ratio, 2)) for text, ratio in found if ratio < 4.5] == []


@pytest.mark.parametrize(
    ("name", "width", "scheme"),
    [
        ("search", 1280, "light"),
        ("evaluate", 1280, "dark"),
        ("evaluate", 390, "light"),
        ("year", 1280, "light"),
        ("year", 390, "dark"),
        ("retraining", 390, "light"),
        ("check", 1280, "light"),
        ("check", 390, "dark"),
    ],
)
def test_the_page_is_accessible(browser: Browser, reports: dict[str, Path], name: str, width: int, scheme: str) -> None:
    opened = Opened(browser, reports[name], width=width, scheme=scheme)
    opened.page.locator("summary").evaluate_all("all => all.forEach(one => one.parentElement.open = true)")
    found = axe_violations(opened.page)
    opened.page.close()
    assert found == []


def test_charts_follow_the_dark_theme(browser: Browser, report: Path) -> None:
    fill = "getComputedStyle(document.querySelector('#frontier svg text')).fill"
    light, dark = (Opened(browser, report, width=1280, scheme=scheme) for scheme in ("light", "dark"))
    assert light.page.evaluate(fill) != dark.page.evaluate(fill)
    light.page.close()
    dark.page.close()


def test_print_has_wide_charts_on_white(browser: Browser, report: Path) -> None:
    opened = Opened(browser, report, width=390, scheme="dark")
    opened.page.emulate_media(media="print")
    assert opened.page.locator("#frontier .wide svg").is_visible()
    assert opened.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert [found for found in opened.page.evaluate(CONTRASTS) if found[1] < 4.5] == []
    opened.page.close()


@pytest.mark.parametrize("width", WIDTHS)
def test_a_report_of_a_small_project_opens(browser: Browser, tmp_path: Path, width: int) -> None:
    opened = Opened(browser, write_report(own_project(), tmp_path / "own.html"), width=width)
    assert opened.messages == []
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    assert opened.page.locator("svg").count() == 0
    opened.page.close()
