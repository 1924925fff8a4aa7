"""The prediction log: one row for every row answered, off the request path, and none lost in a regular shutdown."""

from __future__ import annotations

import signal
from collections import defaultdict
from pathlib import Path
from urllib.request import urlopen

import polars as pl
import pytest
from running import loaded, project, started
from tests.serving.plain_client import ask, post
from tests.storage.stem import Moments, kills, left_aside, stem

from headway.monitoring.prediction_log import LostSpans, read_predictions
from headway.storage import segments, traffic

LOADED = loaded()


@pytest.mark.slow
def test_a_regular_shutdown_has_logged_every_answer(tmp_path):
    settings = project(tmp_path)
    process = started(tmp_path, "flights@live")
    port = int(process.stdout.readline().split()[2].rpartition(":")[2])
    for number in range(50):
        assert ask(port, [number] * 3, key=f"k{number}").status == 200
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=20) == ("", "") and process.returncode == 0
    (folder,) = (settings.state / "log" / "flights").iterdir()
    table = pl.concat([pl.read_ipc_stream(path) for path in segments.segments(folder)])
    assert table["key"].to_list() == [f"k{number}" for number in range(50)]
    assert table["out.0"].to_list() == table["in.b"].to_list() == list(range(50))
    assert (table["latency_us"] > 0).all() and table["request"].n_unique() == 50


@pytest.mark.slow
def test_with_the_log_off_nothing_is_written(tmp_path):
    settings = project(tmp_path)
    file = tmp_path / "headway.toml"
    file.write_text(file.read_text() + 'log_mode = "off"\n')
    process = started(tmp_path, "flights@live")
    port = int(process.stdout.readline().split()[2].rpartition(":")[2])
    assert ask(port, [1, 2, 3]).status == 200
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=20) == ("", "")
    assert not (settings.state / "log").exists()


@pytest.mark.slow
def test_a_server_whose_disk_refuses_the_log_answers_on_counts_what_it_loses_and_recovers(tmp_path):
    settings, file = project(tmp_path), tmp_path / "headway.toml"
    file.write_text(file.read_text() + "workers = 1\nlog_buffer_mb = 1\nlog_wait_s = 0.1\nlog_flush_s = 0.01\n")
    (settings.state / "log").write_text("no folder")
    process = started(tmp_path, "flights@live")
    port = int(process.stdout.readline().split()[2].rpartition(":")[2])
    n_sent = 0
    while not metric(port, 'headway_log_lost_rows_total{model="flights"}'):
        assert post(port, INFER, rows_of(1000)).status == 200
        n_sent += 1000
    assert metric(port, "headway_log_healthy") == 0 and metric(port, "headway_log_queue_bytes") > 500_000
    (settings.state / "log").unlink()
    while not metric(port, "headway_log_healthy"):
        assert post(port, INFER, rows_of(1)).status == 200
        n_sent += 1
    n_lost = metric(port, 'headway_log_lost_rows_total{model="flights"}')
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 0 and errors.count("the prediction log cannot be written") == 1
    assert len(read_predictions(settings.state, "flights", [LOADED.digest])) == n_sent - n_lost
    assert sum(span.rows for span in LostSpans(settings.state, "flights", [LOADED.digest]).read()) == n_lost


INFER = "/v2/models/flights/infer"


def rows_of(count: int) -> dict[str, object]:
    """Return a request for many rows."""
    return {"inputs": [{"name": "rows", "datatype": "FP64", "shape": [count, 3], "data": [1.5] * 3 * count}]}


def metric(port: int, name: str) -> float:
    """Return a number of `/metrics` by its name and labels."""
    with urlopen(f"http://127.0.0.1:{port}/metrics") as response:
        lines = response.read().decode().splitlines()
    return next((float(line.split()[-1]) for line in lines if line.startswith(f"{name} ")), 0.0)


class SavedSegments:
    """The rows of a growing folder of segments: the numbers of each caller, in the order written."""

    def __init__(self, folder: Path, column: str) -> None:
        self.found: defaultdict[str, list[int]] = defaultdict(list)
        self.folder, self.column, self._last = folder, column, ""

    def read(self) -> SavedSegments:
        """Read the new segments, each of which must be complete."""
        for path in segments.segments(self.folder, after=self._last):
            self._last = path.name
            for key, value in pl.read_ipc_stream(path).select("key", self.column).iter_rows():
                caller, _, number = key.rpartition("-")
                assert value == float(number)
                self.found[caller].append(int(number))
        return self


def caller_of(messages: list[str]) -> tuple[str, int]:
    """Return the caller, and the number of its acknowledged labels."""
    return (messages[-1].rpartition("-")[0], len(messages) - 1) if len(messages) > 1 else ("", 0)


def killed_serving(folder: Path, count: int) -> None:
    """Kill a server at random moments: acknowledged labels are on disk, and the log has no gap."""
    state, file = project(folder).state, folder / "headway.toml"
    file.write_text(file.read_text() + "log_flush_s = 0.01\n")
    log = SavedSegments(traffic.log_folder(state, "flights", LOADED.digest), "out.0")
    labels = SavedSegments(traffic.labels_folder(state, "flights"), "label")
    with stem("tests.serving.kill_target:serve") as server:

        def one(after_s: float) -> bool:
            ended = server.run(folder, after_s=after_s)
            caller, acknowledged = caller_of(ended.messages)
            logged, labelled = (saved.read().found.get(caller, []) for saved in (log, labels))
            assert labelled == list(range(len(labelled))) and len(labelled) - acknowledged in (0, 1)
            assert logged == list(range(len(logged)))
            return ended.killed

        kills(one, count, Moments((0.0, 0.2), seed=count))
        terminated = server.run(folder, after_s=0.2, number=signal.SIGTERM)
    caller, acknowledged = caller_of(terminated.messages)
    assert terminated.code == 0 and len(log.read().found[caller]) >= acknowledged > 0
    for saved in (log, labels):
        again = SavedSegments(saved.folder, saved.column).read().found
        assert again == saved.read().found and sum(map(len, again.values())) > count // 4
    assert not left_aside(folder)


@pytest.mark.slow
def test_a_server_killed_8_times_keeps_acknowledged_labels_and_a_valid_log(tmp_path):
    killed_serving(tmp_path, 8)


@pytest.mark.long
def test_a_server_killed_200_times_keeps_acknowledged_labels_and_a_valid_log(tmp_path):
    killed_serving(tmp_path, 200)
