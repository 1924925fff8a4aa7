"""One HTTP/1.1 connection: requests parsed as they arrive, each answered in its turn.

A request that cannot be read (malformed, too large, too slow, meant for another host) is answered with the reason, in
its turn as well, and ends the connection.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Mapping
from typing import NamedTuple, cast

import httptools
import msgspec

from headway.serving.http.server_state import Note, ServerState
from headway.serving.protocol.errors import CONTINUE, JSON, error_body

_TRACE = b"traceparent"
_JSON_BYTES = b"inference-header-content-length"
_NOTED = frozenset(b"host content-length expect upgrade authorization content-encoding transfer-encoding".split()) | {
    _TRACE,
    _JSON_BYTES,
}
_VERSIONS = frozenset({"1.1", "1.0"})
_BODY_AND_UPGRADE = frozenset({b"content-length", b"upgrade"})
_STATEFUL = frozenset({b"expect", b"upgrade", _TRACE})  # or never the same twice
_END = b"\r\n\r\n"
_KEEP, _CLOSE = _END, b"\r\nConnection: close\r\n\r\n"
_PIECE_BYTES = 8_192
_LEARNT_BYTES = 2_048
_log = logging.getLogger(__name__)


class Request(msgspec.Struct, eq=False, gc=False):
    """One request that was read whole, and the place of its answer (a Struct: made in a third of a class's time).

    `json_bytes` of the body are JSON and the rest raw values; None where all of it is JSON.
    """

    connection: Connection
    method: bytes
    url: bytes
    body: bytes | bytearray
    json_bytes: int | None = None
    keep: bool = True
    answer: bytes | None = None
    note: Note | None = None

    @property
    def authorization(self) -> bytes:
        """The header of that name, or nothing; known while it is being handed on."""
        return self.connection.headers.get(b"authorization", b"")

    @property
    def traceparent(self) -> bytes:
        """The header of that name, or nothing; known while it is being handed on."""
        return self.connection.headers.get(_TRACE, b"")

    def reply(self, status: int, body: bytes, *, kind: bytes = JSON, extra: bytes = b"") -> None:
        """Answer once; what was asked earlier on this connection is answered first, whenever that may be.

        `extra`: more headers, each with a line end before it.
        """
        connection, state = self.connection, self.connection.state
        if status >= 400:
            state.errors[status] += 1
        if state.draining and connection.ends_with(self):
            self.keep = False
        head = state.head(status, kind)
        self.answer = b"%b%d%b%b%b" % (
            head,
            len(body),
            extra,
            _KEEP if self.keep else _CLOSE,
            b"" if self.method == b"HEAD" else body,
        )
        connection.settle()
        if self.note is not None:
            self.note.end(status)


class ParsedHead(NamedTuple):
    """What the parser made of the bytes of a head, and how long the body behind it is."""

    method: bytes
    url: bytes
    headers: dict[bytes, bytes]
    json_bytes: int | None
    length: int


class Connection(asyncio.Protocol):
    """Bytes of one client in, answers in order out."""

    def __init__(self, state: ServerState) -> None:
        self.state = state
        self._limits = state.limits
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[Request] = deque()
        self._since = state.now
        self._deaf = False  # no further request is read
        self._lingers = False  # the last answer will be out while the client may still be sending
        self._choked = False  # the client does not read its answers
        self._reading = False  # a request has begun and is not complete
        self._in_head = False
        self._continue_due = False
        self._went_on = False  # since the last look a request began, or a part of a body came
        self._silent = 0
        self._unread = 0
        self._begin()

    def _begin(self) -> None:
        self._head_bytes = 0
        self._url = b""
        self._json_bytes: int | None = None
        self.headers: dict[bytes, bytes] = {}
        self._body: bytes | bytearray = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        self._transport = cast(asyncio.Transport, transport)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.state.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone; answers that it still waits for are dropped when they come."""
        self._deaf = True
        self._waiting.clear()
        self.state.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        """Bytes have come: any number of requests, or a part of one.

        Much is taken in pieces, so that a head without an end is seen however the network has packed it.
        """
        fresh = not self._reading
        start = self._recognise(data) if fresh else 0
        if start == len(data):
            return
        for piece in range(start, len(data), _PIECE_BYTES):
            self._feed(data[piece : piece + _PIECE_BYTES])
        if fresh and not self._reading and not self._deaf:
            self._learn(data[start:])

    def _recognise(self, data: bytes) -> int:
        """Take the whole requests whose heads were met before, byte for byte; where the first other one begins.

        A client says the same head again and again: parsing it costs more than looking it up.
        """
        known, start, size = self.state.known, 0, len(data)
        while start < size and not self._deaf:
            body = data.find(_END, start) + len(_END)
            head = known.get(data[start:body])
            if head is None or body + head.length > size:
                break
            start = body + head.length
            self._since = self.state.now
            self.headers = head.headers
            self._hand_on(Request(self, head.method, head.url, data[body:start], head.json_bytes))
        return start

    def _learn(self, data: bytes) -> None:
        """Remember the head of a request that came whole and alone: then what follows the head is its very body."""
        body = data.find(_END) + len(_END)
        if body <= _LEARNT_BYTES and data[body:] == self._body and self.headers.keys().isdisjoint(_STATEFUL):
            head = ParsedHead(self._parser.get_method(), self._url, self.headers, self._json_bytes, len(self._body))
            self.state.learn(data[:body], head)

    def _feed(self, data: bytes) -> None:
        if self._deaf:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.refuse(400, f"the request is not HTTP/1.1: {error}")
        except httptools.HttpParserUpgrade:
            if not self._last():  # CONNECT: it has been answered, and what follows is no HTTP
                self.close()
        if self._reading:
            self._unfinished(len(data))

    def eof_received(self) -> bool:
        """The client sends no more; it still gets the answers that it waits for."""
        return self._last()

    def pause_writing(self) -> None:
        """The client reads slower than it asks: read no more of it until it has caught up."""
        self._choked = True
        self._since = self.state.now
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._choked = False
        self._transport.resume_reading()

    def on_message_begin(self) -> None:
        """The first byte of a request (called by the parser, as are all `on_`)."""
        self._reading = self._in_head = self._went_on = True
        self._since = self.state.now
        self._begin()

    def on_url(self, url: bytes) -> None:
        """A part of the target."""
        self._url += url
        self._head_bytes += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer of a chunked body: that one only counts."""
        self._head_bytes += len(name) + len(value)
        name = name.lower()
        if name in _NOTED and self._in_head:
            self.headers[name] = value if name not in self.headers else b""  # none of these may be there twice

    def on_headers_complete(self) -> None:
        """The head is whole: refuse here what can be refused before the body comes."""
        self._in_head = False
        headers = self.headers
        if self._parser.get_http_version() not in _VERSIONS:
            self.refuse(400, "the request is not HTTP/1.1")
        elif self._head_bytes > self._limits.head_bytes:
            self.refuse(431, f"more than {self._limits.head_bytes} bytes of headers")
        elif headers.get(b"host") not in self.state.hosts:
            self._expect_host(headers.get(b"host"))
        if len(headers) > 2 or b"content-length" not in headers:
            self._expect_usual(headers)

    def on_body(self, data: bytes) -> None:
        """A part of the body."""
        self._went_on = True
        self._continue_due = False
        if len(self._body) + len(data) > self._limits.body_bytes:
            self.refuse(413, f"the body has more than {self._limits.body_bytes} bytes")
        elif not self._body:
            self._body = data
        else:
            self._body = bytearray(self._body) if isinstance(self._body, bytes) else self._body
            self._body += data

    def on_message_complete(self) -> None:
        """A request is whole: hand it on."""
        self._reading = self._continue_due = False
        if self._deaf:
            return
        request = Request(self, self._parser.get_method(), self._url, self._body, self._json_bytes)
        if not self._parser.should_keep_alive():
            request.keep = False
            self._deaf = True
        self._hand_on(request)

    def _hand_on(self, request: Request) -> None:
        self._waiting.append(request)
        try:
            self.state.application(request)
        except Exception:  # noqa: BLE001 - the worker loop: a defect of ours must not take other callers down
            _log.exception("no answer to %r", request.url)
            request.reply(500, error_body("a defect of the server; its log says more"))

    def ends_with(self, request: Request) -> bool:
        """True where nothing more is in flight after this request."""
        return not self._reading and bool(self._waiting) and self._waiting[-1] is request

    def settle(self) -> None:
        """Send the answers that are ready, up to the first that is not."""
        waiting = self._waiting
        while waiting and waiting[0].answer is not None:
            first = waiting.popleft()
            self._transport.write(cast(bytes, first.answer))
            if not first.keep:
                self._finish()
                return
        self._since = self.state.now
        if self._continue_due and not waiting:
            self._continue()

    def refuse(self, status: int, error: str) -> None:
        """Answer with an error in turn, and read no more of this connection."""
        if self._deaf:
            return
        self._deaf = self._lingers = True
        self._reading = self._continue_due = False
        request = Request(connection=self, method=b"", url=self._url, body=b"", keep=False)
        self._waiting.append(request)
        request.reply(status, error_body(error))

    def check(self, now: float) -> None:
        """End what has taken too long: a request that does not come, an answer that is not read, idleness."""
        waited = now - self._since
        unread = self._transport.get_write_buffer_size()
        if unread < self._unread:
            self._since = now  # slowly, but it reads
        elif self._choked or self._lingers:
            if waited > self._limits.request_s:
                self.abort()
        elif self._reading:
            if waited > self._limits.request_s:
                self.refuse(408, f"the request was not complete after {self._limits.request_s:g} s")
        elif not self._waiting and waited > self._limits.idle_s:
            self.close()
        self._unread = unread

    def drain(self) -> None:
        """Close now if nothing is in flight; else the last answer will."""
        if not self._waiting and not self._reading:
            self.close()

    def close(self) -> None:
        """Send what is written, then close."""
        self._deaf = True
        self._waiting.clear()
        self._transport.close()

    def abort(self) -> None:
        """Close at once, whatever is still to be sent."""
        self._deaf = True
        self._waiting.clear()
        self._transport.abort()

    def _finish(self) -> None:
        """The last answer is written. A client that is still sending must not be reset before it has read it."""
        if not self._lingers:
            self.close()
            return
        self._waiting.clear()
        self._since = self.state.now
        if self._transport.can_write_eof():  # not over TLS: there the client closes, or it is cut off
            self._transport.write_eof()

    def _last(self) -> bool:
        """Read no further request; close after the answers that are waited for, True where there are any."""
        self._deaf = True
        if self._waiting:
            self._waiting[-1].keep = False
        return bool(self._waiting)

    def _unfinished(self, size: int) -> None:
        """`size` bytes have come and the request is not whole; the parser keeps headers and trailers until they end."""
        self._silent = 0 if self._went_on else self._silent + size
        self._went_on = False
        if self._silent > self._limits.head_bytes:
            self.refuse(431, f"more than {self._limits.head_bytes} bytes of headers")
        if not self._in_head:
            self._expect_length()

    def _expect_length(self) -> None:
        if int(self.headers.get(b"content-length", 0)) > self._limits.body_bytes:
            self.refuse(413, f"the body has more than {self._limits.body_bytes} bytes")

    def _expect_host(self, host: bytes | None) -> None:
        refusal = self.state.refuses(host, version=self._parser.get_http_version())
        if refusal is not None:
            self.refuse(*refusal)

    def _expect_usual(self, headers: Mapping[bytes, bytes]) -> None:
        if b"transfer-encoding" in headers:
            self._expect_chunked(headers[b"transfer-encoding"])
        if headers.keys() >= _BODY_AND_UPGRADE and self._parser.should_upgrade():
            self.refuse(400, "no other protocol is spoken here; ask without 'Upgrade'")
        elif headers.get(b"content-encoding", b"identity").lower() != b"identity":
            self.refuse(415, "a body is taken as it is; send it without 'Content-Encoding'")
        if _JSON_BYTES in headers:
            self._expect_json_bytes(headers[_JSON_BYTES])
        if b"expect" in headers:
            self._expect_length()
            self._expect_continue(headers[b"expect"])

    def _expect_chunked(self, coding: bytes) -> None:
        """What stands between might read any other coding, or any in HTTP/1.0, as a body that ends elsewhere."""
        if coding.lower() != b"chunked" or self._parser.get_http_version() == "1.0":
            self.refuse(400, "a body comes in no transfer coding but 'chunked', and in that in HTTP/1.1")

    def _expect_json_bytes(self, length: bytes) -> None:
        if length.isdigit() and len(length) < 16:
            self._json_bytes = int(length)
        else:
            self.refuse(400, "'Inference-Header-Content-Length' is no number of bytes, or is there twice")

    def _expect_continue(self, expected: bytes) -> None:
        if expected.lower() != b"100-continue":
            self.refuse(417, "no expectation but '100-continue' can be met")
        elif not self._deaf:
            self._continue_due = True
            if not self._waiting:
                self._continue()

    def _continue(self) -> None:
        self._continue_due = False
        self._transport.write(CONTINUE)
