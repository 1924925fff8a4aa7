"""A release as a container: the size of its image, and the time from `podman kube play` to the first right answer.

The image is that of `headway export oci` on a base of Debian's packages, with the trees of bench/serve.py; podman has
pulled it before a start is measured. A shell in the container writes down the time and becomes the server: what is
before is the part of podman and runc, what is after is ours. Each start has a pod and a volume of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from concurrent.futures import Future, ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import containers
from cache import HERE, folder, made
from harness import Result, Row
from headway.core import config
from headway.deployment import image, kubernetes
from headway.deployment._yaml import to_yaml
from headway.deployment.python_packages import find_packages
from headway.registry.sign import load_trusted
from serving.models import by_trees, project, question, v2

TOOL = HERE.parent / "tools/base_image.py"
STARTS, RIGHT = 15, 1e-9
TINY = {"STARTS": 1}
MAX_MB, MAX_START_S, MAX_OURS_S = 120.0, 2.0, 0.6
BEGAN = f"{image.STATE}/began"
BEGIN = f'date +%s.%N >{BEGAN}; exec "$0" "$@"'
# Run in the container of a server that has answered. The times of processes have steps of 10 ms.
INSIDE = f"""
import json, os, time
from pathlib import Path
began = time.perf_counter()
import headway.cli.server_command
imports = time.perf_counter() - began
tick_s, booted = 1 / os.sysconf("SC_CLK_TCK"), time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
stats = dict()
for file in Path("/proc").glob("[0-9]*/stat"):
    stats[int(file.parent.name)] = file.read_text().rpartition(")")[2].split()
children = [stat for stat in stats.values() if stat[1] == "1"]
times = dict(
    began=float(Path("{BEGAN}").read_text()),
    forked=booted + min(int(stat[19]) for stat in children) * tick_s,
    imports=imports,
    cpu=sum(int(stat[11]) + int(stat[12]) for stat in (stats[1], *children)) * tick_s,
)
print(json.dumps(times))
"""


class Start(NamedTuple):
    """Seconds of a start, in total and in parts, and the CPU time of the server's processes until then."""

    total: float
    podman: float
    ours: float
    supervisor: float
    imports: float
    worker: float
    cpu: float


def image_and_start() -> Result:
    """Measure the image of the trees of bench/serve.py, and its starts."""
    try:
        containers.expect_programs()
    except FileNotFoundError as absent:
        return [], [f"no image was made: {absent}"]
    base = made(folder("base-image", of=[TOOL.read_text("utf-8")]), _make_base)
    with tempfile.TemporaryDirectory() as home, containers.registry() as registry, containers.podman() as podman:
        written, digest = _image(Path(home), (base / "reference").read_text("utf-8"), registry.host)
        reference = f"{registry.host}/bench@{digest}"
        podman.pull(reference)
        starts = [_start(podman, Path(home), reference, name=f"bench{number}") for number in range(STARTS)]
    size, words = written.size_bytes / 1e6, "compressed, with the base and the release"
    rows = [Row(name="image_mb", measured=size, unit="MB", target=f"<= {MAX_MB:g}", ok=size <= MAX_MB, against=words)]
    parts = Start(*zip(*starts, strict=True))
    rows += [
        _row("", parts.total, "podman kube play", limit=MAX_START_S),
        _row(".ours", parts.ours, "from the start of Python on", limit=MAX_OURS_S),
        _row(".podman", parts.podman, "podman, conmon and runc"),
        _row(".supervisor", parts.supervisor, "of ours: imports, settings, the release verified and copied"),
        _row(".imports", parts.imports, "of these, the imports, in another process of the container"),
        _row(".worker", parts.worker, "of ours: a worker opens and tests the model, listens and answers"),
        _row(".cpu", parts.cpu, "CPU time of the server's processes"),
    ]
    return rows, []


def _row(part: str, seconds: Any, words: str, *, limit: float = float("inf")) -> Row:
    low, middle, high = map(float, np.quantile(seconds, (0.25, 0.5, 0.75)))
    return Row(
        name=f"cold_start_seconds{part}",
        measured=middle,
        unit="s",
        target=f"<= {limit:g}" if limit < float("inf") else "shown",
        ok=middle <= limit,
        against=f"{words}; median of {len(seconds)}, quartiles {low:.2f} to {high:.2f}",
    )


def _make_base(directory: Path) -> None:
    printed = subprocess.run([sys.executable, TOOL, directory / "layout"], check=True, capture_output=True, text=True)
    (directory / "reference").write_text(printed.stdout.split()[-1])


def _image(home: Path, base: str, host: str) -> tuple[image.WrittenImage, str]:
    """Write and push the image of the live release of a project."""
    registry = project(home, {"bench": by_trees()})
    settings, trusted = config.load(home, environment={}), load_trusted(registry.trusted_keys)
    bundle = registry.resolve("bench@live")
    registry.state.close()
    layout = home / "image"
    operators = registry.operators()
    packages = find_packages()
    written = image.write_image(bundle, settings, trusted, operators, base=base, layout=layout, packages=packages)
    return written, containers.push(layout, f"{host}/bench:1")


def _start(podman: containers.Podman, home: Path, reference: str, *, name: str) -> Start:
    """Start a pod, wait for its first answer, which must be right, and remove the pod."""
    port = containers.free_port()
    workload = kubernetes.Workload(name=name, image=reference, release="")
    deployment = containers.for_this_machine(kubernetes.deployment(workload), port=port)
    (server,) = deployment["spec"]["template"]["spec"]["containers"]
    run = podman.run_of(reference)
    server["command"] = ["/bin/sh", "-c", BEGIN, *run["Entrypoint"], *run["Cmd"]]
    manifest = home / f"{name}.yaml"
    manifest.write_text(to_yaml([deployment]))
    asked = question(by_trees(), 1)
    body, right = v2(asked.rows[:1], "FP64"), float(asked.answers[0, -1])
    with ThreadPoolExecutor(1) as pool:
        called = time.time()
        answered = _first_answer(port, body, right, pool.submit(podman.play, manifest))
    python, container = run["Entrypoint"][0], f"{name}-pod-server"
    inside = json.loads(podman("exec", container, python, "-c", INSIDE))
    podman("pod", "rm", "--force", "--time", "0", f"{name}-pod")
    return Start(
        total=answered - called,
        podman=inside["began"] - called,
        ours=answered - inside["began"],
        supervisor=inside["forked"] - inside["began"],
        imports=inside["imports"],
        worker=answered - inside["forked"],
        cpu=inside["cpu"],
    )


def _first_answer(port: int, body: bytes, right: float, playing: Future[None]) -> float:
    """Ask until a server answers rightly; return when it did. Raises RuntimeError or TimeoutError."""
    ends = time.time() + containers.WITHIN_S
    while time.time() < ends:
        connection = HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("POST", "/v2/models/bench/infer", body)
            reply = connection.getresponse()
            content = json.loads(reply.read())
        except (OSError, HTTPException):
            if playing.done():
                playing.result()  # raises what kept the pod from starting
            time.sleep(0.005)
            continue
        finally:
            connection.close()
        if reply.status == 200 and abs(content["outputs"][0]["data"][-1] - right) <= RIGHT:
            return time.time()
        raise RuntimeError(f"the first answer is {content}, not {right}")
    raise TimeoutError(f"no answer within {containers.WITHIN_S:g} s")
