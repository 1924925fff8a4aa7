"""The servers that bench/serve.py compares with: environments, commands and requests.

Each uses ONNX Runtime and the settings that its documentation recommends for speed; of several settings, all are tried.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cache import HERE, Absent, environment
from serving.load import Case, Plan
from serving.models import Floats, Question, posted, v2
from serving.processes import Server, started

ORT = "onnxruntime"
BATCH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Another server: its packages, its command, the form of its requests, and the settings to try."""

    name: str
    packages: tuple[str, ...]
    command: tuple[str, ...]
    settings: Mapping[str, Mapping[str, str]]
    path: str = "/predict"
    body: Callable[[Floats], bytes] = field(default=lambda rows: json.dumps({"rows": rows.tolist()}).encode())
    marker: str = ""
    connections: tuple[int, ...] = (32,)
    python: str = ""

    def home(self) -> Path:
        """Return its Python, created on first use; raises Absent with pip's message."""
        return environment(f"serve-{self.name}", self.packages, python=self.python)

    @property
    def package(self) -> str:
        """Name of its package: a peer may be measured in two forms."""
        return self.name.partition("_")[0]

    def version(self) -> str:
        """Return its installed version."""
        asks = f"from importlib.metadata import version; print(version({self.package!r}))"
        return subprocess.run([self.home(), "-c", asks], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()

    def cases(self, question: Question, *, columns: int = 2) -> list[Case]:
        """Return the question as its requests; the answers have both classes, or that many columns."""
        ask = [posted(self.path, self.body(rows)) for rows in question.parts()]
        return question.cases(ask, columns=columns)

    def plan(self, seconds: float, connections: int, core: int) -> Plan:
        """Return its load plan."""
        return Plan(connections=connections, seconds=seconds, marker=self.marker, core=core)


@contextmanager
def serving(peer: Peer, model: Path, setting: str, asks: bytes) -> Iterator[Server]:
    """Start the peer with this model file and wait for its first answer.

    Raises Absent with its last output if it fails.
    """
    python = peer.home()
    words = [word.replace("{bin}", str(python.parent)) for word in peer.command]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        around = {"MODEL": str(model), "PYTHONPATH": str(HERE / "peers"), "HOME": name, **peer.settings[setting]}
        (folder / "model-settings.json").write_text(json.dumps(_of_mlserver(around)))
        with started(words, asks=asks, environment=around, folder=folder) as server:
            yield server


def _of_mlserver(around: Mapping[str, str]) -> dict[str, object]:
    batch = int(around.get("BATCH", "1"))
    batching = {"max_batch_size": batch, "max_batch_time": float(around.get("WAIT_S", "0"))} if batch > 1 else {}
    return {"name": "model", "implementation": "of_mlserver.Onnx", **batching}


def _module(name: str) -> tuple[str, ...]:
    return ("{bin}/python", "-c", f"import {name}; {name}.main()")


def _v2(rows: Floats) -> bytes:
    return v2(rows, "FP32")


_BATCHES = {"batching": {"BATCH": str(BATCH)}, "no batching": {"BATCH": "1"}}
_OF_MLSERVER = {
    "MLSERVER_DEBUG": "false",
    "MLSERVER_HTTP_PORT": "{port}",
    "MLSERVER_GRPC_PORT": "0",
    "MLSERVER_METRICS_ENDPOINT": "",
}
_NO_WORKER, _WORKER = (
    {**_OF_MLSERVER, "MLSERVER_PARALLEL_WORKERS": "0"},
    {**_OF_MLSERVER, "MLSERVER_PARALLEL_WORKERS": "1"},
)
_IN_BATCHES = {"BATCH": str(BATCH), "WAIT_S": "0.001"}
PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        Peer(
            name="fastapi",
            packages=("fastapi", "uvicorn[standard]", "orjson", ORT),
            command=("{bin}/uvicorn", "of_fastapi:app", "--port", "{port}", "--no-access-log"),
            settings={"uvloop, httptools, orjson": {}},
        ),
        Peer(
            name="fastapi_model",
            packages=("fastapi", "uvicorn[standard]", ORT),
            command=("{bin}/uvicorn", "of_fastapi_model:app", "--port", "{port}", "--no-access-log"),
            settings={"a data model, as its tutorial writes it": {}},
        ),
        Peer(
            name="mlserver",
            # Workers of its own do not start with a newer uvloop; a newer Python is given a release of 2023.
            packages=("mlserver>=1.7", "uvloop<0.22", ORT),
            python="python3.11",
            command=("{bin}/mlserver", "start", "."),
            settings={
                "no worker, batching": {**_NO_WORKER, **_IN_BATCHES},
                "no worker": _NO_WORKER,
                "one worker, batching": {**_WORKER, **_IN_BATCHES},
            },
            path="/v2/models/model/infer",
            body=_v2,
            marker='"data":',
        ),
        Peer(
            name="kserve",
            packages=("kserve", ORT),
            command=_module("of_kserve"),
            settings={"one worker": {}},
            path="/v2/models/model/infer",
            body=_v2,
            marker='"data":',
        ),
        Peer(
            name="bentoml",
            packages=("bentoml", "uvloop", "httptools", ORT),
            command=("{bin}/bentoml", "serve", "of_bentoml:Onnx", "--port", "{port}"),
            settings={**_BATCHES},
        ),
        Peer(
            name="litserve",
            packages=("litserve", ORT),
            command=_module("of_litserve"),
            settings={**_BATCHES},
            marker='"output":',
        ),
        Peer(
            name="mosec",
            packages=("mosec", "orjson", ORT),
            command=(*_module("of_mosec"), "--port", "{port}", "--log-level", "warning"),
            settings={"batching, 1 ms": {"BATCH": str(BATCH), "WAIT_MS": "1"}},
            path="/inference",
            connections=(32, 256),
        ),
    )
}


def make_all() -> None:
    """Create all missing environments, and print those that cannot be created."""
    absent = [_absent(peer) for peer in PEERS.values()]
    print("\n".join(filter(None, absent)) or f"{len(PEERS)} environments are there")
    sys.exit(any(absent))


def _absent(peer: Peer) -> str:
    try:
        peer.home()
    except Absent as reason:
        return f"{peer.name}: {reason}"
    return ""
