"""HTTP/1.1 connections: requests are parsed as they arrive and answered in order.

A request that cannot be read (malformed, too large, too slow, sent to another host) is answered with the reason, in
order as well, and ends the connection.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from collections import deque
from collections.abc import Callable, Mapping
from email.utils import formatdate
from typing import TYPE_CHECKING, NamedTuple, cast

import httptools
import msgspec

from headway.core.record import Record
from headway.serving.protocol.errors import CONTINUE, JSON, error_body, response_head
from headway.serving.telemetry.tracing import RequestSpan

if TYPE_CHECKING:
    from headway.core.contracts import Ints

_TRACEPARENT = b"traceparent"
_JSON_BYTES = b"inference-header-content-length"
_READ_HEADERS = frozenset(
    b"host content-length expect upgrade authorization content-encoding transfer-encoding".split()
) | {_TRACEPARENT, _JSON_BYTES}
_VERSIONS = frozenset({"1.1", "1.0"})
_BODY_AND_UPGRADE = frozenset({b"content-length", b"upgrade"})
_NOT_CACHED = frozenset({b"expect", b"upgrade", _TRACEPARENT})  # they have state, or never occur twice
_END = b"\r\n\r\n"
_KEEP, _CLOSE = _END, b"\r\nConnection: close\r\n\r\n"
_PIECE_BYTES = 8_192
_CACHED_HEAD_BYTES = 2_048
_CACHED_HEADS = 1_024
_LOOPBACK_NAMES = frozenset({b"localhost", b"127.0.0.1", b"[::1]"})
_PORT = re.compile(rb":\d+$")
_log = logging.getLogger(__name__)


class ConnectionLimits(Record, frozen=True, kw_only=True):
    """Limits of one connection: bytes of a head and of a body, seconds for a request and between requests."""

    head_bytes: int = 16_384
    body_bytes: int = 8_388_608
    request_s: float = 20.0
    idle_s: float = 75.0


class Request(msgspec.Struct, eq=False, gc=False):
    """One complete request, and the slot of its response (a Struct: created in a third of the time of a class).

    `json_bytes` of the body are JSON and the rest are raw values; None if all of it is JSON.
    """

    connection: Connection
    method: bytes
    url: bytes
    body: bytes | bytearray
    json_bytes: int | None = None
    keep: bool = True
    response: bytes | None = None
    span: RequestSpan | None = None

    @property
    def authorization(self) -> bytes:
        """The header of that name, or b""; valid only while the request is dispatched."""
        return self.connection.headers.get(b"authorization", b"")

    @property
    def traceparent(self) -> bytes:
        """The header of that name, or b""; valid only while the request is dispatched."""
        return self.connection.headers.get(_TRACEPARENT, b"")

    def reply(self, status: int, body: bytes, *, kind: bytes = JSON, extra: bytes = b"") -> None:
        """Answer the request, once. It is sent after the responses to earlier requests on the same connection.

        Parameters
        ----------
        status, body
            Status code and body.
        kind
            Content type.
        extra
            More headers, each preceded by a line end.
        """
        connection, state = self.connection, self.connection.state
        if status >= 400:
            state.errors[status] += 1
        if state.draining and connection.ends_with(self):
            self.keep = False
        head = state.head(status, kind)
        self.response = b"%b%d%b%b%b" % (
            head,
            len(body),
            extra,
            _KEEP if self.keep else _CLOSE,
            b"" if self.method == b"HEAD" else body,
        )
        connection.flush()
        if self.span is not None:
            self.span.end(status)


class ParsedHead(NamedTuple):
    """A request head as the parser read it, and the length of the body behind it."""

    method: bytes
    url: bytes
    headers: dict[bytes, bytes]
    json_bytes: int | None
    length: int


class ServerState:
    """State shared by all connections of a listener: limits, accepted hosts, the clock, and the open connections.

    `application` takes each complete request. `errors`, int64 [600], counts responses with an error by HTTP status.
    """

    def __init__(
        self, application: Callable[[Request], None], *, limits: ConnectionLimits, errors: Ints, now: float
    ) -> None:
        self.application = application
        self.limits = limits
        self.errors = errors
        self.connections: set[Connection] = set()
        self.hosts: frozenset[bytes | None] = frozenset()
        self.loopback = True
        self.draining = False
        self.known: dict[bytes, ParsedHead] = {}
        self.tick(now)

    def tick(self, now: float) -> None:
        """Set the clock and the `Date` of responses."""
        self.now = now
        self._date = formatdate(usegmt=True).encode()
        self._heads: dict[tuple[int, bytes], bytes] = {}

    def learn(self, content: bytes, head: ParsedHead) -> None:
        """Cache a parsed head by its bytes; a full cache is cleared."""
        if len(self.known) == _CACHED_HEADS:
            self.known.clear()
        self.known[content] = head

    def accept_hosts(self, ports: list[int], *, loopback: bool) -> None:
        """Accept requests to these ports: on loopback only under loopback names, elsewhere under any name."""
        self.loopback = loopback
        if loopback:
            self.hosts = frozenset(b"%b:%d" % (name, port) for name in _LOOPBACK_NAMES for port in ports)

    def head(self, status: int, kind: bytes) -> bytes:
        """Return the head of a response up to the value of Content-Length; cached until the date changes."""
        known = self._heads.get((status, kind))
        if known is None:
            known = self._heads[status, kind] = response_head(status, kind=kind, date=self._date)
        return known

    def check_host(self, host: bytes | None, *, version: str) -> tuple[int, str] | None:
        """Return the status and the reason to reject a `Host` header, or None.

        On loopback this blocks DNS rebinding: a web page whose own name resolves to 127.0.0.1.
        """
        if host == b"" or (host is None and (self.loopback or version != "1.0")):
            return 400, "exactly one header 'Host' is required"
        if self.loopback and host is not None and _PORT.sub(b"", host).lower() not in _LOOPBACK_NAMES:
            return 421, f"host '{host.decode('ascii', 'replace')}' is not served here; use localhost"
        return None


class Connection(asyncio.Protocol):
    """One client: bytes in, responses out in the order of the requests."""

    def __init__(self, state: ServerState) -> None:
        self.state = state
        self._limits = state.limits
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[Request] = deque()
        self._since = state.now
        self._stopped = False  # no further request is read
        self._lingers = False  # the last response will be written while the client may still be sending
        self._blocked = False  # the client does not read its responses
        self._reading = False  # a request has begun and is not complete
        self._in_head = False
        self._continue_due = False
        self._progressed = False  # since the last check a request began, or a part of a body arrived
        self._silent = 0
        self._unread = 0
        self._reset()

    def _reset(self) -> None:
        self._head_bytes = 0
        self._url = b""
        self._json_bytes: int | None = None
        self.headers: dict[bytes, bytes] = {}
        self._body: bytes | bytearray = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Register the connection."""
        self._transport = cast(asyncio.Transport, transport)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.state.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Drop the responses that the client still waits for."""
        self._stopped = True
        self._waiting.clear()
        self.state.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        """Read any number of requests, or a part of one.

        Complete requests whose head was parsed before, byte for byte, skip the parser: clients repeat the same head,
        and looking it up costs less than parsing it. The rest is parsed in pieces, so that a head without an end is
        detected however the network packed it.
        """
        first = not self._reading
        start, size = 0, len(data)
        if first:
            known = self.state.known
            while start < size and not self._stopped:
                body = data.find(_END, start) + len(_END)
                head = known.get(data[start:body])
                if head is None or body + head.length > size:
                    break
                start = body + head.length
                self._since = self.state.now
                self.headers = head.headers
                self._dispatch(Request(self, head.method, head.url, data[body:start], head.json_bytes))
            if start == size:
                return
        for piece in range(start, size, _PIECE_BYTES):
            self._feed(data[piece : piece + _PIECE_BYTES])
        if first and not self._reading and not self._stopped:
            self._learn(data[start:])

    def _learn(self, data: bytes) -> None:
        """Cache the head of a request that arrived complete and alone: what follows the head is exactly its body."""
        body = data.find(_END) + len(_END)
        if body <= _CACHED_HEAD_BYTES and data[body:] == self._body and self.headers.keys().isdisjoint(_NOT_CACHED):
            head = ParsedHead(self._parser.get_method(), self._url, self.headers, self._json_bytes, len(self._body))
            self.state.learn(data[:body], head)

    def _feed(self, data: bytes) -> None:
        if self._stopped:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.refuse(400, f"the request is not HTTP/1.1: {error}")
        except httptools.HttpParserUpgrade:
            if not self._stop_reading():  # CONNECT: it has been answered, and what follows is not HTTP
                self.close()
        if self._reading:
            self._check_unfinished(len(data))

    def eof_received(self) -> bool:
        """Stop reading; the client still receives the responses that it waits for."""
        return self._stop_reading()

    def pause_writing(self) -> None:
        """Stop reading from a client that reads its responses too slowly."""
        self._blocked = True
        self._since = self.state.now
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Read again."""
        self._blocked = False
        self._transport.resume_reading()

    def on_message_begin(self) -> None:
        """Begin a request (called by the parser, as are all methods `on_*`)."""
        self._reading = self._in_head = self._progressed = True
        self._since = self.state.now
        self._reset()

    def on_url(self, url: bytes) -> None:
        """Append a part of the target."""
        self._url += url
        self._head_bytes += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Store a header; a trailer of a chunked body only counts towards the limit."""
        self._head_bytes += len(name) + len(value)
        name = name.lower()
        if name in _READ_HEADERS and self._in_head:
            self.headers[name] = value if name not in self.headers else b""  # none of these may occur twice

    def on_headers_complete(self) -> None:
        """Refuse what can be refused before the body arrives."""
        self._in_head = False
        headers = self.headers
        if self._parser.get_http_version() not in _VERSIONS:
            self.refuse(400, "the request is not HTTP/1.1")
        elif self._head_bytes > self._limits.head_bytes:
            self.refuse(431, f"more than {self._limits.head_bytes} bytes of headers")
        elif headers.get(b"host") not in self.state.hosts:
            self._check_host(headers.get(b"host"))
        if len(headers) > 2 or b"content-length" not in headers:
            self._check_headers(headers)

    def on_body(self, data: bytes) -> None:
        """Append a part of the body."""
        self._progressed = True
        self._continue_due = False
        if len(self._body) + len(data) > self._limits.body_bytes:
            self.refuse(413, f"the body has more than {self._limits.body_bytes} bytes")
        elif not self._body:
            self._body = data
        else:
            self._body = bytearray(self._body) if isinstance(self._body, bytes) else self._body
            self._body += data

    def on_message_complete(self) -> None:
        """Dispatch the complete request."""
        self._reading = self._continue_due = False
        if self._stopped:
            return
        request = Request(self, self._parser.get_method(), self._url, self._body, self._json_bytes)
        if not self._parser.should_keep_alive():
            request.keep = False
            self._stopped = True
        self._dispatch(request)

    def _dispatch(self, request: Request) -> None:
        self._waiting.append(request)
        try:
            self.state.application(request)
        except Exception:  # noqa: BLE001 - the worker loop: a defect of the server must not fail other callers
            _log.exception("no answer to %r", request.url)
            request.reply(500, error_body("internal server error; see the log of the server"))

    def ends_with(self, request: Request) -> bool:
        """Return True if nothing follows this request on the connection."""
        return not self._reading and bool(self._waiting) and self._waiting[-1] is request

    def flush(self) -> None:
        """Write the responses that are ready, up to the first that is not."""
        waiting = self._waiting
        while waiting and waiting[0].response is not None:
            first = waiting.popleft()
            self._transport.write(cast(bytes, first.response))
            if not first.keep:
                self._finish()
                return
        self._since = self.state.now
        if self._continue_due and not waiting:
            self._continue()

    def refuse(self, status: int, error: str) -> None:
        """Answer with an error in order, and read no more from this connection."""
        if self._stopped:
            return
        self._stopped = self._lingers = True
        self._reading = self._continue_due = False
        request = Request(connection=self, method=b"", url=self._url, body=b"", keep=False)
        self._waiting.append(request)
        request.reply(status, error_body(error))

    def check(self, now: float) -> None:
        """End a connection that takes too long to send a request or to read a response, or that is idle."""
        waited = now - self._since
        unread = self._transport.get_write_buffer_size()
        if unread < self._unread:
            self._since = now  # slowly, but the client reads
        elif self._blocked or self._lingers:
            if waited > self._limits.request_s:
                self.abort()
        elif self._reading:
            if waited > self._limits.request_s:
                self.refuse(408, f"the request was not complete after {self._limits.request_s:g} s")
        elif not self._waiting and waited > self._limits.idle_s:
            self.close()
        self._unread = unread

    def drain(self) -> None:
        """Close now if nothing is in flight, otherwise after the last response."""
        if not self._waiting and not self._reading:
            self.close()

    def close(self) -> None:
        """Close after sending what is written."""
        self._stopped = True
        self._waiting.clear()
        self._transport.close()

    def abort(self) -> None:
        """Close at once, and discard what is not sent."""
        self._stopped = True
        self._waiting.clear()
        self._transport.abort()

    def _finish(self) -> None:
        """End after the last response; a client that still sends must not be reset before it has read it."""
        if not self._lingers:
            self.close()
            return
        self._waiting.clear()
        self._since = self.state.now
        if self._transport.can_write_eof():  # not over TLS: there the client closes, or is cut off
            self._transport.write_eof()

    def _stop_reading(self) -> bool:
        """Read no further request and close after the waiting responses; return True if there are any."""
        self._stopped = True
        if self._waiting:
            self._waiting[-1].keep = False
        return bool(self._waiting)

    def _check_unfinished(self, size: int) -> None:
        """Check an incomplete request after `size` more bytes; the parser keeps headers and trailers until they end."""
        self._silent = 0 if self._progressed else self._silent + size
        self._progressed = False
        if self._silent > self._limits.head_bytes:
            self.refuse(431, f"more than {self._limits.head_bytes} bytes of headers")
        if not self._in_head:
            self._check_length()

    def _check_length(self) -> None:
        if int(self.headers.get(b"content-length", 0)) > self._limits.body_bytes:
            self.refuse(413, f"the body has more than {self._limits.body_bytes} bytes")

    def _check_host(self, host: bytes | None) -> None:
        refusal = self.state.check_host(host, version=self._parser.get_http_version())
        if refusal is not None:
            self.refuse(*refusal)

    def _check_headers(self, headers: Mapping[bytes, bytes]) -> None:
        if b"transfer-encoding" in headers:
            self._check_chunked(headers[b"transfer-encoding"])
        if headers.keys() >= _BODY_AND_UPGRADE and self._parser.should_upgrade():
            self.refuse(400, "protocol upgrades are not supported; send the request without 'Upgrade'")
        elif headers.get(b"content-encoding", b"identity").lower() != b"identity":
            self.refuse(415, "encoded bodies are not supported; send the body without 'Content-Encoding'")
        if _JSON_BYTES in headers:
            self._read_json_bytes(headers[_JSON_BYTES])
        if b"expect" in headers:
            self._check_length()
            self._check_expect(headers[b"expect"])

    def _check_chunked(self, coding: bytes) -> None:
        """Refuse other transfer codings, and any in HTTP/1.0: a proxy might find the end of the body elsewhere."""
        if coding.lower() != b"chunked" or self._parser.get_http_version() == "1.0":
            self.refuse(400, "the only supported transfer coding is 'chunked', in HTTP/1.1")

    def _read_json_bytes(self, length: bytes) -> None:
        if length.isdigit() and len(length) < 16:
            self._json_bytes = int(length)
        else:
            self.refuse(400, "'Inference-Header-Content-Length' must be one number of bytes")

    def _check_expect(self, expected: bytes) -> None:
        if expected.lower() != b"100-continue":
            self.refuse(417, "the only supported expectation is '100-continue'")
        elif not self._stopped:
            self._continue_due = True
            if not self._waiting:
                self._continue()

    def _continue(self) -> None:
        self._continue_due = False
        self._transport.write(CONTINUE)
