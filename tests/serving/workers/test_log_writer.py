"""The prediction log from ring to disk: a row for every row answered, each once, whichever process is killed."""

from __future__ import annotations

import dataclasses
import errno
import os
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from running import loaded
from tests.serving.flushed_log import log_writer

from headway.core.errors import StoreError
from headway.features.online_rows import NEVER_US
from headway.monitoring.prediction_log import LOG_COLUMNS, LostSpan, LostSpans, SegmentReader, read_predictions
from headway.serving.loading import LoadedModel
from headway.serving.settings.serve import ServeSection
from headway.serving.telemetry.prediction_log import LogBuffers, LogEntry, PredictionLog, decode_entries, decode_entry
from headway.serving.workers.log_writer import LogWriter, in_order_of_time, run_log_writer, segment_columns
from headway.serving.workers.shared_memory import WakeupPipe
from headway.storage import atomic, segments, traffic

LOADED = loaded()


class Logging:
    """The log of one worker, or of several, in a folder; a test writes it on demand."""

    def __init__(
        self, folder: Path, *, workers: int = 1, size_bytes: int = 1 << 20, retention: str = "", **settings: object
    ) -> None:
        self.folder = folder
        self.dropped, self.lost, self.aside = Counter[str](), Counter[str](), Counter[str]()
        self.now_s = 0.0
        self.buffers = LogBuffers(workers, size_bytes)
        self.logs = [
            PredictionLog(
                self.buffers,
                number,
                dropped=self.dropped,
                lost=self.lost,
                settings=ServeSection(**settings),
                clock=lambda: self.now_s,
            )
            for number in range(workers)
        ]
        self.log_writer = self.new_writer(retention=retention)

    def new_writer(self, *, retention: str = "") -> LogWriter:
        """Return the log writer of a process that continues where another ended."""
        return log_writer(self.folder, self.buffers, lost=self.lost, aside=self.aside, retention=retention)

    def gauge(self, name: str) -> float:
        """Return a gauge of the log."""
        return next(value for found, _, value in self.buffers.gauges() if found == f"headway_log_{name}")

    def lost_spans(self) -> list[LostSpan]:
        """Return the spans on disk in which rows were lost."""
        return LostSpans(self.folder, "flights", [LOADED.digest]).read()

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
    assert list(table["request"]) == [0, 1, 1, 2] and table["key"] == ["k0", "k1", None, "k2"]
    assert list(table["latency_us"]) == [0, 1, 1, 0]
    assert list(table["in.a"]) == [0, 3, 6, 0] and list(table["out.0"]) == [0, 3, 6, 0]


kinds = st.sampled_from(["one", "keyed", "failed", "two rows", "two calls", "two keyed", "seen", "canary"])


def by_request(columns: Mapping[str, object]) -> dict[str, list[object]]:
    """Return columns in the order of requests, in which the rows of each are in their order."""
    order = np.argsort(columns["request"], kind="stable")
    return {name: [column[index] for index in order.tolist()] for name, column in columns.items()}


@pytest.mark.slow
@given(st.lists(st.tuples(kinds, st.integers(0, 3)), min_size=1, max_size=40))
def test_records_that_are_decoded_together_give_the_rows_of_each(drawn):
    fields = {
        "one": {"keys": [""]},
        "keyed": {"keys": ["fl\u00fcge"]},
        "failed": {"failed": True},
        "two calls": {"keys": ["", ""]},
        "seen": {"seen": (np.array([9]),)},
        "canary": {"role": traffic.CANARY, "stage": 2},
    }
    log = Logging(Path())
    for number, (kind, at_us) in enumerate(drawn):
        sizes = {"two rows": (2,), "two calls": (1, 1), "two keyed": (1, 1)}.get(kind, (1,))
        log.logs[0].add(entry(*sizes, first=2 * number, at_us=at_us, **fields.get(kind, {})))
    records = list(log.buffers.rings[0].records(log.buffers.rings[0].head))
    expected = segment_columns(list(map(decode_entry, records)))
    found = in_order_of_time(segment_columns(decode_entries(records)))
    assert found.keys() == expected.keys() and (np.diff(found["at_us"]) >= 0).all()
    for name, column in by_request(expected).items():
        np.testing.assert_array_equal(by_request(found)[name], column)
        assert isinstance(found[name], list) or (
            found[name].dtype == expected[name].dtype and found[name].flags.c_contiguous
        )


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
        names, versions, logged_texts, logged_inputs, has_windows = ("weather",), (2,), ("origin",), ("limit",), False

    viewed = dataclasses.replace(LOADED, features=Viewed())
    seen = np.array([5]), np.array([0.5]).view(np.int64)
    table = table_of(entry(1, release=viewed, seen=seen), entry(1, release=viewed, failed=True))
    np.testing.assert_array_equal(table["input.limit"], [0.5, np.nan])
    assert list(table["seen_us.weather"]) == [5, NEVER_US]
    assert list(table["version.weather"]) == [2, 2] and table["text.origin"] == [None, None]


