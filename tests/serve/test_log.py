"""The prediction log: a row for every row answered, off the request's path, and none lost by leaving in good order."""

from __future__ import annotations

import dataclasses
import signal
import time
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from running import loaded, project, started
from tests.serve.plain import ask
from tests.store.stem import Moments, kills, left_aside, stem

from headway.features.online import NEVER_US
from headway.serve.log import Entry, PredictionLog, columns
from headway.store import segments, traffic

LOADED = loaded()


def entry(*sizes: int, first: int = 0, failed: bool = False, **given: object) -> Entry:
    """An entry of calls with so many rows each; the value of a row is its place."""
    n = sum(sizes)
    rows = np.arange(3.0 * n).reshape(n, 3)
    made = Entry(
        release=LOADED,
        at_us=7,
        requests=np.arange(first, first + len(sizes)),
        keys=[f"k{first + number}" for number in range(len(sizes))],
        sizes=list(sizes),
        latency_ns=np.arange(len(sizes)) * 1000,
        role=traffic.LIVE,
        answered=1,
        stage=traffic.ALONE,
        paired=0,
        rows=None if failed else rows,
        answers=None if failed else rows[:, :1],
        seen=(),
    )
    return made._replace(**given)


def kept(folder, digest=LOADED.digest):
    """All rows of the log in a folder, in the order of its segments."""
    tables = [pl.read_ipc_stream(path) for path in segments.segments(traffic.log_folder(folder, "flights", digest))]
    return pl.concat(tables) if tables else pl.DataFrame()


def test_a_call_of_several_rows_is_a_row_each_with_one_number_and_key():
    table = columns([entry(1, 2), entry(1, first=2)])
    assert list(table["request"]) == [0, 1, 1, 2] and table["key"] == ["k0", "k1", "k1", "k2"]
    assert list(table["latency_us"]) == [0, 1, 1, 0]
    assert list(table["in.a"]) == [0, 3, 6, 0] and list(table["out.0"]) == [0, 3, 6, 0]


def test_a_call_that_failed_has_status_1_and_no_numbers():
    table = columns([entry(1), entry(2, first=1, failed=True)])
    assert list(table["status"]) == [0, 1, 1]
    np.testing.assert_array_equal(table["in.c"], [2, np.nan, np.nan])
    np.testing.assert_array_equal(table["out.0"], [0, np.nan, np.nan])


def test_where_all_failed_the_inputs_have_their_columns_all_the_same():
    table = columns([entry(2, failed=True)])
    assert [name for name in table if name.startswith("in.")] == ["in.a", "in.b", "in.c"]
    assert np.isnan(table["in.a"]).all() and len(table["in.a"]) == 2


def test_since_when_looked_up_values_were_known_is_kept_and_never_where_the_lookup_failed():
    class Viewed:
        names = ("weather",)

    viewed = dataclasses.replace(LOADED, views=Viewed())
    table = columns([entry(1, release=viewed, seen=(np.array([5]),)), entry(1, release=viewed, failed=True)])
    assert list(table["seen_us.weather"]) == [5, NEVER_US]


def test_what_was_added_is_on_disk_once_the_log_is_closed(tmp_path):
    dropped: Counter[str] = Counter()
    log = PredictionLog(tmp_path, flush_s=60, most_rows=1000, dropped=dropped)
    for number in range(100):
        log.add(entry(2, first=int(log.number(1)[0]), keys=[f"k{number}"]))
    log.close()
    table = kept(tmp_path)
    assert len(table) == 200 and table["request"].n_unique() == 100 and not dropped
    assert table["request"].is_sorted()


def test_what_does_not_fit_is_dropped_and_counted_and_the_rest_is_kept(tmp_path):
    dropped: Counter[str] = Counter()
    log = PredictionLog(tmp_path, flush_s=60, most_rows=10, dropped=dropped)
    log.add(entry(11))
    log.add(entry(3))
    log.close()
    assert dropped == {"flights": 11} and len(kept(tmp_path)) == 3


