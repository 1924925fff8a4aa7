"""The prediction log from ring to disk: a row for every row answered, each once, whichever process is killed."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from running import loaded

from headway.features.online import NEVER_US
from headway.monitoring.prediction_log import read_predictions
from headway.serving.loading import LoadedModel
from headway.serving.telemetry.prediction_log import LogEntry, PredictionLog, decode_entry
from headway.serving.workers.log_writer import LogBuffers, LogWriter, segment_columns
from headway.storage import segments, traffic

LOADED = loaded()


class Logging:
    """The log of one worker, or of several, in a folder; a test writes it on demand."""

    def __init__(self, folder: Path, *, workers: int = 1, size_bytes: int = 1 << 20) -> None:
        self.folder = folder
        self.dropped: Counter[str] = Counter()
        self.buffers = LogBuffers(workers, size_bytes)
        self.logs = [PredictionLog(ring, self.buffers.wakeup, dropped=self.dropped) for ring in self.buffers.rings]
        self.log_writer = LogWriter(folder, self.buffers, dropped=self.dropped)

    def read_saved(self, digest: str = LOADED.digest) -> pl.DataFrame:
        """Return all rows on disk, in the order of their segments."""
        folder = traffic.log_folder(self.folder, "flights", digest)
        tables = [pl.read_ipc_stream(path) for path in segments.segments(folder)]
        return pl.concat(tables) if tables else pl.DataFrame({"key": []})


def entry(*sizes: int, first: int = 0, failed: bool = False, **fields: object) -> LogEntry[LoadedModel]:
    """Return an entry of calls with these numbers of rows; the value of a row is its index."""
    n = sum(sizes)
    rows = np.arange(3.0 * n).reshape(n, 3)
    made = LogEntry(
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
    return made._replace(**fields)


def table_of(*entries: LogEntry[LoadedModel]) -> dict[str, object]:
    """Return the columns of entries that went through a ring."""
    found = []
    for item in entries:
        log = Logging(Path())
        log.logs[0].add(item)
        found += map(decode_entry, log.buffers.rings[0].records(log.buffers.rings[0].head))
    return segment_columns(found)


def test_an_entry_is_read_from_a_ring_unchanged():
    put = entry(1, 2, keys=["fl\u00fcge", "\udc80"], seen=(np.array([1, 2, 3]),))
    log = Logging(Path())
    log.logs[0].add(put)
    (record,) = log.buffers.rings[0].records(log.buffers.rings[0].head)
    decoded = decode_entry(record)
    assert (decoded.keys, decoded.sizes, decoded.at_us, decoded.stage) == (
        ["fl\u00fcge", "?"],
        [1, 2],
        7,
        traffic.ALONE,
    )
    for name in ("rows", "answers", "requests", "latency_ns"):
        np.testing.assert_array_equal(getattr(decoded, name), getattr(put, name))
    assert decoded.release.columns == LOADED.columns and decoded.seen[0].tolist() == [1, 2, 3]


def test_a_call_of_several_rows_has_one_log_row_each_with_one_number_and_key():
    table = table_of(entry(1, 2), entry(1, first=2))
    assert list(table["request"]) == [0, 1, 1, 2] and table["key"] == ["k0", "k1", "k1", "k2"]
    assert list(table["latency_us"]) == [0, 1, 1, 0]
    assert list(table["in.a"]) == [0, 3, 6, 0] and list(table["out.0"]) == [0, 3, 6, 0]


def test_a_failed_call_has_status_1_and_no_values():
    table = table_of(entry(1), entry(2, first=1, failed=True))
    assert list(table["status"]) == [0, 1, 1]
    np.testing.assert_array_equal(table["in.c"], [2, np.nan, np.nan])
    np.testing.assert_array_equal(table["out.0"], [0, np.nan, np.nan])


def test_if_all_calls_failed_the_segment_still_has_the_input_columns():
    table = table_of(entry(2, failed=True))
    assert [name for name in table if name.startswith("in.")] == ["in.a", "in.b", "in.c"]
    assert np.isnan(table["in.a"]).all() and len(table["in.a"]) == 2


def test_the_time_of_looked_up_features_is_logged_and_never_if_the_lookup_failed():
    class Viewed:
        names = ("weather",)

    viewed = dataclasses.replace(LOADED, features=Viewed())
    table = table_of(entry(1, release=viewed, seen=(np.array([5]),)), entry(1, release=viewed, failed=True))
    assert list(table["seen_us.weather"]) == [5, NEVER_US]


def test_an_older_log_with_wide_flags_is_read_together_with_a_new_one(tmp_path):
    log = Logging(tmp_path)
    log.logs[0].add(entry(1, 2))
    log.log_writer.write()
    new, folder = log.read_saved(), traffic.log_folder(tmp_path, "flights", LOADED.digest)
    wide = new.with_columns(pl.col(pl.Int8).cast(pl.Int64))
    assert [name for name in new.columns if new[name].dtype == pl.Int8] == [
        "role",
        "answered",
        "status",
        "stage",
        "paired",
    ]
    columns = {column.name: column.to_list() if column.dtype == pl.String else column.to_numpy() for column in wide}
    segments.save(folder, columns, name=f"{1:020}-1-0{segments.SUFFIX}")
    read = read_predictions(tmp_path, "flights", [LOADED.digest]).drop("release")
    assert read.schema == wide.schema and read.equals(pl.concat([wide, wide]).sort("at_us", "request"))


def test_added_entries_are_on_disk_after_a_write(tmp_path):
    log = Logging(tmp_path)
    for number in range(100):
        log.logs[0].add(entry(2, first=int(log.logs[0].number(1)[0]), keys=[f"k{number}"]))
    log.log_writer.write()
    log.log_writer.write()
    table = log.read_saved()
    assert len(table) == 200 and table["request"].n_unique() == 100 and not log.dropped
    assert table["request"].is_sorted()


def test_entries_of_all_workers_are_written_in_order_of_time(tmp_path):
    log = Logging(tmp_path, workers=3)
    for number in range(9):
        log.logs[number % 3].add(entry(1, at_us=number, first=number))
    log.log_writer.write()
    assert log.read_saved()["at_us"].to_list() == list(range(9))


@pytest.mark.slow
def test_each_release_has_its_own_segments_however_many_there_are(tmp_path):
    log = Logging(tmp_path)
    others = [dataclasses.replace(LOADED, digest=f"sha256:{number:012}") for number in range(100)]
    for other in others:
        log.logs[0].add(entry(1, release=other))
    log.log_writer.write()
    assert all(len(log.read_saved(other.digest)) == 1 for other in others)


def test_many_entries_are_written_to_several_segments_and_none_twice(tmp_path):
    log = Logging(tmp_path, size_bytes=8 << 20)
    for number in range(50):
        log.logs[0].add(entry(2000, first=number, at_us=number))
    log.log_writer.write()
    assert len(list(segments.segments(traffic.log_folder(tmp_path, "flights", LOADED.digest)))) > 1
    table = log.read_saved()
    assert len(table) == 100_000 and table["request"].is_sorted() and table["request"].n_unique() == 50


def test_entries_that_do_not_fit_are_dropped_and_counted_and_the_rest_is_written(tmp_path):
    log = Logging(tmp_path, size_bytes=8192)
    log.logs[0].add(entry(11))
    log.logs[0].add(entry(300))
    log.log_writer.write()
    log.logs[0].add(entry(3))
    log.log_writer.write()
    assert log.dropped == {"flights": 300} and len(log.read_saved()) == 14


def test_a_half_full_ring_wakes_the_log_writer(tmp_path):
    log = Logging(tmp_path, size_bytes=32768)
    log.logs[0].add(entry(10))
    log.buffers.wakeup.keep_reader()
    assert not log.buffers.wakeup.drain()
    log = Logging(tmp_path, size_bytes=32768)
    log.logs[0].add(entry(600))
    log.buffers.wakeup.keep_reader()
    assert log.buffers.wakeup.drain()


def test_a_segment_that_cannot_be_written_is_counted_and_does_not_end_the_log(tmp_path, caplog):
    (tmp_path / "log").write_text("no folder")
    log = Logging(tmp_path)
    log.logs[0].add(entry(3))
    log.log_writer.write()
    assert log.dropped == {"flights": 3} and "could not be written" in caplog.text
    assert log.buffers.rings[0].tail == log.buffers.rings[0].head


def test_a_full_disk_is_one_line_a_minute(tmp_path, caplog):
    (tmp_path / "log").write_text("no folder")
    log = Logging(tmp_path)
    for _ in range(20):
        log.logs[0].add(entry(3))
        log.log_writer.write()
    assert log.dropped == {"flights": 60}
    assert len(caplog.records) == 1 and "Traceback" not in caplog.text


def test_an_unreadable_entry_is_counted_and_later_ones_are_written(tmp_path, caplog):
    log = Logging(tmp_path)
    log.logs[0].add(entry(6, latency_ns=np.array([])))
    log.log_writer.write()
    log.logs[0].add(entry(3))
    log.log_writer.write()
    assert log.dropped == {"flights": 6} and len(log.read_saved()) == 3
    assert "could not be written" in caplog.text


class Killed(BaseException):
    """The end of a process."""


def before(owner: object, name: str, *, nth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Raise `Killed` before the nth call of a function."""
    calls, real = [], getattr(owner, name)

    def call(*args: object, **kwargs: object) -> object:
        calls.append(name)
        if len(calls) == nth:
            raise Killed
        return real(*args, **kwargs)

    monkeypatch.setattr(owner, name, call)


