"""Fleet: random attacks on the folder of a fleet, and simulated devices that poll one web server.

The web server is Python's own with entity tags, in another process. Devices are those of headway, each with a folder,
in threads of this process. They do not open the release, which costs the same on any machine.
"""

from __future__ import annotations

import hashlib
import heapq
import math
import multiprocessing
import random
import resource
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace as replace_fields
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace

from harness import Result, Row, shown
from headway.core import config
from headway.core.fleet import FleetPointer, FleetTimestamp
from headway.core.record import digest_of, read, write
from headway.core.release import Release
from headway.core.variant import Artifact, Field, Signature, Variant
from headway.core.verdict import Verdict
from headway.deployment.fleet.device import DevicePointer
from headway.deployment.fleet.publish import publish_fleet, timestamp_key_file
from headway.registry import fleet
from headway.registry.model_registry import UpdateReason, now
from headway.registry.project import Project, project_of
from headway.registry.settings.trust import TrustSection
from headway.registry.sign import create_publisher, init_keys, load_publisher, load_timestamp_key

N_ATTACKS, N_DEVICES, INTERVAL_S, LONGEST_S = 500, 1_000, 20.0, 60.0
TINY = {"N_ATTACKS": 14, "N_DEVICES": 8, "INTERVAL_S": 0.5}
ADDRESS, MODEL = "pumps@live", b"a model of some bytes" * 500
REFUSED_BY = {
    "replay": {"replay"},
    "freeze": {"expired"},
    "mix": {"mixed"},
    "truncate": {"truncated", "changed", "unreadable"},
    "flip": {"changed", "mixed", "unreadable", "truncated", "wrong key", "oversized", "unreachable", "other pointer"},
    "wrong key": {"wrong key"},
    "oversize": {"oversized"},
}
"""Reasons by which an attack of each kind may be refused: a changed byte can make a file anything."""


class Site(NamedTuple):
    """A web server in another process: its URL, and how to read the CPU seconds and requests it has used."""

    url: str
    channel: Connection

    def used(self) -> tuple[float, int]:
        """Return the CPU seconds and the requests so far."""
        self.channel.send("used")
        return self.channel.recv()


def _serve(folder: Path, channel: Connection) -> None:
    count = 0

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            nonlocal count
            count += 1
            file = folder / self.path.lstrip("/")
            if not file.is_file():
                self.send_error(404)
                return
            body = file.read_bytes()
            tag = f'"{hashlib.sha256(body).hexdigest()}"'
            is_known = self.headers.get("If-None-Match") == tag
            body = b"" if is_known else body
            self.send_response(304 if is_known else 200)
            self.send_header("ETag", tag)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    class Server(ThreadingHTTPServer):
        request_queue_size = 1024

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    channel.send(server.server_port)
    while channel.recv() == "used":
        usage = resource.getrusage(resource.RUSAGE_SELF)
        channel.send((usage.ru_utime + usage.ru_stime, count))


@contextmanager
def web_server(folder: Path) -> Iterator[Site]:
    """Serve a folder from a process of its own."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(folder, theirs), daemon=True)
    process.start()
    try:
        yield Site(f"http://127.0.0.1:{ours.recv()}", ours)
    finally:
        ours.send("end")
        process.join()


def publisher(folder: Path) -> Project:
    """Return a project with keys of its own."""
    folder.mkdir()
    keys = 'publisher_key = "keys/publisher.pem"\ntimestamp_key = "keys/timestamp.pem"\n'
    (folder / "headway.toml").write_text(f'[project]\nname = "pumps"\n[trust]\n{keys}')
    settings = config.load(folder, environment={})
    init_keys(
        settings.path(settings[TrustSection].publisher_key),
        settings.path(settings[TrustSection].trusted_keys),
        comment="bench",
    )
    return project_of(settings)


def go_live(project: Project, number: int) -> str:
    """Publish a release, and point live at it."""
    artifact = Artifact(format="txt", digest=digest_of(MODEL), size_bytes=len(MODEL))
    variant = Variant(artifact=artifact, engine="lightgbm", signature=Signature(inputs=(Field(name="x"),)))
    verdict = Verdict(answer="pass", subject=variant.digest)
    release = Release(name="pumps", variant=variant, evidence=(), verdict=verdict, made_at=str(number))
    digest = project.registry.publish(release, {"model.txt": MODEL})
    project.registry.point(ADDRESS, digest, UpdateReason(who="bench", why="", verdict=verdict))
    return digest


def device(project: Project, folder: Path, url: str, **settings: object) -> DevicePointer:
    """Return a device with a folder of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "trusted_keys.txt").write_bytes(project.registry.trusted_keys.read_bytes())
    registry = replace_fields(project.registry, folder=folder / "releases", trusted_keys=folder / "trusted_keys.txt")
    fields = {"accept": lambda _: None, **settings}
    return DevicePointer(url=url, address=ADDRESS, device=folder.name, registry=registry, **fields)


