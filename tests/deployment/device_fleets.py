"""A fleet for tests: a publisher's project, the folder it publishes behind a real web server, and devices."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from dataclasses import replace as replace_fields
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from msgspec.structs import replace
from tests.serving.running import release

from headway.core import config
from headway.core.evidence import Evidence, Machine
from headway.core.release import Release
from headway.core.verdict import Rule, RuleResult
from headway.deployment.fleet.device import DevicePointer
from headway.deployment.fleet.publish import Published, publish_fleet
from headway.registry.model_registry import UpdateReason
from headway.registry.project import Project, project_of
from headway.registry.settings.trust import TrustSection
from headway.registry.sign import init_keys

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)


@dataclass
class Clock:
    """A clock that stands still until it is set on."""

    time: datetime = NOON

    def __call__(self) -> datetime:
        return self.time

    def pass_time(self, **length: float) -> None:
        """Set the clock on by a length of `timedelta`, or back by a negative one."""
        self.time += timedelta(**length)


@dataclass
class WebServer:
    """A web server of a folder: entity tags, a record of its requests, and files that an attacker changes."""

    folder: Path
    changed: dict[str, Callable[[bytes], bytes | None]] = field(default_factory=dict)
    cut: set[str] = field(default_factory=set)
    requests: list[tuple[str, int]] = field(default_factory=list)
    redirect: str = ""
    url: str = ""

    def answer(self, path: str) -> bytes | None:
        """Return the bytes of a path, as the attacker changes them; None: not found."""
        file = self.folder / path
        body = file.read_bytes() if file.is_file() else None
        change = next((change for part, change in self.changed.items() if part in path), None)
        return change(body or b"") if change else body


@contextmanager
def web_server(folder: Path) -> Iterator[WebServer]:
    """Serve a folder on loopback."""
    site = WebServer(folder)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.lstrip("/")
            body = site.answer(path)
            tag = f'"{hashlib.sha256(body or b"").hexdigest()[:16]}"'
            status = 404 if body is None else 304 if self.headers.get("If-None-Match") == tag else 200
            site.requests.append((path, status))
            body = body if status == 200 and body else b""
            self.send_response(302 if site.redirect else status)
            self.send_header("Location", site.redirect)
            self.send_header("ETag", tag)
            self.send_header("Content-Length", str(len(body) + (path in site.cut) * 10))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    site.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def numbered(number: int, name: str = "flights") -> Release:
    """Return one of several releases, each with evidence and a policy of its own."""
    base = release(name=name)
    rule = RuleResult(rule=Rule(measure="roc_auc", at_least=0.5 + number / 100), answer="pass", message="")
    verdict = replace(base.verdict, rule_results=(rule,))
    machine = Machine(cpu="", cores=1, system="", python="")
    evidence = Evidence(subject=base.variant.digest, dataset=f"set {number}", period="test", machine=machine)
    return replace(base, verdict=verdict, evidence=(evidence,), made_at=str(number))


def publisher(folder: Path, clock: Clock, *, name: str = "flights") -> Project:
    """Return a publisher's project with keys of its own."""
    folder.mkdir(parents=True)
    toml = f'[project]\nname = "{name}"\n[trust]\npublisher_key = "keys/a.pem"\ntimestamp_key = "keys/timestamp.pem"\n'
    (folder / "headway.toml").write_text(toml)
    settings = config.load(folder, environment={})
    init_keys(
        settings.path(settings[TrustSection].publisher_key),
        settings.path(settings[TrustSection].trusted_keys),
        comment="a test",
    )
    opened = project_of(settings)
    return replace_fields(opened, registry=replace_fields(opened.registry, clock=clock))


def go_live(project: Project, record: Release) -> str:
    """Publish a release, and point live at it."""
    digest = project.registry.publish(record, {"model.echo": b"echo"})
    reason = UpdateReason(who="ann", why="a test", verdict=record.verdict)
    project.registry.point(f"{project.name}@live", digest, reason)
    return digest


@dataclass
class Fleet:
    """A publisher with its folder and web server, and the clock of all."""

    project: Project
    out: Path
    site: WebServer
    clock: Clock
    devices: Path

    def publish(self, **settings: object) -> Published:
        """Publish the folder."""
        self.clock.pass_time(seconds=1)
        return publish_fleet(self.project, self.out, who="ann", **settings)

    def device(self, name: str = "pump-1", **settings: object) -> DevicePointer:
        """Return a device that trusts the publisher; the same name is the same device."""
        folder = self.devices / name
        trusted = folder / "trusted_keys.txt"
        if not trusted.exists():
            folder.mkdir(parents=True)
            trusted.write_bytes(self.project.registry.trusted_keys.read_bytes())
        registry = replace_fields(self.project.registry, folder=folder / "releases", trusted_keys=trusted)
        fields = {"url": self.site.url, "address": "flights@live", "clock": self.clock, **settings}
        return DevicePointer(device=name, registry=registry, **fields)


@contextmanager
def running_fleet(folder: Path) -> Iterator[Fleet]:
    """Yield a fleet whose first release is live and published."""
    clock = Clock()
    project = publisher(folder / "publisher", clock)
    out = folder / "out"
    with web_server(out) as site:
        go_live(project, numbered(1))
        fleet = Fleet(project, out, site, clock, folder / "devices")
        fleet.publish()
        yield fleet
    project.state.close()
