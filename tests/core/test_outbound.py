"""The opener of requests to other servers: no redirect, no proxy of the environment, no key in plain text."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.error import HTTPError
from urllib.request import Request

import pytest

from headway.core.outbound import PROXY, KeyNotSent, open_url
from headway.core.urls import is_secure


class Recorder(ThreadingHTTPServer):
    """Keep the path and the key of each request, and redirect to `leads_to` if that is set."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[tuple[str, str]] = []
        self.leads_to = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Recorder

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("Authorization", "")))
        self.send_response(302 if self.server.leads_to else 200)
        if self.server.leads_to:
            self.send_header("Location", self.server.leads_to)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *values: object) -> None:
        """Print nothing."""


@contextmanager
def recording() -> Iterator[Recorder]:
    with Recorder() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def with_key(url: str) -> Request:
    return Request(url, headers={"Authorization": "Bearer hw_secret"})


def test_a_key_is_not_taken_along_by_a_redirect() -> None:
    with recording() as configured, recording() as other:
        configured.leads_to = f"{other.url}/taken"
        with pytest.raises(HTTPError) as refusal:
            open_url(with_key(f"{configured.url}/metrics"), timeout_s=5)
        refusal.value.close()
        assert refusal.value.code == 302
        assert (configured.asked, other.asked) == ([("/metrics", "Bearer hw_secret")], [])


def test_a_key_leaves_this_machine_over_https_alone() -> None:
    with pytest.raises(KeyNotSent, match=r"sent over https only, and models\.example:8080 is asked over http"):
        open_url(with_key("http://models.example:8080/metrics"), timeout_s=5)


def test_a_proxy_is_used_only_if_it_is_set_for_headway(monkeypatch: pytest.MonkeyPatch) -> None:
    with recording() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        with pytest.raises(OSError, match="urlopen error"):
            open_url(Request("http://models.invalid/a"), timeout_s=5, environment={})
        assert proxy.asked == []
        open_url(Request("http://models.invalid/b"), timeout_s=5, environment={PROXY: proxy.url}).close()
        assert proxy.asked == [("http://models.invalid/b", "")]


def test_this_machine_is_reached_without_a_proxy() -> None:
    with recording() as server:
        environment = {PROXY: "http://127.0.0.1:1"}
        open_url(with_key(f"{server.url}/c"), timeout_s=5, environment=environment).close()
        assert server.asked == [("/c", "Bearer hw_secret")]


@pytest.mark.parametrize(
    ("url", "secure"),
    [
        ("https://models.example", True),
        ("https://", False),
        ("http://localhost:8080", True),
        ("http://127.9.9.9", True),
        ("http://[::1]:80/a", True),
        ("http://models.example", False),
        ("http://127.0.0.1.example", False),
        ("ftp://127.0.0.1", False),
        ("", False),
    ],
)
def test_an_address_is_secure_over_https_or_on_this_machine(url: str, secure: bool) -> None:
    assert is_secure(url) is secure
