"""Test every change feed of headway against a real server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from tests.storage.redis_server import PASSWORD, RedisServer, redis_server

from headway.core import plugins
from headway.core.config import Config
from headway.core.contracts import Feed
from headway.core.errors import ConfigError, StoreUnavailable
from headway.core.plugins import load_feed
from headway.core.settings.store import StoreSection
from headway.storage.addresses import known_addresses, open_feed

S = 1_000_000_000
WAIT_S = 10.0
Open = Callable[[], Feed]


@pytest.mark.slow
def test_every_feed_is_opened_by_its_address():
    assert sorted(known_addresses("feed")) == sorted(plugins.own("feed"))
    assert open_feed(Config()) is None
    for name in plugins.own("feed"):
        with closing(load_feed(name)(f"{name}://127.0.0.1:1/0")) as feed, pytest.raises(StoreUnavailable) as caught:
            feed.announce()
        assert caught.value.role == "feed" and "127.0.0.1:1" in str(caught.value)


@pytest.mark.parametrize("name", plugins.own("feed"))
def test_an_address_that_is_none_is_refused(name):
    with pytest.raises(ConfigError, match="is not an address"):
        open_feed(Config(StoreSection(feed=f"{name}://127.0.0.1:port/0")))


def test_a_password_is_read_from_the_environment_or_a_file(tmp_path, monkeypatch):
    file = tmp_path / "password"
    monkeypatch.setenv("HEADWAY_STORE_FEED_PASSWORD_FILE", str(file))
    with pytest.raises(ConfigError, match="the password of the store for feed cannot be read: No such file"):
        load_feed("redis")("redis://127.0.0.1:1/0")
    file.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="it is not UTF-8"):
        load_feed("redis")("redis://127.0.0.1:1/0")


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as made:
        yield made


@pytest.fixture
def opened(server: RedisServer, tmp_path, monkeypatch) -> Iterator[Open]:
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    monkeypatch.setenv("HEADWAY_STORE_FEED_PASSWORD_FILE", str(tmp_path / "password"))
    made: list[Feed] = []

    def open_one() -> Feed:
        made.append(open_feed(Config(StoreSection(feed=server.address))))
        return made[-1]

    yield open_one
    for feed in made:
        feed.close()


@pytest.mark.services
def test_who_waits_hears_an_announcement_of_another_process_and_else_waits(opened):
    first, second = opened(), opened()
    assert first.wait(0) is True, "something may have been missed before"
    assert not first.wait(0)
    timer = threading.Timer(0.05, second.announce)
    timer.start()
    heard = first.wait(WAIT_S)
    timer.join()
    assert heard and not first.wait(0)


@pytest.mark.services
def test_numbers_are_summed_over_all_who_add(opened):
    assert list(opened().add("slo", [1, 2, 3], keep_s=60)) == [1, 2, 3]
    assert list(opened().add("slo", [10, 0, -1], keep_s=60)) == [11, 2, 2]
    assert list(opened().add("other", [5], keep_s=60)) == [5]


@pytest.mark.services
def test_what_is_spent_counts_for_all_and_becomes_less_with_time(opened):
    first, second = opened(), opened()
    assert first.spend({"shop": 100 * S, "bank": 0})["bank"] == 0
    left = second.spend({"shop": 50 * S, "unused": 0})
    assert 140 * S < left["shop"] <= 150 * S and left["unused"] == 0
    assert 0 <= left["shop"] - first.spend({"shop": 0})["shop"] < 10 * S


@pytest.mark.services
def test_a_server_that_was_away_is_reached_again_and_the_waiting_look_again(opened, server):
    feed = opened()
    feed.wait(0)
    server.stop()
    calls = lambda: feed.wait(WAIT_S), feed.announce, lambda: feed.spend({"a": 1}), lambda: feed.add("a", [1], keep_s=1)
    for call in calls:
        with pytest.raises(StoreUnavailable, match="the store for feed does not answer"):
            call()
    server.start()
    assert feed.wait(0) is True and not feed.wait(0)
    opened().announce()
    assert feed.wait(WAIT_S)


@pytest.mark.services
def test_a_wrong_password_is_an_error_that_shows_no_password(server, monkeypatch):
    monkeypatch.setenv("HEADWAY_STORE_FEED_PASSWORD", "t0psecret")
    feed = open_feed(Config(StoreSection(feed=server.address)))
    with closing(feed), pytest.raises(StoreUnavailable) as caught:
        feed.announce()
    assert "t0psecret" not in str(caught.value) and "HEADWAY_STORE_FEED_PASSWORD" in caught.value.hint
