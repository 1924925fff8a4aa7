"""Send malformed requests to a running server: no 5xx, no crash, no hang, and correct answers to other clients.

usage: python bench/fuzz_server.py [--requests N] [--seed S] [--json]
One of two servers with one model each; every request has its own connection and is sent whole, in fragments or broken
off, with a valid request in between on a persistent connection. Messages of gRPC are mangled too. Some requests are
well-formed and extreme in one respect. None may occupy the event loop of a worker for long, nor leave memory behind.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from onnx import TensorProto, helper

from harness import Row, command_line, parse, report, shown
from headway.core import config
from headway.core.record import digest_of
from headway.core.release import Release, SelfTest
from headway.core.variant import Artifact, Field, Signature, Variant
from headway.core.verdict import Verdict
from headway.registry.model_registry import ModelRegistry, UpdateReason
from headway.registry.settings.trust import TrustSection
from headway.registry.sign import init_keys
from headway.serving.grpc._server import INFERENCE
from serving.fuzz_requests import EXTREMES, KINDS, good
from serving.stalls import take_stall_ms

ROOT = Path(__file__).parent.parent
REQUESTS, SEED = 100_000, 1
GOOD_EACH, GRPC_EACH, FRAGMENT_EACH, ABORT_EACH, EXTREME_EACH = 10, 20, 20, 50, 40
ANSWERS_WITHIN_S = 20.0
MAX_STALL_MS, MAX_GROWTH_MB = 20.0, 64.0
WARM_REQUESTS = 300
TINY = {"REQUESTS": 400, "WARM_REQUESTS": 50}
NUMBERS = Signature(inputs=tuple(Field(name=name) for name in "abc"))
TEXTS = Signature(
    inputs=(Field(name="size"), Field(name="carrier", datatype="BYTES", categories=("AA", "UA", "WN"))), output="score"
)
MODELS = {"numbers": NUMBERS, "texts": TEXTS}
SERVED = (("numbers",), ("numbers", "texts"))
OVERLOAD = {503, 504}
GRPC_WRONG = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNAVAILABLE}


@dataclass(slots=True)
class Found:
    """Counts of answers by status or code, and each failure and stall with the request that caused it."""

    statuses: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    slow: list[str] = field(default_factory=list)
    sent: int = 0
    right: int = 0
    longest_stall_ms: float = 0.0
    growth_mb: float = 0.0


class Wrong(Exception):
    """A wrong answer, or none."""


def mean(width: int) -> bytes:
    """Return a model that predicts the mean of its row, so that a misrouted answer shows."""
    ports = [
        helper.make_tensor_value_info(name, TensorProto.DOUBLE, [None, size]) for name, size in (("x", width), ("y", 1))
    ]
    node = helper.make_node("ReduceMean", ["x"], ["y"], axes=[1], keepdims=1)
    graph = helper.make_graph([node], "mean", ports[:1], ports[1:])
    made: bytes = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8
    ).SerializeToString()
    return made


def project(folder: Path) -> None:
    """Create a project in which both models are signed and live."""
    (folder / "headway.toml").write_text('[trust]\npublisher_key = "publisher.pem"\n')
    at = config.load(folder, environment={})
    init_keys(at.path("publisher.pem"), at.path(at[TrustSection].trusted_keys), comment="fuzz")
    register = ModelRegistry.from_config(at)
    for name, signature in MODELS.items():
        width = len(signature.inputs)
        content = mean(width)
        artifact = Artifact(format="onnx", digest=digest_of(content), size_bytes=len(content))
        variant = Variant(artifact=artifact, engine="onnxruntime", signature=signature)
        test = SelfTest(rows=((1.0,) * width, (2.0,) * width), answers=((1.0,), (2.0,)))
        verdict = Verdict(answer="pass", subject=variant.digest)
        release = Release(name=name, variant=variant, evidence=(), verdict=verdict, self_test=test)
        digest = register.publish(release, {"model.onnx": content})
        register.point(f"{name}@live", digest, UpdateReason(who="fuzz", why="to be asked", verdict=verdict))
    register.state.close()


@dataclass(frozen=True, slots=True)
class Server:
    """A listening server: its port, `HOST:PORT` of gRPC, and the folder with the stalls of its workers."""

    port: int
    grpc: str
    stalls: Path

    def longest_stall_ms(self) -> float:
        """Return the longest time of its CPU that an event loop was occupied since the last call."""
        return max((take_stall_ms(file) for file in self.stalls.iterdir()), default=0.0)

    def memory_mb(self) -> dict[str, float]:
        """Return the resident memory of each worker by its process."""
        found = {}
        for file in self.stalls.iterdir():
            with suppress(FileNotFoundError):
                status = Path(f"/proc/{file.name}/status").read_text()
                found[file.name] = int(status.partition("RssAnon:")[2].split()[0]) / 1024
        return found


@contextmanager
def started(folder: Path, names: Sequence[str], found: Found) -> Iterator[Server]:
    """Run a server of these models; it must not crash, must shut down in order, and must not log a defect."""
    stalls = folder / "stalls" / "-".join(names)
    stalls.mkdir(parents=True)
    words = [
        sys.executable,
        "-c",
        "from serving.stalls import main; main()",
        str(stalls),
        "serve",
        *(f"{name}@live" for name in names),
        "--project",
        str(folder),
    ]
    path = os.pathsep.join([str(ROOT / "bench"), os.environ.get("PYTHONPATH", "")])
    around = {**os.environ, "PYTHONPATH": path, "HEADWAY_SERVE_PORT": "0", "HEADWAY_SERVE_GRPC_PORT": "0"}
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(words, env=around, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            assert process.stdout is not None
            ports = re.search(r"http://\S+:(\d+) and grpc://(\S+)", process.stdout.readline())
            if ports is None:
                raise SystemExit("the server does not come up")
            server = Server(int(ports[1]), ports[2], stalls)
            time.sleep(1.0)
            server.longest_stall_ms()  # that of the start, which ends after the server has announced itself
            yield server
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=30)
            log.seek(0)
            output = log.read()
            if process.returncode:
                found.wrong.append(f"the server left with {process.returncode}: {output[-2000:]}")
            if "Traceback" in output:
                found.wrong.append(f"the server logged a defect: {output[-2000:]}")


class Line:
    """A persistent connection for valid requests."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=ANSWERS_WITHIN_S)
        self._stream = self._socket.makefile("rb")

    def expect(self, rng: random.Random) -> None:
        """Send a request, and raise Wrong unless the answer is correct."""
        request, value = good(rng)
        self._socket.sendall(request)
        status = self._stream.readline()
        length = 0
        while (header := self._stream.readline()).strip():
            name, _, rest = header.partition(b":")
            length = int(rest) if name.lower() == b"content-length" else length
        answer = json.loads(self._stream.read(length))
        if b" 200 " not in status or answer["outputs"][0]["data"] != [value]:
            raise Wrong(f"a right request for {value} was answered {status!r} {answer}")

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()
        self._socket.close()


