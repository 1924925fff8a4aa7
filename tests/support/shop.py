"""A shop for tests: its settings, its replies, mail of its customers, a mailbox and a server that answers."""

from __future__ import annotations

import re
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec

from headway.core.config import Config, load

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
OWN, CUSTOMER = "help@shop.example", "ann@home.example"
REPLIES = """
[[reply]]
intent = "delivery"
valid_until = 2027-06-30
text = "Your parcel is on its way."

[[reply]]
intent = "delivery"
language = "de"
valid_until = "2027-06-30"
text = "Ihr Paket ist unterwegs."

[[reply]]
intent = "refund"
valid_until = 2026-01-31
text = "We pay you back within two weeks."
"""


def shop(folder: Path, settings: str = "", *, replies: str = REPLIES) -> Config:
    """Write the project of a shop, and return its settings."""
    (folder / "headway.toml").write_text(
        f'[project]\nname = "shop"\n\n[support]\nsender = "{OWN}"\n{settings}', encoding="utf-8"
    )
    (folder / "replies.toml").write_text(replies, encoding="utf-8")
    return load(folder)


def mail(text: str = "Where is my parcel?", *, to: str = OWN, sender: str = CUSTOMER, **headers: str) -> bytes:
    """Return a mail; names of headers have `_` for `-`."""
    given = {"Message_ID": "<1@home.example>", "Subject": "Parcel", "From": sender, "To": to} | headers
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in given.items() if value]
    return ("\r\n".join([*lines, "", text]) + "\r\n").encode()


@dataclass
class AnsweringServer:
    """A server with the path /answer: the texts that it was asked, and what it answers to them."""

    url: str = ""
    status: int = 200
    answer: dict[str, Any] = field(default_factory=lambda: {"answer": "delivery", "answered_by": "model"})
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)


@contextmanager
def answering_server() -> Iterator[AnsweringServer]:
    """Run such a server on a free port."""
    site = AnsweringServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            site.asked.append(msgspec.json.decode(self.rfile.read(int(self.headers["Content-Length"]))))
            site.keys.append(self.headers.get("Authorization", ""))
            content = msgspec.json.encode(site.answer)
            self.send_response(site.status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        site.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield site
        finally:
            server.shutdown()
            thread.join()


@dataclass
class Mailbox:
    """A mailbox behind IMAP4rev1: its mails, and which of them are marked as seen."""

    port: int = 0
    mails: list[bytes] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)


@contextmanager
def imap_server(password: str) -> Iterator[Mailbox]:
    """Run a server of the part of IMAP that a client needs to read new mail, on a free port."""
    box = Mailbox()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"* OK ready\r\n")
            for line in self.rfile:
                tag, _, rest = line.decode().strip().partition(" ")
                if not self.reply(tag, rest):
                    return

        def reply(self, tag: str, rest: str) -> bool:
            name = rest.split(" ")[0].upper()
            status = "OK"
            if name == "CAPABILITY":
                self.wfile.write(b"* CAPABILITY IMAP4rev1\r\n")
            elif name == "LOGIN":
                status = "OK" if rest.endswith(f'"{password}"') else "NO"
            elif name == "SELECT":
                status = "OK" if rest == 'SELECT "INBOX"' else "NO"
                self.wfile.write(f"* {len(box.mails)} EXISTS\r\n".encode())
            elif rest.upper().startswith("UID SEARCH UNSEEN"):
                unseen = [str(number) for number in range(1, len(box.mails) + 1) if number not in box.seen]
                self.wfile.write(f"* SEARCH {' '.join(unseen)}\r\n".encode())
            elif found := re.match(r"UID FETCH (\d+) \(BODY.PEEK\[\]<0.(\d+)>\)", rest):
                content = box.mails[int(found[1]) - 1][: int(found[2])]
                head = f"* {found[1]} FETCH (UID {found[1]} BODY[]<0> {{{len(content)}}}\r\n"
                self.wfile.write(head.encode() + content + b")\r\n")
            elif found := re.match(r"UID STORE (\d+) \+FLAGS \(?\\Seen\)?", rest):
                box.seen.add(int(found[1]))
            self.wfile.write(f"{tag} {status} done\r\n".encode())
            return name != "LOGOUT"

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        box.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield box
        finally:
            server.shutdown()
            thread.join()