def rows() -> Result:
    """Return the rows of attacks and of simulated devices."""
    with tempfile.TemporaryDirectory() as name:
        attacks, notes = _attacks(Path(name) / "attacks")
        (Path(name) / "many").mkdir()
        return [*attacks, *_devices(Path(name) / "many")], notes


class Attacker:
    """Changes the folder of a fleet at random; `end` restores it."""

    def __init__(self, project: Project, out: Path, random_: random.Random, old: dict[str, bytes]) -> None:
        self._project, self._out, self._random, self._old = project, out, random_, old
        self._right = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
        self._mallory = create_publisher(out.parent / "mallory.pem")
        timestamp = out / fleet.TIMESTAMP
        self.timestamp = read(FleetTimestamp, timestamp.read_bytes().split(b"\n")[0])
        self.pointer_file = out / fleet.pointer_path(self.timestamp.digest)
        pointer = read(FleetPointer, self.pointer_file.read_bytes().split(b"\n")[0])
        self.pointer = pointer
        read_by_device = [timestamp, self.pointer_file]
        read_by_device += [out / fleet.release_path(pointer.release.digest, name) for name in pointer.release.sizes]
        self._files = read_by_device

    def end(self) -> None:
        """Put every file back, and remove what was added."""
        for path in self._out.rglob("*"):
            if path.is_file() and path not in self._right:
                path.unlink()
        for path, content in self._right.items():
            if path.read_bytes() != content:
                path.write_bytes(content)

    def attack(self, kind: str) -> None:
        """Carry out an attack of a kind."""
        {
            "replay": self._replay,
            "freeze": self._freeze,
            "mix": self._mix,
            "truncate": self._truncate,
            "flip": self._flip,
            "wrong key": self._wrong_key,
            "oversize": self._oversize,
        }[kind]()

    def _sign_timestamp(self, key: object = None, **fields: object) -> None:
        """Sign a timestamp with the stolen key, or another."""
        stolen = key or load_timestamp_key(timestamp_key_file(self._project))
        number = self.timestamp.number + self._random.randrange(1, 10**6)
        changed = replace(self.timestamp, **{"number": number, **fields})
        (self._out / fleet.TIMESTAMP).write_bytes(fleet.join_signed(stolen.sign(write(changed))))

    def _replay(self) -> None:
        """Serve an old timestamp, or an old pointer under a new timestamp of the stolen key."""
        old = read(FleetTimestamp, self._old[fleet.TIMESTAMP].split(b"\n")[0])
        if self._random.random() < 0.5:
            (self._out / fleet.TIMESTAMP).write_bytes(self._old[fleet.TIMESTAMP])
        else:
            self._sign_timestamp(digest=old.digest, size_bytes=old.size_bytes)

    def _freeze(self) -> None:
        back = self._random.randrange(1, 10**6)
        self._sign_timestamp(expires=(now() - timedelta(seconds=back)).isoformat())

    def _mix(self) -> None:
        """Serve a file of one release or pointer in place of another of the same size, or another digest."""
        kind = self._random.randrange(3)
        old = read(FleetTimestamp, self._old[fleet.TIMESTAMP].split(b"\n")[0])
        release = self.pointer.release
        if kind == 0:
            old_file = self._out / fleet.pointer_path(old.digest)
            content = old_file.read_bytes()[: self.timestamp.size_bytes]
            self.pointer_file.write_bytes(content.ljust(self.timestamp.size_bytes, b" "))
        elif kind == 1:
            name = self._random.choice(sorted(release.sizes))
            other = self._random.randbytes(release.sizes[name])
            (self._out / fleet.release_path(release.digest, name)).write_bytes(other)
        else:
            part = self._random.choice(["evidence", "policy"])
            other_release = replace(release, **{part: digest_of(self._random.randbytes(8))})
            changed = replace(self.pointer, release=other_release, number=self.pointer.number + 1)
            content = fleet.join_signed(load_publisher(self._project.registry.publisher_key).sign(write(changed)))
            (self._out / fleet.pointer_path(digest_of(content))).write_bytes(content)
            self._sign_timestamp(digest=digest_of(content), size_bytes=len(content))

    def _truncate(self) -> None:
        path = self._random.choice(self._files)
        content = path.read_bytes()
        path.write_bytes(content[: self._random.randrange(len(content))])

    def _flip(self) -> None:
        """Change one byte of any file that the device reads."""
        path = self._random.choice(self._files)
        content = bytearray(path.read_bytes())
        content[self._random.randrange(len(content))] ^= self._random.randrange(1, 256)
        path.write_bytes(bytes(content))

    def _wrong_key(self) -> None:
        kind = self._random.randrange(3)
        if kind == 0:
            self._sign_timestamp(key=self._mallory)
        elif kind == 1:
            changed = replace(self.pointer, number=self.pointer.number + 1, why=str(self._random.random()))
            content = fleet.join_signed(self._mallory.sign(write(changed)))
            (self._out / fleet.pointer_path(digest_of(content))).write_bytes(content)
            self._sign_timestamp(digest=digest_of(content), size_bytes=len(content))
        else:
            record = self._out / fleet.release_path(self.pointer.release.digest, "release.json")
            record.with_name("release.sig").write_bytes(self._mallory.sign(record.read_bytes()).signature)

    def _oversize(self) -> None:
        path = self._random.choice(self._files)
        path.write_bytes(path.read_bytes() + b" " * self._random.randrange(5_000, 100_000))


