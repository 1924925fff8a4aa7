"""Benchmark the dashboard: first paint, bytes of a page, memory, accessibility, forms, attacks, rollback, Explore.

The store `large` has 10,000 releases, 1,000 searches and 5 million log rows. The store `flights` is that of `headway
demo`: the folder in HEADWAY_BENCH_FLIGHTS, or one that is made once. Pages are opened in a real headless Chromium by a
person who is signed in; the first paint is the browser's own First Contentful Paint.
"""

from __future__ import annotations

import gzip
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode

sys.path.append(str(Path(__file__).parents[1]))

from playwright.sync_api import Browser, BrowserContext, Error
from tests.browser import open_browser
from tests.dashboard import acts, lived_in, visits
from tests.dashboard.people import Answer, running_dashboard

import cache as environments
import dashboard_attacks
import dashboard_explore
import dashboard_hostile
import dashboard_rollback
import dashboard_store
from harness import Result, Row, run_parts, shown
from tiny import is_tiny

VISITS, IDLE_S, EVERY, WRITES, PAYLOADS, SETTLED_MS = 5, 75, 1, 500, 200, 3_000
ACTIONS = len(acts.PATHS)
TINY = {"VISITS": 1, "IDLE_S": 0, "ACTIONS": 2, "EVERY": 25, "PAYLOADS": 8}
MLFLOW = "mlflow==3.17.2"
PAINT_MS, PAGE_KB, BUNDLE_KB, MEMORY_MB = 500, 100, 400, 90
BUNDLE = re.compile(r"/charts?[./-]|vega")
_PAINT = """async () => ({
  paint: await new Promise(done => {
    new PerformanceObserver(list => list.getEntriesByName('first-contentful-paint').forEach(e => done(e.startTime)))
      .observe({ type: 'paint', buffered: true })
    setTimeout(() => done(null), 10000) }),
  parts: [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
    .map(part => [part.name, part.encodedBodySize]) })"""


