"""gRPC load from one process: calls in a closed loop over several channels, each answer read and compared.

The Python client costs about as much per call as the server, so this keeps one core of a server busy and no more; the
figure to read is the CPU time of the server per call.
"""

from __future__ import annotations

import csv
import struct
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import grpc

from cache import environment
from headway.serving.grpc._server import INFERENCE

_METHOD = "/inference.GRPCInferenceService/ModelInfer"
_CHANNELS = 4
CLOSE = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcLoad:
    """Result of a run."""

    per_s: float
    answers: int
    p50_ms: float
    p99_ms: float


def message(model: str, row: bytes) -> bytes:
    """Return a ModelInfer request for one row as a matrix, whose raw little-endian float64 values are `row`."""
    inputs = [{"name": "rows", "datatype": "FP64", "shape": (1, len(row) // 8)}]
    made: bytes = INFERENCE["ModelInferRequest"](
        model_name=model, inputs=inputs, raw_input_contents=[row]
    ).SerializeToString()
    return made


def run(address: str, request: bytes, *, key: str, callers: int, seconds: float) -> GrpcLoad:
    """Call `HOST:PORT` with an API key from several threads.

    Raises RuntimeError if an answer differs from the first.
    """
    apart = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.insecure_channel(address, options=apart) for _ in range(_CHANNELS)]
    asks = [channel.unary_unary(_METHOD) for channel in channels]
    with_key = (("authorization", f"Bearer {key}"),)
    right = asks[0](request, metadata=with_key)
    until = time.perf_counter() + seconds

    def call(number: int) -> list[float]:
        ask, took = asks[number % _CHANNELS], []
        while (began := time.perf_counter()) < until:
            if not _same(ask(request, metadata=with_key), right):
                raise RuntimeError("an answer over gRPC is not what it was")
            took.append(time.perf_counter() - began)
        return took

    began = time.perf_counter()
    with ThreadPoolExecutor(callers) as pool:
        took = sorted(latency for part in pool.map(call, range(callers)) for latency in part)
    passed = time.perf_counter() - began
    for channel in channels:
        channel.close()
    middle, late = took[len(took) // 2], took[int(len(took) * 0.99)]
    return GrpcLoad(per_s=len(took) / passed, answers=len(took), p50_ms=middle * 1e3, p99_ms=late * 1e3)


def by_perf_analyzer(port: int, model: str, *, key: str, core: int, seconds: float) -> GrpcLoad:
    """Load a server with Triton's perf_analyzer, 32 calls at a time of one row of one value an input.

    Raises Absent if it cannot be installed, CalledProcessError if it fails, RuntimeError if it measured nothing.
    """
    program = environment("perf-analyzer", ("perf-analyzer==2.60.0",), python="python3.11").parent / "perf_analyzer"
    with tempfile.TemporaryDirectory() as name:
        file = Path(name, "found.csv")
        command = ["taskset", "-c", str(core), str(program), "-m", model, "-i", "grpc", "-u", f"127.0.0.1:{port}"]
        command += ["-H", f"authorization:Bearer {key}", "--concurrency-range", "32", "-f", str(file)]
        command += ["--measurement-interval", str(int(seconds * 1000)), "--stability-percentage", "20"]
        subprocess.run([*command, "--max-trials", "4"], check=True, capture_output=True)
        if not file.exists():
            raise RuntimeError("perf_analyzer measured nothing: no trial of its four was stable")
        (found,) = csv.DictReader(file.read_text().splitlines())
    p50_ms, p99_ms = (float(found[f"p{share} latency"]) / 1e3 for share in (50, 99))
    per_s = float(found["Inferences/Second"])
    return GrpcLoad(per_s=per_s, answers=int(per_s * seconds), p50_ms=p50_ms, p99_ms=p99_ms)


def _same(answer: bytes, right: bytes) -> bool:
    """Return whether two answers agree up to rounding: in another batch, trees may be added in another order."""
    return answer == right or abs(_value(answer) - _value(right)) < CLOSE


def _value(answer: bytes) -> float:
    (raw,) = INFERENCE["ModelInferResponse"].FromString(answer).raw_output_contents
    (value,) = struct.unpack("<d", raw)
    return float(value)