def _attacks(folder: Path) -> Result:
    """Attack a device that has the first release while the second is published, and by replays one that has the second.

    Each attack must be refused by name.
    """
    folder.mkdir()
    project, out = publisher(folder / "publisher"), folder / "out"
    random_ = random.Random(24)
    go_live(project, 1)
    publish_fleet(project, out, who="bench")
    with web_server(out) as site:
        polling = device(project, folder / "devices" / "pump", site.url)
        first, seen = polling.poll().release, polling.file.read_bytes()
        old = {fleet.TIMESTAMP: (out / fleet.TIMESTAMP).read_bytes()}
        second = go_live(project, 2)
        publish_fleet(project, out, who="bench")
        assert polling.poll().release == second
        newer = polling.file.read_bytes()
        attacker = Attacker(project, out, random_, old)
        outcomes: Counter[str] = Counter()
        notes: list[str] = []
        for number in range(N_ATTACKS):
            kind = sorted(REFUSED_BY)[number % len(REFUSED_BY)]
            before, state = (second, newer) if kind == "replay" else (first, seen)
            polling.file.write_bytes(state)
            shutil.rmtree(polling.registry.folder / "pumps" / second.removeprefix("sha256:"), ignore_errors=True)
            attacker.attack(kind)
            result = polling.poll()
            is_refused = not result.changed and result.release == before and result.reason in REFUSED_BY[kind]
            outcomes[result.reason] += 1
            if not is_refused:
                notes.append(f"attack {number} ({kind}) ended with {result}")
            attacker.end()
        polling.file.write_bytes(seen)
        is_followed = polling.poll().release == second
    project.state.close()
    refused = N_ATTACKS - len(notes)
    against = ", ".join(f"{reason or 'accepted'} {count}" for reason, count in outcomes.most_common())
    return [
        Row(
            name="fleet.attacks_refused",
            measured=refused,
            unit="attacks",
            target=f"{N_ATTACKS}",
            ok=refused == N_ATTACKS,
            against=against,
        ),
        Row(name="fleet.followed_after", measured=is_followed, unit="", target="1", ok=is_followed),
    ], notes


