"""Take messages in by HTTP requests that are signed with a shared secret.

The body is JSON: `id`, `text`, and optional `from`, `subject` and `language`. The header `X-Headway-Signature` is
`t=SECONDS,v1=HEX`, with the HMAC-SHA256 of `SECONDS.BODY`.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import socket
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Annotated

import msgspec

from headway.core.errors import ConfigError, DataError, HeadwayError, Refused
from headway.core.record import Record
from headway.core.support import CustomerMessage
from headway.support.inbox import Inbox
from headway.support.mail import MAX_ADDRESS, MAX_HEADER, MAX_TEXT

HEADER = "X-Headway-Signature"
PATH = "/messages"
MAX_BODY_BYTES = 200_000
MAX_AGE_S = 300.0
MIN_SECRET = 16
CONNECTIONS = 32
TIMEOUT_S = 10.0
_PIECE_BYTES = 65_536
_SIGNATURE = re.compile(r"t=(\d{1,12}),v1=([0-9a-f]{64})")


class _Body(Record, frozen=True, kw_only=True, rename={"sender": "from"}):
    id: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    text: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TEXT)]
    sender: Annotated[str, msgspec.Meta(max_length=MAX_ADDRESS, pattern=r"^([^\s@<>,;]+@[A-Za-z0-9.-]+)?$")] = ""
    subject: Annotated[str, msgspec.Meta(max_length=MAX_HEADER)] = ""
    language: Annotated[str, msgspec.Meta(pattern="^([a-z]{2,3}(-[A-Za-z0-9]{2,8})?)?$")] = ""


def sign_body(body: bytes, secret: str, *, at_s: float) -> str:
    """Return the value of the signature's header for a body that is sent at this time, seconds since 1970."""
    stamp = f"{int(at_s)}"
    return f"t={stamp},v1={hmac.new(secret.encode(), stamp.encode() + b'.' + body, hashlib.sha256).hexdigest()}"


def read_webhook(body: bytes, signature: str, secret: str, *, now_s: float) -> CustomerMessage:
    """Return the message of a signed request.

    Raises Refused if the signature is wrong or older than `MAX_AGE_S`, and DataError if the body is not a message.
    """
    found = _SIGNATURE.fullmatch(signature)
    if not found or not hmac.compare_digest(sign_body(body, secret, at_s=int(found[1])), signature):
        raise Refused("the signature is wrong", hint=f"{HEADER}: t=SECONDS,v1=HMAC-SHA256 of SECONDS.BODY")
    if abs(now_s - int(found[1])) > MAX_AGE_S:
        raise Refused("the signature is too old", hint=f"sign each request again, within {MAX_AGE_S:g} seconds")
    try:
        message = msgspec.json.decode(body, type=_Body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DataError(
            f"the body is not a message: {error}", hint='{"id": "1", "text": "where is my parcel"}'
        ) from None
    return CustomerMessage(
        key=f"hook-{hashlib.sha256(message.id.encode()).hexdigest()[:24]}",
        source="webhook",
        received_at=datetime.fromtimestamp(now_s, UTC).isoformat(timespec="seconds"),
        message_id=message.id,
        sender=message.sender,
        subject=" ".join(message.subject.split()),
        text=message.text,
        language=message.language,
    )


def open_webhook(inbox: Inbox, secret: str, *, host: str, port: int) -> WebhookServer:
    """Listen for messages; raises ConfigError without a secret of `MIN_SECRET` characters, or if the port is taken."""
    if len(secret) < MIN_SECRET:
        raise ConfigError(
            f"the webhook needs a secret of at least {MIN_SECRET} characters",
            where="[support] webhook_port",
            hint="export HEADWAY_SUPPORT_WEBHOOK_SECRET=$(openssl rand -hex 32)",
        )
    try:
        return WebhookServer((host, port), lambda body, signature: _take(inbox, body, signature, secret))
    except OSError as error:
        raise ConfigError(
            f"the webhook cannot listen on {host}:{port}: {error.strerror}", where="[support] webhook_port"
        ) from error


def _take(inbox: Inbox, body: bytes, signature: str, secret: str) -> tuple[HTTPStatus, dict[str, str]]:
    try:
        message = read_webhook(body, signature, secret, now_s=time.time())
        is_new = inbox.take(message)
    except Refused as error:
        return HTTPStatus.UNAUTHORIZED, {"error": str(error.what), "hint": error.hint}
    except DataError as error:
        return HTTPStatus.BAD_REQUEST, {"error": str(error.what), "hint": error.hint}
    except HeadwayError as error:
        return HTTPStatus.SERVICE_UNAVAILABLE, {"error": error.what}
    return HTTPStatus.ACCEPTED, {"key": message.key, "is": "new" if is_new else "known"}


Take = Callable[[bytes, str], tuple[HTTPStatus, dict[str, str]]]


class WebhookServer(ThreadingHTTPServer):
    """A server with one path, limited in connections, time and bytes; it runs on threads until it is closed."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], take: Take) -> None:
        super().__init__(address, _Handler)
        self.take = take
        self._free = threading.BoundedSemaphore(CONNECTIONS)
        self._thread = threading.Thread(target=self.serve_forever, name="webhook", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """TCP port that it listens on."""
        return int(self.server_address[1])

    def process_request(self, request: object, client_address: object) -> None:
        """Serve a connection on a thread, or close it if too many are open."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)  # type: ignore[arg-type]
            return
        super().process_request(request, client_address)  # type: ignore[arg-type]

    def process_request_thread(self, request: object, client_address: object) -> None:
        """Serve a connection, then let another in."""
        try:
            super().process_request_thread(request, client_address)  # type: ignore[arg-type]
        finally:
            self._free.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore a connection that broke."""

    def close(self) -> None:
        """Stop listening."""
        self.shutdown()
        self.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: WebhookServer
    timeout = TIMEOUT_S
    server_version, sys_version = "headway", ""

    def do_POST(self) -> None:
        """Take a message."""
        length = self.headers.get("Content-Length", "")
        if self.path != PATH:
            self._reply(HTTPStatus.NOT_FOUND, {"error": f"messages are posted to {PATH}"})
        elif not length.isdecimal():
            self._reply(HTTPStatus.LENGTH_REQUIRED, {"error": "the header Content-Length is missing"})
        elif len(length) > 9 or int(length) > MAX_BODY_BYTES:
            self._reply(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {"error": f"a body has at most {MAX_BODY_BYTES:,} bytes"})
        else:
            body = self.rfile.read(int(length))
            if len(body) == int(length):
                self._reply(*self.server.take(body, self.headers.get(HEADER, "")))

    def _reply(self, status: HTTPStatus, values: dict[str, str]) -> None:
        content = msgspec.json.encode(values) + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)
        self.close_connection = True
        self._drop_rest()

    def _drop_rest(self) -> None:
        """Drop what the caller still sends: reset before it reads the reply, it would not know the reason."""
        self.connection.shutdown(socket.SHUT_WR)
        ends = time.monotonic() + TIMEOUT_S
        while time.monotonic() < ends and self.connection.recv(_PIECE_BYTES):
            pass

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: the caller wrote the request line."""