def test_an_older_log_with_wide_flags_is_read_together_with_a_new_one(tmp_path):
    log = Logging(tmp_path)
    log.logs[0].add(entry(1, 2))
    log.log_writer.write()
    new, folder = log.read_saved(), traffic.log_folder(tmp_path, "flights", LOADED.digest)
    wide = new.with_columns(pl.col(pl.Int8).cast(pl.Int64), pl.col("key").forward_fill())
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


def test_a_half_full_ring_wakes_the_log_writer(tmp_path):
    log = Logging(tmp_path, size_bytes=32768)
    log.logs[0].add(entry(10))
    log.buffers.wakeup.keep_reader()
    assert not log.buffers.wakeup.drain()
    log = Logging(tmp_path, size_bytes=32768)
    log.logs[0].add(entry(200))
    log.logs[0].add(entry(200))
    log.logs[0].add(entry(200))
    log.buffers.wakeup.keep_reader()
    assert log.buffers.wakeup.drain() and log.log_writer.due


def test_a_batch_that_fails_twice_is_put_aside_counted_and_named_and_later_ones_are_written(tmp_path, caplog):
    log = Logging(tmp_path)
    log.logs[0].add(entry(6, latency_ns=np.array([])))
    assert log.log_writer.write()
    log.logs[0].add(entry(3))
    assert log.log_writer.write()
    assert log.lost == log.aside == {"flights": 6} and len(log.read_saved()) == 3
    (aside,) = traffic.aside_files(tmp_path)
    assert f"a batch of 6 rows of the log of flights is put aside in {aside}" in caplog.text
    assert log.lost_spans() == [LostSpan(7, 7, 6)]


def test_a_folder_that_cannot_be_written_stops_neither_the_log_nor_other_releases(tmp_path, caplog):
    log = Logging(tmp_path)
    other = dataclasses.replace(LOADED, digest="sha256:" + "c" * 64)
    (tmp_path / "log" / "flights").mkdir(parents=True)
    traffic.log_folder(tmp_path, "flights", LOADED.digest).write_text("no folder")
    log.logs[0].add(entry(3))
    log.logs[0].add(entry(2, release=other))
    assert log.log_writer.write()
    assert log.lost == log.aside == {"flights": 3} and len(log.read_saved(other.digest)) == 2
    assert log.buffers.rings[0].tail == log.buffers.rings[0].head and "put aside" in caplog.text


def killed(log: Logging, monkeypatch: pytest.MonkeyPatch, *, nth: int = 1) -> None:
    """Let a log writer die before its nth segment."""
    with monkeypatch.context() as patch:
        before(segments, "save", nth=nth, monkeypatch=patch)
        with pytest.raises(Killed):
            log.new_writer().write()


def test_a_record_that_log_writers_die_of_is_put_aside_alone(tmp_path, monkeypatch):
    log = Logging(tmp_path)
    for number in range(3):
        log.logs[0].add(entry(3, first=number))
    for nth in (1, 1, 2, 1):  # of the whole pass, twice; then of its second record
        killed(log, monkeypatch, nth=nth)
    log.logs[0].add(entry(2, first=3))
    assert log.new_writer().write()
    assert log.aside == log.lost == {"flights": 3} and log.read_saved()["request"].unique().to_list() == [0, 2, 3]
    assert len(traffic.aside_files(tmp_path)) == 1 and len(log.lost_spans()) == 1


