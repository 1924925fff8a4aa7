"""Exported images and manifests, executed: a real registry, podman and runc, real requests, and a roll under load."""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from onnx import TensorProto, helper, numpy_helper
from tests.house.pages import code_blocks
from tests.house.source_tree import ROOT
from tests.serving.client_environments import environment
from tests.storage import postgres, seaweed

from bench import containers
from headway.core import config
from headway.core.record import digest_of
from headway.core.release import Release, SelfTest, version_of
from headway.core.variant import Artifact, Field, Signature, Variant
from headway.core.verdict import Verdict
from headway.deployment import image, kubernetes
from headway.deployment._yaml import to_yaml
from headway.deployment.python_packages import InstalledPackage, find_packages
from headway.registry.model_registry import ModelRegistry, UpdateReason
from headway.registry.project import Project, open_project
from headway.registry.sign import init_keys, load_trusted
from headway.serving.auth.keys import create_key

pytestmark = pytest.mark.services
ROW = (0.5, -1.0, 2.0)
WEIGHTS = {"first": (1.0, 0.0, 0.0), "second": (0.0, 1.0, 0.0)}


def expected(name: str) -> float:
    """Return the answer of a release to `ROW`."""
    return float(1 / (1 + np.exp(-np.dot(WEIGHTS[name], ROW))))


def model(name: str) -> bytes:
    """Return a logistic regression as an ONNX graph."""
    weight = numpy_helper.from_array(np.array(WEIGHTS[name], dtype=np.float32).reshape(3, 1), "w")
    nodes = [helper.make_node("MatMul", ["rows", "w"], ["z"]), helper.make_node("Sigmoid", ["z"], ["scores"])]
    ports = [
        helper.make_tensor_value_info(port, TensorProto.FLOAT, [None, n]) for port, n in (("rows", 3), ("scores", 1))
    ]
    graph = helper.make_graph(nodes, "logistic", ports[:1], ports[1:], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10).SerializeToString()


def release(name: str) -> tuple[Release, bytes]:
    content = model(name)
    variant = Variant(
        artifact=Artifact(format="onnx", digest=digest_of(content), size_bytes=len(content)),
        engine="onnxruntime",
        signature=Signature(inputs=tuple(Field(name=column) for column in "abc")),
    )
    test = SelfTest(rows=(ROW,), answers=((expected(name),),))
    verdict = Verdict(answer="pass", subject=variant.digest)
    made = Release(name="flights", variant=variant, evidence=(), verdict=verdict, self_test=test, made_at="2026-11-28")
    return made, content


@dataclass(frozen=True)
class Pushed:
    """An image that the registry has: its reference by digest, its size, and the release in it."""

    reference: str
    size_bytes: int
    release: str


