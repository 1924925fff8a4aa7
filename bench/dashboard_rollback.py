"""The rows `rollback_*` of bench/dashboard.py: two servers, 1,000 requests a second, a click in a browser.

`rollback_seconds` is the time from the click on "Roll back" in a real Chromium to the last answer of the
release that was rolled back, from any server. The dashboard is a process of its own, without the publisher's key.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from cache import Absent
from harness import Result, Row
from headway.registry.project import Project
from headway.registry.sign import init_operator_keys
from monitoring import rollback

ENDS_WITHIN_S = 20
_ADDRESS = re.compile(r"(http://[^/ ]+)/sign-in/link\?secret=\S+")
_ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")


def rows() -> Result:
    """Measure one rollback from the browser, under load."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            seconds, failed, answered = measure(Path(folder))
    except Absent as reason:
        return [], [f"rollback: {reason}"]
    per_s = answered / rollback.SECONDS
    return [
        Row(
            name="rollback_seconds",
            measured=seconds,
            unit="s",
            target="<= 1",
            ok=seconds <= 1,
            against=f"from the click, {rollback.SERVERS} server processes, {per_s:,.0f} requests/s",
        ),
        Row(name="rollback_failed", measured=failed, unit="requests", target="= 0", ok=failed == 0),
    ], []


def measure(folder: Path) -> tuple[float, int, int]:
    """Return the seconds from the click to the last answer of the former release, and requests failed and answered."""
    return rollback.measure_rollback(folder, by_click)


@contextmanager
def by_click(opened: Project) -> Iterator[Callable[[Project], float]]:
    """Open the page Approve in a browser, ready for the click; the function clicks and returns when it did."""
    chromium = shutil.which("chromium")
    if chromium is None:
        raise Absent("no chromium on this machine (apt-get install chromium)")
    folder = Path(opened.config.folder)
    trust = {
        "HEADWAY_TRUST_OPERATOR_KEY": str(folder / "keys" / "operator.pem"),
        "HEADWAY_TRUST_OPERATOR_KEYS": "operator_keys.txt",
        "HEADWAY_TRUST_PUBLISHER_KEY": str(folder / "keys" / "absent.pem"),
    }
    # Servers watch the list of operators, so it is written before they need it.
    init_operator_keys(
        folder / "keys" / "operator.pem",
        folder / "operator_keys.txt",
        trusted_keys=opened.registry.trusted_keys,
        comment="dashboard",
    )
    command = [sys.executable, "-m", "headway.cli", "ui", "--project", str(folder), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **trust}) as process:
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=chromium, args=[*_ARGUMENTS])
                page = _open_approve(browser.new_page(), _address(process), opened.name)
                yield lambda _: _click(page)
                assert "Rolled back" in page.inner_text("main"), page.inner_text("main")
                browser.close()
        finally:
            process.terminate()
            process.wait(ENDS_WITHIN_S)


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if found := _ADDRESS.search(line):
            return found[0]
    raise Absent("headway ui did not start")


def _open_approve(page: Page, address: str, name: str) -> Page:
    page.goto(address)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/")
    page.goto(f"{address.partition('/sign-in')[0]}/models/{name}/approve")
    page.locator("#back-reason").fill("callers complain")
    return page


def _click(page: Page) -> float:
    began = time.perf_counter()
    page.get_by_role("button", name="Roll back").click()
    page.wait_for_load_state()
    return began
