"""Containers for tests and benchmarks: a registry on this machine, and pods by podman with runc, without systemd."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import NamedTuple

PROGRAMS = ("podman", "skopeo", "runc", "catatonit", "docker-registry", "mmdebstrap")
WITHIN_S = 60.0


def expect_programs() -> None:
    """Raise FileNotFoundError, with the command that installs them, if a program is not installed."""
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
    missing = [program for program in PROGRAMS if shutil.which(program, path=path) is None]
    if missing:
        raise FileNotFoundError(f"not installed: {', '.join(missing)}\n  try: tools/system services")


def free_port() -> int:
    """Return a TCP port of loopback that is free."""
    with closing(socket.create_server(("127.0.0.1", 0))) as bound:
        return int(bound.getsockname()[1])


def free_ports(count: int) -> int:
    """Return the first of some neighboring TCP ports of loopback that are free."""
    while True:
        first = free_port()
        with ExitStack() as stack, suppress(OSError, OverflowError):
            for port in range(first, first + count):
                stack.enter_context(closing(socket.create_server(("127.0.0.1", port))))
            return first


def status(port: int, path: str) -> int:
    """Return the status of a GET on loopback; 0 if nothing answers."""
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, HTTPException):
        return 0
    finally:
        connection.close()


def wait_for(port: int, path: str, *, expected: int = 200) -> None:
    """Wait until a server answers with a status; raises TimeoutError."""
    ends = time.monotonic() + WITHIN_S
    while status(port, path) != expected:
        if time.monotonic() > ends:
            raise TimeoutError(f"no status {expected} from port {port}, {path}, within {WITHIN_S:g} s")
        time.sleep(0.005)


class Registry(NamedTuple):
    """A registry: its HOST:PORT, and the folder of its blobs."""

    host: str
    folder: Path

    def blob(self, digest: str) -> Path:
        """Return the file of a blob."""
        name = digest.removeprefix("sha256:")
        return self.folder / "docker/registry/v2/blobs/sha256" / name[:2] / name / "data"


@contextmanager
def registry() -> Iterator[Registry]:
    """Run a registry with its images in a temporary folder."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "version": "0.1",
            "storage": {"filesystem": {"rootdirectory": f"{folder}/images"}},
            "http": {"addr": f"127.0.0.1:{port}"},
            "log": {"level": "error"},
        }
        Path(folder, "registry.json").write_text(json.dumps(settings))
        with Path(folder, "log").open("wb") as log:
            process = subprocess.Popen(
                ["docker-registry", "serve", f"{folder}/registry.json"], stdout=log, stderr=subprocess.STDOUT
            )
        try:
            wait_for(port, "/v2/")
            yield Registry(f"127.0.0.1:{port}", Path(folder, "images"))
        finally:
            process.terminate()
            process.wait(20)


def push(layout: Path, image: str) -> str:
    """Push the image of an OCI layout to a registry; return the digest that the registry has for it."""
    _run(
        "skopeo",
        "--insecure-policy",
        "copy",
        "--quiet",
        "--dest-tls-verify=false",
        f"oci:{layout}",
        f"docker://{image}",
    )
    found = json.loads(_run("skopeo", "inspect", "--no-tags", "--tls-verify=false", f"docker://{image}"))
    return str(found["Digest"])


def fetch(image: str, layout: Path) -> None:
    """Copy an image from a registry to an OCI layout; raises RuntimeError if a blob differs from its digest."""
    _run(
        "skopeo", "--insecure-policy", "copy", "--quiet", "--src-tls-verify=false", f"docker://{image}", f"oci:{layout}"
    )


class Podman:
    """podman with its images and containers in a folder of its own, on the network of this machine."""

    def __init__(self, folder: Path) -> None:
        self.command = (
            *("podman", "--root", f"{folder}/images", "--runroot", f"{folder}/run"),
            *("--runtime", "runc", "--cgroup-manager", "cgroupfs"),
        )

    def __call__(self, *words: str) -> str:
        """Run a command of podman, and return what it prints."""
        return _run(*self.command, *words)

    def pull(self, image: str) -> None:
        """Pull an image by its digest, which podman verifies."""
        self("pull", "--quiet", "--tls-verify=false", image)

    def play(self, manifest: Path) -> None:
        """Start what a file of manifests describes."""
        self("kube", "play", "--quiet", "--network", "host", str(manifest))

    def run_of(self, image: str) -> dict:
        """Return what a pulled image runs: `Entrypoint`, `Cmd`, `User` and so on."""
        return json.loads(self("image", "inspect", "--format", "{{json .Config}}", image))

    def stop(self, container: str, *, within_s: int) -> int:
        """Send SIGTERM, wait until a container ends, and return its exit status; it is killed after `within_s`."""
        self("stop", "--time", str(within_s), container)
        return int(self("inspect", "--format", "{{.State.ExitCode}}", container))

    def remove_all(self) -> None:
        """Remove all containers and images."""
        self("pod", "rm", "--all", "--force", "--time", "0")
        self("rm", "--all", "--force", "--time", "0")
        self("rmi", "--all", "--force")


@contextmanager
def podman() -> Iterator[Podman]:
    """Make a podman whose folder is gone at the end; the folder's name is short, as runc's sockets need it."""
    folder = Path(tempfile.mkdtemp(prefix="hw-", dir="/tmp"))
    made = Podman(folder)
    try:
        yield made
    finally:
        made.remove_all()
        shutil.rmtree(folder, ignore_errors=True)


def _run(*command: str) -> str:
    environment = {**os.environ, "PODMAN_IGNORE_CGROUPSV1_WARNING": "1"}
    ended = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    if ended.returncode:
        raise RuntimeError(f"{' '.join(command[:1] + command[-2:])} failed: {ended.stderr.strip()}")
    return ended.stdout.strip()


def for_this_machine(deployment: dict, *, port: int) -> dict:
    """Return a Deployment as podman can run it on the network of this machine, at a port that is free here.

    Probes and hooks are left out: podman would run a probe by curl in the container, and knows no `sleep`.
    """
    pod = json.loads(json.dumps(deployment))
    (container,) = pod["spec"]["template"]["spec"]["containers"]
    for field in ("startupProbe", "readinessProbe", "livenessProbe", "lifecycle"):
        container.pop(field)
    container["env"].append({"name": "HEADWAY_SERVE_PORT", "value": str(port)})
    pod["spec"]["template"]["spec"].pop("topologySpreadConstraints")
    pod["spec"]["replicas"] = 1
    return pod
