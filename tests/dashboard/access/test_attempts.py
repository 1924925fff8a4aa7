"""How many sign-ins may fail, by name and by address."""

from __future__ import annotations

import threading

import pytest

from headway.dashboard.access import attempts
from headway.dashboard.access.attempts import Attempts, network_of


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def limited(clock):
    return Attempts({"name": (3, 10.0), "address": (5, 1.0)}, clock=clock)


def test_some_may_fail_at_once_then_one_in_a_while(limited, clock):
    assert [limited.begin(name="ada", address="a") for _ in range(3)] == [0, 0, 0]
    assert limited.begin(name="ada", address="a") == 10.0
    clock.now = 9.0
    assert limited.begin(name="ada", address="a") == 1.0
    clock.now = 10.0
    assert limited.begin(name="ada", address="a") == 0
    assert limited.begin(name="ada", address="a") == 10.0


def test_an_address_is_limited_whatever_the_name_and_a_name_whatever_the_address(limited):
    assert [limited.begin(name=str(name), address="a") > 0 for name in range(6)] == [False] * 5 + [True]
    assert [limited.begin(name="ada", address=str(address)) > 0 for address in range(4)] == [False] * 3 + [True]


def test_what_had_to_wait_is_not_counted(limited, clock):
    for _ in range(20):
        limited.begin(name="ada", address="a")
    clock.now = 10.0
    assert limited.begin(name="ada", address="a") == 0


def test_success_is_taken_off(limited):
    for _ in range(20):
        assert limited.begin(name="ada", address="a") == 0
        limited.succeed(name="ada", address="a")


def test_many_at_once_do_not_pass_together(limited):
    together, passed = threading.Barrier(16), []

    def attempt() -> None:
        together.wait()
        passed.append(limited.begin(name="ada", address="a") == 0)

    threads = [threading.Thread(target=attempt) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(passed) == 3


def test_the_memory_is_bounded(limited, monkeypatch):
    monkeypatch.setattr(attempts, "MAX_SUBJECTS", 4)
    for name in range(50):
        limited.begin(name=str(name), address=str(name))
    assert len(limited._until) <= 4
    limited.succeed(name="0", address="0")


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1:2", "2001:db8::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("", ""),
        ("testclient", "testclient"),
    ],
)
def test_a_caller_is_counted_by_address_and_in_ipv6_by_network(address, network):
    assert network_of(address) == network
