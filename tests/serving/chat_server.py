"""A real server of chat completions on loopback, which answers, hangs, fails, lies or sends garbage."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from typing import Any


class ChatServer:
    """Answers each connection with `content`, the bytes of a response; None hangs until `release` is set.

    `requests` are the received ones: their head and the JSON of their body.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.content: bytes | None = b""
        self.requests: SimpleQueue[tuple[str, dict[str, Any]]] = SimpleQueue()
        self.release = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        """Its address."""
        return f"https://localhost:{self.port}/v1" if self._tls else f"http://127.0.0.1:{self.port}/v1"

    def says(self, answer: str) -> None:
        """Answer with a completion."""
        body = json.dumps({"choices": [{"message": {"role": "assistant", "content": answer}}]}).encode()
        self.content = response(200, body)

    def close(self) -> None:
        """End its threads."""
        self.release.set()
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for thread in self._threads:
            thread.join(10)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self._threads.append(threading.Thread(target=self._answer, args=(connection,)))
            self._threads[-1].start()

    def _answer(self, connection: socket.socket) -> None:
        with suppress(ssl.SSLError), connection:  # a client that does not trust its certificate
            self._answer_client(self._tls.wrap_socket(connection, server_side=True) if self._tls else connection)

    def _answer_client(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream:
            head = b"".join(iter(stream.readline, b"\r\n")).decode()
            length = next(int(line.split(":")[1]) for line in head.splitlines() if line.startswith("Content-Length"))
            self.requests.put((head, json.loads(stream.read(length))))
            if self.content is None:
                self.release.wait(60)
            else:
                connection.sendall(self.content)


def response(status: int, body: bytes, *, headers: str = "") -> bytes:
    """Return the bytes of a response."""
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


@contextmanager
def chat_server(tls: ssl.SSLContext | None = None) -> Iterator[ChatServer]:
    """Run a server."""
    server = ChatServer(tls)
    try:
        yield server
    finally:
        server.close()
