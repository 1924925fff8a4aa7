"""People who use a dashboard over HTTP: a server on a free port in a thread, and what a browser does with forms."""

from __future__ import annotations

import atexit
import functools
import gzip
import os
import re
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from html import unescape
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode

from headway.core import config as configuration
from headway.core.config import Config
from headway.dashboard._process import make_server
from headway.dashboard.access.sessions import Role, Session
from headway.dashboard.resources import Dashboard, open_dashboard
from headway.dashboard.security import COOKIE
from headway.dashboard.workers import WorkerProcess

STARTS_WITHIN_S = 30


@dataclass(frozen=True)
class Answer:
    """A response: its status, headers (lower-case names), text, and the bytes of its body as they were sent."""

    status: int
    headers: Mapping[str, str]
    text: str
    sent_bytes: int = 0

    @property
    def words(self) -> str:
        """The text without tags, each run of white space as one space."""
        return " ".join(unescape(re.sub(r"<[^>]+>", " ", self.text)).split())


@dataclass(frozen=True)
class Person:
    """A person with a browser; without a session they are not signed in."""

    port: int
    session: Session | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def get(self, path: str, **headers: str) -> Answer:
        """Open a page; redirects are not followed."""
        return self.send("GET", path, headers=headers)

    def post(self, path: str, /, **fields: str) -> Answer:
        """Send a form of a page of this dashboard, with the token of the session."""
        token = {"token": self.session.token} if self.session else {}
        return self.send("POST", path, urlencode({**token, **fields}))

    def send(self, method: str, path: str, body: str = "", *, headers: Mapping[str, str] | None = None) -> Answer:
        """Send a request as a browser on a page of this dashboard does; `headers` replace its own, empty ones none."""
        host = f"127.0.0.1:{self.port}"
        sent = {"Host": host}
        if method != "GET":
            sent |= {"Origin": f"http://{host}", "Content-Type": "application/x-www-form-urlencoded"}
        if self.session:
            sent["Cookie"] = f"{COOKIE}={self.session.key}"
        sent |= {**self.headers, **(headers or {})}
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body or None, {name: text for name, text in sent.items() if text})
            response = connection.getresponse()
            got = {name.lower(): text for name, text in response.getheaders()}
            body = b"" if got.get("content-type", "").startswith("text/event-stream") else response.read()
            text = gzip.decompress(body) if got.get("content-encoding") == "gzip" else body
            return Answer(response.status, got, text.decode(), len(body))
        finally:
            connection.close()


@dataclass(frozen=True)
class RunningDashboard:
    """A dashboard that answers on a port of this machine."""

    dashboard: Dashboard
    port: int

    def visitor(self, role: Role | None = None, *, name: str = "ada") -> Person:
        """Return a person who is signed in with a role; without one, a person who is not."""
        return Person(self.port, self.dashboard.sessions.begin(name, role) if role else None)


class SharedProcess(WorkerProcess):
    """A process for heavy work that the next dashboard uses too: to start one, with its imports, takes 2 s."""

    def close(self) -> None:
        """Leave the process running."""


def shared_process(work: str) -> SharedProcess:
    """Return the process of this test process for a kind of work, one for each set of variables and folder."""
    variables = {name: text for name, text in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    return _process_of(work, Path.cwd(), tuple(sorted(variables.items())))


@functools.lru_cache(maxsize=8)
def _process_of(work: str, folder: Path, variables: tuple[tuple[str, str], ...]) -> SharedProcess:
    made = SharedProcess(idle_s=3600)
    atexit.register(WorkerProcess.close, made)
    return made


@contextmanager
def running_dashboard(*projects: Path | Config) -> Iterator[RunningDashboard]:
    """Serve the dashboard of projects (their folders or configurations) on a free port."""
    configs = [one if isinstance(one, Config) else configuration.load(one) for one in projects]
    opened = open_dashboard(configs)
    dashboard = replace(opened, workers=shared_process("pages"), long_work=shared_process("long"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = make_server(dashboard)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        deadline = time.monotonic() + STARTS_WITHIN_S
        while not server.started:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        try:
            yield RunningDashboard(dashboard, listening.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join()
            dashboard.close()
