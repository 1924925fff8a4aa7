"""Connections to the remote stage: requests of one endpoint, each with a bounded response, and connections kept open.

No redirect is followed, and no proxy of the environment is used. A kept connection that the server closed before it
answered is replaced by a new one once.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import NamedTuple

import httptools

_MAX_RESPONSE, _READ = 1 << 20, 65_536


class Endpoint(NamedTuple):
    """Where the remote stage is: host, port, path and query, and whether it is asked over TLS."""

    host: str
    port: int
    target: str
    is_https: bool


class MalformedResponse(Exception):
    """The response is not one of HTTP, or it is too large."""


class EndpointConnections:
    """Sends requests to an endpoint, on one loop.

    Parameters
    ----------
    endpoint
        Where it is.
    key
        API key; empty: none is sent.
    trusted
        PEM file of certificate authorities; None: those that the machine trusts.
    keeps
        Keep connections open for further requests.
    """

    def __init__(self, endpoint: Endpoint, *, key: str = "", trusted: str | None = None, keeps: bool = False) -> None:
        self._endpoint = endpoint
        self._keeps = keeps
        self._tls = ssl.create_default_context(cafile=trusted) if endpoint.is_https else None
        host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
        authorization = f"Authorization: Bearer {key}\r\n" if key else ""
        self._head = (
            f"POST {endpoint.target} HTTP/1.1\r\nHost: {host}:{endpoint.port}\r\n{authorization}"
            f"Content-Type: application/json\r\nAccept: application/json\r\n"
            f"Connection: {'keep-alive' if keeps else 'close'}\r\nContent-Length: "
        )
        self._idle = list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]()

    async def post(self, body: bytes) -> tuple[int, bytes]:
        """Return the status and the body of the response to a request; a status of 0 if the server sent none.

        Raises
        ------
        OSError
            If the server cannot be reached.
        MalformedResponse
            If the response is not one of HTTP, or larger than 1 MiB.
        """
        while self._idle:
            reader, writer = self._idle.pop()
            try:
                status, content = await self._exchange(reader, writer, body)
            except ConnectionError:
                continue
            if status:
                return status, content
        endpoint = self._endpoint
        name = endpoint.host if self._tls else None
        opened = await asyncio.open_connection(endpoint.host, endpoint.port, ssl=self._tls, server_hostname=name)
        return await self._exchange(*opened, body)

    def close(self) -> None:
        """Close the idle connections, on the loop."""
        while self._idle:
            self._idle.pop()[1].close()

    async def _exchange(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes
    ) -> tuple[int, bytes]:
        response, is_kept = _Response(), False
        parser = response.parser
        try:
            writer.write(b"%b%d\r\n\r\n%b" % (self._head.encode(), len(body), body))
            await writer.drain()
            while not response.is_complete and (data := await reader.read(_READ)):
                parser.feed_data(data)
                if response.size > _MAX_RESPONSE:
                    raise MalformedResponse
            is_kept = self._keeps and response.may_keep
        except httptools.HttpParserError:
            raise MalformedResponse from None
        finally:
            if is_kept:
                self._idle.append((reader, writer))
            else:
                writer.close()
        return parser.get_status_code(), b"".join(response.parts)


class _Response:
    """The body of a response, as its parser reads it; `may_keep` if more responses may follow on the connection."""

    def __init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.parts: list[bytes] = []
        self.size = 0
        self.is_complete = self.may_keep = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.size += len(name) + len(value)

    def on_body(self, part: bytes) -> None:
        self.parts.append(part)
        self.size += len(part)

    def on_message_complete(self) -> None:
        self.is_complete = True
        self.may_keep = self.parser.should_keep_alive()  # the parser forgets the headers after this
