"""A server with its releases, log and labels on S3, whose server is killed under traffic: no row lost, none twice."""

from __future__ import annotations

import http.client
import json
import math
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from running import started
from tests.monitoring import rollouts
from tests.storage.seaweed import Seaweed
from tests.storage.small_s3 import small_s3

from headway.cli import main as cli
from headway.monitoring.prediction_log import LabelReader, read_predictions
from headway.registry.project import open_project
from headway.storage import traffic
from headway.storage.addresses import log_root, open_logs

SECTION = '[store]\nblobs = "{address}"\nlogs = "{address}"\n'
PATIENCE_S = 30.0
NO_REQUEST_IS_LOGGED = 3


class Caller(threading.Thread):
    """Sends requests with a key each, one after the other, and some labels, until it is stopped."""

    def __init__(self, port: int, name: str) -> None:
        super().__init__()
        self._port, self.name = port, name
        self.ended = threading.Event()
        self.answered, self.labeled, self.failed = list[str](), list[str](), list[str]()

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE_S)
        while not self.ended.wait(0.002):
            key = f"{self.name}-{len(self.answered)}"
            inputs = [{"name": name, "shape": [1], "datatype": "FP64", "data": [1]} for name in "ab"]
            self._send(connection, "infer", {"inputs": inputs, "parameters": {"key": key}}, self.answered, key)
            if len(self.answered) % 10 == 1:
                self._send(connection, "labels", {"labels": [{"key": key, "label": 1}]}, self.labeled, key)
        connection.close()

    def _send(self, connection: http.client.HTTPConnection, verb: str, body: object, done: list[str], key: str) -> None:
        headers = {"Content-Type": "application/json"}
        connection.request("POST", f"/v2/models/flights/{verb}", json.dumps(body), headers)
        response = connection.getresponse()
        content = response.read()
        (done if response.status == 200 else self.failed).append(key if response.status == 200 else content.decode())


def until(condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.02)


def metric(port: int, name: str) -> float:
    """Return a value of the server's metrics; NaN for one that nothing was counted for yet."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return next((float(line.split()[-1]) for line in text.splitlines() if line.startswith(name)), math.nan)


@pytest.mark.services
def test_no_request_fails_and_no_row_is_lost_or_logged_twice_while_s3_is_away(
    s3: str, seaweed: Seaweed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    monkeypatch.setenv("HEADWAY_SERVE_LOG_FLUSH_S", "0.1")
    project = rollouts.project(first, toml=rollouts.TOML + SECTION.format(address=s3))
    digest = rollouts.live(project, rollouts.release(made_at="1"))
    process = started(first, "flights@live")
    try:
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        port = int(line.split()[2].rpartition(":")[2])
        callers = [Caller(port, name) for name in ("ann", "bob")]
        for caller in callers:
            caller.start()
        logs = open_logs(project.config)
        assert logs
        until(lambda: any(True for _ in logs.paths()))
        seaweed.kill()
        until(lambda: metric(port, 'headway_store_up{role="logs"}') == 0)
        until(lambda: metric(port, "headway_log_unshipped_segments") > 3)
        seaweed.start()
        until(lambda: metric(port, 'headway_store_up{role="logs"}') == 1)
        for caller in callers:
            caller.ended.set()
            caller.join()
        process.terminate()
        output = process.communicate(timeout=PATIENCE_S)[1]
        assert process.returncode == 0, output
    finally:
        process.kill()
        process.communicate()
    logs.ship()  # what its last seconds may have left

    project.state.close()
    shutil.copytree(first, second, ignore=shutil.ignore_patterns("log", "labels", "cache", "releases"))
    there = open_project(second)
    root = log_root(there.config, "flights")
    rows = Counter(read_predictions(root, "flights", [digest])["key"])
    assert [caller.failed for caller in callers] == [[], []]
    assert rows == Counter(key for caller in callers for key in caller.answered)
    assert set(LabelReader(root, "flights").read()["key"]) == {key for caller in callers for key in caller.labeled}
    assert there.registry.resolve("flights@live").digest == digest, "the release too is fetched on another machine"
    there.state.close()
    assert "away" in output and "is back" in output
    assert seaweed.environment["AWS_SECRET_ACCESS_KEY"] not in output


@pytest.mark.slow
def test_labels_of_the_command_line_are_shipped_at_once_and_the_rest_by_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with small_s3() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        toml = tmp_path / "headway.toml"
        toml.write_text('[project]\nname = "flights"\n[data]\ntarget = "late"\n[store]\nlogs = "s3://bucket/team"\n')
        (tmp_path / "labels.csv").write_text("key,label\nk1,1\nk2,0\n")
        assert (
            run("labels", "add", str(tmp_path / "labels.csv"), "--project", str(tmp_path)) == 3
        )  # no request is logged
        assert [key.split("/")[2] for key in server.current()] == ["labels"]
        state = tmp_path / ".headway"
        traffic.save_labels(state, "flights", [traffic.Label("k3", 1.0)], who="ann")
        assert run("log", "ship", "--project", str(tmp_path)) == 0
        assert "1 segments shipped to s3://bucket/team" in capsys.readouterr().out
        assert [*traffic.all_segments(state)] == []
        assert len(server.current()) == 2
    toml.write_text('[project]\nname = "flights"\n')
    assert run("log", "ship", "--project", str(tmp_path)) != 0
    assert "[store] logs" in capsys.readouterr().err


def run(*words: str) -> int:
    """Run a command and return its exit code."""
    with pytest.raises(SystemExit) as ended:
        cli.main([*words])
    return int(ended.value.code or 0)
