"""Servers whose state or feed is away go on answering, say so, and catch up after its return."""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from running import started
from shared_stores import SECTION, STORES, shared_project, switch
from tests.monitoring import rollouts
from tests.storage.small_s3 import small_s3

from headway.core.release import version_of
from headway.registry.model_registry import UpdateReason

pytestmark = pytest.mark.slow
PATIENCE_S = 20.0
REASON = UpdateReason(who="ann", why="a test", verdict=rollouts.release().verdict)


class Server:
    """A server process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        self.port = int(line.split()[2].rpartition(":")[2])

    def ask(self, path: str, body: object = None, *, key: str = "") -> tuple[int, str]:
        """Return status and body of a response on a new connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        connection.request("GET" if body is None else "POST", path, body and json.dumps(body), headers)
        response = connection.getresponse()
        answer = response.status, response.read().decode()
        connection.close()
        return answer

    def version(self) -> str:
        """Return the version that answers a request."""
        inputs = [{"name": name, "shape": [1], "datatype": "FP64", "data": [1]} for name in "ab"]
        status, body = self.ask("/v2/models/flights/infer", {"inputs": inputs})
        assert status == 200, body
        return json.loads(body)["model_version"]

    def until(self, version: str) -> None:
        """Wait until a version answers; all requests until then must be answered."""
        ends = time.monotonic() + PATIENCE_S
        while self.version() != version:
            assert time.monotonic() < ends, "the pointer was not followed"

    def until_ready_with(self, detail: str) -> None:
        """Wait until the server is ready and reports exactly this, or "" for nothing."""
        ends = time.monotonic() + PATIENCE_S
        while True:
            status, body = self.ask("/v2/health/ready")
            assert status == 200 and self.version() and time.monotonic() < ends, body
            found = json.loads(body).get("detail", "")
            if detail in found and bool(detail) == bool(found):
                return

    def stop(self) -> str:
        """Stop the server and return its log."""
        self.process.terminate()
        log = self.process.communicate(timeout=PATIENCE_S)[1]
        assert self.process.returncode == 0, log
        return log


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    process = started(folder, "flights@live")
    try:
        yield Server(process)
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[rollouts.Project]:
    monkeypatch.syspath_prepend(str(STORES))
    monkeypatch.setenv("PYTHONPATH", str(STORES))
    monkeypatch.setenv("HEADWAY_SERVE_WORKERS", "2")
    made = shared_project(tmp_path)
    yield made
    made.state.close()


def test_a_server_whose_state_is_away_answers_says_so_and_follows_the_pointer_after_its_return(project, tmp_path):
    second = rollouts.publish(project, rollouts.release(made_at="2"))
    with serving(tmp_path) as server:
        server.until_ready_with("")
        switch(tmp_path / "database", away=True)
        server.until_ready_with("the store for state is away")
        assert 'headway_store_up{role="state"} 0' in server.ask("/metrics")[1]
        assert 'headway_pointer_refused{pointer="flights@live"} 0' in server.ask("/metrics")[1]
        switch(tmp_path / "database", away=False)
        project.registry.point("flights@live", second, REASON)
        server.until(version_of(second))
        server.until_ready_with("")
        log = server.stop()
    assert "the database cannot be reached" in log and "the store for state is back" in log


def test_a_server_whose_feed_is_away_still_follows_the_pointer(project, tmp_path):
    with serving(tmp_path) as server:
        switch(tmp_path / "feed", away=True)
        server.until_ready_with("the store for feed is away")
        server.until(version_of(rollouts.live(project, rollouts.release(made_at="2"))))
        switch(tmp_path / "feed", away=False)
        server.until_ready_with("")


def test_a_server_whose_releases_are_away_answers_and_loads_what_it_missed_after_their_return(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(STORES))
    monkeypatch.setenv("PYTHONPATH", str(STORES))
    monkeypatch.setenv("HEADWAY_SERVE_WORKERS", "1")
    with small_s3() as s3:
        for name, value in s3.environment.items():
            monkeypatch.setenv(name, value)
        project = shared_project(tmp_path, section=SECTION + 'blobs = "s3://bucket/flights"\n')
        machine = tmp_path / "another"
        machine.mkdir()
        for name in ("headway.toml", "trusted_keys.txt"):
            shutil.copy(tmp_path / name, machine)
        with serving(machine) as server:
            first = server.version()
            server.until_ready_with("")
            second = rollouts.publish(project, rollouts.release(made_at="2"))
            s3.fault = lambda _: True
            project.registry.point("flights@live", second, REASON)
            server.until_ready_with("the store for blobs is away: only releases that are on this machine can be loaded")
            assert server.version() == first
            s3.fault = lambda _: False
            server.until(version_of(second))
            server.until_ready_with("")
        project.state.close()


def test_a_server_that_starts_without_its_state_serves_what_was_verified_last_and_catches_up(project, tmp_path):
    second = rollouts.live(project, rollouts.release(made_at="2"))
    with serving(tmp_path) as server:
        server.until(version_of(second))
        server.stop()
    third = rollouts.publish(project, rollouts.release(made_at="3"))
    switch(tmp_path / "database", away=True)
    with serving(tmp_path) as server:
        assert server.version() == version_of(second)
        server.until_ready_with("the store for state is away")
        switch(tmp_path / "database", away=False)
        project.registry.point("flights@live", third, REASON)
        server.until(version_of(third))
        log = server.stop()
    assert f"starts with release {second}, which was verified here last: the database cannot be reached" in log


def test_a_server_that_never_saw_the_state_does_not_start_without_it(project, tmp_path):
    switch(tmp_path / "database", away=True)
    process = started(tmp_path, "flights@live")
    out, error = process.communicate(timeout=PATIENCE_S)
    assert process.returncode != 0 and out == ""
    assert "no update of flights@live was saved here before the state was away" in error