@dataclass(frozen=True)
class Served:
    """A dashboard in a process of its own: its address, its process, and the cookie of an admin."""

    address: str
    process: int
    cookie: str

    @property
    def port(self) -> int:
        """Port of this machine."""
        return int(self.address.rpartition(":")[2])

    def get(self, path: str) -> Answer:
        """Open a page without a browser; of a stream of events only the headers."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=600)
        connection.request("GET", path, headers={"Cookie": self.cookie, "Accept-Encoding": "gzip"})
        response = connection.getresponse()
        headers = {name.lower(): text for name, text in response.getheaders()}
        body = b"" if headers.get("content-type", "").startswith("text/event-stream") else response.read()
        connection.close()
        text = gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body
        return Answer(response.status, headers, text.decode(errors="replace"), len(body))

    def sign_in(self, context: BrowserContext) -> None:
        """Give a browser the session."""
        name, _, value = self.cookie.partition("=")
        context.add_cookies([{"name": name, "value": value, "url": self.address}])


@contextmanager
def serving(folder: Path) -> Iterator[Served]:
    """Run `headway ui` on a project, and sign in by the link that it prints."""
    command = [sys.executable, "-m", "headway.cli", "ui", "--project", str(folder), "--port", "0", "--json"]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            assert process.stdout is not None
            link = re.search(r"(http://[^/ \"]+)/sign-in/link\?secret=([\w-]+)", process.stdout.readline())
            assert link is not None
            yield Served(link[1], process.pid, _sign_in(link[1], link[2]))
        finally:
            process.terminate()
            process.wait()


def _sign_in(address: str, secret: str) -> str:
    host = address.removeprefix("http://")
    connection = HTTPConnection(host, timeout=60)
    headers = {"Origin": address, "Content-Type": "application/x-www-form-urlencoded"}
    connection.request("POST", "/sign-in/link", urlencode({"secret": secret}), headers)
    response = connection.getresponse()
    response.read()
    return (response.getheader("Set-Cookie") or "").partition(";")[0]


@cache
def large() -> Path:
    """Return the project with the large store, built once in a temporary folder."""
    folder = tempfile.TemporaryDirectory(prefix="headway-bench-")
    _KEPT.append(folder)
    return dashboard_store.build(Path(folder.name))


_KEPT: list[tempfile.TemporaryDirectory[str]] = []


@cache
def flights() -> Path | None:
    """Return the project of the demo, made once; None in tiny mode."""
    if given := os.environ.get("HEADWAY_BENCH_FLIGHTS"):
        return Path(given)
    if is_tiny():
        return None
    made = environments.made(environments.folder("dashboard-flights", of=["3"]), _demo)
    return made / "demo"


def _demo(folder: Path) -> None:
    command = [sys.executable, "-m", "headway.cli", "demo", "--folder", str(folder / "demo"), "--json"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def stores() -> Iterator[tuple[str, Path]]:
    """Yield the stores by their names."""
    yield "large", large()
    if found := flights():
        yield "flights", found


def pages() -> Result:
    """Open every page several times: the first paint, and the bytes that were sent for it."""
    rows: list[Row] = []
    for name, folder in stores():
        with serving(folder) as served, open_browser() as browser:
            began = time.perf_counter()
            found = [page for page in visits.crawl(served.get, [_model(served)]) if page.is_page]
            crawled_s = time.perf_counter() - began
            paints, sizes, bundle = _painted(browser, served, [page.address for page in found])
        times = sorted(ms for several in paints.values() for ms in several)
        slowest = max(paints, key=lambda page: statistics.median(paints[page]))
        p95, largest = times[min(len(times) - 1, int(0.95 * len(times)))], max(sizes, key=sizes.__getitem__)
        about = f"median {statistics.median(times):.0f} ms; slowest {_short(slowest)}, "
        about += f"{statistics.median(paints[slowest]):.0f} ms"
        rows += [
            _limited(f"first_paint_ms.{name}", p95, "ms", PAINT_MS, f"p95 of {len(found)} pages x {VISITS}; {about}"),
            shown(f"first_visit_s.{name}", crawled_s, "s", f"all {len(found)} pages once, with what they compute"),
            _limited(f"page_kb.{name}", sizes[largest], "kB", PAGE_KB, f"gzipped, largest page: {_short(largest)}"),
            _limited(f"bundle_kb.{name}", bundle, "kB", BUNDLE_KB, "the charts' bundle, gzipped; 0: none loaded"),
        ]
    return rows, []


def _painted(
    browser: Browser, served: Served, addresses: Sequence[str]
) -> tuple[dict[str, list[float]], dict[str, float], float]:
    """Return the first paints of each page in ms, the kB sent for it, and those of the charts' bundle."""
    paints, sizes, bundle = dict[str, list[float]](), dict[str, float](), 0.0
    for address in [address for address in addresses for _ in range(VISITS)]:
        context = browser.new_context()
        served.sign_in(context)
        page = context.new_page()
        page.goto(served.address + address, wait_until="load")
        measured = page.evaluate(_PAINT)
        context.close()
        paints.setdefault(address, []).append(measured["paint"] or float("inf"))
        parts = [(url, size / 1000) for url, size in measured["parts"]]
        bundle = max([bundle, *(size for url, size in parts if BUNDLE.search(url))])
        sizes[address] = sum(size for url, size in parts if not BUNDLE.search(url))
    return paints, sizes, bundle


def _short(address: str) -> str:
    return re.sub(r"sha256(%3A|:)?[0-9a-f]{12}\w*", "DIGEST", address)


def _limited(name: str, measured: float, unit: str, limit: float, against: str) -> Row:
    return Row(name=name, measured=measured, unit=unit, target=f"<= {limit:g}", ok=measured <= limit, against=against)


def _model(served: Served) -> str:
    found = re.search(r'href="/models/([^"/?]+)', served.get("/").text)
    assert found is not None
    return found[1]


