"""Log segments that machines share on S3: shipped once and in order, copied, merged, expired and rewritten."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np
import pytest
from tests.storage.small_s3 import SmallS3, Stored, small_s3

from headway.core.config import Config
from headway.core.errors import ConfigError, StoreError
from headway.core.settings.store import StoreSection
from headway.storage import _s3, _shared_logs, segments, traffic
from headway.storage._shared_logs import SharedLogs
from headway.storage.addresses import log_root, open_logs

ADDRESS = "s3://bucket/team"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallS3]:
    with small_s3() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture(params=["small", pytest.param("seaweed", marks=pytest.mark.services)])
def address(request: pytest.FixtureRequest) -> str:
    """The address of a new bucket, of our own small server and of SeaweedFS."""
    if request.param == "small":
        request.getfixturevalue("small")
        return ADDRESS
    return str(request.getfixturevalue("s3"))


def segment(state: Path, number: int, *, folder: str = "log/flights/abcdef012345", key: str = "") -> Path:
    """Save a segment of two rows that was written at this time in ns."""
    columns = {"key": [key or f"key-{number}", None], "request": np.array([number, number], np.int64)}
    return segments.save(state / folder, columns, name=f"{number:020}-1-0.arrow")


def keys_in(root: Path) -> list[str | None]:
    """Return the keys of all segments of the log, in the order of their files."""
    return [key for path in traffic.all_segments(root) for key in segments.load(path)["key"] if key]


@pytest.mark.slow
def test_segments_are_shipped_in_order_and_read_back_on_another_machine(address: str, tmp_path: Path) -> None:
    first, second = SharedLogs(address, tmp_path / "first"), SharedLogs(address, tmp_path / "second")
    for number in (3, 1, 2):
        segment(tmp_path / "first", number)
    traffic.save_labels(tmp_path / "first", "flights", [traffic.Label("key-1", 1.0)], who="ann")
    segment(tmp_path / "second", 4)
    assert (first.ship(), first.ship(), second.ship()) == (4, 0, 1)
    assert first.waiting() == second.waiting() == []
    for logs in (first, second):
        assert keys_in(logs.refresh("flights")) == [*(f"key-{number}" for number in (1, 2, 3, 4)), "key-1"]
    assert keys_in(first.refresh("hotels")) == keys_in(first.refresh())


def test_the_first_segments_are_there_before_later_ones(small: SmallS3, tmp_path: Path) -> None:
    for number in (2, 1):
        segment(tmp_path, number, folder=f"log/flights/{number}" * 1)
    SharedLogs(ADDRESS, tmp_path).ship()
    puts = [request for request in small.requests if request.startswith("PUT")]
    assert ["0001-" in put for put in puts] == [True, False]


@pytest.mark.slow
def test_a_segment_that_was_shipped_before_an_interruption_is_there_once(small: SmallS3, tmp_path: Path) -> None:
    logs, path = SharedLogs(ADDRESS, tmp_path), segment(tmp_path, 1)
    content = path.read_bytes()
    logs.ship()
    path.write_bytes(content)
    assert logs.ship() == 1
    assert not path.exists()
    assert keys_in(logs.refresh()) == ["key-1"]


@pytest.mark.slow
def test_an_outage_leaves_the_rest_to_be_shipped_later_in_order(small: SmallS3, tmp_path: Path) -> None:
    logs = SharedLogs(ADDRESS, tmp_path)
    for number in (1, 2, 3):
        segment(tmp_path, number)

    def refuse_the_second(handler: object) -> bool:
        if "0002-" in handler.path:  # type: ignore[attr-defined]
            handler.fail(403, "AccessDenied")  # type: ignore[attr-defined]
            return True
        return False

    small.fault = refuse_the_second
    with pytest.raises(StoreError, match="403"):
        logs.ship()
    assert [segments.written_ns(path) for path in logs.waiting()] == [2, 3]
    small.fault = lambda _: False
    assert logs.ship() == 2
    assert keys_in(logs.refresh()) == ["key-1", "key-2", "key-3"]


def test_what_is_incomplete_or_was_removed_before_is_not_shipped(small: SmallS3, tmp_path: Path) -> None:
    logs, path = SharedLogs(ADDRESS, tmp_path), segment(tmp_path, 1)
    assert logs.ship(is_complete=lambda found: found != path) == 0
    segment(tmp_path, 2)
    assert logs.ship(is_complete=lambda found: found == path and not found.unlink()) == 0
    assert [segments.written_ns(found) for found in logs.waiting()] == [2]


@pytest.mark.slow
def test_the_cache_follows_what_is_replaced_and_deleted(small: SmallS3, tmp_path: Path) -> None:
    ours, theirs = SharedLogs(ADDRESS, tmp_path / "ours"), SharedLogs(ADDRESS, tmp_path / "theirs")
    for number in (1, 2):
        segment(tmp_path / "ours", number)
    ours.ship()
    theirs.refresh()
    (first, second) = traffic.all_segments(ours.refresh())
    name = first.relative_to(ours.cache).as_posix()
    ours.rewrite(name, by=lambda: segment(ours.cache, 1, key="rewritten"))
    ours.delete(second.relative_to(ours.cache).as_posix())
    requests = len(small.requests)
    assert keys_in(theirs.refresh()) == keys_in(ours.refresh()) == ["rewritten"]
    assert sum(request.startswith("GET bucket/team/log") for request in small.requests[requests:]) == 2
    (theirs.cache / "index.json").write_bytes(b"damaged")
    assert keys_in(theirs.refresh()) == ["rewritten"]


@pytest.mark.slow
def test_copies_of_what_another_machine_erased_are_dropped(small: SmallS3, tmp_path: Path) -> None:
    ours, theirs = SharedLogs(ADDRESS, tmp_path / "ours"), SharedLogs(ADDRESS, tmp_path / "theirs")
    theirs.drop_changed_copies()
    assert not theirs.cache.exists(), "nothing was read yet"
    for number in (1, 2, 3):
        segment(tmp_path / "ours", number)
    ours.ship()
    first, second, _ = traffic.all_segments(ours.refresh())
    assert keys_in(theirs.refresh("flights", max_log_bytes=1)) == ["key-3"]
    theirs.refresh()
    ours.rewrite(first.relative_to(ours.cache).as_posix(), by=lambda: segment(ours.cache, 1, key="rewritten"))
    ours.delete(second.relative_to(ours.cache).as_posix())
    with (theirs.cache / "index.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        theirs.drop_changed_copies()
    assert keys_in(theirs.cache) == ["key-1", "key-2", "key-3"], "a reader makes them up to date"
    for _ in range(2):
        theirs.drop_changed_copies()
        assert keys_in(theirs.cache) == ["key-3"]
    assert keys_in(theirs.refresh()) == ["rewritten", "key-3"]


@pytest.mark.slow
def test_a_rewriting_that_was_interrupted_is_begun_again_from_the_object(small: SmallS3, tmp_path: Path) -> None:
    logs, path = SharedLogs(ADDRESS, tmp_path), segment(tmp_path, 1)
    logs.ship()
    logs.refresh()

    def rewrite_and_fail() -> None:
        segment(logs.cache, 1, key="rewritten")
        raise InterruptedError

    with pytest.raises(InterruptedError):
        logs.rewrite(path.relative_to(tmp_path).as_posix(), by=rewrite_and_fail)
    assert keys_in(logs.refresh()) == ["key-1"]


@pytest.mark.slow
def test_objects_whose_keys_are_not_those_of_segments_are_not_copied(small: SmallS3, tmp_path: Path) -> None:
    for key in ("log/../../outside.arrow", "log/flights/a/1.txt", "labels/flights/.x.arrow", "log/x.arrow"):
        small.objects[f"bucket/team/{key}"] = [Stored(b"content")]
    root = SharedLogs(ADDRESS, tmp_path / "state").refresh()
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["index.lock"]
    assert keys_in(root) == []


def test_a_log_that_changes_under_every_copy_is_an_error(small: SmallS3, tmp_path: Path) -> None:
    logs = SharedLogs(ADDRESS, tmp_path)
    segment(tmp_path, 1)
    logs.ship()

    def hide_contents(handler: object) -> bool:
        if handler.path.endswith(".arrow") and handler.command == "GET":  # type: ignore[attr-defined]
            handler.fail(404, "NoSuchKey")  # type: ignore[attr-defined]
            return True
        return False

    small.fault = hide_contents
    with pytest.raises(StoreError, match="changes faster"):
        logs.refresh()


@pytest.mark.slow
def test_small_segments_are_merged_and_their_rows_are_there_once(address: str, tmp_path: Path) -> None:
    logs = SharedLogs(address, tmp_path)
    for number in range(1, 13):
        segment(tmp_path, number)
    segment(tmp_path, 1, folder="log/flights/lost")
    logs.ship()
    assert logs.merge(before_ns=11, span_ns=100, part=traffic.MERGED) == 10
    assert len([*traffic.all_segments(logs.refresh())]) == 4
    assert keys_in(logs.cache) == [*(f"key-{number}" for number in range(1, 13)), "key-1"]
    assert logs.merge(before_ns=11, span_ns=100, part=traffic.MERGED) == 0


@pytest.mark.slow
def test_one_machine_rewrites_at_a_time(small: SmallS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = SharedLogs(ADDRESS, tmp_path / "ours"), SharedLogs(ADDRESS, tmp_path / "theirs")
    for number in range(1, 10):
        segment(tmp_path / "ours", number)
    ours.ship()
    monkeypatch.setattr(_shared_logs, "_WAIT_S", 0.01)
    monkeypatch.setattr(_shared_logs, "_PAUSE_S", 0.001)
    with theirs.rewriting(wait=False) as renew:
        assert renew
        renew()
        assert ours.merge(before_ns=100, span_ns=1000, part=traffic.MERGED) == 0
        with pytest.raises(StoreError, match="another machine rewrites the log"), ours.rewriting(wait=True):
            pass
    with theirs.rewriting(wait=True):
        monkeypatch.setattr(_shared_logs, "_STALE_S", -1.0)
        with ours.rewriting(wait=True) as renew:
            assert renew, "a lock that is too old was left by a machine that ended"


@pytest.mark.slow
def test_one_of_many_machines_takes_over_the_lock_of_one_that_ended(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = SharedLogs(address, tmp_path / "ended")
    others = [SharedLogs(address, tmp_path / f"{number}") for number in range(8)]
    with pytest.raises(StoreError, match="another machine took over"), ended.rewriting(wait=False) as renew:
        monkeypatch.setattr(_shared_logs, "_STALE_S", -1.0)
        found = ended._bucket.etag_and_age_s(_shared_logs._REWRITING)
        monkeypatch.setattr(_s3.Bucket, "etag_and_age_s", lambda *_: found)  # all look before the first acts
        with ThreadPoolExecutor(len(others)) as pool:
            taken = list(pool.map(lambda logs: logs._lock(secrets.token_bytes(8)), others))
        assert taken.count(True) == 1
        renew()
    assert ended._bucket.get(_shared_logs._REWRITING), "the lock of the other machine stays"


@pytest.mark.slow
def test_old_segments_are_deleted(address: str, tmp_path: Path) -> None:
    logs = SharedLogs(address, tmp_path)
    for number in range(1, 6):
        segment(tmp_path, number)
    logs.ship()
    assert logs.delete_older(4) == 3
    assert [*map(segments.written_ns, logs.paths())] == [4, 5]


@pytest.mark.slow
def test_readers_of_a_project_use_the_store_of_its_logs(small: SmallS3, tmp_path: Path) -> None:
    config = Config(StoreSection(logs=ADDRESS), folder=str(tmp_path))
    segment(config.state, 1)
    logs = open_logs(config)
    assert logs
    logs.ship()
    assert keys_in(log_root(config, "flights")) == ["key-1"]
    embedded = Config(folder=str(tmp_path))
    assert (open_logs(embedded), log_root(embedded, "flights")) == (None, embedded.state)
    with pytest.raises(ConfigError, match="no store for logs"):
        open_logs(Config(StoreSection(logs="redis://cache.example/0"), folder=str(tmp_path)))


@pytest.mark.slow
def test_a_store_of_logs_that_ignores_conditional_writes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_s3(conditional=False) as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(StoreError, match="ignores conditional writes"):
            open_logs(Config(StoreSection(logs=ADDRESS), folder=str(tmp_path)))


@pytest.mark.slow
def test_a_forked_process_ships_by_a_client_of_its_own(small: SmallS3, tmp_path: Path) -> None:
    logs = SharedLogs(ADDRESS, tmp_path)
    segment(tmp_path, 1)
    logs.ship()
    segment(tmp_path, 2)
    child = os.fork()
    if not child:
        os._exit(int(logs.ship() != 1))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert msgspec.json.decode((logs.refresh() / "index.json").read_bytes()).keys() == {
        path.relative_to(tmp_path).as_posix() for path in logs.paths()
    }
