"""TCP ports of loopback for servers whose port is chosen before they bind it."""

from __future__ import annotations

import secrets
import socket
from contextlib import suppress

# Linux gives a connection, or a server at port 0, a port from 32,768 on, other systems one from 49,152 on.
LOWEST, HIGHEST = 20_000, 32_000


def free_port() -> int:
    """Return a free port that the system assigns to no other socket before the server binds it."""
    while True:
        port = LOWEST + secrets.randbelow(HIGHEST - LOWEST)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