def memory() -> Result:
    """Return the resident memory of the process, idle after every page was opened once."""
    rows = []
    for name, folder in stores():
        with serving(folder) as served:
            fresh = _resident_mb(served.process)
            visits.crawl(served.get, [_model(served)])
            time.sleep(IDLE_S)  # the process for heavy work ends after a minute without work
            idle = _resident_mb(served.process)
        against = f"after every page was opened; {fresh:.0f} MB at the start"
        rows.append(_limited(f"memory_mb.{name}", idle, "MB", MEMORY_MB, against))
    return rows, []


def _resident_mb(process: int) -> float:
    status = Path(f"/proc/{process}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0]) / 1000


def access_for_all() -> Result:
    """Check every page with axe-core in both themes and widths, and do every action in a browser without scripts."""
    made = flights()  # it has more to show than `large`, which takes minutes to build
    name, folder = ("flights", made) if made else ("large", large())
    problems = 0
    with serving(folder) as served, open_browser() as browser:
        found = visits.crawl(served.get, [_model(served)])
        context = browser.new_context()
        served.sign_in(context)
        read = [page for page in found if page.is_page]
        for page in read:
            opened = visits.Opened(context, served.address + page.address)
            for width, theme in visits.FORMS:
                opened.resize(width, theme)
                problems += sum(1 for kind, _ in opened.problems() if kind == "axe")
            opened.page.close()
        failed = _failing_without_scripts(browser)
    how = f"{len(read)} pages of {name}, 2 widths, 2 themes; axe-core, WCAG 2.1 A and AA"
    without = (
        f"actions done in a browser without scripts, each seen in the store; failed: {', '.join(failed) or 'none'}"
    )
    done = ACTIONS - len(failed)
    return [
        Row(name="axe_violations", measured=problems, unit="", target="= 0", ok=problems == 0, against=how),
        Row(name="works_without_js", measured=done, unit="", target=f"= {ACTIONS}", ok=not failed, against=without),
    ], []


def _failing_without_scripts(browser: Browser) -> list[str]:
    """Return the actions that cannot be done by forms alone, on a project in which every page offers its actions."""
    failed = []
    with tempfile.TemporaryDirectory() as folder, acts.served_acts(Path(folder)) as running:
        for path in acts.PATHS[:ACTIONS]:
            try:
                acts.act(browser, running, path)
            except (AssertionError, Error):
                failed.append(path)
    return failed


def attacks() -> Result:
    """Write and read without the right to, and send payloads wherever a page takes or shows a text."""
    texts = dashboard_attacks.payloads()[::EVERY]
    columns = [text for text in texts if "\0" not in text]  # a table with such a name is refused
    with tempfile.TemporaryDirectory() as folder, open_browser() as browser:
        with running_dashboard(lived_in.write(Path(folder))) as served:
            writes, reads = dashboard_attacks.unauthorised_writes(served), dashboard_attacks.unauthorised_reads(served)
            scripts = dashboard_attacks.xss_found(served, texts, browser)
        hostile = Path(folder) / "hostile"
        hostile.mkdir()
        with running_dashboard(dashboard_hostile.build(hostile, columns)) as served:
            shown_names = dashboard_attacks.xss_in_columns(served, columns, browser)
    who = "no session, role, origin, host, token, content type, method, ended and forged sessions"
    where = f"{scripts.tries} payloads in every parameter, form and saved text; {shown_names.tries} as column names"
    where += ", checked, released, drifted and shown; answers parsed, pages opened in a browser without the CSP"
    short = [*writes.found, *reads.found, *scripts.found, *shown_names.found]
    rows = [
        _none_of("unauthorised_writes", writes.found, writes.tries, WRITES, who),
        _none_of("unauthorised_reads", reads.found, reads.tries, 1, who),
        _none_of(
            "xss_found", [*scripts.found, *shown_names.found], min(scripts.tries, shown_names.tries), PAYLOADS, where
        ),
    ]
    return rows, short[:20]


def _none_of(name: str, found: Sequence[str], tries: int, at_least: int, how: str) -> Row:
    target = f"= 0 of >= {at_least}"
    ok = not found and tries >= at_least
    return Row(name=name, measured=len(found), unit="", target=target, ok=ok, against=f"of {tries:,} tries: {how}")


def mlflow() -> Result:
    """Open the pages of MLflow's UI with as many registered versions, for the same figures."""
    try:
        python = environments.environment("mlflow-ui", (MLFLOW,))
    except environments.Absent as reason:
        return [], [f"mlflow: {reason}"]
    with tempfile.TemporaryDirectory() as folder, open_browser() as browser:
        address = f"sqlite:///{folder}/mlflow.db"
        subprocess.run([python, "-c", _FILL, address, str(dashboard_store.SEARCHES)], check=True)
        command = [python, "-m", "mlflow", "ui", "--backend-store-uri", address, "--port", "5077", "--workers", "1"]
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        ) as run:
            try:
                return _mlflow_pages(browser.new_context), []
            finally:
                os.killpg(run.pid, 15)


