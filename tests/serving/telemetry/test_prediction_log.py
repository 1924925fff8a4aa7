"""The prediction log: one row for every row answered, off the request path, and none lost in a regular shutdown."""

from __future__ import annotations

import signal
from collections import defaultdict
from pathlib import Path

import polars as pl
import pytest
from running import loaded, project, started
from tests.serving.plain_client import ask
from tests.storage.stem import Moments, kills, left_aside, stem

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
    file.write_text(file.read_text() + "log = false\n")
    process = started(tmp_path, "flights@live")
    port = int(process.stdout.readline().split()[2].rpartition(":")[2])
    assert ask(port, [1, 2, 3]).status == 200
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=20) == ("", "")
    assert not (settings.state / "log").exists()


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
        assert again == saved.read().found and sum(map(len, again.values())) > count
    assert not left_aside(folder)


@pytest.mark.slow
def test_a_server_killed_20_times_keeps_acknowledged_labels_and_a_valid_log(tmp_path):
    killed_serving(tmp_path, 20)


@pytest.mark.long
def test_a_server_killed_200_times_keeps_acknowledged_labels_and_a_valid_log(tmp_path):
    killed_serving(tmp_path, 200)