def test_log_writers_that_are_killed_at_different_records_lose_none(tmp_path, monkeypatch):
    log = Logging(tmp_path)
    other = dataclasses.replace(LOADED, digest="sha256:" + "c" * 64)
    for number in range(4):
        log.logs[0].add(entry(1, first=number))
        log.logs[0].add(entry(1, first=number, release=other))
    for nth in (1, 2, 1, 2, 2):
        killed(log, monkeypatch, nth=nth)
    assert log.new_writer().write() and not log.lost and not log.aside
    for digest in (LOADED.digest, other.digest):
        assert sorted(log.read_saved(digest)["request"].to_list()) == [0, 1, 2, 3]


@pytest.fixture
def full_disk(monkeypatch):
    """A disk that takes nothing; returns how it gets space again."""

    def refuse(*_: object, **__: object) -> None:
        raise StoreError("cannot write") from OSError(errno.ENOSPC, "no space left on device")

    context = pytest.MonkeyPatch()
    for name in ("fill", "write"):
        context.setattr(atomic, name, refuse)
    yield context.undo
    context.undo()


def test_a_full_disk_loses_nothing_that_is_in_the_ring_and_is_reported_once_a_minute(tmp_path, full_disk, caplog):
    log = Logging(tmp_path)
    log.logs[0].add(entry(3))
    for _ in range(3):
        assert not log.log_writer.write()
    assert caplog.text.count("the prediction log cannot be written") == 1 and log.gauge("healthy") == 0
    full_disk()
    assert log.log_writer.write() and log.gauge("healthy") == 1
    assert len(log.read_saved()) == 3 and not log.lost and not log.aside


def test_rows_that_a_server_cannot_write_at_its_end_are_counted_and_named(tmp_path, full_disk, caplog):
    log = Logging(tmp_path)
    log.logs[0].add(entry(3))
    assert not log.log_writer.write()
    log.log_writer.give_up()
    assert log.lost == {"flights": 3} and "3 rows of the log of flights were not written" in caplog.text


def test_a_store_in_which_nothing_can_be_written_is_tried_again_and_nothing_is_lost(tmp_path):
    log = Logging(tmp_path)
    (tmp_path / "log").write_text("no folder")
    log.logs[0].add(entry(3))
    assert not log.log_writer.write() and not log.log_writer.write() and log.gauge("healthy") == 0
    (tmp_path / "log").unlink()
    assert log.log_writer.write() and len(log.read_saved()) == 3 and not log.lost and not log.aside


def test_a_span_of_lost_rows_is_saved_once_the_disk_takes_it(tmp_path):
    log = Logging(tmp_path)
    folder = traffic.lost_folder(tmp_path, "flights")
    folder.parent.mkdir(parents=True)
    folder.write_text("no folder")
    log.buffers.lose(0, LOADED, rows=2, since_us=1, until_us=5)
    assert not log.log_writer.write()
    folder.unlink()
    assert log.log_writer.write() and log.lost_spans() == [LostSpan(1, 5, 2)]


class ScriptedWriter:
    """A log writer that writes as scripted, and then closes the last end of a worker."""

    due = True

    def __init__(self, wakeup: WakeupPipe, *written: bool) -> None:
        self.written, self.kept = list(written), 0
        self._worker = os.dup(wakeup._writer)

    def write(self) -> bool:
        if len(self.written) == 2:
            os.close(self._worker)
        return self.written.pop(0)

    def keep(self, now_ns: int) -> None:
        self.kept += 1


def test_the_process_writes_until_no_worker_is_left_waits_after_a_failure_and_keeps_the_log_once_a_minute(monkeypatch):
    wakeup, pauses = WakeupPipe(), []
    monkeypatch.setattr("headway.serving.workers.log_writer.time.sleep", pauses.append)
    monkeypatch.setattr("headway.serving.workers.log_writer.request_long_time_slices", lambda: None)
    writer = ScriptedWriter(wakeup, False, True, True, True)
    run_log_writer(writer, wakeup, flush_s=0.0)
    assert pauses == [0.5] and writer.kept == 1 and not writer.written
    wakeup.keep_writer()


def filled(log: Logging) -> int:
    """Add entries of 60 rows until one waits, and return how many were written; entries are numbered from 1."""
    number = 1
    while log.logs[0].add(entry(60, first=number, at_us=number), number):
        number += 1
    return number - 1


