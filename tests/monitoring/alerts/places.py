"""Places that alerts are sent to on this machine: an HTTP server, and an SMTP server with and without TLS."""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import Message
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import msgspec
from aiosmtpd.smtp import SMTP, AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

WAIT_S = 120.0


def until(happened: Callable[[], bool]) -> None:
    """Wait until something has happened, for two minutes at most."""
    deadline = time.monotonic() + WAIT_S
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@dataclass
class Site:
    """An HTTP server: the requests that it got, and how it answers: by a list of status codes, then by 200."""

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    location: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    held: threading.Event | None = None


@contextmanager
def http_site() -> Iterator[Site]:
    """Run an HTTP server on a free port."""
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if site.held:
                site.held.wait(WAIT_S)
            site.paths.append(self.path)
            site.headers.append(dict(self.headers.items()))
            site.bodies.append(msgspec.json.decode(body))
            self.send_response(site.statuses.pop(0) if site.statuses else 200)
            if site.location:
                self.send_header("Location", site.location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        site.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield site
        finally:
            if site.held:
                site.held.set()
            server.shutdown()
            thread.join()


@dataclass
class MailBox:
    """An SMTP server: its port, the file of the authority that signed its certificate, and what it got."""

    port: int = 0
    ca: str = ""
    mails: list[Message] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)
    users: list[str] = field(default_factory=list)
    refused: tuple[str, ...] = ()

    async def handle_RCPT(self, server: SMTP, session: Any, envelope: Any, address: str, options: Any) -> str:
        if address in self.refused:
            return "550 no such address"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Any) -> str:
        self.mails.append(message_from_bytes(envelope.content, policy=default))
        self.encrypted.append(server.transport.get_extra_info("sslcontext") is not None)
        return "250 OK"


USER, PASSWORD = "headway", "correct horse"


@contextmanager
def mail_box(folder: Path, *, security: str = "starttls") -> Iterator[MailBox]:
    """Run an SMTP server on a free port, which asks for a user unless it has no TLS."""
    box = MailBox()
    certificate, authority = make_certificate(folder)
    tls, box.ca = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), str(authority)
    tls.load_cert_chain(certificate)

    def authenticate(server: SMTP, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        box.users.append(data.login.decode())
        return AuthResult(success=(data.login, data.password) == (USER.encode(), PASSWORD.encode()), handled=False)

    def session() -> SMTP:
        asked = {"authenticator": authenticate, "auth_required": True, "auth_require_tls": security == "starttls"}
        context = {"tls_context": tls, "require_starttls": True} if security == "starttls" else {}
        return SMTP(box, hostname="127.0.0.1", loop=loop, **context, **(asked if security != "none" else {}))

    loop = asyncio.new_event_loop()
    encrypted = tls if security == "tls" else None
    server = loop.run_until_complete(loop.create_server(session, "127.0.0.1", 0, ssl=encrypted))
    box.port = server.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def end() -> None:
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    try:
        yield box
    finally:
        asyncio.run_coroutine_threadsafe(end(), loop).result(WAIT_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate of 127.0.0.1 that is its own authority; return the files of both, the first with the key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")]), datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    authority, both = folder / "authority.pem", folder / "server.pem"
    authority.write_bytes(pem)
    both.write_bytes(private + pem)
    return both, authority