def test_a_buffer_that_is_half_full_is_written_though_its_time_has_not_come(tmp_path):
    log = PredictionLog(tmp_path, flush_s=3600, most_rows=10, dropped=Counter())
    log.add(entry(6))
    while not list(segments.segments(traffic.log_folder(tmp_path, "flights", LOADED.digest))):
        pass
    log.close()
    assert len(kept(tmp_path)) == 6


def test_a_segment_that_cannot_be_written_is_counted_and_does_not_end_the_log(tmp_path, caplog):
    dropped: Counter[str] = Counter()
    (tmp_path / "log").write_text("no folder")
    log = PredictionLog(tmp_path, flush_s=60, most_rows=10, dropped=dropped)
    log.add(entry(3))
    log.close()
    assert dropped == {"flights": 3} and "could not be written" in caplog.text


def test_an_entry_that_nobody_foresaw_is_counted_and_what_comes_after_is_kept(tmp_path, caplog):
    dropped: Counter[str] = Counter()
    log = PredictionLog(tmp_path, flush_s=3600, most_rows=10, dropped=dropped)
    log.add(entry(6, latency_ns=np.array([])))
    ends = time.monotonic() + 20
    while not dropped and time.monotonic() < ends:
        pass
    log.add(entry(3))
    log.close()
    assert dropped == {"flights": 6} and len(kept(tmp_path)) == 3
    assert "could not be written" in caplog.text


@pytest.mark.slow
def test_a_server_that_leaves_in_good_order_has_logged_every_answer(tmp_path):
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


class Kept:
    """What a reader finds in a folder of segments as they grow: the numbers of each caller, in the order kept."""

    def __init__(self, folder: Path, column: str) -> None:
        self.found: defaultdict[str, list[int]] = defaultdict(list)
        self.folder, self.column, self._last = folder, column, ""

    def read(self) -> Kept:
        """Read the segments that are new, each of which must be whole."""
        for path in segments.segments(self.folder, after=self._last):
            self._last = path.name
            for key, value in pl.read_ipc_stream(path).select("key", self.column).iter_rows():
                caller, _, number = key.rpartition("-")
                assert value == float(number)
                self.found[caller].append(int(number))
        return self


def caller_of(said: list[str]) -> tuple[str, int]:
    """Who called, and how many of its labels were acknowledged."""
    return (said[-1].rpartition("-")[0], len(said) - 1) if len(said) > 1 else ("", 0)


def killed_serving(folder: Path, count: int) -> None:
    """Kill a server so often at random moments of serving: acknowledged labels are there, and the log has no gap."""
    state, file = project(folder).state, folder / "headway.toml"
    file.write_text(file.read_text() + "log_flush_s = 0.01\n")
    log = Kept(traffic.log_folder(state, "flights", LOADED.digest), "out.0")
    labels = Kept(traffic.labels_folder(state, "flights"), "label")
    with stem("tests.serve.asked:serve") as server:

        def one(after_s: float) -> bool:
            ended = server.run(folder, after_s=after_s)
            caller, acknowledged = caller_of(ended.said)
            logged, labelled = (kept.read().found.get(caller, []) for kept in (log, labels))
            assert labelled == list(range(len(labelled))) and len(labelled) - acknowledged in (0, 1)
            assert logged == list(range(len(logged)))
            return ended.killed

        kills(one, count, Moments((0.0, 0.2), seed=count))
        left = server.run(folder, after_s=0.2, number=signal.SIGTERM)
    caller, acknowledged = caller_of(left.said)
    assert left.code == 0 and len(log.read().found[caller]) >= acknowledged > 0
    for kept in (log, labels):
        again = Kept(kept.folder, kept.column).read().found
        assert again == kept.read().found and sum(map(len, again.values())) > count
    assert not left_aside(folder)


@pytest.mark.slow
def test_killed_20_times_a_server_has_lost_no_label_it_acknowledged_and_its_log_is_whole(tmp_path):
    killed_serving(tmp_path, 20)


@pytest.mark.long
def test_killed_200_times_a_server_has_lost_no_label_it_acknowledged_and_its_log_is_whole(tmp_path):
    killed_serving(tmp_path, 200)
