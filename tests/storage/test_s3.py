"""Objects on S3: against a small server of our own that can do wrong, and against SeaweedFS that is killed."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import pytest
from tests.storage.seaweed import Seaweed
from tests.storage.small_s3 import SmallS3, Stored, small_s3
from tests.storage.stem import Moments, kills, stem

from headway.core.config import Config
from headway.core.errors import ConfigError, StoreError
from headway.core.record import digest_of
from headway.core.settings.store import StoreSection
from headway.storage._s3 import CHECKED, Bucket
from headway.storage.addresses import open_blobs
from headway.storage.blobs.s3 import S3

ADDRESS = "s3://bucket/team"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallS3]:
    with small_s3() as server:
        reach(server, monkeypatch)
        yield server


def reach(server: SmallS3, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)


def config(folder: Path) -> Config:
    return Config(StoreSection(blobs=ADDRESS), folder=str(folder))


@pytest.mark.slow
def test_a_server_that_ignores_conditional_writes_is_refused_at_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_s3(conditional=False) as server:
        reach(server, monkeypatch)
        for _ in range(2):
            with pytest.raises(StoreError, match="ignores conditional writes") as caught:
                open_blobs(config(tmp_path))
        assert caught.value.where == f"{ADDRESS} at {server.endpoint}"
        assert server.current() == {}
    assert not (tmp_path / ".headway" / CHECKED).exists()


@pytest.mark.slow
def test_a_server_that_honors_conditional_writes_is_asked_once(tmp_path: Path, small: SmallS3) -> None:
    for _ in range(3):
        open_blobs(config(tmp_path))
    assert sum("headway-check" in request for request in small.requests) == 4
    assert [*json.loads((tmp_path / ".headway" / CHECKED).read_bytes())] == [f"{ADDRESS} at {small.endpoint}"]
    (tmp_path / ".headway" / CHECKED).write_bytes(b"damaged")
    open_blobs(config(tmp_path))
    assert sum("headway-check" in request for request in small.requests) == 8


@pytest.mark.slow
def test_threads_that_come_first_at_once_share_one_client(small: SmallS3) -> None:
    gate = threading.Barrier(8)

    def client() -> object:
        gate.wait()
        return Bucket(ADDRESS)._client

    with ThreadPoolExecutor(8) as pool:
        assert len({*pool.map(lambda _: client(), range(8))}) == 1


@pytest.mark.parametrize("address", ["s3://", "http://bucket/team", "s3://bucket/team?versionId=1", "bucket"])
def test_an_address_of_another_form_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="is not an address of S3") as caught:
        Bucket(address)
    assert caught.value.hint == "s3://bucket/prefix"


def test_an_address_with_a_password_is_refused_without_showing_it() -> None:
    with pytest.raises(ConfigError, match="no user or password") as caught:
        Bucket("s3://ada:t0psecret@bucket/team")
    assert "t0psecret" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "code"),
    [(403, "AccessDenied"), (404, "NoSuchBucket"), (403, "SignatureDoesNotMatch"), (501, "NotImplemented")],
)
def test_an_error_of_the_server_is_named_by_its_code_and_shows_no_secret(
    small: SmallS3, status: int, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    def fault(handler: object) -> bool:
        handler.fail(status, code)  # type: ignore[attr-defined]
        return True

    small.fault = fault
    with pytest.raises(StoreError, match=rf"answered {status} \({code}\)") as caught:
        Bucket(ADDRESS).put("key", b"model")
    assert caught.value.hint
    shown = f"{caught.value} {caught.value.__cause__} {caplog.text}"
    assert not any(secret in shown for secret in ("t0p/s3cret", "Credential=", "Signature="))


@pytest.mark.slow
def test_a_server_that_is_away_is_an_error_with_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    with small_s3() as server:
        reach(server, monkeypatch)
    with pytest.raises(StoreError, match="does not answer") as caught:
        Bucket(ADDRESS).get("key")
    assert server.endpoint in caught.value.where
    assert "AWS_ENDPOINT_URL_S3" in caught.value.hint


@pytest.mark.slow
def test_a_server_that_hangs_is_given_up_in_bounded_time(small: SmallS3) -> None:
    released = threading.Event()
    small.fault = lambda _: released.wait(30)
    began = time.monotonic()
    with pytest.raises(StoreError, match="does not answer"):
        Bucket(ADDRESS, timeout_s=0.05).put("key", b"content")
    released.set()
    assert time.monotonic() - began < 25
    assert small.current() == {}


@pytest.mark.slow
def test_without_credentials_the_hint_names_the_variables(
    small: SmallS3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    with pytest.raises(StoreError, match="no credentials for S3") as caught:
        Bucket(ADDRESS).get("key")
    assert "AWS_ACCESS_KEY_ID" in caught.value.hint


@pytest.mark.slow
def test_a_writer_whose_answer_was_lost_learns_that_it_was_first(small: SmallS3) -> None:
    answers = iter([True])

    def lose_the_first_answer(handler: object) -> bool:
        if handler.command == "PUT" and next(answers, False):  # type: ignore[attr-defined]
            marks = {k[11:]: v for k, v in handler.headers.items() if k.lower().startswith("x-amz-meta-")}  # type: ignore[attr-defined]
            small.store("bucket/team/key", Stored(b"content", marks))
            return True
        return False

    small.fault = lose_the_first_answer
    assert Bucket(ADDRESS).create("key", b"content")
    assert not Bucket(ADDRESS).create("key", b"content")


@pytest.mark.slow
def test_a_download_that_breaks_is_repeated(small: SmallS3) -> None:
    Bucket(ADDRESS).put("key", b"content" * 1000)
    answers = iter([True, True])

    def break_off(handler: object) -> bool:
        if handler.command == "GET" and next(answers, False):  # type: ignore[attr-defined]
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 7000\r\n\r\ncont")  # type: ignore[attr-defined]
            return True
        return False

    small.fault = break_off
    assert Bucket(ADDRESS).get("key") == b"content" * 1000
    assert next(answers, None) is None


@pytest.mark.slow
def test_an_altered_blob_is_refused_and_storing_it_again_repairs_it(small: SmallS3) -> None:
    blobs, digest = S3(ADDRESS), digest_of(b"model")
    blobs.put(b"model")
    (name,) = small.current()
    for altered in (b"mOdel", b"half"):
        small.objects[name] = [Stored(altered)]
        with pytest.raises(StoreError, match=f"blob {digest} was altered: its bytes are now {digest_of(altered)}"):
            blobs.get(digest)
        blobs.put(b"model")
        assert blobs.get(digest) == b"model"


@pytest.mark.slow
def test_a_release_is_listed_once_all_of_its_files_are_there(small: SmallS3) -> None:
    blobs = S3(ADDRESS)
    small.fault = lambda handler: handler.command == "PUT" and "/releases/" in handler.path  # type: ignore[attr-defined]
    with pytest.raises(StoreError):
        S3(ADDRESS, timeout_s=0.2).save_release("flights", "sha256:ab", {"model.onnx": b"model", "release.json": b"{}"})
    assert blobs.load_release("flights", "sha256:ab") is None
    assert blobs.releases("flights") == []
    small.fault = lambda _: False
    blobs.save_release("flights", "sha256:ab", {"model.onnx": b"model", "release.json": b"{}"})
    blobs.save_release("flights", "sha256:ab", {"model.onnx": b"model", "release.json": b"{ }"})
    assert blobs.load_release("flights", "sha256:ab") == {"model.onnx": b"model", "release.json": b"{ }"}
    assert blobs.releases("flights") == ["sha256:ab"]
    small.objects["bucket/team/releases/flights/ab"] = [Stored(b"[]")]
    with pytest.raises(StoreError, match="list of a release's files cannot be read"):
        blobs.load_release("flights", "sha256:ab")


@pytest.mark.slow
@pytest.mark.parametrize("server", ["small", pytest.param("seaweed", marks=pytest.mark.services)])
def test_old_versions_are_deleted_by_name_in_a_bucket_that_keeps_them(
    server: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if server == "seaweed":
        request.getfixturevalue("s3")
        seaweed = request.getfixturevalue("seaweed")
        seaweed.create_bucket("headway-versions", versioned=True)
        _expect_old_versions_deleted(Bucket("s3://headway-versions/team"))
        assert not seaweed.client().list_object_versions(Bucket="headway-versions").get("Versions")
    else:
        with small_s3(versioned=True) as small:
            reach(small, monkeypatch)
            _expect_old_versions_deleted(Bucket(ADDRESS))
            assert small.objects == {}


def _expect_old_versions_deleted(bucket: Bucket) -> None:
    assert bucket.versioned
    for number in range(3):
        bucket.put("log/a", b"%d" % number)
        bucket.put("log/b", b"%d" % number)
    assert bucket.delete_old_versions("log/a") == 2
    assert bucket.delete_old_versions("log/") == 2
    assert [bucket.get("log/a"), bucket.get("log/b")] == [b"2", b"2"]
    bucket.put("log/a", b"3")
    bucket.delete("log/a", "log/b")
    assert [*bucket.objects()] == []


def race(create: Callable[[int], bool], writers: int) -> list[int]:
    """Return which of the writers, who begin at the same time, created the object."""
    gate, winners = threading.Barrier(writers), list[int]()

    def run(number: int) -> None:
        gate.wait()
        if create(number):
            winners.append(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return winners


@pytest.mark.services
@pytest.mark.parametrize("rounds", [10, pytest.param(200, marks=pytest.mark.long)])
def test_of_32_writers_that_create_an_object_at_once_exactly_one_wins(s3: str, rounds: int) -> None:
    """Rounds run side by side, each on its own key: SeaweedFS makes writers of one key wait a second for each other."""
    bucket, wins = Bucket(s3), dict[int, list[int]]()

    def run(number: int) -> None:
        wins[number] = race(lambda writer: bucket.create(f"race/{number}", b"%d" % writer), 32)

    for first in range(0, rounds, 10):
        several = [threading.Thread(target=run, args=(number,)) for number in range(first, min(first + 10, rounds))]
        for thread in several:
            thread.start()
        for thread in several:
            thread.join()
    assert [len(wins[number]) for number in range(rounds)] == [1] * rounds
    assert [bucket.get(f"race/{number}") for number in range(rounds)] == [
        b"%d" % wins[number][0] for number in range(rounds)
    ]


@pytest.mark.services
@pytest.mark.parametrize("kills_landed", [6, pytest.param(200, marks=pytest.mark.long)])
def test_a_client_killed_in_an_upload_leaves_it_whole_or_not_at_all(s3: str, kills_landed: int) -> None:
    blobs, seeds, acknowledged = S3(s3), itertools.count(), set[str]()
    with stem("tests.storage.test_s3:upload") as parent:

        def kill_once(after_s: float) -> bool:
            ended = parent.run(s3, next(seeds), after_s=after_s)
            acknowledged.update(message for message in ended.messages if message.startswith("sha256:"))
            return ended.killed

        kills(kill_once, kills_landed, Moments((0.0, 0.2), seed=1, follow=True))
    stored = set(blobs.digests())
    assert acknowledged <= stored
    for digest in stored:
        blobs.get(digest)


def upload(say: Callable[[object], None], address: str, seed: str) -> None:
    """Store blobs of 1 MB, and send the digest of each once it is stored."""
    blobs, draw = S3(address), Random(int(seed))
    say("begun")
    for _ in range(20):
        say(blobs.put(draw.randbytes(1 << 20)))


@pytest.mark.services
@pytest.mark.parametrize("rounds", [1, pytest.param(20, marks=pytest.mark.long)])
def test_a_server_killed_in_the_middle_of_each_operation_loses_nothing_it_acknowledged(
    s3: str, seaweed: Seaweed, rounds: int
) -> None:
    blobs, ended, acknowledged = S3(s3, timeout_s=2.0), threading.Event(), [S3(s3).put(b"first")]
    failures, done = Counter[str](), Counter[str]()

    def repeat(operation: Callable[[int], object]) -> None:
        for number in itertools.count():
            if ended.is_set():
                return
            try:
                operation(number)
            except StoreError:
                failures[operation.__name__] += 1
            else:
                done[operation.__name__] += 1

    def put(number: int) -> None:
        acknowledged.append(blobs.put(b"content %d" % number))

    def get(number: int) -> None:
        blobs.get(acknowledged[number % len(acknowledged)])

    def listing(number: int) -> None:
        some = acknowledged[:]
        assert set(some) <= set(blobs.digests())

    threads = [threading.Thread(target=repeat, args=(operation,)) for operation in (put, get, listing)]
    for thread in threads:
        thread.start()
    for _ in range(rounds):
        before = done.copy()
        until(lambda before=before: all(done[name] > before[name] + 2 for name in ("put", "get", "listing")))
        seaweed.kill()
        until(lambda: {*failures} == {"put", "get", "listing"})
        failures.clear()
        seaweed.start()
    before = done.copy()
    until(lambda: all(done[name] > before[name] + 2 for name in ("put", "get", "listing")))
    ended.set()
    for thread in threads:
        thread.join()
    assert [digest_of(blobs.get(digest)) for digest in acknowledged] == acknowledged


def until(condition: Callable[[], bool], *, seconds: float = 60) -> None:
    """Wait until a condition holds; the test fails if it does not in time."""
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.02)


@pytest.mark.services
@pytest.mark.parametrize("count", [2_500, pytest.param(100_000, marks=pytest.mark.long)])
def test_a_list_of_many_keys_is_complete_and_in_order(s3: str, count: int) -> None:
    bucket = Bucket(s3)
    keys = [f"log/flights/{number:06}" for number in range(count)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda key: bucket.put(key, b"x"), keys))
    assert [found.key for found in bucket.objects("log/")] == keys
    assert [found.key for found in bucket.objects("log/flights/0020")] == [key for key in keys if "/0020" in key]