@dataclass(frozen=True)
class Cluster:
    """A podman that has both images, the key of a caller, and the file of API keys."""

    podman: containers.Podman
    registry: containers.Registry
    base: str
    images: dict[str, Pushed]
    key: str
    keys_file: bytes
    folder: Path

    def start(self, name: str, release: str) -> int:
        """Start a pod of a release by its exported manifests, at a free port; wait until it is ready."""
        port, pushed = containers.free_port(), self.images[release]
        workload = kubernetes.Workload(
            name=name, image=pushed.reference, release=pushed.release, keys_secret=f"{name}-keys", memory="300Mi"
        )
        deployment = containers.for_this_machine(kubernetes.deployment(workload), port=port)
        data = {"keys.toml": base64.b64encode(self.keys_file).decode()}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": f"{name}-keys"}, "data": data}
        manifest = self.folder / f"{name}.yaml"
        manifest.write_text(to_yaml([secret, deployment]))
        self.podman.play(manifest)
        containers.wait_for(port, kubernetes.probes()["readinessProbe"]["httpGet"]["path"])
        return port

    def ask(self, port: int, *, key: str | None = None) -> tuple[int, float | None]:
        """Send a row; return the status and the answer."""
        inputs = [{"name": c, "shape": [1], "datatype": "FP64", "data": [x]} for c, x in zip("abc", ROW, strict=True)]
        headers = {"Authorization": f"Bearer {self.key if key is None else key}"}
        connection = HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("POST", "/v2/models/flights/infer", json.dumps({"inputs": inputs}), headers)
            reply = connection.getresponse()
            body = json.loads(reply.read())
        finally:
            connection.close()
        return reply.status, body["outputs"][0]["data"][0] if reply.status == 200 else None


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Make the base and both images, push them to a registry, and pull them by their digests."""
    containers.expect_programs()
    folder = tmp_path_factory.mktemp("containers")
    (folder / "headway.toml").write_text('[project]\nname = "flights"\n[trust]\npublisher_key = "publisher.pem"\n')
    settings = config.load(folder, environment={})
    init_keys(folder / "publisher.pem", folder / "trusted_keys.txt", comment="a test")
    key = create_key(folder / "keys.toml", "caller", ["predict"])
    made = subprocess.run(
        [sys.executable, ROOT / "tools/base_image.py", folder / "base"], check=True, capture_output=True, text=True
    )
    base, packages = made.stdout.split()[-1], find_packages()
    with ExitStack() as stack:
        registry, podman = stack.enter_context(containers.registry()), stack.enter_context(containers.podman())
        images = {
            name: pushed(folder, settings, name, base=base, packages=packages, host=registry.host) for name in WEIGHTS
        }
        for entry in images.values():
            podman.pull(entry.reference)
        yield Cluster(podman, registry, base, images, key, (folder / "keys.toml").read_bytes(), folder)


def pushed(
    folder: Path, settings: config.Config, name: str, *, base: str, packages: list[InstalledPackage], host: str
) -> Pushed:
    registry = ModelRegistry.from_config(settings)
    record, content = release(name)
    bundle = registry.resolve(f"flights@{registry.publish(record, {'model.onnx': content})}")
    registry.state.close()
    trusted = load_trusted(registry.trusted_keys)
    written = image.write_image(
        bundle, settings, trusted, registry.operators(), base=base, layout=folder / name, packages=packages
    )
    digest = containers.push(folder / name, f"{host}/flights:{name}")
    assert digest == written.digest
    return Pushed(f"{host}/flights@{digest}", written.size_bytes, bundle.digest)


def test_an_image_has_at_most_120_mb_and_shares_its_layers_with_the_next(cluster):
    assert all(entry.size_bytes <= 120e6 for entry in cluster.images.values())
    first, second = (json.loads((cluster.folder / name / "index.json").read_text()) for name in WEIGHTS)
    manifests = [
        json.loads((cluster.folder / name / "blobs/sha256" / index["manifests"][0]["digest"][7:]).read_text())
        for name, index in zip(WEIGHTS, (first, second), strict=True)
    ]
    layers = [[layer["digest"] for layer in manifest["layers"]] for manifest in manifests]
    assert layers[0][:2] == layers[1][:2] and layers[0][2] != layers[1][2]


def test_a_pod_answers_rightly_and_only_with_a_key(cluster):
    port = cluster.start("alone", "first")
    status, answer = cluster.ask(port)
    assert status == 200 and answer == pytest.approx(expected("first"), abs=1e-6)
    assert cluster.ask(port, key="wrong") == (401, None)
    assert containers.status(port, "/v2/health/live") == containers.status(port, "/metrics") == 200
    with environment("tritonclient[http]==2.73.0") as client:
        asked = {"ADDRESS": f"127.0.0.1:{port}", "KEY": cluster.key, "ROW": json.dumps(ROW)}
        assert json.loads(client.run("python", "-c", ASK_BY_TRITON, **asked)) == pytest.approx([answer])
    inside = cluster.podman("exec", "alone-pod-server", "/usr/bin/python3", "-c", INSIDE).splitlines()
    assert inside == ["65532", "refused /models/x", "refused /opt/headway/x", "refused /x", "written"]
    assert cluster.podman.stop("alone-pod-server", within_s=25) == 0


ASK_BY_TRITON = """
import json, os
import numpy
import tritonclient.http as triton
inputs = [triton.InferInput(name, [1], "FP64") for name in "abc"]
for column, value in zip(inputs, json.loads(os.environ["ROW"])):
    column.set_data_from_numpy(numpy.array([value]))