def test_an_entry_waits_for_space_and_its_result_is_returned_once_it_is_written(tmp_path):
    log = Logging(tmp_path, size_bytes=16_384)
    n_written = filled(log)
    assert n_written > 2 and log.logs[0].is_full and not log.logs[0].add(entry(1), "small")
    assert list(log.logs[0].flush()) == []
    log.log_writer.write()
    assert list(log.logs[0].flush()) == [n_written + 1, "small"] and not log.logs[0].is_full
    log.log_writer.write()
    assert log.read_saved()["request"].n_unique() == n_written + 2 and len(log.read_saved()) == 60 * n_written + 61
    assert not log.lost and not log.dropped


def test_an_entry_larger_than_the_ring_is_written_in_parts_and_is_one_request_of_its_stage(tmp_path):
    log = Logging(tmp_path, size_bytes=8192)
    large = entry(1, 1000, 1, keys=["a", "b", "c"], stage=2, paired=1)
    found = [True] if log.logs[0].add(large, "large") else []
    while not found:
        log.log_writer.write()
        found = list(log.logs[0].flush())
    log.log_writer.write()
    table = log.read_saved().with_columns(pl.col("key").forward_fill())
    assert table["in.a"].to_list() == [3.0 * row for row in range(1002)]
    assert table["key"].to_list() == ["a", *["b"] * 1000, "c"] and table["request"].to_list() == [0, *[1] * 1000, 2]
    staged = table.filter(stage=2, paired=1)
    assert staged["request"].unique().sort().to_list() == [0, 1, 2] and staged.filter(request=1)["in.a"][0] == 3.0
    assert table.filter(pl.col("stage") != 2).unique(["request", "stage", "paired"]).height == 1 and not log.lost


def test_a_request_of_a_million_rows_takes_the_loop_no_20_ms_at_a_time(tmp_path):
    log = Logging(tmp_path, size_bytes=16 << 20)
    rows = np.zeros((1_000_000, 3))
    large = entry(1)._replace(sizes=[len(rows)], rows=rows, answers=rows[:, :1].copy())
    taken, done = [], []
    while not done:
        began = time.thread_time_ns()
        done = list(log.logs[0].flush()) if taken else [True] * log.logs[0].add(large, "large")
        taken.append((time.thread_time_ns() - began) / 1e6)
        ring = log.buffers.rings[0]
        ring.advance(ring.head)
    assert done == ["large"] and len(taken) > 5 and max(taken) < 20


def test_without_progress_of_the_log_writer_for_5_s_rows_are_lost_counted_and_their_span_is_saved(tmp_path, caplog):
    log = Logging(tmp_path, size_bytes=16_384)
    late = filled(log) + 1
    log.now_s = 4.9
    assert list(log.logs[0].flush()) == []
    log.now_s = 5.0
    assert list(log.logs[0].flush()) == [late] and log.lost == {"flights": 60}
    assert log.logs[0].add(entry(50, at_us=late + 1)) and log.lost == {"flights": 110}  # the next ones do not wait
    assert log.gauge("healthy") == 0 and log.gauge("queue_bytes") > 0 and log.gauge("lag_seconds") > 1e9
    log.log_writer.write()
    assert log.logs[0].add(entry(1)) and log.gauge("healthy") == 1
    log.log_writer.write()
    (span,) = log.lost_spans()
    assert (span.since_us, span.rows) == (late, 110) and span.until_us > 1e15
    log.log_writer.write()
    assert len(log.lost_spans()) == 1 and len(log.read_saved()) == 60 * (late - 1) + 1
    assert caplog.text.count("requests are answered without it") == caplog.text.count("is written again") == 1


def test_a_log_writer_that_is_slow_but_writes_loses_nothing(tmp_path):
    log = Logging(tmp_path, size_bytes=16_384)
    filled(log)
    ring = log.buffers.rings[0]
    for _ in range(3):
        log.now_s += 4.0
        ring.advance(ring.reach(1))
        ring.put(b"x" * (ring.capacity - ring.used - 8))
        assert list(log.logs[0].flush()) == []
    assert not log.lost


