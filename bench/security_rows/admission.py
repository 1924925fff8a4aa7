"""Requests that are admitted or refused: the longest stall of a worker, and its memory over the size of a body.

A stall is the CPU time of all threads of the worker between two timers of its event loop: it shows a thread that holds
the interpreter's lock, and does not depend on what else the machine does.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc

from fuzz_server import Found, Server, project, started
from harness import Result, Row, shown
from headway.serving.grpc._server import INFERENCE
from serving.stalls import OF_PROCESS

MAX_STALL_MS, ROUNDS, MANY, BODY_BYTES = 100.0, 5, 100_000, 8_000_000
TINY = {"ROUNDS": 1, "MANY": 1_000, "BODY_BYTES": 100_000}
_INFER = "/v2/models/numbers/infer"
_MESSAGE = "/inference.GRPCInferenceService/ModelInfer"
_COLUMN = {"shape": [1], "datatype": "FP64", "data": [1.0]}
_ROW = [{"name": name, **_COLUMN} for name in "abc"]


def rows() -> Result:
    """Send each body some times, and measure the stall and the memory."""
    stalls: dict[str, float] = {}
    memory: dict[str, float] = {}
    with TemporaryDirectory() as folder:
        project(Path(folder))
        os.environ[OF_PROCESS] = "1"  # of the servers of this part; no other part starts one
        with started(Path(folder), ("numbers",), report := Found()) as server:
            for name, (path, body) in _bodies().items():
                tries = [_send(server, path, body) for _ in range(ROUNDS)]
                stalls[name] = min(stall_ms for stall_ms, _ in tries)
                memory[name] = max(grown for _, grown in tries) / len(body)
    slowest = max(stalls, key=stalls.__getitem__)
    each = ", ".join(f"{name} {stall_ms:.0f}" for name, stall_ms in stalls.items())
    words = f"least of {ROUNDS} tries, CPU of all threads: {each}"
    over = ", ".join(f"{name} {ratio:.1f}" for name, ratio in memory.items())
    longest = Row(
        name="admission.longest_stall_ms",
        measured=stalls[slowest],
        unit="ms",
        target=f"<= {MAX_STALL_MS:g}",
        ok=stalls[slowest] <= MAX_STALL_MS,
        against=words,
    )
    return [
        longest,
        shown("admission.rss_over_body", max(memory.values()), "x", f"peak growth, largest of {ROUNDS} tries: {over}"),
    ], report.wrong


def _bodies() -> Mapping[str, tuple[str, bytes]]:
    """Return bodies that are refused, those that are just admitted, and one that is far too large, with their paths."""
    columns = [{"name": f"x{number}", **_COLUMN} for number in range(MANY)]
    n_rows = min(MANY, 65_000)
    admitted = [{"name": name, "shape": [n_rows], "datatype": "FP64", "data": [0.123456789] * n_rows} for name in "abc"]
    bodies: dict[str, tuple[str, object]] = {
        "inputs": (_INFER, {"inputs": columns}),
        "parameters": (_INFER, {"inputs": _ROW, "parameters": dict.fromkeys(map(str, range(2 * MANY)), 1)}),
        "outputs": (_INFER, {"inputs": _ROW, "outputs": [{"name": "probability"}] * MANY}),
        "members": (_INFER, {"inputs": _ROW, **dict.fromkeys(map(str, range(2 * MANY)), 1)}),
        "columns": ("/invocations", {"dataframe_split": {"columns": ["a"] * 2 * MANY, "data": []}}),
        "records": ("/invocations", {"dataframe_records": [{}] * (BODY_BYTES // 4)}),
        "record": ("/invocations", {"instances": [dict.fromkeys(map(str, range(2 * MANY)), 1)]}),
        "labels": ("/v2/models/numbers/labels", {"labels": [{"key": "a", "label": 1}] * (2 * MANY)}),
        "strings": (_INFER, {"inputs": [{**_ROW[0], "datatype": "BYTES", "data": ["x"] * 490_000}]}),
        "admitted": (_INFER, {"inputs": admitted}),
    }
    encoded = {name: (path, json.dumps(content).encode()) for name, (path, content) in bodies.items()}
    messages: dict[str, object] = {
        "inputs": [{"name": f"x{number}"} for number in range(MANY)],
        "parameters": [{"name": "a", "parameters": {f"p{number}": {} for number in range(2 * MANY)}}],
        "strings": [{"name": "a", "datatype": "BYTES", "contents": {"bytes_contents": [b""] * (BODY_BYTES // 2)}}],
        "whole numbers": [{"name": "a", "datatype": "INT64", "contents": {"int64_contents": [1] * (BODY_BYTES - 99)}}],
    }
    kind = INFERENCE["ModelInferRequest"]
    return {
        **encoded,
        **{
            f"{name} by gRPC": (_MESSAGE, kind(model_name="numbers", inputs=inputs).SerializeToString())
            for name, inputs in messages.items()
        },
        "depth": (_INFER, b'{"inputs":' + b"[" * BODY_BYTES),
        "too large": (_INFER, b"x" * 4 * BODY_BYTES),
    }


def _send(server: Server, path: str, body: bytes) -> tuple[float, float]:
    """Send a body; return the longest stall in ms, and the most that a worker's memory grew during that, in bytes."""
    server.longest_stall_ms()
    before = {process: _resident(process, "VmRSS") for process in server.memory_mb()}
    for process in before:
        Path(f"/proc/{process}/clear_refs").write_text("5")  # the peak begins again
    if path == _MESSAGE:
        _call(server, body)
    else:
        _post(server, path, body)
    grown = max(_resident(process, "VmHWM") - resident for process, resident in before.items())
    return server.longest_stall_ms(), grown


def _post(server: Server, path: str, body: bytes) -> None:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request("POST", path, body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    if answer.status not in (200, 400, 413):
        raise RuntimeError(f"{answer.status} was answered to {body[:80]!r}")


def _call(server: Server, message: bytes) -> None:
    with grpc.insecure_channel(server.grpc) as channel:
        try:
            channel.unary_unary(_MESSAGE)(message, timeout=60)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.INVALID_ARGUMENT:  # type: ignore[attr-defined]
                raise


def _resident(process: str, name: str) -> int:
    return 1024 * int(Path(f"/proc/{process}/status").read_text().partition(f"{name}:")[2].split()[0])
