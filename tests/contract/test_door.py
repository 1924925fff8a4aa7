"""What every way in to a server beside HTTP must do; its own tests ask through it."""

from __future__ import annotations

import socket

import pytest
from tests.serving.running import loaded, serving

from headway.core import plugins
from headway.core.errors import ConfigError

DOORS = plugins.names("door")


@pytest.mark.parametrize("name", DOORS)
def test_it_listens_from_when_it_is_made_until_it_is_closed(name):
    with serving(loaded()) as server:
        door = plugins.load_door(name)(server.inside, "127.0.0.1", 0)
        host, port = door.address.rpartition("/")[2].split(":")
        socket.create_connection((host, int(port)), timeout=5).close()
        door.close(1)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host, int(port)), timeout=5)


@pytest.mark.parametrize("name", DOORS)
def test_an_address_that_cannot_be_had_is_an_error_with_a_mend(name):
    with serving(loaded()) as server, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigError, match=r"cannot listen on 127.0.0.1:\d+") as caught:
            plugins.load_door(name)(server.inside, "127.0.0.1", taken.getsockname()[1])
    assert caught.value.hint
