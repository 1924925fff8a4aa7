"""The commands of a fleet: a publisher's folder, a device that polls it, and a device's server that follows it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from tests.deployment.device_fleets import WebServer, go_live, numbered, web_server
from tests.house.source_tree import ROOT
from tests.serving.running import project as served_project

from headway.cli import main as cli
from headway.core.config import load
from headway.core.errors import HeadwayError
from headway.deployment.fleet import agent
from headway.deployment.fleet.publish import follow_fleet
from headway.registry.fleet import DeviceRegistry
from headway.registry.project import Project, open_project
from headway.registry.settings.fleet import FleetSection
from headway.storage import segments, traffic


@pytest.fixture
def publisher(tmp_path: Path) -> Iterator[Project]:
    """A publisher's project whose release is live."""
    folder = tmp_path / "publisher"
    folder.mkdir()
    toml = '[project]\nname = "flights"\n[trust]\npublisher_key = "keys/a.pem"\ntimestamp_key = "keys/timestamp.pem"\n'
    served_project(folder)
    (folder / "headway.toml").write_text(toml.replace("a.pem", "publisher.pem"))
    opened = open_project(folder)
    yield opened
    opened.state.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[WebServer]:
    with web_server(tmp_path / "out") as found:
        yield found


@pytest.fixture
def device(tmp_path: Path, publisher: Project, site: WebServer) -> Path:
    """The folder of a device: its settings, and the keys that it trusts."""
    folder = tmp_path / "device"
    folder.mkdir()
    fleet = f'[fleet]\nurl = "{site.url}"\ndevice = "pump-1"\npoll_s = 0.1\n'
    toml = f'[project]\nname = "flights"\n{fleet}[serve]\nport = 0\n'
    (folder / "headway.toml").write_text(toml)
    (folder / "trusted_keys.txt").write_bytes(publisher.registry.trusted_keys.read_bytes())
    return folder


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict]:
    with pytest.raises(SystemExit) as ended:
        cli.main(["fleet", *words, "--json"])
    return int(ended.value.code or 0), json.loads(capsys.readouterr().out or "{}")


@pytest.mark.slow
def test_a_device_polls_what_was_published(
    publisher: Project, site: WebServer, device: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours, out = ["--project", publisher.config.folder], str(site.folder)
    theirs = ["--project", str(device)]
    assert run(capsys, "status", *ours)[0] == 3
    assert run(capsys, "poll", *theirs)[1]["reason"] == "unreachable"
    code, published = run(capsys, "publish", out, *ours)
    assert (code, published["is_new"], published["pointer"]["number"]) == (0, True, 1)
    release = published["pointer"]["release"]["digest"]
    code, polled = run(capsys, "poll", *theirs)
    assert (code, polled["release"], polled["changed"], polled["device"]) == (0, release, True, "pump-1")
    second = go_live(publisher, numbered(2))
    assert run(capsys, "publish", out, "--share", "0.25", *ours)[1]["pointer"]["staged"]["digest"] == second
    assert run(capsys, "renew", out, *ours)[0] == 0
    code, polled = run(capsys, "poll", site.url, "--device", "pump-9", *theirs)
    assert (code, polled["device"]) == (0, "pump-9")
    assert [pointer["share"] for pointer in run(capsys, "status", *ours)[1]["pointers"]] == [0.25, 0.0]
    site.changed["timestamp"] = lambda body: body[:10]
    code, polled = run(capsys, "poll", *theirs)
    assert (code, polled["reason"]) == (1, "truncated")


def test_a_folder_and_a_url_have_to_be_named(
    publisher: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for action, message in (("publish", "publish needs a folder"), ("poll", "no fleet is named")):
        with pytest.raises(SystemExit):
            cli.main(["fleet", action, "--project", publisher.config.folder])
        assert message in capsys.readouterr().err


@pytest.mark.slow
def test_a_device_s_server_follows_its_fleet(publisher: Project, site: WebServer, device: Path) -> None:
    ended = threading.Event()
    said: list[str] = []
    out = site.folder

    def follow() -> None:
        opened = open_project(Path(publisher.config.folder))
        follow_fleet(opened, out, who="ann", callback=said.append, ended=ended, poll_s=0.05)
        opened.state.close()

    publishing = threading.Thread(target=follow)
    publishing.start()
    try:
        until(lambda: (out / "timestamp.jsonl").is_file())
        first = publisher.registry.resolve("flights@live").digest
        code = "from headway.cli.main import main; main()"
        command = [sys.executable, "-c", code, "serve", "--project", str(device)]
        around = {"PYTHONPATH": str(ROOT / "tests/outside"), "PATH": "/usr/bin:/bin", "HOME": str(device)}
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=around) as server:
            try:
                assert server.stdout is not None
                line = server.stdout.readline()
                assert "listening on " in line, server.communicate()[1]
                address = line.split()[2]
                assert served(address) == first
                second = go_live(publisher, numbered(2))
                until(lambda: served(address) == second)
                publisher.registry.roll_back("flights@live", who="bob", why="it was slower")
                until(lambda: served(address) == first)
                server.send_signal(signal.SIGTERM)
                assert server.wait(60) == 0
            finally:
                server.kill()
    finally:
        ended.set()
        publishing.join()
    assert said == [
        f"pointer {number} is published: {why}" for number, why in ((1, "a test"), (2, "a test"), (3, "it was slower"))
    ]


def test_a_device_without_a_release_and_a_network_does_not_start(device: Path, site: WebServer) -> None:
    with pytest.raises(HeadwayError, match="the server answered 404"):
        agent.first_poll(load(device, environment={}))


def served(address: str) -> str:
    with urllib.request.urlopen(f"{address}/v2/models/flights", timeout=10) as answer:
        return str(json.load(answer)["parameters"]["release"])


def until(is_so: object) -> None:
    """Wait for what another process does."""
    ends = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < ends
        time.sleep(0.02)


def test_an_agent_bounds_the_log_of_its_device(
    device: Path, publisher: Project, site: WebServer, caplog: pytest.LogCaptureFixture
) -> None:
    settings = load(device, environment={})
    folder = traffic.log_folder(settings.state, "flights", "sha256:" + "0" * 64)
    for number in range(3):
        segments.save(folder, {"a": np.zeros(100_000)}, name=f"{number:020}-1-0{segments.SUFFIX}")
    bounded = settings.having(replace(settings[FleetSection], log_mb=1))
    agent._bound_log(bounded)
    assert len(list(segments.segments(folder))) == 1
    assert "its oldest 2 segments are deleted" in caplog.text
    (settings.state / traffic.LOCK).unlink()
    (settings.state / traffic.LOCK).mkdir()
    agent._bound_log(bounded)
    assert "could not be bounded" in caplog.text


def test_an_agent_goes_on_with_a_damaged_state_and_says_so_once(device: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = load(device, environment={})
    registry = DeviceRegistry.of_device(settings)
    registry.file.write_text("{")
    pointer, last = agent.device_pointer(settings, registry), agent.PollResult("", changed=False)
    for _ in range(2):
        last = agent._logged(pointer, last)
    registry.state.close()
    assert last.reason == "device"
    assert caplog.text.count("nothing new is loaded (device)") == 1