client = triton.InferenceServerClient(os.environ["ADDRESS"])
found = client.infer("flights", inputs, headers={"Authorization": "Bearer " + os.environ["KEY"]})
(output,) = found.get_response()["outputs"]
print(json.dumps(found.as_numpy(output["name"]).ravel().tolist()))
"""
INSIDE = """
import os, pathlib
print(os.getuid())
for path in ("/models/x", "/opt/headway/x", "/x"):
    try:
        pathlib.Path(path).write_text("x")
        print("written", path)
    except OSError:
        print("refused", path)
pathlib.Path("/var/lib/headway/x").write_text("x")
print("written")
"""


def test_a_roll_under_load_loses_no_request(cluster):
    """Replace a pod by one of the next release as a Deployment does, with a caller who sends only to ready pods."""
    ports = [cluster.start("old", "first")]
    answers: list[float | None] = []
    failed: list[object] = []
    rolled = threading.Event()

    def call() -> None:
        while not rolled.is_set():
            ready = [port for port in tuple(ports) if containers.status(port, "/v2/health/ready") == 200]
            try:
                status, answer = cluster.ask(ready[0])
            except (OSError, HTTPException, IndexError) as error:
                failed.append(error)
            else:
                answers.append(answer)
                if status != 200:
                    failed.append(status)

    callers = [threading.Thread(target=call) for _ in range(2)]
    for caller in callers:
        caller.start()
    ports.append(cluster.start("new", "second"))
    stopped = cluster.podman.stop("old-pod-server", within_s=25)
    seen = len(answers)
    wait_until(lambda: len(answers) > seen + 20)
    rolled.set()
    for caller in callers:
        caller.join()
    assert failed == [] and stopped == 0
    found = {round(answer, 5) for answer in answers if answer is not None}
    assert found == {round(expected(name), 5) for name in WEIGHTS}
    assert cluster.podman.stop("new-pod-server", within_s=25) == 0


def wait_until(done, *, within_s: float = 60.0) -> None:
    ends = time.monotonic() + within_s
    while not done():
        assert time.monotonic() < ends
        time.sleep(0.01)


@pytest.fixture
def reader(cluster, tmp_path: Path) -> Iterator[Reader]:
    """Provide the folder of a reader with a live release, an earlier one, and servers of their own."""
    with postgres.server() as database, seaweed.server() as bucket:
        bucket.create_bucket("team")
        environment = {
            **os.environ,
            **bucket.environment,
            "HOME": str(tmp_path),
            "PATH": os.pathsep.join([str(programs(cluster, tmp_path)), os.environ["PATH"]]),
            "PGPASSWORD": postgres.PASSWORD,
            "DATABASE": database.create_database(),
            "BUCKET": "s3://team",
            "REGISTRY": cluster.registry.host,
            "BASE": cluster.base,
            "HEADWAY_OPTIMIZE_TRANSFORMS": '["onnx"]',
        }
        run_in(tmp_path, "headway init deliveries && cd deliveries && headway optimize && headway release", environment)
        (ask,) = [block for block in code_blocks("docs/tutorial.md", "bash") if block.startswith("cat > request.json")]
        run_in(tmp_path / "deliveries", ask.partition("curl")[0], environment)
        yield Reader(tmp_path / "deliveries", database, bucket, environment)


@dataclass(frozen=True)
class Reader:
    """A reader of a page: their project, their servers, and their environment."""

    folder: Path
    database: postgres.Postgres
    bucket: seaweed.Seaweed
    environment: Mapping[str, str]

    def release_again(self) -> None:
        """Release the live model once more, as another release."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HOME", self.environment["HOME"])
            registry = ModelRegistry.from_config(config.load(self.folder))
            bundle = registry.resolve("deliveries@live")
            digest = registry.publish(replace(bundle.release, made_at="later"), bundle.files)
            reason = UpdateReason(who="a reader", why="another", verdict=bundle.release.verdict)
            registry.point("deliveries@live", digest, reason)
            registry.state.close()

    def project(self) -> Project:
        """Open the project at its shared stores."""
        with pytest.MonkeyPatch.context() as patch:
            for name in ("HOME", "PGPASSWORD", *self.bucket.environment):
                patch.setenv(name, self.environment[name])
            return open_project(self.folder)

    def waiting_jobs(self) -> int:
        """Return how many jobs in containers ask for a lease; each is process 1 of its container."""
        query = (
            "SELECT count(DISTINCT application_name) FROM pg_stat_activity"
            " WHERE application_name LIKE 'process 1 of %' AND query LIKE '%advisory%'"
        )
        with self.database.connect() as connection:
            return connection.execute(query.encode()).fetchone()[0]


