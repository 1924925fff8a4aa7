"""HTTP/1.1 connections: requests are parsed as they arrive and answered in order.

A request that cannot be read (malformed, too large, too slow, sent to another host) is answered with the reason, in
order as well, and ends the connection.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, MutableMapping
from email.utils import formatdate
from functools import cached_property
from typing import TYPE_CHECKING, cast

import httptools
import msgspec

from headway.core.record import Record
from headway.serving.protocol.endpoints import match_route
from headway.serving.protocol.errors import CONTINUE, JSON, error_body, response_head
from headway.serving.telemetry.logs import Throttle
from headway.serving.telemetry.tracing import RequestSpan

if TYPE_CHECKING:
    from headway.core.contracts import Ints

_TRACEPARENT = b"traceparent"
_JSON_BYTES = b"inference-header-content-length"
_ORIGIN, _SITE, _TYPE = b"origin", b"sec-fetch-site", b"content-type"
_READ_HEADERS = frozenset(
    b"host content-length expect upgrade authorization content-encoding transfer-encoding".split()
) | {_TRACEPARENT, _JSON_BYTES, _ORIGIN, _SITE, _TYPE}
_PLAIN_HEADERS = frozenset({b"host", b"content-length"})
_VERSIONS = frozenset({"1.1", "1.0"})
_BODY_AND_UPGRADE = frozenset({b"content-length", b"upgrade"})
_NOT_CACHED = frozenset({b"expect", b"upgrade", _TRACEPARENT})  # they have state, or never occur twice
_END = b"\r\n\r\n"
_KEEP, _CLOSE = _END, b"\r\nConnection: close\r\n\r\n"
_PIECE_BYTES, _BODY_PIECE_BYTES = 4_096, 65_536
_TURN_S = 0.003
_CACHED_HEAD_BYTES = 2_048
_CACHED_HEADS = 1_024
_SAFE_METHODS = frozenset({b"GET", b"HEAD", b"OPTIONS"})
_SAME_SITE = frozenset({b"same-origin", b"none"})
_FORM_TYPES = frozenset({b"text/plain", b"multipart/form-data"})  # a page may send them to any site without asking it
SMALL_BODY_BYTES = 16_384  # smaller ones are not refused for memory, and not counted if they arrive complete
_ANSWERED_CONNECTIONS, _ANSWERED_FILES = 64, 4  # beyond a limit, so many get a response; others are closed at once
_PIPELINED = 128  # requests of a connection that may wait: further ones, and their responses, would fill the memory
_MIB = 1 << 20
_RETRY = b"\r\nRetry-After: 1"
_LOOPBACK_NAMES = frozenset({b"localhost", b"127.0.0.1", b"[::1]"})
_PORT = re.compile(rb":\d+$")
_log = logging.getLogger(__name__)


class ConnectionLimits(Record, frozen=True, kw_only=True):
    """Limits of one connection: bytes of a head and of a body, seconds for a request and between requests.

    Of all connections of a listener: their number, and the bytes of bodies that they hold.
    """

    head_bytes: int = 16_384
    body_bytes: int = 8_388_608
    request_s: float = 20.0
    idle_s: float = 75.0
    connections: int = 4_096
    held_bytes: int = 128 * _MIB


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
    held_bytes: int = 0

    @property
    def is_json(self) -> bool:
        """True if the header `Content-Type` names JSON; valid only while the request is dispatched."""
        kind = media_type(self.connection.headers)
        return kind == JSON or kind.endswith(b"+json")

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
        ending = _KEEP if self.keep else _CLOSE
        sent = b"" if self.method == b"HEAD" else body
        self.response = b"".join((state.head(status, kind), b"%d" % len(body), extra, ending, sent))
        connection.flush()
        if self.span is not None:
            self.span.end(status)


def media_type(headers: Mapping[bytes, bytes]) -> bytes:
    """Return the media type of the header `Content-Type`, without parameters; b"" without the header."""
    return headers.get(_TYPE, b"").partition(b";")[0].strip().lower()


class ParsedHead(msgspec.Struct, frozen=True, gc=False):
    """A request head as the parser read it, and the length of the body behind it."""

    method: bytes
    url: bytes
    headers: dict[bytes, bytes]
    json_bytes: int | None
    length: int


class ServerState:
    """State shared by all connections of a listener: limits, accepted hosts, the clock, and the open connections.

    `application` takes each complete request. `errors`, int64 [600], counts responses with an error by HTTP status,
    `overloads` what was refused by the limit that was reached. Pages of `trusted_origins` may write. A connection whose
    file descriptor is `max_file` or more is refused, as hardly any are left.
    """

    def __init__(
        self,
        application: Callable[[Request], None],
        *,
        limits: ConnectionLimits,
        errors: Ints,
        overloads: MutableMapping[str, int],
        trusted_origins: Collection[str] = (),
        now: float,
    ) -> None:
        self.application = application
        self.limits = limits
        self.errors = errors
        self.overloads = overloads
        self.trusted_origins = frozenset(origin.lower().rstrip("/").encode() for origin in trusted_origins)
        self.max_file = sys.maxsize
        self.held_bytes = 0
        self._throttle = Throttle()
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

    def overload(self, limit: str, reason: str) -> None:
        """Count what a limit refused (one of `metrics.OVERLOADS`), and log the reason once a minute."""
        self.overloads[limit] += 1
        count = self._throttle.count(limit)
        if count:
            _log.warning("%s; refused since the last such line: %d", reason, count)

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

    def check_write(self, headers: Mapping[bytes, bytes]) -> tuple[int, str] | None:
        """Return the status and the reason to reject a request that may write, or None.

        A page of another site can make a browser send requests, also to loopback. Browsers then say so.
        """
        origin, site = headers.get(_ORIGIN), headers.get(_SITE)
        if origin is not None and origin.lower() in self.trusted_origins:
            allowed = True
        elif site is not None:
            allowed = site in _SAME_SITE
        else:
            allowed = origin is None or origin.lower().partition(b"://")[2] == headers.get(b"host", b"").lower()
        if not allowed:
            page = f"'{origin.decode('ascii', 'replace')}'" if origin else "another site"
            return 403, f"a web page of {page} may not write here; [serve] trusted_origins lists the pages that may"
        if media_type(headers) in _FORM_TYPES:
            return 415, "the body is not of a type that is read; send 'Content-Type: application/json'"
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
        self._paused = False  # no more is read, for it is blocked, or many of its requests wait
        self._turn_ends = 0.0
        self._turn_due = False  # it goes on in the next iteration of the loop
        self._parsed: deque[tuple[Request, dict[bytes, bytes]]] = deque()  # parsed since the pause, not answered yet
        self._rest = b""  # what was received before the pause, and is not read yet
        self._reading = False  # a request has begun and is not complete
        self._in_head = False
        self._continue_due = False
        self._progressed = False  # since the last check a request began, or a part of a body arrived
        self._silent = 0
        self._unread = 0
        self._held_bytes = 0
        self._reset()

    def _reset(self) -> None:
        self._head_bytes = 0
        self._url = b""
        self._json_bytes: int | None = None
        self.headers: dict[bytes, bytes] = {}
        self._body: bytes | bytearray = b""

    @cached_property
    def peer(self) -> str:
        """Address of the client, without its port; "" for a socket that has none."""
        address = self._transport.get_extra_info("peername")
        return str(address[0]) if isinstance(address, tuple) else ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Register the connection."""
        self._transport = cast(asyncio.Transport, transport)
        client = transport.get_extra_info("socket")
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        state = self.state
        state.connections.add(self)
        more, files = len(state.connections) - self._limits.connections, client.fileno() - state.max_file + 1
        if files > 0:
            reason = "hardly any more files can be opened (ulimit -n)"
            self._refuse_connection("open_files", reason, answered=files <= _ANSWERED_FILES)
        elif more > 0:
            reason = f"{self._limits.connections} connections are open"
            self._refuse_connection("max_connections", reason, answered=more <= _ANSWERED_CONNECTIONS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Drop the responses that the client still waits for."""
        self._stopped = True
        self._waiting.clear()
        self._parsed.clear()
        self._release(self._held_bytes)
        self.state.connections.discard(self)

    def _refuse_connection(self, limit: str, reason: str, *, answered: bool) -> None:
        """Refuse this connection; it gets a response and is closed at the next check, or closed at once."""
        self.state.overload(limit, reason)
        if not answered:
            self.abort()
            return
        self.refuse(503, f"{reason}; retry later", extra=_RETRY)
        self._since -= self._limits.request_s

    def data_received(self, data: bytes) -> None:
        """Read any number of requests, or a part of one.

        Complete requests whose head was parsed before, byte for byte, skip the parser: clients repeat the same head,
        and looking it up costs less than parsing it. The rest is parsed in pieces, so that a head without an end is
        detected however the network packed it. After a refusal the rest is dropped.
        """
        if self._stopped:
            return
        if self._paused:
            self._rest += data
            return
        first = not self._reading
        start, size = 0, len(data)
        if not self._turn_due:
            self._turn_ends = 0.0
        if first:
            known = self.state.known
            while start < size and not self._stopped and not self._paused:
                body = data.find(_END, start) + len(_END)
                head = known.get(data[start:body])
                if head is None or body + head.length > size:
                    break
                start = body + head.length
                self._since = self.state.now
                self.headers = head.headers
                self._dispatch(Request(self, head.method, head.url, data[body:start], head.json_bytes))
                if start < size:
                    self._check_turn()
            if start == size:
                return
        self._feed_pieces(data, start)
        if self._rest:
            return
        if first and not self._reading and not self._stopped:
            self._learn(data[start:])
        if size >= _BODY_PIECE_BYTES:  # the loop may read more before it comes to others
            self._check_turn()
            self._await_turn()
        if not self._reading:
            self._body = b""  # its request holds it until it is answered

    def _feed_pieces(self, data: bytes, start: int) -> None:
        """Parse what begins at `start`, and keep what is left once the connection has paused."""
        size = len(data)
        if size - start > _PIECE_BYTES:
            self._check_turn()  # the first piece counts, too
        while start < size:
            if self._paused:
                self._rest = data[start:]
                return
            end = start + self._piece_bytes()
            self._feed(data[start:end])
            start = end
            if start < size:
                self._check_turn()

    def _piece_bytes(self) -> int:
        """Return how much to parse at once: what is missing of a body, or little, as it may hold many requests."""
        if self._in_head or not self._reading:
            return _PIECE_BYTES
        missing = int(self.headers.get(b"content-length") or 0) - len(self._body)
        return max(_PIECE_BYTES, min(missing, _BODY_PIECE_BYTES))

    def _check_turn(self) -> None:
        """Pause once this connection has read for long at a stretch; others are served before it goes on.

        A turn begins with the first check in it.
        """
        now = time.perf_counter()
        if not self._turn_ends:
            self._turn_ends = now + _TURN_S
        elif now > self._turn_ends and not self._paused:
            self._pause()
            self._await_turn()

    def _await_turn(self) -> None:
        if not self._turn_due:
            self._turn_due = True
            asyncio.get_running_loop().call_soon(self._begin_turn)

    def _begin_turn(self) -> None:
        self._turn_due, self._turn_ends = False, 0.0
        if self._paused:
            self._resume()

    def _learn(self, data: bytes) -> None:
        """Cache the head of a request that arrived complete and alone: what follows the head is exactly its body.

        Heads of large bodies are not cached, so that every large body is counted.
        """
        body = data.find(_END) + len(_END)
        if (
            len(self._body) <= SMALL_BODY_BYTES
            and body <= _CACHED_HEAD_BYTES
            and data[body:] == self._body
            and self.headers.keys().isdisjoint(_NOT_CACHED)
        ):
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
        self._pause()

    def resume_writing(self) -> None:
        """Read again."""
        self._blocked = False
        self._resume()

    def _pause(self) -> None:
        self._paused = True
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def _resume(self) -> None:
        """Read what was received before the pause, then what arrives, unless there is still a reason for the pause."""
        if self._blocked or self._turn_due or len(self._waiting) - len(self._parsed) > _PIPELINED // 2:
            return
        self._paused = False
        while self._parsed and not self._paused:
            self._answer(*self._parsed.popleft())
            self._check_turn()
        if self._paused:
            return
        rest, self._rest = self._rest, b""
        if rest:
            self.data_received(rest)
        if not self._paused and not self._transport.is_closing():
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
        if headers.keys() != _PLAIN_HEADERS:
            self._check_headers(headers)

    def on_body(self, data: bytes) -> None:
        """Append a part of the body."""
        if self._stopped:
            return
        self._progressed = True
        self._continue_due = False
        size = len(self._body) + len(data)
        if not self._check_length(size) or (size > SMALL_BODY_BYTES and not self._has_room(len(data))):
            return
        self._hold(len(data))
        if not self._body:
            self._body = data
        else:
            self._body = bytearray(self._body) if isinstance(self._body, bytes) else self._body
            self._body += data

    def _has_room(self, size: int) -> bool:
        """Return True if the listener may hold this many more bytes of bodies; if not, refuse the request."""
        limit = max(self._limits.held_bytes, self._limits.body_bytes)
        if self.state.held_bytes + size <= limit:
            return True
        self.state.overload("max_bodies_mb", f"the bodies of open requests have more than {limit} bytes")
        self.refuse(503, "the server holds too many large requests; retry later", extra=_RETRY)
        return False

    def _hold(self, size: int) -> None:
        self._held_bytes += size
        self.state.held_bytes += size

    def _release(self, size: int) -> None:
        self._held_bytes -= size
        self.state.held_bytes -= size

    def on_message_complete(self) -> None:
        """Dispatch the complete request."""
        self._reading = self._continue_due = False
        if self._stopped:
            return
        request = Request(self, self._parser.get_method(), self._url, self._body, self._json_bytes)
        request.held_bytes = len(self._body)
        if not self._parser.should_keep_alive():
            request.keep = False
            self._stopped = True
        self._dispatch(request)
        self._check_turn()

    def _dispatch(self, request: Request) -> None:
        self._waiting.append(request)
        if self._paused:
            self._parsed.append((request, self.headers))
            return
        if len(self._waiting) > _PIPELINED:
            self._pause()
        self._answer(request, self.headers)

    def _answer(self, request: Request, headers: dict[bytes, bytes]) -> None:
        """Pass a request to the application, with its headers for as long as that takes."""
        current, self.headers = self.headers, headers
        try:
            self.state.application(request)
        except Exception:  # noqa: BLE001 - the worker loop: a defect of the server must not fail other callers
            _log.exception("no answer to %r", request.url)
            request.reply(500, error_body("internal server error; see the log of the server"))
        finally:
            self.headers = current

    def ends_with(self, request: Request) -> bool:
        """Return True if nothing follows this request on the connection."""
        return not (self._reading or self._rest) and bool(self._waiting) and self._waiting[-1] is request

    def flush(self) -> None:
        """Write the responses that are ready, up to the first that is not."""
        waiting = self._waiting
        while waiting and waiting[0].response is not None:
            first = waiting.popleft()
            if first.held_bytes:
                self._release(first.held_bytes)
            self._transport.write(cast(bytes, first.response))
            if not first.keep:
                self._finish()
                return
        self._since = self.state.now
        if self._continue_due and not waiting:
            self._continue()
        if self._paused:
            self._await_turn()

    def refuse(self, status: int, error: str, *, extra: bytes = b"") -> None:
        """Answer with an error in order, and read no more from this connection; `extra` are more headers."""
        if self._stopped:
            return
        self._stopped = self._lingers = True
        if self._reading:
            self._release(len(self._body))
            self._body = b""
        self._reading = self._continue_due = False
        request = Request(connection=self, method=b"", url=self._url, body=b"", keep=False)
        self._waiting.append(request)
        request.reply(status, error_body(error), extra=extra)

    def check(self, now: float) -> None:
        """End a connection that takes too long to send a request or to read a response, or that is idle."""
        waited = now - self._since
        unread = self._transport.get_write_buffer_size()
        if unread < self._unread:
            self._since = now  # slowly, but the client reads
        elif self._blocked or self._lingers:
            if waited > self._limits.request_s:
                self.abort()
        elif self._reading and not self._paused:
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
        self._parsed.clear()
        self._transport.close()

    def abort(self) -> None:
        """Close at once, and discard what is not sent."""
        self._stopped = True
        self._waiting.clear()
        self._parsed.clear()
        self._transport.abort()

    def _finish(self) -> None:
        """End after the last response; a client that still sends must not be reset before it has read it."""
        if not self._lingers:
            self.close()
            return
        self._waiting.clear()
        self._parsed.clear()
        self._since = self.state.now
        if self._paused:
            self._await_turn()  # its client sends to the end, and only then reads the refusal
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
            self._check_length(int(self.headers.get(b"content-length", 0)))

    def _check_length(self, size: int) -> bool:
        """Refuse a body over the limit of all or of its route, and return False; no route refuses a small one."""
        limit = self._limits.body_bytes
        if size > SMALL_BODY_BYTES:
            limit = min(limit, match_route(self._url).max_body_bytes)
        if size > limit:
            self.refuse(413, f"the body has more than {limit} bytes")
        return size <= limit

    def _check_host(self, host: bytes | None) -> None:
        refusal = self.state.check_host(host, version=self._parser.get_http_version())
        if refusal is not None:
            self.refuse(*refusal)

    def _check_headers(self, headers: Mapping[bytes, bytes]) -> None:
        if self._parser.get_method() not in _SAFE_METHODS:
            refusal = self.state.check_write(headers)
            if refusal is not None:
                self.refuse(*refusal)
        if b"transfer-encoding" in headers:
            self._check_chunked(headers[b"transfer-encoding"])
        if headers.keys() >= _BODY_AND_UPGRADE and self._parser.should_upgrade():
            self.refuse(400, "protocol upgrades are not supported; send the request without 'Upgrade'")
        elif headers.get(b"content-encoding", b"identity").lower() != b"identity":
            self.refuse(415, "encoded bodies are not supported; send the body without 'Content-Encoding'")
        if _JSON_BYTES in headers:
            self._read_json_bytes(headers[_JSON_BYTES])
        if b"expect" in headers:
            self._check_length(int(headers.get(b"content-length", 0)))
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