def test_an_entry_that_can_never_fit_is_lost_at_once(tmp_path):
    log = Logging(tmp_path, size_bytes=8192)
    assert log.logs[0].add(entry(1, keys=["k" * 9000])) and log.lost == {"flights": 1}


def test_a_log_that_samples_never_waits_and_keeps_the_rate_of_each_row(tmp_path):
    log = Logging(tmp_path, size_bytes=1 << 20, log_mode="sample")
    n_added = 0
    while log.buffers.rings[0].used < 0.9 * log.buffers.rings[0].capacity:
        assert log.logs[0].add(entry(30, first=n_added, rate=log.logs[0].draw()))
        n_added += 1
    log.log_writer.write()
    table = read_predictions(tmp_path, "flights", [LOADED.digest])
    assert set(table["rate"]) == {1.0, 1 / 4, 1 / 16, 1 / 64} and not log.lost
    assert len(table) + log.dropped["flights"] == 30 * n_added
    assert (1 / table["rate"]).sum() == pytest.approx(30 * n_added, rel=0.35)


def test_what_a_log_that_samples_has_no_space_for_is_lost(tmp_path):
    log = Logging(tmp_path, size_bytes=16_384, log_mode="sample")
    for number in range(20):
        assert log.logs[0].add(entry(60, first=number))
    log.log_writer.write()
    assert len(log.read_saved()) + log.lost["flights"] == 20 * 60 and log.lost


@pytest.mark.slow
def test_losses_of_more_releases_than_there_is_space_for_are_counted_without_their_span(tmp_path):
    log = Logging(tmp_path, size_bytes=8192, log_wait_s=0)
    for number in range(70):
        log.logs[0].add(entry(200, release=dataclasses.replace(LOADED, digest=f"sha256:{number:012}")))
    assert log.lost["flights"] == 200 * 70 and log.log_writer.write()


@pytest.mark.slow
def test_small_segments_are_merged_and_each_reader_gets_each_row_once(tmp_path):
    log = Logging(tmp_path)
    folder = traffic.log_folder(tmp_path, "flights", LOADED.digest)
    early, all_of_it = (SegmentReader(folder, LOG_COLUMNS) for _ in range(2))
    for number in range(30):
        log.logs[0].add(entry(2, first=number))
        log.log_writer.write()
        if number == 9:
            assert sum(map(len, early.read())) == 20
    traffic.save_labels(tmp_path, "flights", [traffic.Label("a", 1.0)], who="ann")
    log.log_writer.keep(time.time_ns())
    assert len(list(segments.segments(folder))) == 30 == log.gauge("segments") - 1  # not yet: readers may follow them
    log.log_writer.keep(time.time_ns() + 601 * 10**9)
    (merged,) = segments.segments(folder)
    assert log.gauge("segments") == 2 and log.gauge("disk_bytes") > merged.stat().st_size
    assert log.gauge("disk_free_bytes") > 0
    assert sum(map(len, early.read())) == 40 and sum(map(len, all_of_it.read())) == 60
    requests = read_predictions(tmp_path, "flights", [LOADED.digest])["request"]
    assert requests.to_list() == sorted([*range(30)] * 2)
    log.log_writer.keep(time.time_ns() + 602 * 10**9)
    assert early.read() == all_of_it.read() == []


def test_segments_that_cannot_be_merged_are_logged_without_a_traceback(tmp_path, caplog):
    log = Logging(tmp_path)
    (tmp_path / traffic.LOCK).mkdir()
    log.log_writer.keep(time.time_ns())
    assert "cannot write 'segments.lock'" in caplog.text and "Traceback" not in caplog.text


def test_a_merge_that_was_interrupted_is_completed_and_readers_see_no_row_twice(tmp_path, monkeypatch):
    log = Logging(tmp_path)
    folder = traffic.log_folder(tmp_path, "flights", LOADED.digest)
    for number in range(10):
        log.logs[0].add(entry(1, first=number))
        log.log_writer.write()
    with monkeypatch.context() as patch:
        before(Path, "unlink", nth=3, monkeypatch=patch)
        with pytest.raises(Killed):
            log.log_writer.keep(time.time_ns() + 601 * 10**9)
    assert len(list(segments.segments(folder))) == 9
    assert sum(map(len, SegmentReader(folder, LOG_COLUMNS).read())) == 10
    log.log_writer.keep(time.time_ns() + 602 * 10**9)
    assert len(list(segments.segments(folder))) == 1
    assert sum(map(len, SegmentReader(folder, LOG_COLUMNS).read())) == 10