_FILL = """
import sys
from mlflow import MlflowClient
client = MlflowClient(tracking_uri=sys.argv[1], registry_uri=sys.argv[1])
client.create_registered_model("flights")
for number in range(int(sys.argv[2])):
    run = client.create_run("0", run_name=f"search {number}")
    client.log_metric(run.info.run_id, "roc_auc", 0.7)
    client.create_model_version("flights", source=f"s3://models/{number}", run_id=run.info.run_id)
"""
_MLFLOW_PAGES = ("/#/experiments/0", "/#/models", "/#/models/flights")


def _mlflow_pages(new_context: Callable[[], BrowserContext]) -> list[Row]:
    paints, sizes = [], []
    deadline = time.monotonic() + 120
    while True:
        try:
            connection = HTTPConnection("127.0.0.1", 5077, timeout=5)
            connection.request("GET", "/health")
            connection.getresponse().read()
            break
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    for path in _MLFLOW_PAGES:
        for _ in range(VISITS):
            context = new_context()
            page = context.new_page()
            page.goto(f"http://127.0.0.1:5077{path}", wait_until="load")
            page.wait_for_timeout(SETTLED_MS)  # it asks its server on and on, and loads parts after the load
            measured = page.evaluate(_PAINT)
            context.close()
            paints.append(measured["paint"] or float("inf"))
            sizes.append(sum(size for _, size in measured["parts"]) / 1000)
    how = f"{MLFLOW}, {dashboard_store.SEARCHES:,} runs and versions on SQLite; {len(_MLFLOW_PAGES)} pages x {VISITS}"
    p95 = sorted(paints)[min(len(paints) - 1, int(0.95 * len(paints)))]
    return [
        shown("first_paint_ms.mlflow", p95, "ms", f"p95, median {statistics.median(paints):.0f} ms; {how}"),
        shown("page_kb.mlflow", max(sizes), "kB", f"as sent, the largest page; {how}"),
    ]


def explore() -> Result:
    """Return the time of an answer of Explore, on the flights."""
    folder = flights()
    if folder is None:
        return [], ["explore: the flights of the demo are not made in tiny mode"]
    with serving(folder) as served:
        times = dashboard_explore.explore_ms(lambda path: _visit(served, path), _model(served))
    against = f"p95 of {len(times)} answers, median {statistics.median(times):.0f} ms; other choices each time"
    return [_limited("explore_ms", dashboard_explore.p95(times), "ms", dashboard_explore.LIMIT_MS, against)], []


def _visit(served: Served, path: str) -> tuple[int, str]:
    answer = served.get(path)
    return answer.status, answer.text


PARTS: dict[str, Callable[[], Result]] = {
    "pages": pages,
    "memory": memory,
    "access_for_all": access_for_all,
    "attacks": attacks,
    "mlflow": mlflow,
    "explore": explore,
    "rollback": dashboard_rollback.rows,
}

if __name__ == "__main__":
    run_parts(__doc__, PARTS)
