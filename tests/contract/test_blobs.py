"""Test every installed blob store."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.storage.small_s3 import small_s3

from headway.core.contracts import Blobs
from headway.core.errors import StoreError
from headway.core.plugins import load_blobs, names, own
from headway.core.record import digest_of


@pytest.fixture(params=["files", "small s3", pytest.param("seaweed", marks=pytest.mark.services)])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Blobs]:
    """Return what opens the same store again and again: each call is another client."""
    if request.param == "files":
        return lambda: load_blobs("files")(tmp_path)
    address = request.getfixturevalue("s3" if request.param == "seaweed" else "small_address")
    return lambda: load_blobs("s3")(address)


@pytest.fixture
def small_address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a bucket of our own small server, with the variables that reach it."""
    with small_s3() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield "s3://bucket/team"


@pytest.fixture
def blobs(backend: Callable[[], Blobs]) -> Blobs:
    return backend()


def test_every_plugin_for_blobs_is_tested_here() -> None:
    assert set(names("blobs")) >= {"files", "s3"} >= set(own("blobs"))


@pytest.mark.slow
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200))
def test_stored_bytes_are_returned_unchanged_by_digest(blobs: Blobs, content: bytes) -> None:
    digest = blobs.put(content)
    assert digest == digest_of(content)
    assert blobs.get(digest) == content


@pytest.mark.slow
def test_putting_again_changes_nothing(blobs: Blobs) -> None:
    assert blobs.put(b"model") == blobs.put(b"model")
    assert blobs.get(digest_of(b"model")) == b"model"


def test_a_digest_that_was_never_put_is_named(blobs: Blobs) -> None:
    with pytest.raises(StoreError, match=digest_of(b"absent")):
        blobs.get(digest_of(b"absent"))


@pytest.mark.parametrize("digest", ["", "abc", "md5:" + "0" * 64, "sha256:../../../etc/passwd", "sha256:" + "A" * 64])
def test_a_malformed_digest_is_refused(blobs: Blobs, digest: str) -> None:
    with pytest.raises(StoreError, match="is not a digest"):
        blobs.get(digest)


@pytest.mark.slow
def test_what_one_client_stored_every_other_reads_at_once(backend: Callable[[], Blobs]) -> None:
    clients = [backend() for _ in range(3)]
    for number in range(20):
        digest = clients[number % 3].put(b"content %d" % number)
        assert [client.get(digest) for client in clients] == [b"content %d" % number] * 3


@pytest.mark.slow
def test_all_digests_are_listed_in_order(blobs: Blobs) -> None:
    expected = sorted(blobs.put(b"content %d" % number) for number in range(30))
    assert list(blobs.digests()) == expected


def test_large_bytes_are_stored_whole(blobs: Blobs) -> None:
    content = bytes(range(256)) * (5 << 12)
    assert blobs.get(blobs.put(content)) == content


@pytest.mark.slow
@pytest.mark.parametrize("rounds", [4, pytest.param(200, marks=pytest.mark.long)])
def test_of_32_writers_that_create_a_blob_at_once_exactly_one_wins_each_round(
    backend: Callable[[], Blobs], rounds: int
) -> None:
    """Five rounds run side by side: SeaweedFS makes the writers of one key wait a second for each other."""
    clients = [backend() for _ in range(32)]
    with ThreadPoolExecutor(5) as pool:
        assert list(pool.map(lambda number: race(clients, b"content %d" % number), range(rounds))) == [1] * rounds
    assert len(list(clients[0].digests())) == rounds


def race(clients: list[Blobs], content: bytes) -> int:
    """Return how many of the clients, who begin at the same time, created the blob; all of them read it then."""
    gate = threading.Barrier(len(clients))

    def create(client: Blobs) -> bool:
        gate.wait()
        won = client.create(content)
        assert client.get(digest_of(content)) == content
        return won

    with ThreadPoolExecutor(len(clients)) as pool:
        return sum(pool.map(create, clients))