def test_a_segment_that_cannot_be_read_and_one_with_other_columns_are_not_merged(tmp_path):
    log = Logging(tmp_path)
    folder = traffic.log_folder(tmp_path, "flights", LOADED.digest)
    for number in range(10):
        log.logs[0].add(entry(1, first=number))
        log.log_writer.write()
    paths = list(segments.segments(folder))
    paths[0].write_bytes(b"damaged")
    segments.save(folder, {"key": ["other"]}, name=paths[1].name)
    log.log_writer.keep(time.time_ns() + 601 * 10**9)
    assert [path.name for path in segments.segments(folder)][:2] == [path.name for path in paths[:2]]
    assert len(list(segments.segments(folder))) == 3
    for number in range(8):
        kind = {"key": ["a"]} if number % 2 else {"key": ["a"], "n": np.arange(1)}
        segments.save(folder, kind, name=f"{number:020}-1-0{segments.SUFFIX}")
    assert segments.merge(folder, before_ns=time.time_ns(), span_ns=1 << 62, part=traffic.MERGED) == 0


@pytest.mark.slow
def test_large_segments_are_left_alone_and_the_merged_ones_hold_one_span_of_time(tmp_path, monkeypatch):
    names = [f"{number:020}-1-0{segments.SUFFIX}" for number in range(40)]
    for name in names:
        size = 300_000 if name == names[10] else 1
        segments.save(tmp_path, {"value": np.arange(size, dtype=np.int64)}, name=name)
    assert segments.merge(tmp_path, before_ns=39, span_ns=20, part="part") == 10 + 9 + 19
    assert [path.name for path in segments.segments(tmp_path)] == [
        names[9].replace(".", "m."),
        names[10],
        names[19].replace(".", "m."),
        names[38].replace(".", "m."),
        names[39],
    ]


def test_the_retention_is_applied_to_all_that_the_server_writes(tmp_path):
    log = Logging(tmp_path, retention="1d")
    for latencies in (np.arange(1), np.array([])):
        log.logs[0].add(entry(1, latency_ns=latencies))
        log.log_writer.write()
    traffic.save_labels(tmp_path, "flights", [traffic.Label("a", 1.0)], who="ann")
    log.log_writer.keep(time.time_ns() + 23 * 3600 * 10**9)
    assert len(log.read_saved()) == 1 and log.lost_spans() and traffic.aside_files(tmp_path)
    log.log_writer.keep(time.time_ns() + 25 * 3600 * 10**9)
    assert not list(traffic.all_segments(tmp_path)) and not traffic.aside_files(tmp_path)


def test_segments_are_not_merged_while_rows_are_erased_and_a_failure_is_logged(tmp_path, monkeypatch, caplog):
    log = Logging(tmp_path)
    for number in range(10):
        log.logs[0].add(entry(1, first=number))
        log.log_writer.write()
    later = time.time_ns() + 601 * 10**9
    with traffic.rewriting(tmp_path, wait=True):
        log.log_writer.keep(later)
    assert log.gauge("segments") == 10
    monkeypatch.setattr(segments, "merge", lambda *_, **__: 1 / 0)
    log.log_writer.keep(later)
    assert "could not be kept" in caplog.text


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
        log.new_writer().write()
    assert log.read_saved()["key"].to_list() == [f"k{number}" for number in range(11)]
    assert log.read_saved(other.digest)["key"].to_list() == [f"k{number}" for number in range(10)]
    assert not log.lost


def test_the_name_of_an_api_key_is_a_column_of_rows_that_came_with_one():
    keys = [traffic.sender_key(key, api_key) for key, api_key in (("a", "shop"), ("b", ""), ("c\x1fd", ""))]
    columns = table_of(entry(1, 2, 1, keys=keys))
    assert columns["key"] == ["a", "b", None, "c\x1fd"] and columns[traffic.API_KEY] == ["shop", "", "", ""]
    assert traffic.API_KEY not in table_of(entry(1, 1))