def _devices(folder: Path) -> list[Row]:
    """Poll by many devices spread over the interval, and roll back while they do."""
    project, out = publisher(folder / "publisher"), folder / "out"
    first = go_live(project, 1)
    publish_fleet(project, out, who="bench")
    with web_server(out) as site:
        loaded = device(project, folder / "loaded", site.url)
        assert loaded.poll().release == first
        second = go_live(project, 2)
        publish_fleet(project, out, who="bench")
        assert loaded.poll().release == second
        polling = _copies(project, loaded.registry.folder.parent, folder / "devices", site.url)
        used, own = site.used(), time.process_time()
        assert not any(one.poll().changed for one in polling)
        round_s, requests = (after - before for after, before in zip(site.used(), used, strict=True))
        own_s = time.process_time() - own
        arrived = _roll_back(project, out, polling, first)
    project.state.close()
    p99 = float(np.quantile(arrived, 0.99)) if len(arrived) == N_DEVICES else math.inf
    middle = float(np.median([*arrived, *[math.inf] * (N_DEVICES - len(arrived))]))
    return [
        Row(
            name="fleet.rollback_seconds",
            measured=p99,
            unit="s, p99",
            target=f"<= {INTERVAL_S + 1:g}",
            ok=p99 <= INTERVAL_S + 1,
            against=f"{len(arrived):,} of {N_DEVICES:,} devices, a poll every {INTERVAL_S:g} s; median {middle:.1f} s",
        ),
        Row(
            name="fleet.server_cpu_round",
            measured=round_s,
            unit="CPU s",
            target="<= 1",
            ok=round_s <= 1.0 and requests == N_DEVICES,
            against=f"{N_DEVICES:,} devices poll once, {requests:,} requests, all 304",
        ),
        shown("fleet.device_cpu_poll", 1000 * own_s / N_DEVICES, "CPU ms", "a poll of what did not change"),
    ]


def _copies(project: Project, loaded: Path, folder: Path, url: str) -> list[DevicePointer]:
    """Return devices with copies of the folder of one, as each would have polled it: its state does not name it."""
    folders = [folder / f"pump-{number}" for number in range(N_DEVICES)]
    for own in folders:
        shutil.copytree(loaded, own)
    return [device(project, own, url) for own in folders]


def _roll_back(project: Project, out: Path, polling: list[DevicePointer], first: str) -> list[float]:
    """Return the seconds from a rollback's publication until each device serves it; devices poll by their own phase."""
    start, random_ = time.monotonic(), random.Random(7)
    due = [(start + random_.random() * INTERVAL_S, number) for number in range(len(polling))]
    heapq.heapify(due)
    arrived: dict[int, float] = {}
    lock, ended = threading.Lock(), threading.Event()

    def work() -> None:
        while True:
            with lock:
                at, number = heapq.heappop(due)
                heapq.heappush(due, (at + INTERVAL_S, number))
            if ended.wait(max(0.0, at - time.monotonic())):
                return
            if polling[number].poll().release == first:
                with lock:
                    arrived.setdefault(number, time.monotonic())
            if len(arrived) == len(polling):
                ended.set()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(INTERVAL_S)
    project.registry.roll_back(ADDRESS, who="bench", why="a rollback")
    publish_fleet(project, out, who="bench")
    published = time.monotonic()
    ended.wait(LONGEST_S)
    ended.set()
    for thread in threads:
        thread.join()
    return [at - published for at in arrived.values()]
