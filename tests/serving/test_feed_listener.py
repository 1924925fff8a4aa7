"""The change feed: a hint makes the server look at once; a feed that is away changes nothing else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from shared_stores import STORES, switch

from headway.core.contracts import Feed
from headway.core.plugins import load_feed
from headway.serving.feed_listener import FeedListener
from headway.serving.store_health import StoreHealth

PATIENCE_S = 10.0


class Listening:
    """A listener, and what it did."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.woken, self.exchanged = threading.Semaphore(0), threading.Semaphore(0)
        self.away: dict[str, bool] = {}
        self.listener = FeedListener(
            self.feed(), wake=self.woken.release, health=StoreHealth(self.away), exchanges=[self.exchange]
        )

    def feed(self) -> Feed:
        """Open the feed once more, as another process does."""
        return load_feed("folder")(f"folder://{self.folder}")

    def exchange(self, feed: Feed) -> None:
        feed.announce()
        feed.wait(0)
        self.exchanged.release()


@pytest.fixture
def listening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Listening]:
    monkeypatch.syspath_prepend(str(STORES))
    made = Listening(tmp_path)
    with closing(made.listener):
        yield made


def test_a_listener_looks_once_at_its_start_then_at_each_hint(listening):
    assert listening.woken.acquire(timeout=PATIENCE_S)
    assert listening.exchanged.acquire(timeout=PATIENCE_S) and listening.away in ({}, {"feed": False})
    while not listening.woken.acquire(blocking=False):
        listening.feed().announce()


def test_a_lost_feed_is_noted_and_after_its_return_the_listener_looks_again(listening):
    assert listening.woken.acquire(timeout=PATIENCE_S)
    switch(listening.folder, away=True)
    while not listening.away.get("feed"):
        pass
    while listening.woken.acquire(blocking=False):
        pass
    switch(listening.folder, away=False)
    assert listening.woken.acquire(timeout=PATIENCE_S)
    while listening.exchanged.acquire(blocking=False):
        pass
    assert listening.exchanged.acquire(timeout=PATIENCE_S)
    while listening.away["feed"]:
        pass
