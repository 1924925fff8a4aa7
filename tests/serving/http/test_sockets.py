"""Sockets of a server: one a worker at one address, which no other server uses."""

from __future__ import annotations

import socket

import pytest

from headway.core.errors import ConfigError
from headway.serving.http.listener import bind_sockets, close_sockets, on_loopback, socket_address


@pytest.fixture
def bound():
    found = bind_sockets("127.0.0.1", 0, workers=3)
    yield found
    close_sockets([opened for own in found for opened in own])


def test_each_worker_has_its_own_socket_at_one_address(bound):
    ports = {opened.getsockname()[1] for own in bound for opened in own}
    assert len(ports) == 1 and socket_address(bound[0]) == f"http://127.0.0.1:{ports.pop()}"


def test_connections_wait_until_a_worker_accepts(bound):
    (first,), *_ = bound
    where = first.getsockname()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(where)
    first.listen()
    with socket.create_connection(where) as client:
        client.sendall(b"here")
        accepted, _ = first.accept()
        with accepted:
            assert accepted.recv(4) == b"here"


def test_an_address_used_by_another_server_is_refused(bound):
    bound[0][0].listen()
    port = bound[0][0].getsockname()[1]
    with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{port}"):
        bind_sockets("127.0.0.1", port, workers=1)


def test_bound_sockets_are_closed_if_a_later_one_fails():
    with pytest.raises(ConfigError, match="cannot listen on no such host:0"):
        bind_sockets("no such host", 0, workers=2)


def test_ipv6_is_in_brackets_and_a_wildcard_is_not_loopback():
    (six,) = bind_sockets("::1", 0, workers=1)
    (wild,) = bind_sockets("0.0.0.0", 0, workers=1)
    assert socket_address(six).startswith("http://[::1]:")
    assert on_loopback(six) and not on_loopback(wild)
    close_sockets([*six, *wild])