def programs(cluster: Cluster, folder: Path) -> Path:
    """Write programs that find the test's registry, and keep pods and images where the test removes them."""
    made = folder / "bin"
    made.mkdir()
    registries = folder / "registries.conf"
    registries.write_text(f'[[registry]]\nlocation = "{cluster.registry.host}"\ninsecure = true\n')
    installed = Path(sys.executable).parent
    commands = {
        "podman": shlex.join([shutil.which("podman"), *cluster.podman.command[1:]]),
        "skopeo": shlex.join([shutil.which("skopeo"), "--insecure-policy", "--registries-conf", str(registries)]),
        "headway": str(installed / "headway"),
        "python": sys.executable,
    }
    for name, command in commands.items():
        environment = f"CONTAINERS_REGISTRIES_CONF={registries} PODMAN_IGNORE_CGROUPSV1_WARNING=1"
        (made / name).write_text(f'#!/bin/sh\nexec env {environment} {command} "$@"\n')
        (made / name).chmod(0o755)
    return made


def run_in(folder: Path, commands: str, environment: Mapping[str, str]) -> str:
    """Run shell commands, the first failure of which is an error; return what they print."""
    script = ["timeout", "3600", "bash", "-euo", "pipefail", "-c", commands]
    ended = subprocess.run(script, cwd=folder, env=environment, check=False, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_the_page_on_teams_leads_to_two_servers_and_a_nightly_job(cluster, reader):
    """Run the commands of the page, then two schedulers at once, of which one works at a time."""
    declares, *blocks = code_blocks("docs/how-to/team.md", "sh")
    assert set(re.findall(r"(\w+)=", declares)) <= reader.environment.keys()
    reader.release_again()
    first = containers.free_ports(2)
    commands = "\n".join(blocks).replace("8080", str(first)).replace("8081", str(first + 1))
    run_in(reader.folder, commands, reader.environment)
    project = reader.project()
    live = version_of(project.registry.resolve("deliveries@live").digest)
    key = (reader.folder / "caller.key").read_text().strip()
    request = (reader.folder / "request.json").read_text()
    for port in (first, first + 1):
        wait_until(lambda port=port: ask_version(port, key, request) == live, within_s=10)
    log = {"Bucket": "team", "Prefix": "headway/log/deliveries/"}
    wait_until(lambda: reader.bucket.client().list_objects_v2(**log)["KeyCount"] > 0)
    assert "no open ticket" in cluster.podman("logs", "deliveries-retrain-retrain")

    with project.lease("retrain"):
        cluster.podman("pod", "start", "deliveries-retrain")
        assert cluster.podman("wait", "deliveries-retrain-retrain") != "0"
    said = run_in(reader.folder, "podman logs deliveries-retrain-retrain 2>&1", reader.environment)
    assert "is already being done by process" in said
    with project.lease("watch"):
        cluster.podman("pod", "start", "deliveries-watch")
        wait_until(lambda: reader.waiting_jobs() == 1)
        state = cluster.podman("inspect", "--format", "{{.State.Status}}", "deliveries-watch-watch")
        assert state == "running"
    assert cluster.podman("wait", "deliveries-watch-watch") in ("0", "3")
    project.state.close()


def ask_version(port: int, key: str, request: str) -> str:
    """Send a request, and return the version of the release that answered."""
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("POST", "/v2/models/deliveries/infer", request, {"Authorization": f"Bearer {key}"})
        return json.loads(connection.getresponse().read())["model_version"]
    finally:
        connection.close()


def test_a_layer_that_was_changed_in_the_registry_is_not_fetched(cluster):
    reference, layout = cluster.images["first"].reference, cluster.folder / "first"
    containers.fetch(reference, cluster.folder / "fetched")
    manifest = json.loads((layout / "blobs/sha256" / reference.rpartition(":")[2]).read_text())
    layer = cluster.registry.blob(manifest["layers"][2]["digest"])
    content = bytearray(layer.read_bytes())
    content[len(content) // 2] ^= 1
    layer.write_bytes(content)
    with pytest.raises(RuntimeError, match="failed"):
        containers.fetch(reference, cluster.folder / "changed")
