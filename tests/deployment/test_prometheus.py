"""Test the rules and the board in deploy/ with Debian's Prometheus, which scrapes a real server of headway."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from tests.monitoring import rollouts
from tests.monitoring.alerts.alerting_projects import report
from tests.ports import free_port
from tests.reporting.served_features import REPLAY

from headway.core.evidence import Measurement
from headway.core.monitoring import Ticket

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
WAIT_S = 60.0
INSTALL = "apt-get install prometheus"


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.fail(f"{name} is not installed\n  try: {INSTALL}")
    return found


def until(found: Callable[[], Any]) -> Any:
    """Return what a function finds once it finds something."""
    deadline = time.monotonic() + WAIT_S
    while True:
        with suppress(OSError):
            if result := found():
                return result
        assert time.monotonic() < deadline, "nothing was found in time"
        time.sleep(0.1)


@contextmanager
def running(*command: str, environment: dict[str, str] | None = None) -> Iterator[None]:
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **(environment or {})}
    )
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def fetch(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as response:
        content = response.read()
    return json.loads(content) if content.startswith(b"{") else content.decode()


def predict(port: int) -> None:
    """Send a request that is answered, and one that is an error."""
    body = {"inputs": [{"name": name, "datatype": "FP64", "shape": [1], "data": [0.5]} for name in ("a", "b")]}
    for path, sent in (("flights", body), ("none", body)):
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/v2/models/{path}/infer",
            json.dumps(sent).encode(),
            {"Content-Type": "application/json"},
        )
        with suppress(urllib.error.HTTPError):
            urllib.request.urlopen(request, timeout=10).close()


def monitored(folder: Path) -> None:
    """Make a project with a degraded live release, a drift and an open ticket."""
    project = rollouts.project(folder)
    release = rollouts.live(project, rollouts.release())
    quality = tuple(
        Measurement(name=name, value=value, low=value - 0.01, high=value + 0.01, n_rows=900, n_groups=30, method="")
        for name, value in (("roc_auc", 0.7), ("ece", 0.2))
    )
    project.save(replace(report(release, "degraded", alarm=True), quality=quality))
    project.save(replace(REPLAY, release=release, at=datetime.now(UTC).isoformat()))
    opened = (datetime.now(UTC) - timedelta(days=2)).isoformat()
    project.save(
        Ticket(name="flights", release=release, reasons=("rows",), why="rows grew", at=opened, opened_at=opened)
    )
    project.state.close()


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Prometheus with the rules of deploy/, which has scraped a server some times."""
    program("prometheus")
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "project").mkdir()
    monitored(folder / "project")
    of_headway, of_prometheus = free_port(), free_port()
    shutil.copy(DEPLOY / "prometheus/rules.yaml", folder)
    settings = (DEPLOY / "prometheus/prometheus.yaml").read_text()
    settings = settings.replace("127.0.0.1:8080", f"127.0.0.1:{of_headway}").replace("interval: 15s", "interval: 1s")
    (folder / "prometheus.yaml").write_text(settings)
    serve = (sys.executable, "-m", "headway.cli", "serve", "flights@live", "--project", str(folder / "project"))
    plugin = {"PYTHONPATH": str(ROOT / "tests/outside"), "HEADWAY_SERVE_PORT": str(of_headway)}
    address = f"http://127.0.0.1:{of_prometheus}"
    server = (
        program("prometheus"),
        f"--config.file={folder}/prometheus.yaml",
        f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{of_prometheus}",
    )
    with running(*serve, environment=plugin):
        until(lambda: "headway_workers" in fetch(f"http://127.0.0.1:{of_headway}/metrics"))
        predict(of_headway)
        with running(*server):
            until(lambda: fetch(f"{address}/-/ready"))  # until then it answers 503
            until(lambda: query(address, 'count_over_time(up{job="headway"}[1m]) >= 2'))
            predict(of_headway)
            until(lambda: query(address, "increase(headway_requests_total[1m]) > 0"))
            yield address


def query(address: str, expression: str) -> list[Any]:
    try:
        found = fetch(f"{address}/api/v1/query?{urllib.parse.urlencode({'query': expression})}")
    except urllib.error.HTTPError as error:
        pytest.fail(f"{expression}: {error.read().decode()}")
    result: list[Any] = found["data"]["result"]
    return result


def expressions() -> list[tuple[str, str]]:
    """Every query of the board, with its variables as Grafana fills them in for all models."""
    board = json.loads((DEPLOY / "grafana/headway.json").read_text())
    return [
        (panel["title"], target["expr"].replace("$model", ".*").replace("$__rate_interval", "1m"))
        for panel in board["panels"]
        for target in panel["targets"]
    ]


@pytest.mark.services
def test_promtool_accepts_the_rules_and_the_configuration():
    promtool = program("promtool")
    for words in (("rules", "rules.yaml"), ("config", "prometheus.yaml")):
        ended = subprocess.run([promtool, "check", *words], cwd=DEPLOY / "prometheus", capture_output=True, check=False)
        assert ended.returncode == 0, ended.stderr.decode()


@pytest.mark.services
def test_every_rule_is_loaded_and_those_of_a_degraded_model_fire(prometheus):
    def judged() -> list[Any]:
        groups = fetch(f"{prometheus}/api/v1/rules")["data"]["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        return rules if all(rule["health"] == "ok" for rule in rules) else []

    rules = until(judged)
    assert len(rules) == (DEPLOY / "prometheus/rules.yaml").read_text().count("- alert:")
    active = {rule["name"] for rule in rules if rule["state"] in ("pending", "firing")}
    assert active == {
        "HeadwayModelDegraded",
        "HeadwayModelDrifted",
        "HeadwayModelNotJudged",
        "HeadwayCalibrationOff",
        "HeadwayTicketOpen",
        "HeadwayFeatureValuesDiffer",
    }


@pytest.mark.services
def test_every_query_of_the_board_returns_data(prometheus):
    found = {f"{title}: {expression}": query(prometheus, expression) for title, expression in expressions()}
    assert len(found) >= 15
    assert [name for name, result in found.items() if not result] == []


@pytest.mark.services
def test_every_metric_of_rules_and_board_is_one_of_the_server(prometheus):
    names = set(fetch(f"{prometheus}/api/v1/label/__name__/values")["data"])
    text = (DEPLOY / "prometheus/rules.yaml").read_text() + json.dumps(expressions())
    assert set(re.findall(r"\bheadway_\w+", text)) <= names


def test_the_board_is_one_that_grafana_imports():
    board = json.loads((DEPLOY / "grafana/headway.json").read_text())
    assert board["schemaVersion"] >= 39 and {one["name"] for one in board["templating"]["list"]} == {
        "datasource",
        "model",
    }
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
