"""The minimum of a server on the same loop: it sends the body of each request back."""

from __future__ import annotations

import asyncio
import os

import uvloop


class Echo(asyncio.Protocol):
    """One connection; requests arrive whole, as bench/serving/load.py sends them on loopback."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Store the transport."""
        self._write = transport.write

    def data_received(self, data: bytes) -> None:
        """Answer."""
        body = data.partition(b"\r\n\r\n")[2]
        self._write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", int(os.environ["PORT"]))
    await server.serve_forever()


def main() -> None:
    """Serve at PORT until a signal."""
    uvloop.run(_serve())