@pytest.mark.parametrize(
    ("where", "nth"), [("save", 1), ("save", 2), ("advance", 1), ("advance", 2)], ids=lambda value: str(value)
)
def test_killed_anywhere_in_a_pass_each_row_is_on_disk_once_after_the_next(tmp_path, monkeypatch, where, nth):
    log = Logging(tmp_path, workers=2)
    other = dataclasses.replace(LOADED, digest="sha256:" + "c" * 64)
    for number in range(10):
        log.logs[number % 2].add(entry(1, first=number, at_us=number))
        log.logs[number % 2].add(entry(1, first=number, at_us=number, release=other))
    with monkeypatch.context() as patch:
        if where == "save":
            before(segments, "save", nth=nth, monkeypatch=patch)
        else:
            before(type(log.buffers.rings[0]), "advance", nth=nth, monkeypatch=patch)
        with pytest.raises(Killed):
            log.log_writer.write()
    log.logs[0].add(entry(1, first=10, at_us=10))
    for _ in range(2):
        LogWriter(tmp_path, log.buffers, dropped=log.dropped).write()
    assert log.read_saved()["key"].to_list() == [f"k{number}" for number in range(11)]
    assert log.read_saved(other.digest)["key"].to_list() == [f"k{number}" for number in range(10)]
    assert not log.dropped
