"""Stores that are away: the log, metrics and readiness say so."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import closing

import pytest
from running import ask, loaded, serving

from headway.core.errors import StoreError, StoreUnavailable
from headway.serving.store_health import StoreHealth, StoreProbe, describe_away


def test_each_change_is_logged_once_with_what_it_means(caplog):
    away: dict[str, bool] = {}
    health, error = StoreHealth(away), StoreUnavailable("no answer", where="postgresql://db", hint="wait")
    for _ in range(3):
        health.found("state")
    assert caplog.text == "" and away == {"state": False}
    for _ in range(3):
        health.lost(error)
    assert away == {"state": True} and caplog.text.count("the store for state is away") == 1
    assert "no pointer is followed: no answer" in caplog.text and "at: postgresql://db" in caplog.text
    for _ in range(3):
        health.found("state")
    assert away == {"state": False} and caplog.text.count("the store for state is back") == 1


def test_all_stores_that_are_away_are_described():
    assert describe_away({"state": False, "blobs": False}) == ""
    described = describe_away({"state": True, "blobs": False, "logs": True})
    assert "store for state is away" in described and "; the store for logs is away" in described


@pytest.mark.parametrize("error", [StoreUnavailable("no answer", role="blobs"), StoreError("403")])
def test_a_probe_shows_an_outage_before_the_store_is_needed(error):
    away: dict[str, bool] = {}
    failing = threading.Event()

    def ask() -> None:
        if failing.is_set():
            raise error

    with closing(StoreProbe("blobs", ask, health=StoreHealth(away), every_s=0.001)):
        until(lambda: away == {"blobs": False})
        failing.set()
        until(lambda: away == {"blobs": True})
        failing.clear()
        until(lambda: away == {"blobs": False})


def until(true: Callable[[], bool]) -> None:
    """Wait until a condition is true."""
    ends = time.monotonic() + 20
    while not true():
        assert time.monotonic() < ends, "it never came"


def test_a_server_is_ready_while_a_store_is_away_and_says_so():
    with serving(loaded()) as server:
        assert ask(server, "/v2/health/ready").json == {"ready": True}
        server.plane.metrics.away["state"] = True
        server.plane.metrics.away["feed"] = False
        ready = ask(server, "/v2/health/ready")
        assert ready.status == 200 and "no pointer is followed" in str(ready.json["detail"])
        lines = ask(server, "/metrics").body.decode().splitlines()
        assert 'headway_store_up{role="state"} 0' in lines and 'headway_store_up{role="feed"} 1' in lines
