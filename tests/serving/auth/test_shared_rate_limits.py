"""The rate limit of a key over several servers."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from shared_stores import STORES, switch

from headway.core.contracts import Feed
from headway.core.errors import StoreUnavailable
from headway.core.plugins import load_feed
from headway.serving.auth.authenticator import SharedRateLimiter, rate_limit, shared_rate_limits

SLOW = rate_limit(0.001, 10)


class Server:
    """The limiters of a server, with a worker for each."""

    def __init__(self, feed: Feed, *names: str, workers: int = 2) -> None:
        table = shared_rate_limits(workers, fed=True)
        self.feed = feed
        self.limiters = [SharedRateLimiter(table, worker=number) for number in range(workers)]
        for limiter in self.limiters:
            limiter.set_names(names or ["shop"])

    def take(self, requests: int, *, column: int = 1) -> int:
        """Send requests to its workers in turn, and return how many were accepted."""
        order = (self.limiters[number % len(self.limiters)] for number in range(requests))
        return sum(not limiter.wait_ns(column, SLOW, now_ns=time.monotonic_ns()) for limiter in order)

    def exchange(self) -> None:
        for limiter in self.limiters:
            limiter.exchange(self.feed)


@pytest.fixture
def feeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Feed]:
    monkeypatch.syspath_prepend(str(STORES))
    return [load_feed("folder")(f"folder://{tmp_path}") for _ in range(3)]


def test_servers_share_the_burst_of_a_key_after_an_exchange(feeds):
    first, second, third = (Server(feed) for feed in feeds)
    assert first.take(6) == 6
    first.exchange()
    assert second.take(1) == 1
    second.exchange()
    assert second.take(20) == 3
    second.exchange()
    assert third.take(1) == 1
    third.exchange()
    assert [server.take(5) for server in (second, third)] == [0, 0]
    first.exchange()
    assert first.take(5) == 0


def test_a_key_is_found_by_its_name_wherever_it_is_in_the_file(feeds):
    first, second = Server(feeds[0], "shop", "bank"), Server(feeds[1], "bank", "shop")
    assert first.take(10, column=1) == 10
    first.exchange()
    assert second.take(1, column=2) == 1 and second.take(10, column=1) == 10
    second.exchange()
    assert second.take(10, column=2) == 0


def test_callers_without_a_key_and_subjects_of_tokens_share_their_limits_as_well(feeds):
    first, second = Server(feeds[0]), Server(feeds[1])
    for column in (0, 2000):
        assert first.take(10, column=column) == 10
        first.exchange()
        assert second.take(1, column=column) == 1
        second.exchange()
        assert second.take(10, column=column) == 0


def test_while_the_feed_is_away_the_limit_holds_for_each_server(feeds, tmp_path):
    first, second = Server(feeds[0]), Server(feeds[1])
    switch(tmp_path, away=True)
    assert first.take(50) == 10 and second.take(50) == 10
    for limiter in first.limiters:
        with pytest.raises(StoreUnavailable):
            limiter.exchange(first.feed)
    assert first.take(50) == 0


def test_a_server_without_requests_exchanges_nothing(feeds, tmp_path):
    switch(tmp_path, away=True)
    Server(feeds[0]).exchange()


def test_a_key_that_has_its_full_burst_again_is_not_exchanged_any_more(feeds, tmp_path):
    table = shared_rate_limits(1, fed=True)
    limiter = SharedRateLimiter(table)
    assert not limiter.wait_ns(1, rate_limit(1e6, 5), now_ns=time.monotonic_ns())
    while limiter._spent or limiter._limited:
        limiter.exchange(feeds[0])
    switch(tmp_path, away=True)
    limiter.exchange(feeds[0])