def statuses_of(port: int, request: bytes, rng: random.Random) -> list[int]:
    """Return the statuses of all answers to a client that then sends nothing more.

    Raises TimeoutError if the server hangs.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=ANSWERS_WITHIN_S) as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(ConnectionResetError, BrokenPipeError):  # the server may close before all of it is sent
            _send(line, request, rng)
            if rng.randrange(ABORT_EACH) == 0:
                line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close resets
                return []
            line.shutdown(socket.SHUT_WR)
        answer = b""
        with suppress(ConnectionResetError):
            while part := line.recv(1 << 16):
                answer += part
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


def _send(line: socket.socket, request: bytes, rng: random.Random) -> None:
    """Send a request at once, or in fragments with pauses."""
    if rng.randrange(FRAGMENT_EACH):
        line.sendall(request)
        return
    for at in range(0, len(request), size := rng.choice((1, 7, 100, 5_000))):
        line.sendall(request[at : at + size])
        if rng.random() < 0.002:
            time.sleep(0.01)


def wrong_message(rng: random.Random) -> tuple[str, bytes]:
    """Return a method of the gRPC service, and bytes for its message."""
    inputs = [{"name": name, "datatype": "FP64", "shape": (1,)} for name in "abc"]
    right = INFERENCE["ModelInferRequest"](model_name="numbers", inputs=inputs, raw_input_contents=[bytes(8)] * 3)
    content = bytearray(right.SerializeToString())
    for _ in range(rng.randint(0, 5)):
        at = rng.randrange(len(content) + 1)
        content[at : at + rng.randrange(3)] = rng.randbytes(rng.randrange(3))
    return rng.choice(("ModelInfer",) * 4 + ("ModelReady", "ModelConfig", "RepositoryIndex")), bytes(content)


def extreme_message(rng: random.Random) -> tuple[str, bytes]:
    """Return a method of the gRPC service, and a message that is extreme in one respect."""
    count, kind = int(100_000 ** rng.random()), rng.randrange(8)
    text = "x" * (count if rng.random() < 0.5 else 60 * count)
    inputs = [{"name": name, "datatype": "FP64", "shape": (1,)} for name in "abc"]
    fields: dict[str, object] = {"model_name": "numbers", "raw_input_contents": [bytes(8)] * 3}
    if kind == 0:
        return "ModelReady", INFERENCE["ModelReadyRequest"](name=text).SerializeToString()
    if kind == 1:
        inputs[2]["shape"] = [rng.choice((1, 2**31, 2**62))] * count
    elif kind == 2:
        inputs[2]["name"] = text
    elif kind == 3:
        inputs = [{**inputs[0], "name": rng.choice(("a", f"x{number}"))} for number in range(count)]
    elif kind == 4:
        fields["parameters"] = {f"{number}": {"int64_param": number} for number in range(count)}
    elif kind == 5:
        fields["outputs"] = [{"name": rng.choice(("probability", text[:300]))}] * (count // 10 + 1)
    elif kind == 6:
        fields |= {"id": text, "parameters": {"key": {"string_param": text[:300]}}}
    else:
        inputs = [{**item, "shape": (count,), "contents": {"fp64_contents": [1.0] * count}} for item in inputs]
        del fields["raw_input_contents"]
    return "ModelInfer", INFERENCE["ModelInferRequest"](inputs=inputs, **fields).SerializeToString()


class Assault:
    """Malformed requests to one server, with valid ones in between."""

    def __init__(self, server: Server, found: Found, rng: random.Random) -> None:
        self._server, self._found, self._rng = server, found, rng

    def run(self, count: int) -> None:
        """Send requests; failures are collected in `found`."""
        line, before = Line(self._server.port), dict[str, float]()
        with grpc.insecure_channel(self._server.grpc) as channel:
            for number in range(count):
                if number == min(WARM_REQUESTS, count - 1):
                    before = self._server.memory_mb()
                self._found.sent += 1
                extreme = self._rng.randrange(EXTREME_EACH) == 0
                if number % GRPC_EACH:
                    what = self._over_http(self._rng.choice(EXTREMES if extreme else KINDS))
                else:
                    what = self._over_grpc(channel, extreme_message if extreme else wrong_message)
                self._note_stall(what)
                if number % GOOD_EACH == 0:
                    line.expect(self._rng)
                    self._found.right += 1
        line.close()
        after = self._server.memory_mb()
        for worker, memory_mb in before.items():
            if worker in after:
                self._found.growth_mb = max(self._found.growth_mb, after[worker] - memory_mb)
            else:
                self._found.wrong.append(f"worker {worker} died")

    def _note_stall(self, what: str) -> None:
        stall_ms = self._server.longest_stall_ms()
        self._found.longest_stall_ms = max(self._found.longest_stall_ms, stall_ms)
        if stall_ms > MAX_STALL_MS:
            self._found.slow.append(f"{stall_ms:.0f} ms of an event loop were taken by {what}")

    def _over_http(self, make: Callable[[random.Random], bytes]) -> str:
        """Send a request, and return a description of it."""
        request = make(self._rng)
        what = f"{make.__name__}: {len(request)} bytes, {request[:300]!r}"
        try:
            statuses = statuses_of(self._server.port, request, self._rng)
        except TimeoutError:
            self._found.wrong.append(f"no end of the answer to {request[:2000]!r}")
            return what
        self._found.statuses.update(map(str, statuses))
        self._found.statuses["none"] += not statuses
        worst = max(statuses, default=0)
        if worst >= 500 and worst not in OVERLOAD:
            self._found.wrong.append(f"{worst} was answered to {request[:2000]!r}")
        return what

    def _over_grpc(self, channel: grpc.Channel, make: Callable[[random.Random], tuple[str, bytes]]) -> str:
        """Send a message, and return a description of it."""
        method, content = make(self._rng)
        try:
            channel.unary_unary(f"/inference.GRPCInferenceService/{method}")(content, timeout=ANSWERS_WITHIN_S)
            code = grpc.StatusCode.OK
        except grpc.RpcError as error:
            code = error.code()
        self._found.statuses[code.name] += 1
        if code in GRPC_WRONG:
            self._found.wrong.append(f"{code.name} was answered to {method} {content[:2000]!r}")
        return f"{make.__name__}: {method} of {len(content)} bytes, {content[:300]!r}"


def fuzz(count: int, seed: int) -> Found:
    """Send requests to the servers, one after the other."""
    found, rng = Found(), random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        project(Path(folder))
        for names in SERVED:
            with started(Path(folder), names, found) as server, recording_failures(found):
                Assault(server, found, rng).run(count // len(SERVED))
    return found


@contextmanager
def recording_failures(found: Found) -> Iterator[None]:
    """Record an error that ends the run of a server."""
    try:
        yield
    except (Wrong, OSError, ValueError) as error:
        found.wrong.append(f"after {found.sent} requests: {error!r}")


def main() -> int:
    """Fuzz, print the counts, and return 1 if there was any failure."""
    parser = command_line(__doc__)
    parser.add_argument("--requests", type=int, default=0, help=f"default: {REQUESTS:,}")
    parser.add_argument("--seed", type=int, default=SEED)
    options = parse(parser)
    began = time.perf_counter()
    found = fuzz(options.requests or REQUESTS, options.seed)
    passed = time.perf_counter() - began
    rows = [
        Row(name="fuzz.wrong", measured=len(found.wrong), unit="", target="0", ok=not found.wrong),
        _at_most("fuzz.longest_stall_ms", found.longest_stall_ms, MAX_STALL_MS, "ms"),
        _at_most("fuzz.rss_growth_mb", found.growth_mb, MAX_GROWTH_MB, "MB"),
        shown("fuzz.requests", found.sent, ""),
        shown("fuzz.right_in_between", found.right, ""),
        shown("fuzz.seconds", passed, "s"),
        *(shown(f"fuzz.answered.{status}", count, "") for status, count in sorted(found.statuses.items())),
    ]
    report(rows, [*found.wrong[:20], *found.slow[:20]], as_json=options.json)
    return 0 if all(row.ok for row in rows) else 1


def _at_most(name: str, measured: float, limit: float, unit: str) -> Row:
    return Row(name=name, measured=measured, unit=unit, target=f"<= {limit:g}", ok=measured <= limit)


if __name__ == "__main__":
    sys.exit(main())
