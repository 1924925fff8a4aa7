"""A real browser for tests that are marked `services`: Debian's Chromium, and axe-core from npm."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

ARGUMENTS = [
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
]
AXE = Path(__file__).parents[1] / ".venv/npm/node_modules/axe-core/axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
WITHIN_MS = 120_000
"""Time in which a page shows what a test waits for, on a busy machine."""
# What axe-core finds against WCAG 2.1 A and AA: [rule, first place].
_FOUND = """async tags => {
  const { violations } = await axe.run(document, { runOnly: tags, resultTypes: ['violations'] })
  return violations.map(one => [one.id, one.nodes[0].html]) }"""


def chromium() -> str:
    """Return the path of the browser; the test fails without one, because an unopened page is untested."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert found, "no chromium on this machine\n  try: apt-get install chromium"
    return found


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Start a headless Chromium, and close it at the end."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        expect.set_options(timeout=WITHIN_MS)
        yield browser
        browser.close()


def axe_violations(page: Page, *, rules: list[str] | None = None) -> list[list[str]]:
    """Return what axe-core finds on a page against WCAG 2.1 A and AA, or against some rules: the rule and the place."""
    assert AXE.exists(), "axe-core is not here\n  try: tools/npm-packages"
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE.read_text(encoding="utf-8"))
    found: list[list[str]] = page.evaluate(_FOUND, rules or RULES)
    return found
