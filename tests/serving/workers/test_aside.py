"""Batches that the log writer put aside are listed and imported, each once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.serving.workers.test_log_writer import LOADED, Logging, entry, killed

from headway.core.errors import StoreError
from headway.monitoring.prediction_log import LOG_COLUMNS, LostSpan, SegmentReader, read_predictions
from headway.serving.workers import aside
from headway.serving.workers.aside import AsideBatch, import_batches, list_batches
from headway.storage import atomic, segments, traffic


@pytest.fixture
def log(tmp_path: Path) -> Logging:
    """A log whose folder could not be written for the first three records, and can be written now."""
    log, folder = Logging(tmp_path), traffic.log_folder(tmp_path, "flights", LOADED.digest)
    folder.parent.mkdir(parents=True)
    folder.write_text("no folder")
    for number in range(3):
        log.logs[0].add(entry(2, first=number, at_us=7 + number))
    assert log.log_writer.write() and log.lost_spans() == [LostSpan(7, 9, 6)]
    folder.unlink()
    return log


def statuses(batches: list[AsideBatch]) -> list[tuple[str, int]]:
    return [(batch.status, batch.rows) for batch in batches]


def test_a_batch_is_imported_once_and_its_rows_are_lost_no_longer(log):
    (waiting,) = list_batches(log.folder)
    assert (waiting.status, waiting.name, waiting.release) == ("waiting", "flights", LOADED.digest)
    assert (waiting.rows, waiting.since_us, waiting.until_us) == (6, 7, 9)
    assert statuses(import_batches(log.folder)) == [("imported", 6)]
    assert log.read_saved()["request"].to_list() == [0, 0, 1, 1, 2, 2] and log.lost_spans() == []
    assert import_batches(log.folder) == [] and list_batches(log.folder) == []


def test_rows_that_were_lost_otherwise_stay_lost(log):
    log.buffers.lose(0, LOADED, rows=4, since_us=8, until_us=20)
    assert log.log_writer.write() and log.lost_spans() == [LostSpan(7, 20, 10)]
    assert statuses(import_batches(log.folder)) == [("imported", 6)]
    assert log.lost_spans() == [LostSpan(8, 20, 4)]


class Interrupted(BaseException):
    """What ends an import in a test."""


def interrupt(*_: object, **__: object) -> None:
    raise Interrupted


def test_an_import_that_was_interrupted_continues_and_writes_no_row_twice(log, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", interrupt)
        with pytest.raises(Interrupted):
            import_batches(log.folder)
    assert len(log.read_saved()) == 6 and traffic.aside_files(log.folder)
    assert statuses(import_batches(log.folder)) == [("known", 6)]
    assert len(log.read_saved()) == 6 and log.lost_spans() == [] and not traffic.aside_files(log.folder)


def test_rows_of_an_interrupted_import_are_known_after_their_segment_was_merged(log, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", interrupt)
        with pytest.raises(Interrupted):
            import_batches(log.folder)
    for number in range(8):
        log.logs[0].add(entry(1, first=10 + number))
        log.log_writer.write()
    (folder,) = traffic.log_folders(log.folder, "flights")
    assert segments.merge(folder, before_ns=1 << 62, span_ns=1 << 62, part=traffic.MERGED) == 9
    assert statuses(import_batches(log.folder)) == [("known", 6)] and len(log.read_saved()) == 14


def test_a_record_that_was_put_aside_alone_is_imported_next_to_the_merged_ones_of_its_pass(tmp_path, monkeypatch):
    log = Logging(tmp_path)
    for number in range(10):
        log.logs[0].add(entry(1, first=number))
    for nth in (1, 1, 2, 1):  # of the whole pass, twice; then of its second record
        killed(log, monkeypatch, nth=nth)
    assert log.new_writer().write() and log.lost == {"flights": 1}
    (folder,) = traffic.log_folders(tmp_path, "flights")
    follower = SegmentReader(folder, LOG_COLUMNS)
    assert len(pl.concat(follower.read())) == 9
    assert segments.merge(folder, before_ns=1 << 62, span_ns=1 << 62, part=traffic.MERGED) == 9
    assert statuses(import_batches(tmp_path)) == [("imported", 1)] and log.lost_spans() == []
    assert pl.concat(follower.read())["request"].to_list() == [1]
    assert sorted(read_predictions(tmp_path, "flights", [LOADED.digest])["request"]) == list(range(10))


def test_a_batch_that_still_cannot_be_written_stays_and_says_which_record_is_wrong(tmp_path):
    log = Logging(tmp_path)
    log.logs[0].add(entry(1))
    log.logs[0].add(entry(6, first=1, latency_ns=np.array([])))
    log.log_writer.write()
    for _ in range(2):
        (batch,) = import_batches(tmp_path)
        assert (batch.status, batch.rows) == ("failed", 7) and log.lost_spans()
        assert batch.problem == "record 2 of 2 cannot be decoded"
    assert len(traffic.aside_files(tmp_path)) == 1 and log.read_saved().is_empty()


def test_records_that_do_not_fit_together_are_named_as_such(log, monkeypatch):
    def refuse(*_: object) -> None:
        raise TypeError

    monkeypatch.setattr(aside, "in_order_of_time", refuse)
    (batch,) = import_batches(log.folder)
    assert batch.problem == "its 3 records can be decoded, and do not fit into one segment"


def test_a_disk_that_takes_nothing_is_named_and_the_import_is_repeated_later(log, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise StoreError("cannot write: no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(atomic, "fill", refuse)
        (batch,) = import_batches(log.folder)
    assert (batch.status, batch.problem) == ("failed", "cannot write: no space left on device")
    assert statuses(import_batches(log.folder)) == [("imported", 6)]


@pytest.mark.parametrize(
    "content", [b"", b"\0\0" + b"x" * 80, (1 << 40).to_bytes(8, "little"), b"\x05" + b"\0" * 7 + b"short"]
)
def test_a_damaged_file_stays_and_is_named(log, content):
    (path,) = traffic.aside_files(log.folder)
    path.write_bytes(content)
    assert [batch.problem for batch in import_batches(log.folder)] == [
        "the file is damaged: it does not hold records of this log"
    ]
    assert path.exists()


def test_files_that_no_log_writer_put_aside_are_left_alone(log, tmp_path):
    (path,) = traffic.aside_files(log.folder)
    elsewhere = path.with_name(f"{path.name[:-12]}{'0' * 12}")
    path.rename(elsewhere)
    path.with_name("notes.txt").write_text("mine")
    path.with_name(f"{path.name}0").mkdir()
    problems = {batch.file.rpartition("/")[2]: batch.problem for batch in import_batches(log.folder)}
    assert problems == {
        elsewhere.name: "the file is damaged: it does not hold records of this log",
        "notes.txt": "the log writer has put no file of this name aside",
        f"{path.name}0": "the file cannot be read: Is a directory",
    }


def test_a_store_without_a_log_has_no_batch(tmp_path):
    assert list_batches(tmp_path / "none") == import_batches(tmp_path / "none") == []
