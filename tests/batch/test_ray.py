"""A folder that is shared over Ray gives the result of one machine, whatever dies, and Ray is closed to others."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from threading import Thread

import pytest
from tests.batch.ray_tasks import fail, probe
from tests.batch.scoring import LIVE, scoring_project
from tests.batch.test_folder import files_of, write_parts

from headway.batch.compute import open_ray
from headway.batch.predict import predict
from headway.batch.settings.compute import ComputeSection
from headway.core.config import Config
from headway.core.errors import DataError
from headway.core.workers import Workers

pytestmark = [pytest.mark.services, pytest.mark.filterwarnings("default")]

ROOT = Path(__file__).parents[2]
ROWS = 200_000
LONGEST_S = 300
SECRET = "HEADWAY_TRUST_PUBLISHER_KEY"


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    """Workers of a Ray that was started where a variable names a key, and the engine of the tests is found."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(SECRET, "/keys/publisher.pem")
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "tests/outside")]))
        patch.delenv("RAY_ADDRESS", raising=False)
        with open_ray("auto") as opened:
            yield opened


@pytest.fixture
def on_ray(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> Callable[[Config], Config]:
    """Let `predict` use the Ray that runs already."""
    monkeypatch.setattr("headway.batch.compute.open_ray", lambda _: nullcontext(workers))
    return lambda settings: settings.having(ComputeSection(ray="auto"))


def wait_for(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + LONGEST_S
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


def scoring_workers() -> list[int]:
    """Return the processes of this Ray that score a file now."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if (folder / "cmdline").read_bytes().startswith(b"ray::score_task"):
                found.append(int(folder.name))
        except (OSError, ValueError):
            continue
    return found


def listening(pids: set[int]) -> set[str]:
    """Return the addresses on which these processes listen over TCP, as /proc shows them."""
    inodes = set()
    for pid in pids:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            try:
                inodes.add(os.readlink(link).removeprefix("socket:[").removesuffix("]"))
            except OSError:
                continue
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                found.add(fields[1].partition(":")[0])
    return found


def descendants(pid: int) -> set[int]:
    children = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(status.parent.name))
    found, waiting = set(), [pid]
    while waiting:
        for child in children.get(waiting.pop(), []):
            found.add(child)
            waiting.append(child)
    return found


def test_the_result_over_ray_is_that_of_one_machine(on_ray, tmp_path):
    settings, rows = scoring_project(tmp_path), write_parts(tmp_path / "rows", rows=ROWS)
    here = predict(settings, LIVE, rows, tmp_path / "here", keep=["key"])
    assert predict(on_ray(settings), LIVE, rows, tmp_path / "there", keep=["key"]) == here
    assert files_of(tmp_path / "there") == files_of(tmp_path / "here")


def test_a_killed_worker_changes_nothing(on_ray, tmp_path):
    settings, rows = scoring_project(tmp_path), write_parts(tmp_path / "rows", rows=ROWS)
    here, killed = predict(settings, LIVE, rows, tmp_path / "here"), []
    journals = tmp_path / "there.parts/journals"

    def kill_one() -> None:
        wait_for(lambda: list(journals.rglob("journal.jsonl")) and scoring_workers())
        for pid in scoring_workers()[:1]:
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)

    killer = Thread(target=kill_one)
    killer.start()
    receipt = predict(on_ray(settings), LIVE, rows, tmp_path / "there")
    killer.join()
    assert killed and receipt == here
    assert files_of(tmp_path / "there") == files_of(tmp_path / "here")


def test_an_error_in_a_worker_is_raised_here_with_its_hint(workers):
    with pytest.raises(DataError, match="row 3 is wrong") as raised:
        list(workers.map(fail, "rows.parquet", [3]))
    assert (raised.value.where, raised.value.hint) == ("rows.parquet", "correct it")


def test_a_ray_of_ours_is_closed_to_others(workers):
    """It listens on loopback alone, asks for a token, has no dashboard, and workers see no setting that names a key."""
    ((_, (pid, environment, command, raylet)),) = workers.map(probe, "", [1])
    variables = dict(line.partition(b"=")[::2] for line in environment.split(b"\0"))
    assert variables[b"RAY_AUTH_MODE"] == b"token" and len(variables[b"RAY_AUTH_TOKEN"]) == 64
    assert variables[b"RAY_USAGE_STATS_ENABLED"] == b"0"
    assert b"publisher" not in environment + command and SECRET.encode() not in environment
    assert pid in descendants(os.getpid())
    commands = [Path(f"/proc/{child}/cmdline").read_bytes() for child in descendants(os.getpid())]
    pages = [command for command in commands if b"dashboard/dashboard.py" in command]
    assert all(b"--disable-frontend" in command for command in pages)
    loopback = {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}
    assert listening(descendants(os.getpid()) | {raylet}) <= loopback


def test_a_client_without_the_token_is_refused(workers):
    ((_, (_, _, _, raylet)),) = workers.map(probe, "", [1])
    words = Path(f"/proc/{raylet}/cmdline").read_bytes().decode().split("\0")
    (address,) = {word.partition("=")[2] for word in words if word.startswith("--gcs-address=")}
    with socket.create_connection(address.rsplit(":", 1), timeout=10):
        pass
    script = f"import ray; ray.init('{address}')"
    free = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    ended = subprocess.run(
        [sys.executable, "-c", script],
        env={**free, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ended.returncode != 0 and "InvalidAuthToken" in ended.stderr


def test_a_killed_driver_resumes_with_the_same_result(tmp_path):
    settings, rows = scoring_project(tmp_path), write_parts(tmp_path / "rows", rows=ROWS)
    here, out = predict(settings, LIVE, rows, tmp_path / "here"), tmp_path / "there"
    command = ["predict", LIVE, str(rows), str(out), "--project", str(tmp_path)]
    path = os.pathsep.join([str(ROOT / "tests/outside"), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "HEADWAY_COMPUTE_RAY": "auto"}

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-m", "headway.cli", *command], env=environment)

    first = start()
    wait_for(lambda: list((tmp_path / "there.parts/journals").rglob("journal.jsonl")))
    first.kill()
    first.wait()
    assert not out.exists()
    assert start().wait(LONGEST_S) == 0
    assert files_of(out) == files_of(tmp_path / "here") and here.rows == 3 * ROWS + 3
    assert sorted(one.name for one in tmp_path.glob("there*")) == [
        "there",
        "there.receipt.json",
    ]
